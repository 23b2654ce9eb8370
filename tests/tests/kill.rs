//! A service is killed in mid-flow under each commit strategy and cadence. What another client then finds committed was
//! handled; what was handled and committed is not repeated; what was not is handled again; nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, PeerKind, unique};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const PARTITIONS: i32 = 4;
const RECORDS: u64 = 4000;

const KEYS: u64 = 97;

/// A handled record.
#[derive(Debug, Clone, Copy)]
struct Line {
    partition: i32,
    offset: i64,
    n: u64,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split('\t').collect();
        let ["handled", partition, offset, n] = words[..] else { return None };
        Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()?, n: n.parse().ok()? })
    }
}

/// In order.
type Handled = Vec<Line>;

async fn fill(cluster: &Cluster, topic: &str) {
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    let template = app.template();
    for n in 0..RECORDS {
        drop(
            template.enqueue(topic, &format!("k{}", n % KEYS), &serde_json::json!({ "n": n })).await.unwrap(),
        );
    }
    template.flush().await.unwrap();
    app.stop().await.unwrap();
}

fn command(yaml: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
    command.env("VICTIM_YAML", yaml).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

fn start(listener: &str, yaml: &str) -> Child {
    command(yaml).env("VICTIM_LISTENER", listener).spawn().unwrap()
}

/// Reads what the victim handles until `enough` says so, which is asked now and then.
async fn handled(child: &mut Child, mut enough: impl AsyncFnMut(&Handled) -> bool) -> Handled {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut handled, mut known) = (Handled::new(), 0);
    let mut heard = tokio::time::Instant::now();
    while !enough(&handled).await {
        let now = tokio::time::Instant::now();
        if handled.len() > known {
            (known, heard) = (handled.len(), now);
        }
        assert!(now - heard < Duration::from_secs(60), "silent after {known} records");
        while let Ok(line) = tokio::time::timeout(Duration::from_millis(10), lines.next_line()).await {
            handled.extend(Line::parse(&line.unwrap().expect("the victim ended by itself")));
            if tokio::time::Instant::now() - now > Duration::from_millis(10) {
                break;
            }
        }
    }
    child.kill().await.unwrap();
    // What it said before it died is handled too.
    while let Ok(Some(line)) = lines.next_line().await {
        handled.extend(Line::parse(&line));
    }
    handled
}

async fn committed_alone(cluster: &Cluster, group: &str, topic: &str) -> BTreeMap<i32, i64> {
    let partitions: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(topic, p)).collect();
    cluster
        .admin()
        .committed(group, &partitions)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|(partition, found)| Some((partition.partition, found?.offset)))
        .collect()
}

async fn committed(cluster: &Cluster, group: &str, topic: &str) -> BTreeMap<i32, i64> {
    let theirs = Peer::run(PeerKind::Java, "committed", cluster.bootstrap(), &[group, topic]).await;
    // Asked after it: a commit that was on its way when its sender died has arrived by then, or never will.
    let ours = committed_alone(cluster, group, topic).await;
    if let Some(lines) = theirs {
        let theirs = lines
            .iter()
            .filter(|line| line[0] == "committed")
            .map(|line| (line[1].parse().unwrap(), line[2].parse().unwrap()))
            .collect::<BTreeMap<i32, i64>>();
        assert_eq!(ours, theirs, "the Java client sees other offsets");
    }
    ours
}

/// Which records of a partition come one after the other, and to whom.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Partition,
    Key,
    None,
    ByHand,
    Batches,
}

impl Order {
    fn yaml(self) -> &'static str {
        match self {
            Self::Partition | Self::ByHand => "",
            // More than the bound, less than a batch of the wire.
            Self::Batches => ", max-poll-records: 150",
            Self::Key => ", ordering: key, concurrency: 16",
            Self::None => ", ordering: none, concurrency: 16",
        }
    }

    fn listener(self) -> &'static str {
        match self {
            Self::Partition | Self::Key | Self::None => "victim",
            Self::ByHand => "by_hand",
            Self::Batches => "in_batches",
        }
    }

    fn check(self, name: &str, handled: &Handled) {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut keys: BTreeMap<u64, u64> = BTreeMap::new();
        for Line { partition, offset, n } in handled {
            let expected = next.entry(*partition).or_default();
            match self {
                Self::Partition | Self::ByHand | Self::Batches => {
                    assert_eq!(offset, expected, "{name}: order of partition {partition}")
                }
                Self::Key => {
                    let before = keys.insert(n % KEYS, *n);
                    assert!(before.is_none_or(|before| before < *n), "{name}: {n} after {before:?}");
                }
                Self::None => {}
            }
            *expected = offset + 1;
        }
    }
}

