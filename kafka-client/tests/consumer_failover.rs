//! Brokers die and come back while records are consumed: `scripts/with-kafka -n 3 cargo test -p kafka-client`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{
    ClientConfig, ConsumerConfig, GroupConfig, OffsetReset, ProducerConfig, Subscription,
};
use kafka_client::consumer::{ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::group::{CommittedOffset, Leave};
use kafka_client::producer::Outgoing;
use kafka_client::{Client, TopicName, TopicPartition};

const TIMEOUT: Duration = Duration::from_secs(60);
const RECORDS: u32 = 20_000;
const PARTITIONS: i32 = 6;

/// A cluster of three nodes that may be killed: its addresses and its folder.
fn cluster() -> Option<(String, PathBuf)> {
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok().filter(|one| one.matches(',').count() >= 2);
    let found = servers.zip(std::env::var("KAFKA_CLUSTER_DIR").ok().map(PathBuf::from));
    if found.is_none() {
        eprintln!("NOT RUN: needs scripts/with-kafka -n 3");
    }
    found
}

fn kill(folder: &std::path::Path, node: i32) {
    let pid = std::fs::read_to_string(folder.join(format!("node-{node}/pid"))).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
}

fn start(folder: &std::path::Path, node: i32) {
    assert!(Command::new(folder.join(format!("node-{node}/start"))).status().unwrap().success());
}

async fn produce(client: Client, folder: PathBuf, topic: TopicName) {
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        match number {
            4_000 => kill(&folder, 2),
            10_000 => start(&folder, 2),
            _ => {}
        }
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let value = number.to_string();
        let partition = Some(i32::try_from(number).unwrap() % PARTITIONS);
        let record = Outgoing {
            topic,
            partition,
            timestamp: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close(TIMEOUT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_costs_no_record_no_order_and_no_membership() {
    let Some((servers, folder)) = cluster() else { return };
    let bootstrap_servers = servers.split(',').map(str::to_owned).collect();
    let client = Client::new(ClientConfig { bootstrap_servers, ..ClientConfig::default() }).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let topic = TopicName::new(&format!("consumer-failover-{}", now.as_nanos()));
    let wanted = NewTopic {
        name: topic.to_string(),
        partitions: Some(PARTITIONS),
        replication: Some(3),
        config: BTreeMap::new(),
    };
    client.admin().create_topics(&[wanted], TIMEOUT).await.unwrap().remove(0).1.unwrap();

    let producing = tokio::spawn(produce(client.clone(), folder, topic));
    let config = ConsumerConfig {
        group: Some(GroupConfig::new(topic.as_str())),
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::new(Subscription::Topics(vec![topic.to_string()]))
    };
    let mut consumer = client.consumer(config).unwrap();
    let handle = consumer.handle();
    let mut streams: HashMap<TopicPartition, PartitionStream> = HashMap::new();
    let mut seen: BTreeMap<TopicPartition, Vec<u32>> = BTreeMap::new();
    let mut begun = tokio::time::Instant::now();
    while seen.values().map(Vec::len).sum::<usize>() < RECORDS as usize {
        assert!(begun.elapsed() < TIMEOUT, "nothing came for a minute");
        for (partition, stream) in &mut streams {
            while let Some(item) = stream.try_next() {
                let StreamItem::Chunk(mut chunk) = item else { panic!("{item:?}") };
                begun = tokio::time::Instant::now();
                let values = seen.entry(*partition).or_default();
                while let Some(batch) = chunk.next_batch().unwrap() {
                    for record in batch.records() {
                        let record = record.unwrap();
                        assert_eq!(usize::try_from(record.offset).unwrap(), values.len(), "{partition}");
                        values.push(std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap());
                    }
                }
            }
        }
        match tokio::time::timeout(Duration::from_millis(20), consumer.next()).await {
            Ok(Some(ConsumerEvent::Assigned(more))) => {
                streams.extend(more.into_iter().map(|stream| (stream.partition(), stream)));
            }
            Ok(Some(ConsumerEvent::Problem(error))) => eprintln!("{error}"),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    producing.await.unwrap();
    for (partition, values) in &seen {
        assert!(values.is_sorted_by(|one, two| one < two), "{partition} is not in order");
    }
    let offsets = seen.iter().map(|(partition, values)| {
        let offset = i64::try_from(values.len()).unwrap();
        (*partition, CommittedOffset { offset, leader_epoch: -1, metadata: String::new() })
    });
    let outcome = handle.commit_sync(offsets.collect(), TIMEOUT).await;
    assert!(outcome.partitions.iter().all(|(_, result)| result.is_ok()), "{outcome:?}");
    consumer.close(Leave::Default, TIMEOUT).await.unwrap();
}
