//! The producer against a broker: set `KAFKA_BOOTSTRAP_SERVERS` (`scripts/with-kafka cargo test -p kafka-client`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that says what it does")]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{Acks, ClientConfig, Compression, Partitioner, ProducerConfig, StartAt};
use kafka_client::producer::{Outgoing, SendError, partition_for_key};
use kafka_client::{Client, ResponseError, TopicName, TopicPartition};

const TIMEOUT: Duration = Duration::from_secs(30);

struct Cluster {
    servers: String,
    client: Client,
}

/// The broker that the tests were given, or none.
fn cluster() -> Option<Cluster> {
    let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        eprintln!("NOT RUN: KAFKA_BOOTSTRAP_SERVERS is not set");
        return None;
    };
    let bootstrap_servers = servers.split(',').map(str::to_owned).collect();
    let client = Client::new(ClientConfig { bootstrap_servers, ..ClientConfig::default() }).unwrap();
    Some(Cluster { servers, client })
}

impl Cluster {
    /// A topic that no other run has.
    async fn topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicName {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let name = format!("{name}-{}", now.as_nanos());
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: name.clone(), partitions: Some(partitions), replication: None, config };
        let created = self.client.admin().create_topics(&[topic], TIMEOUT).await.unwrap();
        created[0].1.as_ref().unwrap();
        TopicName::new(&name)
    }

    async fn end(&self, topic: TopicName, partition: i32) -> i64 {
        let at = [(TopicPartition::new(topic, partition), StartAt::End)];
        self.client.admin().list_offsets(&at).await.unwrap().remove(0).1.unwrap()
    }
}

fn record<'a>(topic: TopicName, key: Option<&'a [u8]>, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing { topic, partition: None, timestamp: None, key, value: Some(value), headers: &[] }
}

#[tokio::test]
async fn every_codec_and_every_acks_is_read_by_kafkas_own_consumer() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("codecs", 1, &[]).await;
    let mut expected = BTreeSet::new();
    for compression in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let config =
                ProducerConfig { compression: compression.into(), acks, ..ProducerConfig::default() };
            let producer = cluster.client.producer(config).unwrap();
            for number in 0..50 {
                let value = format!("{compression:?}-{acks:?}-{number}-{}", "padding ".repeat(20));
                let headers = [("trace", Some(&b"1"[..])), ("trace", None)];
                let outgoing =
                    Outgoing { headers: &headers, ..record(topic, Some(b"key"), value.as_bytes()) };
                drop(producer.enqueue(outgoing).await.unwrap());
                expected.insert(format!("trace:1,trace:null\tkey\t{value}"));
            }
            producer.close(TIMEOUT).await.unwrap();
        }
    }
    // What was sent without acknowledgements may still be on its way.
    for _ in 0..100 {
        if cluster.end(topic, 0).await == 750 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.end(topic, 0).await, 750);
    let Ok(libs) = std::env::var("KAFKA_LIBS") else {
        eprintln!("NOT READ by Kafka's console consumer: KAFKA_LIBS is not set");
        return;
    };
    let output = Command::new("java")
        .args(["-cp", &format!("{libs}/*"), "org.apache.kafka.tools.consumer.ConsoleConsumer"])
        .args(["--bootstrap-server", &cluster.servers, "--topic", topic.as_str(), "--from-beginning"])
        .args(["--max-messages", "750", "--timeout-ms", "30000"])
        .args(["--property", "print.key=true", "--property", "print.headers=true"])
        .output()
        .unwrap();
    let read: BTreeSet<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(read, expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn results_are_those_of_each_record() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("results", 4, &[]).await;
    let producer = cluster.client.producer(ProducerConfig::default()).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..20_000u32 {
        let key = (number % 100).to_be_bytes();
        let sent = producer.enqueue(record(topic, Some(&key), &number.to_be_bytes())).await.unwrap();
        assert_eq!(sent.partition().partition, partition_for_key(&key, 4));
        deliveries.push(sent);
    }
    let mut next = [0; 4];
    for delivery in deliveries {
        let sent = delivery.await.unwrap();
        let expected = &mut next[usize::try_from(sent.partition.partition).unwrap()];
        assert_eq!(sent.offset, *expected, "order is kept");
        *expected += 1;
        assert!(sent.timestamp > 1_600_000_000_000);
    }
    for (partition, end) in (0..).zip(next) {
        assert_eq!(cluster.end(topic, partition).await, end);
    }
}

