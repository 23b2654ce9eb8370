//! What Apache Kafka wrote down of a group's commits: `__consumer_offsets`. A coordinator that has been replaced and does
//! not know it yet answers what it had, so looks alone do not tell whether a commit went back.

use kafka_client::config::{ConsumerConfig, StartAt, Subscription};
use kafka_client::consumer::{ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::{Client, TopicPartition};

const TOPIC: &str = "__consumer_offsets";

/// The group's commits in the order in which they were written: when (microseconds), partition, offset.
pub async fn commits(client: &Client, group: &str) -> Vec<(u64, i32, i64)> {
    let slots: Vec<_> = (0..50).map(|slot| (TopicPartition::new(TOPIC, slot), StartAt::End)).collect();
    let ends = client.admin().list_offsets(&slots).await.expect("the ends");
    let ends = ends.into_iter().filter_map(|(slot, end)| Some((slot, end.ok().filter(|end| *end > 0)?)));
    let mut all = Vec::new();
    for (slot, end) in ends {
        let config = ConsumerConfig::new(Subscription::Partitions(vec![(slot, StartAt::Beginning)]));
        let mut consumer = client.consumer(config).expect("a consumer");
        let mut stream = loop {
            if let Some(ConsumerEvent::Assigned(streams)) = consumer.next().await {
                break streams.into_iter().next().expect("one");
            }
        };
        read(&mut stream, end, group, &mut all).await;
    }
    all
}

async fn read(stream: &mut PartitionStream, end: i64, group: &str, all: &mut Vec<(u64, i32, i64)>) {
    let mut next = 0;
    while next < end {
        let Some(StreamItem::Chunk(mut chunk)) = stream.next().await else { continue };
        while let Some(batch) = chunk.next_batch().expect("a batch") {
            for record in batch.records() {
                let record = record.expect("a record");
                let commit = record.key.zip(record.value).and_then(|(key, value)| parse(key, value, group));
                let at = u64::try_from(record.timestamp).expect("a time") * 1000;
                all.extend(commit.map(|(partition, offset)| (at, partition, offset)));
            }
            next = batch.next_offset();
        }
        next = next.max(chunk.end_offset());
    }
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