fn places(handled: &Handled) -> BTreeSet<(i32, i64)> {
    handled.iter().map(|line| (line.partition, line.offset)).collect()
}

/// `bound`: how many records a partition may repeat after the kill.
async fn kill_in_mid_flow(name: &str, order: Order, commit: &str, bound: Option<usize>) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(name, PARTITIONS).await;
    fill(&cluster, &topic).await;
    let group = format!("{topic}-group");
    let listener = order.listener();
    let yaml = cluster.yaml(&format!(
        "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500}}\nkafka-runtime:\n  listeners:\n    {listener}: {{topic: {topic}, group: {group}, commit: {commit}{}}}\n",
        order.yaml()
    ));

    let first = handled(&mut start(listener, &yaml), async |handled| handled.len() >= 1500).await;
    let safe = committed(&cluster, &group, &topic).await;
    order.check(name, &first);
    let first = places(&first);
    let ahead = safe.iter().find_map(|(partition, offset)| {
        (0..*offset).map(|below| (*partition, below)).find(|place| !first.contains(place))
    });
    assert_eq!(ahead, None, "{name}: committed ahead of handling: {safe:?}");

    let ends: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    let at: Vec<_> = ends.iter().map(|p| (*p, kafka_client::config::StartAt::End)).collect();
    let ends: BTreeMap<i32, i64> = cluster
        .admin()
        .list_offsets(&at)
        .await
        .unwrap()
        .into_iter()
        .map(|(partition, end)| (partition.partition, end.unwrap()))
        .collect();
    // Until the group has committed all, so that whatever is repeated has been.
    let second = handled(&mut start(listener, &yaml), async |_| {
        committed_alone(&cluster, &group, &topic).await == ends
    })
    .await;
    let again = places(&second);
    for (partition, offset) in &again {
        let committed = safe.get(partition).is_some_and(|safe| offset < safe);
        assert!(!committed, "{name}: {partition}-{offset} was committed and is handled again");
    }
    let all: BTreeSet<(i32, i64)> =
        ends.iter().flat_map(|(p, end)| (0..*end).map(|offset| (*p, offset))).collect();
    assert!(first.union(&again).copied().eq(all), "{name}: records were lost");
    for partition in ends.keys() {
        let repeated = first.intersection(&again).filter(|(p, _)| p == partition).count();
        println!("{name}: partition {partition} repeats {repeated}");
        assert!(
            bound.is_none_or(|bound| repeated <= bound),
            "{name}: partition {partition} repeats {repeated}, more than {bound:?}"
        );
    }
}

macro_rules! kills {
    ($($name:ident: $order:ident, $commit:literal, $bound:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            kill_in_mid_flow(stringify!($name), Order::$order, $commit, $bound).await;
        }
    )*};
}

// With `record` those in hand may be repeated, as in every at-least-once system.
kills! {
    sync_each_record: Partition, "{strategy: sync, every: record}", Some(1);
    sync_each_batch: Partition, "{strategy: sync, every: batch}", None;
    sync_every_100_records: Partition, "{strategy: sync, every: {records: 100}}", Some(100);
    sync_every_50_ms: Partition, "{strategy: sync, every: {time: 50ms}}", None;
    async_each_record: Partition, "{strategy: async, every: record}", None;
    async_each_batch: Partition, "{strategy: async, every: batch}", None;
    async_every_100_records: Partition, "{strategy: async, every: {records: 100}}", Some(100);
    async_every_50_ms: Partition, "{strategy: async, every: {time: 50ms}}", None;
    combined_each_record: Partition, "{strategy: combined, every: record}", None;
    combined_each_batch: Partition, "{strategy: combined, every: batch}", None;
    combined_every_100_records: Partition, "{strategy: combined, every: {records: 100}}", Some(100);
    combined_every_50_ms: Partition, "{strategy: combined, every: {time: 50ms}}", None;
    combined_every_50_ms_or_100: Partition, "{strategy: combined, every: {records: 100, time: 50ms}}", Some(100);
    key_sync_each_record: Key, "{strategy: sync, every: record}", Some(16);
    key_combined_every_50_ms: Key, "{strategy: combined, every: {time: 50ms}}", None;
    key_combined_every_100_records: Key, "{strategy: combined, every: {records: 100}}", Some(100);
    key_sync_every_20_records: Key, "{strategy: sync, every: {records: 20}}", Some(20);
    key_forgetful_every_100_records: Key, "{strategy: combined, every: {records: 100}, remember: false}", Some(100);
    none_async_every_100_records_or_50_ms: None, "{strategy: async, every: {records: 100, time: 50ms}}", Some(100);
    by_hand_every_100_records: ByHand, "{strategy: combined, every: {records: 100}}", Some(100);
    by_hand_async_every_20_records_or_50_ms: ByHand, "{strategy: async, every: {records: 20, time: 50ms}}", Some(20);
    batches_every_100_records: Batches, "{strategy: combined, every: {records: 100}}", Some(100);
}

