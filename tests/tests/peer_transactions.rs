//! Other clients' transactions: zombies, timeouts, consume-transform-produce, and an operator who ends what hangs.

use std::collections::BTreeMap;

use tests::{Cluster, Line, Peer, PeerKind, unique};

/// What comes after each first word.
fn said(lines: &[Line]) -> BTreeMap<&str, &[String]> {
    lines.iter().filter_map(|line| line.split_first()).map(|(first, rest)| (first.as_str(), rest)).collect()
}

/// The values in `topic` that a reader of committed records of another client gets, once there are `count`.
async fn committed(cluster: &Cluster, reader: PeerKind, topic: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let arguments = [topic, count.as_str(), "read_committed"];
    let lines = Peer::run(reader, "consume", cluster.bootstrap(), &arguments).await.unwrap();
    let records = lines.iter().filter(|line| line[0] == "record");
    // An equals sign stands before the value.
    records.map(|line| String::from_utf8(from_base64(&line[6][1..])).unwrap()).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.chars().filter(|digit| *digit != '=').flat_map(|digit| {
        let value = DIGITS.find(digit).expect("a digit of base 64");
        (0..6).rev().map(move |bit| (value >> bit & 1) as u8)
    });
    let bits: Vec<u8> = bits.collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

async fn run(cluster: &Cluster, kind: PeerKind, command: &str, arguments: &[&str]) -> Option<Vec<Line>> {
    Peer::run(kind, command, cluster.bootstrap(), arguments).await
}

async fn a_zombie_is_fenced(kind: PeerKind, error: &[&str]) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("zombie", 1).await;
    let Some(lines) = run(&cluster, kind, "zombie", &[&topic, &unique("zombie")]).await else { return };
    let said = said(&lines);
    assert!(error.contains(&said["zombie"][0].as_str()), "{lines:?}");
    assert_eq!(said["successor"], ["committed"]);
    assert_eq!(committed(&cluster, kind, &topic, 1).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_of_the_java_client_is_fenced() {
    let fenced = ["ProducerFencedException", "InvalidProducerEpochException"];
    a_zombie_is_fenced(PeerKind::Java, &fenced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_of_librdkafka_is_fenced() {
    a_zombie_is_fenced(PeerKind::Librdkafka, &["_FENCED"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_outlives_its_timeout_is_aborted() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("slow", 1).await;
    let Some(lines) = run(&cluster, PeerKind::Java, "slow", &[&topic, &unique("slow")]).await else { return };
    let said = said(&lines);
    assert_ne!(said["slow"], ["committed"], "{lines:?}");
    let later: &[&str] = if said["next"] == ["committed"] { &["later"] } else { &[] };
    assert_eq!(committed(&cluster, PeerKind::Java, &topic, later.len()).await, later, "{lines:?}");
}

/// Each value once, in order, whatever was aborted in between; and the group has committed all of it.
async fn consume_transform_produce(kind: PeerKind) {
    let cluster = Cluster::start().await;
    let (from, to) = (cluster.topic("from", 1).await, cluster.topic("to", 1).await);
    let (group, id) = (unique("transform"), unique("transform"));
    let plan = "commit:10,abort:5,commit:20";
    let Some(mut producer) =
        Peer::start(kind, "transactions", cluster.bootstrap(), &[&from, &unique("source"), plan])
    else {
        return;
    };
    producer.until("ready").await;
    producer.finish().await;
    let lines = run(&cluster, kind, "transform", &[&from, &to, &group, &id, "30"]).await.unwrap();
    assert_eq!(said(&lines)["transformed"], ["30"]);
    let expected: Vec<String> = (0..10).chain(0..20).map(|i| format!("\"commit-{i}\"!")).collect();
    assert_eq!(committed(&cluster, kind, &to, 30).await, expected);
    let lines = run(&cluster, kind, "committed", &[&group, &from]).await.unwrap();
    // 35 records and three markers; the last marker need not be passed.
    let offset: i64 = said(&lines)["committed"][1].parse().unwrap();
    assert!((37..=38).contains(&offset), "{offset}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_transforms_exactly_once() {
    consume_transform_produce(PeerKind::Java).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafka_transforms_exactly_once() {
    consume_transform_produce(PeerKind::Librdkafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_a_transaction_that_hangs() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("hangs", 1).await;
    let Some(lines) = run(&cluster, PeerKind::Java, "operate", &[&topic, &unique("hangs")]).await else {
        return;
    };
    let said = said(&lines);
    assert_eq!(said["listed"], ["Ongoing"]);
    assert_eq!(said["described"], ["Ongoing", "true"]);
    assert_eq!(said["producing"], ["true", "0", "0"]);
    assert_eq!(said["stable"], ["2"], "the record and its marker");
    assert_ne!(said["fenced"], ["committed"], "{lines:?}");
}
