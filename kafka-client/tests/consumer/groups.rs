//! Consumers of a group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::config::{
    Assignor, Compression, ConsumerConfig, GroupConfig, OffsetReset, StartAt, Subscription,
};
use kafka_client::consumer::{ConsumerEvent, StreamItem};
use kafka_client::{Error, TopicName, TopicPartition};
use tokio::time::timeout;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_where_it_committed() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("goes-on", 3).await;
    cluster.produce(topic, 3, 0, 300).await;
    let mut one = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = one.read_count(300).await;
    assert_eq!(values(&seen), (0..300).collect());
    assert_eq!(seen.len(), 3);
    assert!(one.starts.values().all(|start| start.offset == 0 && start.committed.is_none()));
    one.commit(&seen).await;
    one.close().await;

    cluster.produce(topic, 3, 300, 30).await;
    let mut two = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = two.read_count(30).await;
    assert_eq!(values(&seen), (300..330).collect());
    let start = &two.starts[&TopicPartition::new(topic, 0)];
    assert_eq!((start.offset, start.committed.as_ref().unwrap().metadata.as_str()), (100, "read"));
    // Nothing was committed this time.
    two.close().await;
    let mut three = cluster.consumer(of_group(topic, topic.as_str()));
    assert_eq!(values(&three.read_count(30).await), (300..330).collect());
    three.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_the_latest_is_committed_before_anything_is_read() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("latest", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let config = ConsumerConfig { auto_offset_reset: OffsetReset::Latest, ..of_group(topic, topic.as_str()) };
    let mut one = cluster.consumer(config.clone());
    one.hold(1).await;
    let partition = TopicPartition::new(topic, 0);
    assert_eq!(cluster.committed(topic.as_str(), partition).await, Some(10));
    // It dies without a commit of its own (and leaves, so that the next one need not wait for its session).
    cluster.produce(topic, 1, 10, 5).await;
    one.close().await;
    let mut two = cluster.consumer(config);
    assert_eq!(values(&two.read_count(5).await), (10..15).collect());
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_assigned_by_hand_use_and_commit_the_groups_offsets() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("by-hand", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let partition = TopicPartition::new(topic, 0);
    let config = ConsumerConfig {
        group: Some(GroupConfig::new(topic.as_str())),
        auto_offset_reset: OffsetReset::Earliest,
        ..direct(vec![(partition, StartAt::Committed)])
    };
    let mut one = cluster.consumer(config.clone());
    let seen = one.read_count(10).await;
    assert!(one.consumer.handle().lease().is_valid());
    one.commit(&seen).await;
    let stranger = TopicPartition::new(topic, 1);
    let outcome = one.consumer.handle().commit(vec![(stranger, offset(1)), (partition, offset(7))]).await;
    assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. })), "{outcome:?}");
    assert!(outcome.partitions[1].1.is_ok());
    one.close().await;
    let mut two = cluster.consumer(config);
    assert_eq!(values(&two.read_count(3).await), (7..10).collect());
    two.close().await;

    let alone = cluster.consumer(direct(vec![(partition, StartAt::Beginning)]));
    let outcome = alone.consumer.handle().commit(vec![(partition, offset(1))]).await;
    assert!(matches!(outcome.partitions[0].1, Err(Error::Config(_))));
}

/// Reads a group's partitions, committing before it gives any back, until `until` records were seen by all members.
async fn member(cluster: &Cluster, config: ConsumerConfig, log: Arc<Log>, until: usize) {
    let mut reader = cluster.consumer(config);
    let handle = reader.consumer.handle();
    let mut mine = Seen::new();
    while log.count() < until {
        for stream in reader.streams.values_mut() {
            while let Some(item) = stream.try_next() {
                if let StreamItem::Chunk(chunk) = item {
                    read(chunk, &mut mine);
                }
            }
        }
        log.saw(&mine);
        match timeout(Duration::from_millis(10), reader.consumer.next()).await {
            Ok(Some(ConsumerEvent::Revoked(revocation))) => {
                let offsets = revocation.partitions.iter().filter_map(|partition| {
                    reader.streams.remove(partition);
                    let seen = mine.remove(partition)?;
                    Some((*partition, offset(seen.last()?.0 + 1)))
                });
                let outcome = handle.commit_sync(offsets.collect(), TIMEOUT).await;
                assert!(outcome.partitions.iter().all(|(_, result)| result.is_ok()), "{outcome:?}");
            }
            Ok(Some(event)) => reader.event(event),
            Ok(None) => panic!("it goes on"),
            Err(_) => {}
        }
    }
    reader.close().await;
}

