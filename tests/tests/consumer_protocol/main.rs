//! Groups of KIP-848 (`group.protocol: consumer`), for which the same is promised as for classic ones.
//!
//! ```text
//! members   members of ours among others; from one protocol to the other
//! killed    members that are killed or frozen
//! in_hand   records in hand when their partition goes away
//! restarts  a static member that stops and comes back
//! steering  pauses, seeks and another concurrency at run time
//! ```

mod in_hand;
mod killed;
mod members;
mod restarts;
mod steering;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_runtime::container::{EventKind, EventStream, PartitionPhase};
use kafka_runtime::prelude::*;
use tests::{Fleet, PARTITIONS, Probe, event, eventually};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than whatever must not happen would take: some heartbeats, and what they bring about.
const A_WHILE: Duration = Duration::from_secs(2);

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    commit = "sync",
    commit_every = "record"
)]
async fn shared(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// Says when it begins and, once it may pass the door, that it is done.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    commit = "sync",
    commit_every = "record"
)]
async fn held(value: String, meta: Metadata, probe: &State<Probe>, door: &State<Door>) {
    probe.saw(meta.partition(), meta.offset(), None, begins(&value));
    door.pass().await;
    probe.saw(meta.partition(), meta.offset(), None, value);
}

fn begins(value: &str) -> String {
    format!("{value} begins")
}

/// Handlers wait in front of it while it is shut.
#[derive(Clone)]
struct Door(Arc<watch::Sender<bool>>);

impl Door {
    fn opened() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    fn shut(&self) {
        self.0.send_replace(false);
    }

    fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        self.0.subscribe().wait_for(|open| *open).await.expect("the door is there");
    }
}

async fn fleet() -> Fleet {
    Fleet::new("group.protocol: consumer").await
}

/// A service that runs the listener `held`.
struct Member {
    app: RunningApp,
    probe: Probe,
    door: Door,
}

impl Member {
    /// With settings of its listener: YAML between braces.
    async fn start(fleet: &Fleet, settings: &str) -> Self {
        Self::behind(Door::opened(), fleet, settings).await
    }

    async fn behind(door: Door, fleet: &Fleet, settings: &str) -> Self {
        let probe = Probe::default();
        let yaml = fleet.yaml(&format!("kafka-runtime: {{listeners: {{held: {{{settings}}}}}}}\n"));
        let app = App::from_yaml(&yaml).unwrap().only(["held"]).state(probe.clone()).state(door.clone());
        Self { app: app.start().await.unwrap(), probe, door }
    }

    async fn stop(self) {
        let summary = self.app.stop().await.unwrap();
        assert!(summary.is_clean(), "{summary}");
    }

    fn listener(&self) -> ListenerHandle {
        self.app.listeners().get("held").unwrap()
    }

    fn events(&self) -> EventStream {
        self.app.listeners().events()
    }

    fn partitions(&self) -> BTreeSet<i32> {
        self.listener().status().partitions.iter().map(|found| found.partition.partition).collect()
    }

    /// The partitions of the records with this value that it handled, once for each time.
    fn handled(&self, value: &str) -> Vec<i32> {
        let seen = self.probe.seen().into_iter().filter(|seen| seen.value == value);
        let mut partitions: Vec<i32> = seen.map(|seen| seen.partition).collect();
        partitions.sort_unstable();
        partitions
    }

    /// Of those, how many are in hand.
    fn in_hand(&self, value: &str) -> usize {
        self.handled(&begins(value)).len() - self.handled(value).len()
    }
}

fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}

/// Whether this is each of these partitions once.
fn once(handled: &[i32], partitions: &BTreeSet<i32>) -> bool {
    handled.iter().eq(partitions)
}

/// Waits until they hold all partitions between them, half of them each.
async fn shared_out(first: &Member, second: &Member) {
    eventually("partitions are shared out", LIMIT, || async {
        let (first, second) = (first.partitions(), second.partitions());
        first.len() == second.len() && first.union(&second).count() == PARTITIONS as usize
    })
    .await;
}

/// What the group has committed for a partition.
async fn committed(fleet: &Fleet, partition: i32) -> Option<i64> {
    let partition = TopicPartition::new(fleet.topic.as_str(), partition);
    let found = fleet.cluster.admin().committed(&fleet.group(), &[partition]).await.unwrap();
    found.into_iter().next().and_then(|(_, found)| found).map(|found| found.offset)
}

/// Waits until the group has committed this offset for each of these partitions.
async fn until_committed(fleet: &Fleet, partitions: &BTreeSet<i32>, offset: i64) {
    for partition in partitions {
        let what = format!("{offset} of partition {partition} is committed");
        eventually(&what, LIMIT, || async { committed(fleet, *partition).await == Some(offset) }).await;
    }
}

/// Fails if it comes to pass within a while.
async fn never(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + A_WHILE;
    while Instant::now() < end {
        assert!(!condition(), "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Each record's handler ended once, over all members; each partition has so many.
fn assert_each_once(members: &[&Member], records: i64) {
    let seen = members.iter().flat_map(|member| member.probe.seen());
    let done = seen.filter(|seen| !seen.value.ends_with("begins"));
    let mut handled: Vec<(i32, i64)> = done.map(|seen| (seen.partition, seen.offset)).collect();
    handled.sort_unstable();
    let each = |partition| (0..records).map(move |offset| (partition, offset));
    assert_eq!(handled, (0..PARTITIONS).flat_map(each).collect::<Vec<_>>());
}
