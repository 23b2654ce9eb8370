//! The I/O thread ends with the last handle, whatever was made from the client. Alone in its process, so that the
//! threads it counts are its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that says what it does")]
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use kafka_client::Client;
use kafka_client::config::{ClientConfig, ConsumerConfig, GroupConfig, ProducerConfig, Subscription};
use kafka_client::producer::Outgoing;

fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name =
        |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.unwrap().path().join("comm"));
    tasks.filter_map(|task| name(task).ok()).filter(|name| name.trim() == "kafka-io").count()
}

fn wait_for_threads(count: usize) {
    let begun = Instant::now();
    while io_threads() != count {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} threads instead of {count}", io_threads());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_is_left() {
    // A broker, or none at this port: both must end.
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").unwrap_or_else(|_| "127.0.0.1:1".into());
    let bootstrap_servers: Vec<_> = servers.split(',').map(str::to_owned).collect();
    for _ in 0..3 {
        let client = Client::new(ClientConfig {
            bootstrap_servers: bootstrap_servers.clone(),
            ..ClientConfig::default()
        });
        let client = client.unwrap();
        let mut consumer = client
            .consumer(ConsumerConfig {
                group: Some(GroupConfig::new("io-thread")),
                ..ConsumerConfig::new(Subscription::Topics(vec!["io-thread".into()]))
            })
            .unwrap();
        let max_block = Duration::from_millis(500);
        let producer = client.producer(ProducerConfig { max_block, ..ProducerConfig::default() }).unwrap();
        let admin = client.admin();
        wait_for_threads(1);
        let record = Outgoing {
            topic: "io-thread".into(),
            partition: None,
            timestamp: None,
            key: None,
            value: Some(b"x"),
            headers: &[],
        };
        let _ = producer.send(record).await;
        let _ = tokio::time::timeout(Duration::from_millis(500), consumer.next()).await;
        drop((client, consumer, producer));
        assert_eq!(io_threads(), 1, "the admin holds it");
        drop(admin);
        wait_for_threads(0);
    }
}