/// What all members saw.
#[derive(Default)]
struct Log(std::sync::Mutex<BTreeSet<(TopicPartition, i64)>>);

impl Log {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
    fn saw(&self, seen: &Seen) {
        let mut all = self.0.lock().unwrap();
        for (partition, records) in seen {
            all.extend(records.iter().map(|(offset, _)| (*partition, *offset)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_and_hand_them_over_without_loss() {
    let Some(cluster) = cluster() else { return };
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let topic = cluster.topic("share", 6).await;
        let mut config = of_group(topic, topic.as_str());
        if let Some(group) = &mut config.group {
            group.assignors = vec![assignor];
        }
        let log = Arc::new(Log::default());
        cluster.produce(topic, 6, 0, 600).await;
        let late = async {
            while log.count() < 300 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cluster.produce(topic, 6, 600, 600).await;
            member(&cluster, config.clone(), Arc::clone(&log), 2400).await;
        };
        let later = async {
            while log.count() < 1200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            cluster.produce(topic, 6, 1200, 1200).await;
        };
        let early = member(&cluster, config.clone(), Arc::clone(&log), 2400);
        timeout(Duration::from_secs(90), async { tokio::join!(early, late, later) }).await.unwrap();
        assert_eq!(log.count(), 2400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_topics_found_later_start_at_their_first_record() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("grows", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let config = ConsumerConfig {
        auto_offset_reset: OffsetReset::Latest,
        allow_auto_create_topics: false,
        ..of_group(topic, topic.as_str())
    };
    let later = fresh("created-later");
    let topics = Subscription::Topics(vec![topic.to_string(), later.clone()]);
    let mut reader = cluster.consumer(ConsumerConfig { subscription: topics, ..config });
    reader.hold(1).await;
    assert_eq!(reader.starts[&TopicPartition::new(topic, 0)].offset, 10);

    cluster.client.admin().create_partitions(topic.as_str(), 2, TIMEOUT).await.unwrap();
    cluster.create(&later, 1).await;
    let new = TopicPartition::new(topic, 1);
    let producer = cluster.producer(Compression::None);
    // Metadata of the new partition may not be everywhere yet.
    while producer.send(outgoing(topic, Some(1), b"10")).await.is_err() {}
    producer.send(outgoing(TopicName::new(&later), Some(0), b"11")).await.unwrap();
    producer.close(TIMEOUT).await.unwrap();
    let mut seen = Seen::new();
    reader.read_until(&mut seen, |seen, _| count(seen) >= 2).await;
    assert_eq!(values(&seen), (10..12).collect());
    assert_eq!(reader.starts[&new].offset, 0);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_gives_back_and_then_ends() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("shutdown", 2).await;
    cluster.produce(topic, 2, 0, 10).await;
    let mut reader = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = reader.read_count(10).await;
    let handle = reader.consumer.handle();
    handle.shutdown();
    let revocation = loop {
        match timeout(TIMEOUT, reader.consumer.next()).await.unwrap() {
            Some(ConsumerEvent::Revoked(revocation)) => break revocation,
            Some(event) => reader.event(event),
            None => panic!("nothing was given back"),
        }
    };
    assert_eq!(revocation.partitions.len(), 2);
    for stream in reader.streams.values_mut() {
        assert!(stream.next().await.is_none());
    }
    reader.commit(&seen).await;
    assert!(timeout(Duration::from_millis(300), reader.consumer.next()).await.is_err());
    drop(revocation);
    assert!(timeout(TIMEOUT, reader.consumer.next()).await.unwrap().is_none());
    let late = handle.commit(vec![(TopicPartition::new(topic, 0), offset(1))]).await;
    assert!(matches!(late.partitions[0].1, Err(Error::NotHeld { .. })), "{late:?}");
    reader.close().await;
    assert_eq!(cluster.committed(topic.as_str(), TopicPartition::new(topic, 0)).await, Some(5));
}
