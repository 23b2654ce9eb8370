//! What brokers wrote down: dead letters, and on Apache Kafka a group's commits, `__consumer_offsets`. A coordinator that has
//! been replaced and does not know it yet answers what it had, so looks alone do not tell whether a commit went back.

use kafka_client::TopicName;
use kafka_runtime::prelude::*;
use kafka_runtime::template::Received;
use tests::Cluster;

const TOPIC: &str = "__consumer_offsets";

/// The group's commits in the order in which they were written: when (microseconds), partition, offset.
pub async fn commits(cluster: &Cluster, group: &str) -> Vec<(u64, i32, i64)> {
    let all = all_of(cluster, TOPIC, |at, record| {
        let (partition, offset) = parse(record.key()?, record.value()?, group)?;
        Some((at, partition, offset))
    });
    let all = all.await;
    assert!(!all.is_empty(), "{TOPIC} says nothing of {group}");
    all
}

/// The dead letters in a topic: when they were written, from which partition and offset, and the number.
pub async fn letters(cluster: &Cluster, topic: &str) -> Vec<(u64, i32, i64, u64)> {
    let letter = |at, record: &Received| {
        let header = |name: &str| record.headers().find(|(own, _)| *own == name)?.1;
        let partition = i32::from_be_bytes(header("kafka_dlt-original-partition")?.try_into().ok()?);
        let offset = i64::from_be_bytes(header("kafka_dlt-original-offset")?.try_into().ok()?);
        let value: serde_json::Value = serde_json::from_slice(record.value()?).ok()?;
        Some((at, partition, offset, value["n"].as_u64()?))
    };
    all_of(cluster, topic, letter).await
}

/// What is made of a topic's records, partition by partition.
async fn all_of<T>(cluster: &Cluster, topic: &str, made: impl Fn(u64, &Received) -> Option<T>) -> Vec<T> {
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.expect("a reader");
    let found = cluster.admin().describe_topics(&[topic]).await.expect("the topic");
    let mut all = Vec::new();
    for partition in (0..).take(found[&TopicName::new(topic)].partitions.len()) {
        let mut from = Some(0);
        while let Some(first) = from {
            let page = app.template().receive(topic, partition, first..).await.expect("its records");
            for record in &page {
                let at = u64::try_from(record.timestamp()).expect("a time") * 1000;
                all.extend(made(at, record));
            }
            from = page.next();
        }
    }
    app.stop().await.expect("it stops");
    all
}

/// `OffsetCommitKey` (versions 0 and 1: group, topic, partition) with `OffsetCommitValue` (the offset first). The topic is
/// the only one of its group.
fn parse(key: &[u8], value: &[u8], group: &str) -> Option<(i32, i64)> {
    let (version, rest) = key.split_at_checked(2)?;
    let (length, rest) = rest.split_at_checked(2)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
    let (name, rest) = rest.split_at_checked(length)?;
    if version[1] > 1 || name != group.as_bytes() {
        return None;
    }
    let partition = i32::from_be_bytes(rest.last_chunk().copied()?);
    let offset = i64::from_be_bytes(value.get(2..10)?.try_into().ok()?);
    Some((partition, offset))
}
