//! A service is killed in mid-flow under each commit strategy and cadence. What another client then finds committed was
//! handled; what was handled and committed is not repeated; what was not is handled again; nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, PeerKind};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const PARTITIONS: i32 = 4;
const RECORDS: u64 = 4000;

/// Partition and offset of each handled record, in order.
type Handled = Vec<(i32, i64)>;

async fn fill(cluster: &Cluster, topic: &str) {
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    let template = app.template();
    for n in 0..RECORDS {
        drop(template.enqueue(topic, &format!("k{}", n % 97), &serde_json::json!({ "n": n })).await.unwrap());
    }
    template.flush().await.unwrap();
    app.stop().await.unwrap();
}

fn start(yaml: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_victim"))
        .env("VICTIM_YAML", yaml)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Reads what the victim handles until `enough` says so.
async fn handled(child: &mut Child, mut enough: impl FnMut(&Handled) -> bool) -> Handled {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut handled = Handled::new();
    while !enough(&handled) {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line())
            .await
            .unwrap_or_else(|_| panic!("silent after {} records", handled.len()))
            .unwrap()
            .expect("the victim ended by itself");
        let words: Vec<&str> = line.split('\t').collect();
        if words[0] == "handled" {
            handled.push((words[1].parse().unwrap(), words[2].parse().unwrap()));
        }
    }
    child.kill().await.unwrap();
    // What it said before it died is handled too.
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.split('\t').collect();
        if words.len() == 4 {
            handled.push((words[1].parse().unwrap(), words[2].parse().unwrap()));
        }
    }
    handled
}

async fn committed(cluster: &Cluster, group: &str, topic: &str) -> BTreeMap<i32, i64> {
    let partitions: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(topic, p)).collect();
    let ours: BTreeMap<i32, i64> = cluster
        .admin()
        .committed(group, &partitions)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|(partition, found)| Some((partition.partition, found?.offset)))
        .collect();
    if let Some(lines) = Peer::run(PeerKind::Java, "committed", cluster.bootstrap(), &[group, topic]).await {
        let theirs = lines
            .iter()
            .filter(|line| line[0] == "committed")
            .map(|line| (line[1].parse().unwrap(), line[2].parse().unwrap()))
            .collect::<BTreeMap<i32, i64>>();
        assert_eq!(ours, theirs, "the Java client sees other offsets");
    }
    ours
}

/// `bound`: how many records a partition may repeat after the kill.
async fn kill_in_mid_flow(name: &str, commit: &str, bound: Option<i64>) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(name, PARTITIONS).await;
    fill(&cluster, &topic).await;
    let group = format!("{topic}-group");
    let yaml = cluster.yaml(&format!(
        "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500}}\nkafka-runtime:\n  listeners:\n    victim: {{topic: {topic}, group: {group}, commit: {commit}}}\n"
    ));

    let first = handled(&mut start(&yaml), |handled| handled.len() >= 1500).await;
    let safe = committed(&cluster, &group, &topic).await;
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, offset) in &first {
        let expected = next.entry(*partition).or_default();
        assert_eq!(offset, expected, "{name}: order of partition {partition}");
        *expected = offset + 1;
    }
    for (partition, offset) in &safe {
        assert!(
            *offset <= next.get(partition).copied().unwrap_or(0),
            "{name}: committed ahead of handling: {safe:?} {next:?}"
        );
    }

    let mut missing: BTreeSet<(i32, i64)> = BTreeSet::new();
    let ends: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    let at: Vec<_> = ends.iter().map(|p| (*p, kafka_client::config::StartAt::End)).collect();
    for (partition, end) in cluster.admin().list_offsets(&at).await.unwrap() {
        let from = safe.get(&partition.partition).copied().unwrap_or(0);
        missing.extend((from..end.unwrap()).map(|offset| (partition.partition, offset)));
    }
    let wanted = missing.clone();
    let second = handled(&mut start(&yaml), |handled| {
        if let Some(last) = handled.last() {
            missing.remove(last);
        }
        missing.is_empty()
    })
    .await;
    for record in &second {
        assert!(wanted.contains(record), "{name}: {record:?} was committed and is handled again");
    }
    if let Some(bound) = bound {
        for (partition, reached) in &next {
            let repeated = reached - safe.get(partition).copied().unwrap_or(0);
            assert!(repeated <= bound, "{name}: partition {partition} repeats {repeated}, more than {bound}");
        }
    }
}

macro_rules! kills {
    ($($name:ident: $commit:literal, $bound:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            kill_in_mid_flow(stringify!($name), $commit, $bound).await;
        }
    )*};
}

// With `record` the one in hand may be repeated, as in every at-least-once system.
kills! {
    sync_each_record: "{strategy: sync, every: record}", Some(1);
    sync_each_batch: "{strategy: sync, every: batch}", None;
    sync_every_100_records: "{strategy: sync, every: {records: 100}}", Some(100);
    sync_every_50_ms: "{strategy: sync, every: {time: 50ms}}", None;
    async_each_record: "{strategy: async, every: record}", None;
    async_each_batch: "{strategy: async, every: batch}", None;
    async_every_100_records: "{strategy: async, every: {records: 100}}", Some(100);
    async_every_50_ms: "{strategy: async, every: {time: 50ms}}", None;
    combined_each_record: "{strategy: combined, every: record}", None;
    combined_each_batch: "{strategy: combined, every: batch}", None;
    combined_every_100_records: "{strategy: combined, every: {records: 100}}", Some(100);
    combined_every_50_ms_or_100: "{strategy: combined, every: {records: 100, time: 50ms}}", Some(100);
}
