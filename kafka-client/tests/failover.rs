//! A broker dies and comes back while records are produced: `scripts/with-kafka -n 3 cargo test -p kafka-client`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that says what it does")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{ClientConfig, ProducerConfig};
use kafka_client::producer::Outgoing;
use kafka_client::{Client, TopicName};

const TIMEOUT: Duration = Duration::from_secs(60);
const RECORDS: u32 = 30_000;

/// A cluster of three nodes that may be killed.
struct Cluster {
    servers: String,
    folder: PathBuf,
    libs: String,
}

fn cluster() -> Option<Cluster> {
    let variable = |name| std::env::var(name).ok();
    let found = (|| {
        let servers =
            variable("KAFKA_BOOTSTRAP_SERVERS").filter(|servers| servers.matches(',').count() >= 2)?;
        Some(Cluster {
            servers,
            folder: variable("KAFKA_CLUSTER_DIR")?.into(),
            libs: variable("KAFKA_LIBS")?,
        })
    })();
    if found.is_none() {
        eprintln!("NOT RUN: needs scripts/with-kafka -n 3");
    }
    found
}

impl Cluster {
    fn kill(&self, node: i32) {
        let pid = std::fs::read_to_string(self.folder.join(format!("node-{node}/pid"))).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }

    fn start(&self, node: i32) {
        assert!(Command::new(self.folder.join(format!("node-{node}/start"))).status().unwrap().success());
    }

    /// All values by partition, in order.
    fn read(&self, topic: TopicName, count: u32) -> BTreeMap<String, Vec<u32>> {
        let output = Command::new("java")
            .args(["-cp", &format!("{}/*", self.libs), "org.apache.kafka.tools.consumer.ConsoleConsumer"])
            .args(["--bootstrap-server", &self.servers, "--topic", topic.as_str(), "--from-beginning"])
            // More than there should be: a record that is there twice must show.
            .args(["--max-messages", &(count + 1000).to_string(), "--timeout-ms", "10000"])
            .args(["--property", "print.partition=true"])
            .output()
            .unwrap();
        let mut read = BTreeMap::<String, Vec<u32>>::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((partition, value)) = line.split_once('\t') else {
                eprintln!("the consumer says {line:?}");
                continue;
            };
            read.entry(partition.to_owned()).or_default().push(value.parse().unwrap());
        }
        read
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_costs_no_record_and_no_order() {
    let Some(cluster) = cluster() else { return };
    let bootstrap_servers = cluster.servers.split(',').map(str::to_owned).collect();
    let client = Client::new(ClientConfig { bootstrap_servers, ..ClientConfig::default() }).unwrap();
    let admin = client.admin();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let topic = TopicName::new(&format!("failover-{}", now.as_nanos()));
    let wanted = NewTopic {
        name: topic.to_string(),
        partitions: Some(6),
        replication: Some(3),
        config: BTreeMap::new(),
    };
    admin.create_topics(&[wanted], TIMEOUT).await.unwrap().remove(0).1.unwrap();

    let producer = client.producer(ProducerConfig::default()).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        match number {
            5_000 => cluster.kill(2),
            15_000 => cluster.start(2),
            _ => {}
        }
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (key, value) = ((number % 60).to_be_bytes(), number.to_string());
        let record = Outgoing {
            topic,
            partition: None,
            timestamp: None,
            key: Some(&key),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close(TIMEOUT).await.unwrap();

    let read = cluster.read(topic, RECORDS);
    assert_eq!(read.values().map(Vec::len).sum::<usize>(), RECORDS as usize, "each once");
    for (partition, values) in &read {
        assert!(values.is_sorted_by(|one, two| one < two), "{partition} is not in order");
    }
}
