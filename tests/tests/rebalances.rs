//! Rebalances: static members that come back, the strategy of a running group changed step by step, records in hand when
//! their partition goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_client::TopicPartition as Partition;
use kafka_runtime::container::{EventKind, EventStream};
use kafka_runtime::prelude::*;
use tests::{Cluster, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 6;
/// A record that takes this long is in hand when its partition goes away.
const LONG: Duration = Duration::from_secs(3);

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    commit = "sync",
    commit_every = "record"
)]
async fn member(value: String, meta: Metadata, probe: &State<Probe>) {
    if value == "long" {
        tokio::time::sleep(LONG).await;
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// Says when it begins and when it is done.
#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-group")]
async fn deployed(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, format!("{value} begins"));
    if value == "long" {
        tokio::time::sleep(LONG).await;
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
}

struct Group {
    cluster: Cluster,
    topic: String,
}

impl Group {
    async fn new() -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("rebalances", PARTITIONS).await;
        Self { cluster, topic }
    }

    async fn member(&self, probe: &Probe, properties: &str, listener: &str) -> RunningApp {
        self.start("member", probe, properties, listener).await
    }

    async fn start(&self, id: &'static str, probe: &Probe, properties: &str, listener: &str) -> RunningApp {
        let yaml = self.cluster.yaml(&format!(
            "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 300{properties}}}\nsuite: {{topic: {}}}\nkafka-runtime: {{listeners: {{{id}: {{{listener}}}}}}}\n",
            self.topic
        ));
        let app = App::from_yaml(&yaml).unwrap().only([id]).state(probe.clone());
        app.start().await.unwrap()
    }

    async fn send(&self, app: &RunningApp, partition: i32, value: &str) {
        let record = Record::to(&self.topic).partition(partition).text(value);
        app.template().send_record(record).await.unwrap();
    }

    /// One record to each partition.
    async fn round(&self, app: &RunningApp, value: &str) {
        for partition in 0..PARTITIONS {
            self.send(app, partition, value).await;
        }
    }

    async fn committed(&self, partition: i32) -> i64 {
        let partition = Partition::new(self.topic.as_str(), partition);
        let group = format!("{}-group", self.topic);
        let found = self.cluster.admin().committed(&group, &[partition]).await.unwrap();
        found.into_iter().next().and_then(|(_, found)| found).map_or(-1, |found| found.offset)
    }
}

fn partitions(app: &RunningApp) -> BTreeSet<i32> {
    app.status()[0].partitions.iter().map(|found| found.partition.partition).collect()
}

/// Waits until these hold all partitions between them, each some.
async fn shared_out(apps: &[&RunningApp]) {
    eventually("partitions are shared out", LIMIT, || async {
        let shares: Vec<_> = apps.iter().map(|app| partitions(app)).collect();
        let total: usize = shares.iter().map(BTreeSet::len).sum();
        total == PARTITIONS as usize && shares.iter().all(|share| !share.is_empty())
    })
    .await;
}

/// Whether any of these events tells of a rebalance.
async fn any_rebalance(events: &mut EventStream, within: Duration) -> Option<EventKind> {
    let look = async {
        loop {
            match events.next().await.map(|event| event.kind) {
                Some(kind @ (EventKind::Assigned(_) | EventKind::Revoked(_) | EventKind::Lost(_))) => {
                    return Some(kind);
                }
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::time::timeout(within, look).await.unwrap_or(None)
}

/// Each offset of each partition once, over all probes.
fn assert_each_once(probes: &[&Probe]) {
    let mut seen: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for record in probes.iter().flat_map(|probe| probe.seen()) {
        seen.entry(record.partition).or_default().push(record.offset);
    }
    for (partition, mut offsets) in seen {
        offsets.sort_unstable();
        assert_eq!(offsets, (0..offsets.len() as i64).collect::<Vec<_>>(), "partition {partition}");
    }
}

async fn a_static_member_comes_back(strategy: &str) {
    let group = Group::new().await;
    let (one, two) = (Probe::default(), Probe::default());
    let named =
        |name: &str| format!(", group.instance.id: {name}, partition.assignment.strategy: '{strategy}'");
    let first = group.member(&one, &named("one"), "").await;
    let second = group.member(&two, &named("two"), "").await;
    shared_out(&[&first, &second]).await;
    group.round(&first, "before").await;
    eventually("all are handled", LIMIT, || async { one.len() + two.len() == 6 }).await;
    let (mine, mut events) = (partitions(&second), first.listeners().events());
    second.stop().await.unwrap();
    group.round(&first, "meanwhile").await;
    let begun = tokio::time::Instant::now();
    let second = group.member(&two, &named("two"), "").await;
    eventually("it has its own again", LIMIT, || async { partitions(&second) == mine }).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it waited for its own ghost: {took:?}");
    eventually("all are handled", LIMIT, || async { one.len() + two.len() == 12 }).await;
    let rebalance = any_rebalance(&mut events, Duration::from_secs(1)).await;
    assert!(rebalance.is_none(), "the other member noticed: {rebalance:?}");
    // A listener that is stopped by itself does not leave either.
    let listener = second.listeners().get("member").unwrap();
    listener.stop().await.unwrap();
    group.round(&first, "at rest").await;
    let rebalance = any_rebalance(&mut events, Duration::from_secs(1)).await;
    assert!(rebalance.is_none(), "its partitions do not rest: {rebalance:?}");
    assert_eq!(one.len() + two.len(), 12 + 6 - mine.len());
    listener.start().await.unwrap();
    eventually("all are handled", LIMIT, || async { one.len() + two.len() == 18 }).await;
    assert_eq!(partitions(&second), mine);
    assert_each_once(&[&one, &two]);
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_without_a_rebalance_eager() {
    a_static_member_comes_back("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_without_a_rebalance_cooperative() {
    a_static_member_comes_back("cooperative-sticky").await;
}

/// Two members with the first list, then each in turn restarted with the next one; records are sent and handled with each
/// step. The members, and what they saw, after the last.
async fn bounced(group: &Group, sender: &RunningApp, steps: &[&str]) -> [(RunningApp, Probe); 2] {
    let [first, steps @ ..] = steps else { panic!("no list of assignors") };
    let mut members = Vec::new();
    for _ in 0..2 {
        let probe = Probe::default();
        members.push((group.member(&probe, &strategy(first), "").await, probe));
    }
    all_handle_a_round(group, sender, &members, 1).await;
    let mut rounds = 1;
    for step in steps {
        for at in 0..members.len() {
            let (member, probe) = members.remove(at);
            member.stop().await.unwrap();
            members.insert(at, (group.member(&probe, &strategy(step), "").await, probe));
            rounds += 1;
            all_handle_a_round(group, sender, &members, rounds).await;
        }
    }
    let probes: Vec<_> = members.iter().map(|(_, probe)| probe).collect();
    assert_each_once(&probes);
    let two = [members.remove(0), members.remove(0)];
    assert!(members.is_empty());
    two
}

fn strategy(list: &str) -> String {
    match list {
        "" => String::new(),
        _ => format!(", partition.assignment.strategy: '{list}'"),
    }
}

/// The partitions are shared out, and a record of each is handled.
async fn all_handle_a_round(
    group: &Group,
    sender: &RunningApp,
    members: &[(RunningApp, Probe)],
    rounds: usize,
) {
    shared_out(&members.iter().map(|(member, _)| member).collect::<Vec<_>>()).await;
    group.round(sender, "round").await;
    let handled = || members.iter().map(|(_, probe)| probe.len()).sum::<usize>();
    let sent = rounds * PARTITIONS as usize;
    eventually("all are handled", LIMIT, || async { handled() == sent }).await;
}

/// What of its partitions the first member gives back when a third comes with the same list, and how many it has then.
async fn given_back_to_a_newcomer(
    group: &Group,
    [(first, _), (second, _)]: &[(RunningApp, Probe); 2],
    list: &str,
) -> (usize, usize) {
    let mut events = first.listeners().events();
    let newcomer = group.member(&Probe::default(), &strategy(list), "").await;
    shared_out(&[first, second, &newcomer]).await;
    let mut revoked = 0;
    while let Some(kind) = any_rebalance(&mut events, Duration::from_secs(1)).await {
        if let EventKind::Revoked(gone) = kind {
            revoked += gone.len();
        }
    }
    let kept = partitions(first).len();
    newcomer.stop().await.unwrap();
    (revoked, kept)
}

// docs/rebalances.md has these steps.
#[tokio::test(flavor = "multi_thread")]
async fn the_strategy_of_a_running_group_is_changed_by_two_rolling_bounces() {
    let steps = ["range", "cooperative-sticky, range", "cooperative-sticky"];
    becomes_cooperative(&steps).await;
}

/// The default list has both already.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_strategy_of_a_running_group_is_changed_by_one_rolling_bounce() {
    becomes_cooperative(&["", "cooperative-sticky"]).await;
}

/// A member that comes takes nothing from the others but what becomes its own.
async fn becomes_cooperative(steps: &[&str]) {
    let group = Group::new().await;
    let sender = group.member(&Probe::default(), "", "auto-startup: false").await;
    let members = bounced(&group, &sender, steps).await;
    let had = partitions(&members[0].0).len();
    let (revoked, kept) = given_back_to_a_newcomer(&group, &members, "cooperative-sticky").await;
    assert_eq!((had, revoked), (3, 1), "{kept} are left");
    for app in members.into_iter().map(|(member, _)| member).chain([sender]) {
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_to_an_eager_strategy_is_the_same_in_reverse() {
    let group = Group::new().await;
    let sender = group.member(&Probe::default(), "", "auto-startup: false").await;
    let steps = ["cooperative-sticky", "cooperative-sticky, range", "range"];
    let members = bounced(&group, &sender, &steps).await;
    let (revoked, _) = given_back_to_a_newcomer(&group, &members, "range").await;
    assert_eq!(revoked, 3, "eager: all is given back");
    for app in members.into_iter().map(|(member, _)| member).chain([sender]) {
        app.stop().await.unwrap();
    }
}

/// A record is in hand when another member comes; returns what the two saw of it, and what was committed meanwhile.
async fn in_hand(listener: &str) -> (usize, usize) {
    let group = Group::new().await;
    let (one, two) = (Probe::default(), Probe::default());
    let first = group.member(&one, "", listener).await;
    first.ready().await;
    eventually("it has all", LIMIT, || async { partitions(&first).len() == 6 }).await;
    for partition in 0..PARTITIONS {
        group.send(&first, partition, "long").await;
    }
    // All are in hand: each partition runs on its own.
    eventually("they are in hand", LIMIT, || async {
        let status = &first.status()[0];
        status.partitions.iter().all(|found| found.phase == kafka_runtime::container::PartitionPhase::Running)
    })
    .await;
    let second = group.member(&two, "", listener).await;
    shared_out(&[&first, &second]).await;
    group.round(&first, "after").await;
    eventually("all are handled", LIMIT, || async {
        let seen = [one.seen(), two.seen()].concat();
        let offsets: BTreeSet<_> = seen.iter().map(|seen| (seen.partition, seen.offset)).collect();
        offsets.len() == 12
    })
    .await;
    for partition in 0..PARTITIONS {
        eventually("all are committed", LIMIT, || async { group.committed(partition).await == 2 }).await;
    }
    let long = |probe: &Probe| probe.seen().iter().filter(|seen| seen.value == "long").count();
    // A handler that was let go of may still be finishing.
    tokio::time::sleep(LONG).await;
    for partition in 0..PARTITIONS {
        assert_eq!(
            group.committed(partition).await,
            2,
            "committed by who has it no more: partition {partition}"
        );
    }
    let counts = (long(&one), long(&two));
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_finishes_within_the_deadline_and_is_committed_before_the_next_owner_begins() {
    assert_eq!(in_hand("drain-timeout: 10s").await, (6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_what_is_in_hand_is_cancelled_and_handled_by_the_next_owner() {
    let (first, second) = in_hand("drain-timeout: 200ms, on-revoke: cancel").await;
    // With the default list all partitions are given back: those that stayed are handled again by the first.
    assert_eq!(first + second, 6, "each to its end once");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_what_is_in_hand_may_finish_and_is_never_committed_by_the_wrong_owner() {
    let (first, second) = in_hand("drain-timeout: 200ms, on-revoke: finish").await;
    // The first finishes all six, and handles again those that it keeps; the next owner handles its own.
    assert_eq!((first + second, second), (12, 3));
}

/// A stop has a time of its own, which is longer than that of a rebalance: a handler that takes it finishes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_at_a_stop_finishes_and_is_committed() {
    for ordering in ["ordering: partition", "ordering: key, concurrency: 4"] {
        let listener = format!("drain-timeout: 500ms, {ordering}");
        let group = Group::new().await;
        let (one, two) = (Probe::default(), Probe::default());
        let first = group.start("deployed", &one, "", &listener).await;
        group.send(&first, 0, "long").await;
        one.at_least(1, LIMIT).await;
        let summary = first.stop().await.unwrap();
        assert!(summary.is_clean(), "{ordering}: {summary}");
        assert!(summary.took < LONG + Duration::from_secs(5), "{ordering}: {summary}");
        assert_eq!((one.len(), group.committed(0).await), (2, 1), "{ordering}: {:?}", one.seen());
        let second = group.start("deployed", &two, "", &listener).await;
        group.send(&second, 0, "after").await;
        two.at_least(2, LIMIT).await;
        assert!(two.seen().iter().all(|seen| seen.offset == 1), "{ordering}: {:?}", two.seen());
        second.stop().await.unwrap();
    }
}
