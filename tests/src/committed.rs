//! What a topic holds for readers of committed records.

use std::collections::BTreeMap;

use kafka_client::TopicPartition;
use kafka_client::config::{ConsumerConfig, IsolationLevel, StartAt, Subscription};
use kafka_client::consumer::{ConsumerEvent, StreamItem};

use crate::Cluster;

/// What readers of committed records see in a partition whose values are numbers: how often each is there.
pub async fn committed_values(cluster: &Cluster, topic: &str, partition: i32) -> BTreeMap<u64, usize> {
    let partition = TopicPartition::new(topic, partition);
    let end =
        cluster.admin().list_offsets(&[(partition, StartAt::End)]).await.unwrap().pop().unwrap().1.unwrap();
    let mut config = ConsumerConfig::new(Subscription::Partitions(vec![(partition, StartAt::Beginning)]));
    config.isolation = IsolationLevel::ReadCommitted;
    let mut consumer = cluster.client().consumer(config).unwrap();
    let mut seen = BTreeMap::new();
    if end == 0 {
        return seen;
    }
    let mut stream = loop {
        if let Some(ConsumerEvent::Assigned(streams)) = consumer.next().await {
            break streams.into_iter().next().unwrap();
        }
    };
    let mut next = 0;
    while next < end {
        let Some(StreamItem::Chunk(mut chunk)) = stream.next().await else { continue };
        while let Some(batch) = chunk.next_batch().unwrap() {
            for record in batch.records().flatten() {
                let value = std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
                *seen.entry(value).or_default() += 1;
            }
            next = batch.next_offset();
        }
        next = next.max(chunk.end_offset());
    }
    seen
}
