//! What Apache Kafka wrote down of a group's commits: `__consumer_offsets`. A coordinator that has been replaced and does
//! not know it yet answers what it had, so looks alone do not tell whether a commit went back.

use kafka_client::TopicName;
use kafka_runtime::prelude::*;
use tests::Cluster;

const TOPIC: &str = "__consumer_offsets";

/// The group's commits in the order in which they were written: when (microseconds), partition, offset.
pub async fn commits(cluster: &Cluster, group: &str) -> Vec<(u64, i32, i64)> {
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.expect("a reader");
    let found = cluster.admin().describe_topics(&[TOPIC]).await.expect("the topic");
    let mut all = Vec::new();
    for slot in (0..).take(found[&TopicName::new(TOPIC)].partitions.len()) {
        let mut from = Some(0);
        while let Some(first) = from {
            let page = app.template().receive(TOPIC, slot, first..).await.expect("its commits");
            for record in &page {
                let at = u64::try_from(record.timestamp()).expect("a time") * 1000;
                let commit =
                    record.key().zip(record.value()).and_then(|(key, value)| parse(key, value, group));
                all.extend(commit.map(|(partition, offset)| (at, partition, offset)));
            }
            from = page.next();
        }
    }
    app.stop().await.expect("it stops");
    assert!(!all.is_empty(), "{TOPIC} says nothing of {group}");
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
