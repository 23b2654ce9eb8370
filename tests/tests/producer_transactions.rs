//! Our transactions, as the Java client reads them: committed, aborted, fenced, and through brokers that die.

use std::collections::BTreeMap;

use kafka_client::TopicPartition;
use kafka_client::config::ProducerConfig;
use kafka_client::consumer::GroupMetadata;
use kafka_client::group::CommittedOffset;
use kafka_client::producer::Outgoing;
use tests::{Cluster, Peer, unique};

fn record<'a>(topic: &str, partition: i32, value: &'a str) -> Outgoing<'a> {
    Outgoing {
        topic: topic.into(),
        partition: Some(partition),
        timestamp: None,
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

fn offset(partition: TopicPartition, offset: i64) -> Vec<(TopicPartition, CommittedOffset)> {
    vec![(partition, CommittedOffset { offset, leader_epoch: -1, metadata: String::new() })]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_read_and_nothing_else() {
    let cluster = Cluster::start().await;
    if !cluster.has_transactions().await {
        return;
    }
    let topic = cluster.topic("tx", 3).await;
    let group = unique("tx-group");
    let source = TopicPartition::new(cluster.topic("tx-in", 1).await.as_str(), 0);
    let producer = cluster.client().transactional_producer(ProducerConfig::default(), &unique("tx")).unwrap();
    for round in 0..20 {
        let transaction = producer.begin().await.unwrap();
        for partition in 0..3 {
            let value = format!("{round}-{partition}");
            drop(transaction.enqueue(record(&topic, partition, &value)).await.unwrap());
        }
        transaction.send_offsets(offset(source, round), GroupMetadata::nobody(&group)).await.unwrap();
        match round % 4 {
            0 | 1 => transaction.commit().await.unwrap(),
            2 => transaction.abort().await.unwrap(),
            _ => drop(transaction),
        }
    }
    // The drop of the last one is waited for.
    producer.begin().await.unwrap().commit().await.unwrap();
    let committed = cluster.admin().committed(&group, &[source]).await.unwrap();
    assert_eq!(committed[0].1.as_ref().map(|found| found.offset), Some(17));
    let Some(values) = Peer::values(cluster.bootstrap(), &topic, 30).await else { return };
    for partition in 0..3 {
        let rounds = (0..20).filter(|round| round % 4 < 2);
        let expected: Vec<_> = rounds.map(|round| format!("{round}-{partition}")).collect();
        assert_eq!(values[&partition], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_and_what_it_left_is_aborted() {
    let cluster = Cluster::start().await;
    if !cluster.has_transactions().await {
        return;
    }
    let topic = cluster.topic("zombie", 2).await;
    let id = unique("zombie");
    let start = || cluster.client().transactional_producer(ProducerConfig::default(), &id).unwrap();
    let (old, new) = (start(), start());
    let left = old.begin().await.unwrap();
    left.send(record(&topic, 0, "left")).await.unwrap();
    new.prepare().await.unwrap();
    // It may write, and it may not; it may never commit.
    let _ = left.send(record(&topic, 1, "late")).await;
    let fenced = left.commit().await.unwrap_err();
    assert!(fenced.is_fenced(), "{fenced}");
    assert!(old.begin().await.unwrap_err().is_fenced());
    let transaction = new.begin().await.unwrap();
    transaction.send(record(&topic, 0, "new")).await.unwrap();
    transaction.commit().await.unwrap();
    let Some(values) = Peer::values(cluster.bootstrap(), &topic, 1).await else { return };
    assert_eq!(values, BTreeMap::from([(0, vec!["new".to_owned()])]));
}