/// Its memory at its highest, in KiB.
#[cfg(target_os = "linux")]
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 80 MB behind a handler that never returns: the service keeps what `prefetch` lets it keep. At least so many are handled
/// all the same; how many were when nothing more came, and its memory at its highest.
#[cfg(target_os = "linux")]
async fn stuck(order: Order, least: usize) -> (usize, u64) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("stuck", 1).await;
    // A batch for each record: how many pass a stuck one must not follow from the batches that happen to be made.
    let alone = cluster.yaml("    producer: {properties: {batch.max.size: 16384}}\n");
    let app = App::from_yaml(alone).unwrap().only([]).start().await.unwrap();
    let pad = "x".repeat(20_000);
    for n in 0..4_000 {
        let record = serde_json::json!({ "n": n, "pad": pad });
        drop(app.template().enqueue(&topic, &format!("k{}", n % 10), &record).await.unwrap());
    }
    app.template().flush().await.unwrap();
    app.stop().await.unwrap();
    let yaml = cluster.yaml(&format!(
        "kafka-runtime:\n  listeners:\n    victim: {{topic: {topic}, group: {topic}, prefetch: 4MB{}}}\n",
        order.yaml()
    ));
    let mut child = command(&yaml).env("VICTIM_STUCK", "5").spawn().unwrap();
    let (mut known, mut quiet) = (0, 0);
    let mut peaked = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut handled = Handled::new();
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    while quiet < 20 || handled.len() < least {
        assert!(tokio::time::Instant::now() < patience, "{} records, not {least}", handled.len());
        while let Ok(line) = tokio::time::timeout(Duration::from_millis(50), lines.next_line()).await {
            handled.extend(Line::parse(&line.unwrap().expect("it ended")));
        }
        quiet = if handled.len() > known || handled.is_empty() { 0 } else { quiet + 1 };
        known = handled.len();
        peaked = peak(&child);
    }
    child.kill().await.unwrap();
    order.check("stuck", &handled);
    (handled.len(), peaked)
}

/// The memory at its highest, in KiB, of a service whose handlers never return, on partitions with 120 MB altogether, each of
/// which would keep three batches of a megabyte. When it has not grown for three seconds, or is `enough`.
#[cfg(target_os = "linux")]
async fn all_stuck(cluster: &Cluster, topic: &str, prefetch: &str, enough: u64) -> u64 {
    let group = unique("all-stuck");
    let yaml = cluster.yaml(&format!(
        "kafka-runtime:\n  listeners:\n    victim: {{topic: {topic}, group: {group}, prefetch: {prefetch}}}\n"
    ));
    let mut child = command(&yaml).env("VICTIM_STUCK_FROM", "0").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..WIDE {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        line.expect("a handler for each partition").unwrap().expect("it ended");
    }
    let mut peaked = peak(&child);
    let mut quiet = 0;
    while quiet < 60 && peaked < enough {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = peak(&child);
        (peaked, quiet) = (now, if now > peaked { 0 } else { quiet + 1 });
    }
    child.kill().await.unwrap();
    peaked
}

#[cfg(target_os = "linux")]
const WIDE: i32 = 24;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_ahead_of_many_stuck_partitions_is_what_prefetch_says() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("all-stuck", WIDE).await;
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    let pad = "x".repeat(50_000);
    for n in 0..2_400 {
        let record = Record::to(&topic).partition(n % WIDE);
        let record = record.json(&serde_json::json!({ "n": n, "pad": pad })).unwrap();
        drop(app.template().enqueue_record(record).await.unwrap());
    }
    app.template().flush().await.unwrap();
    app.stop().await.unwrap();
    let little = all_stuck(&cluster, &topic, "4MB", u64::MAX).await;
    assert!(little < 48_000, "with 4 MB {little} KiB");
    let much = all_stuck(&cluster, &topic, "64MB", little + 20_000).await;
    assert!(much >= little + 20_000, "with 4 MB {little} KiB, with 64 MB {much} KiB");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_returns_keeps_memory_bounded() {
    let (handled, in_order) = stuck(Order::Partition, 6).await;
    assert_eq!(handled, 6);
    let (handled, by_key) = stuck(Order::Key, 100).await;
    // Its key's records keep their batches; the others pass until those are too many.
    assert!(handled < 2_000, "{handled}");
    println!("at most {in_order} KiB in order, {by_key} KiB by key");
    assert!(in_order.max(by_key) < 60_000, "{in_order} KiB in order, {by_key} KiB by key");
}
