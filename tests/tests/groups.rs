//! Members of one group: ours, the Java client's and librdkafka's, joining and leaving.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, PeerKind, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 6;

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    commit = "sync",
    commit_every = "record"
)]
async fn shared(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

struct Fleet {
    cluster: Cluster,
    topic: String,
    assignors: String,
}

impl Fleet {
    async fn new(assignors: &str) -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("groups", PARTITIONS).await;
        Self { cluster, topic, assignors: assignors.to_owned() }
    }

    fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    async fn member(&self, probe: &Probe) -> RunningApp {
        let yaml = self.cluster.yaml(&format!(
            "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 300, partition.assignment.strategy: '{}'}}\nsuite: {{topic: {}}}\n",
            self.assignors, self.topic
        ));
        App::from_yaml(&yaml).unwrap().only(["shared"]).state(probe.clone()).start().await.unwrap()
    }

    /// One record to each partition.
    async fn round(&self, app: &RunningApp, value: &str) {
        for partition in 0..PARTITIONS {
            let record = Record::to(&self.topic).partition(partition).text(value);
            app.template().send_record(record).await.unwrap();
        }
    }
}

/// Partitions of this round's records that a probe saw.
fn partitions(probe: &Probe, value: &str) -> BTreeSet<i32> {
    probe.seen().iter().filter(|seen| seen.value == value).map(|seen| seen.partition).collect()
}

/// Sends rounds until the records of one of them came to `members` in the shares of a whole assignment: each partition
/// at one member, and each member with some.
async fn shared_out(fleet: &Fleet, app: &RunningApp, members: &[&Probe], foreign: bool) {
    let mut round = 0;
    eventually("partitions are shared out", LIMIT, || {
        round += 1;
        let value = format!("round-{round}-{}", members.len());
        async move {
            fleet.round(app, &value).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let shares: Vec<BTreeSet<i32>> = members.iter().map(|probe| partitions(probe, &value)).collect();
            let total: usize = shares.iter().map(BTreeSet::len).sum();
            let wanted = PARTITIONS as usize;
            let whole = if foreign { total < wanted && total > 0 } else { total == wanted };
            whole && shares.iter().all(|share| !share.is_empty())
        }
    })
    .await;
}

/// A record to each partition, again and again.
async fn rounds(fleet: &Fleet, app: &RunningApp) {
    loop {
        fleet.round(app, "for the peer").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn two_and_three_of_ours(assignors: &str) {
    let fleet = Fleet::new(assignors).await;
    let (one, two, three) = (Probe::default(), Probe::default(), Probe::default());
    let first = fleet.member(&one).await;
    shared_out(&fleet, &first, &[&one], false).await;
    let second = fleet.member(&two).await;
    shared_out(&fleet, &first, &[&one, &two], false).await;
    let third = fleet.member(&three).await;
    shared_out(&fleet, &first, &[&one, &two, &three], false).await;
    second.stop().await.unwrap();
    shared_out(&fleet, &first, &[&one, &three], false).await;
    third.stop().await.unwrap();
    shared_out(&fleet, &first, &[&one], false).await;
    first.stop().await.unwrap();
    // Clean hand-overs with a commit after each record: each was handled once, whoever had it.
    let mut all: Vec<(i32, i64)> = [&one, &two, &three]
        .iter()
        .flat_map(|probe| probe.seen())
        .map(|seen| (seen.partition, seen.offset))
        .collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "a record was handled twice");
    for partition in 0..PARTITIONS {
        let offsets: Vec<i64> =
            all.iter().filter(|(p, _)| *p == partition).map(|(_, offset)| *offset).collect();
        assert_eq!(
            offsets,
            (0..offsets.len() as i64).collect::<Vec<_>>(),
            "a record of partition {partition} was lost"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours_range() {
    two_and_three_of_ours("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours_cooperative() {
    two_and_three_of_ours("cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours_default_list() {
    two_and_three_of_ours("range, cooperative-sticky").await;
}

async fn with_a_peer(kind: PeerKind, assignor: &str) {
    let fleet = Fleet::new(assignor).await;
    let (one, two) = (Probe::default(), Probe::default());
    let first = fleet.member(&one).await;
    shared_out(&fleet, &first, &[&one], false).await;
    let Some(mut peer) =
        Peer::start(kind, "member", fleet.cluster.bootstrap(), &[&fleet.group(), &fleet.topic, assignor])
    else {
        return;
    };
    // Its first assignment may be empty (cooperative): records come until it has seen one.
    let lines = tokio::select! {
        lines = peer.until("record") => lines,
        () = rounds(&fleet, &first) => unreachable!("rounds never end"),
    };
    assert!(lines.iter().any(|line| line[0] == "assigned"), "{lines:?}");
    shared_out(&fleet, &first, &[&one], true).await;
    let second = fleet.member(&two).await;
    shared_out(&fleet, &first, &[&one, &two], true).await;
    let rest = peer.finish().await;
    assert!(rest.iter().any(|line| line[0] == "left"), "the peer did not leave in peace: {rest:?}");
    shared_out(&fleet, &first, &[&one, &two], false).await;
    first.stop().await.unwrap();
    shared_out(&fleet, &second, &[&two], false).await;
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java_range() {
    with_a_peer(PeerKind::Java, "range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java_cooperative() {
    with_a_peer(PeerKind::Java, "cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka_range() {
    with_a_peer(PeerKind::Librdkafka, "range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka_cooperative() {
    with_a_peer(PeerKind::Librdkafka, "cooperative-sticky").await;
}