#[tokio::test]
async fn log_append_time_and_tombstones_and_explicit_places() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("times", 2, &[("message.timestamp.type", "LogAppendTime")]).await;
    let producer = cluster.client.producer(ProducerConfig::default()).unwrap();
    let sent = producer
        .send(Outgoing {
            partition: Some(1),
            timestamp: Some(5),
            value: None,
            ..record(topic, Some(b"k"), b"")
        })
        .await
        .unwrap();
    assert_eq!((sent.partition, sent.offset), (TopicPartition::new(topic, 1), 0));
    assert!(sent.timestamp > 1_600_000_000_000, "the broker's time: {}", sent.timestamp);
}

#[tokio::test]
async fn too_large_batches_are_split_and_too_large_records_refused() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("large", 1, &[("max.message.bytes", "5000")]).await;
    let config = ProducerConfig {
        batch_size: 100_000,
        linger: Duration::from_millis(50),
        ..ProducerConfig::default()
    };
    let producer = cluster.client.producer(config).unwrap();
    let value = vec![7; 1000];
    let mut deliveries = Vec::new();
    for _ in 0..50 {
        deliveries.push(producer.enqueue(record(topic, None, &value)).await.unwrap());
    }
    let large = producer.enqueue(record(topic, None, &vec![7; 10_000])).await.unwrap();
    deliveries.push(producer.enqueue(record(topic, None, &value)).await.unwrap());
    let refused = large.await.unwrap_err();
    let SendError::Refused { source, .. } = &refused else { panic!("{refused}") };
    assert_eq!(source.code(), Some(ResponseError::MessageTooLarge));
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        assert_eq!(delivery.await.unwrap().offset, offset);
    }
}

#[tokio::test]
async fn topics_are_created_when_the_broker_does_that() {
    let Some(cluster) = cluster() else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let topic = TopicName::new(&format!("automatic-{}", now.as_nanos()));
    let producer = cluster.client.producer(ProducerConfig::default()).unwrap();
    assert_eq!(producer.send(record(topic, None, b"x")).await.unwrap().offset, 0);
    let bad = Outgoing { topic: "no/such/name".into(), ..record(topic, None, b"x") };
    let refused = producer.send(bad).await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn records_without_a_key_go_round() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("round", 3, &[]).await;
    for partitioner in [Partitioner::Murmur2, Partitioner::RoundRobin] {
        let producer = cluster
            .client
            .producer(ProducerConfig { partitioner: partitioner.clone(), ..ProducerConfig::default() })
            .unwrap();
        let mut used = BTreeSet::new();
        let mut deliveries = Vec::new();
        for _ in 0..2_000 {
            deliveries.push(producer.enqueue(record(topic, None, &[1; 100])).await.unwrap());
        }
        for delivery in deliveries {
            used.insert(delivery.await.unwrap().partition.partition);
        }
        assert_eq!(used.len(), 3, "{partitioner:?}");
    }
}

/// The caller's runtime has neither timers nor I/O.
#[test]
fn a_callers_runtime_needs_nothing() {
    let Some(cluster) = cluster() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let name = runtime.block_on(cluster.topic("bare", 1, &[]));
    let producer = cluster.client.producer(ProducerConfig::default()).unwrap();
    runtime.block_on(async {
        let tight = ProducerConfig { buffer_memory: 3000, ..ProducerConfig::default() };
        let waiting = cluster.client.producer(tight).unwrap();
        for _ in 0..20 {
            drop(waiting.enqueue(record(name, None, &[1; 1000])).await.unwrap());
        }
        waiting.flush(TIMEOUT).await.unwrap();
        producer.send(record(name, None, b"x")).await.unwrap();
        producer.close(TIMEOUT).await.unwrap();
    });
}
