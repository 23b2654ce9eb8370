//! Brokers that are stopped and started again, in rows that run `alone`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use tokio::time::Instant;

use crate::kafka::{Kafka, until_within};

/// How long a broker may take to go, to come back, or to catch up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How long a node of Apache Kafka may say goodbye.
const GOODBYE: Duration = Duration::from_secs(20);

/// The folder of a node that `scripts/with-kafka` has started.
fn folder(id: i32) -> PathBuf {
    let all =
        std::env::var_os("KAFKA_CLUSTER_DIR").expect("nodes that may be stopped: scripts/with-kafka -n 3");
    PathBuf::from(all).join(format!("node-{id}"))
}

fn signal(id: i32, name: &str) -> bool {
    let pid = std::fs::read_to_string(folder(id).join("pid")).expect("pid");
    let sent = Command::new("kill").args([name, pid.trim()]).stderr(std::process::Stdio::null()).status();
    sent.expect("kill").success()
}

impl Kafka {
    /// Stops a broker. Others lead what it led as soon as they have noticed.
    pub(crate) async fn stop(self, id: i32) {
        if let Some(embedded) = self.embedded() {
            return embedded.stop_broker(id).await.unwrap();
        }
        signal(id, "-TERM");
        let begun = Instant::now();
        until_within(PATIENCE, "a broker has gone", async || {
            if begun.elapsed() > GOODBYE {
                signal(id, "-KILL");
            }
            (!signal(id, "-0")).then_some(())
        })
        .await;
    }

    /// Starts a broker again that was stopped; returns when it listens.
    pub(crate) async fn start(self, id: i32) {
        if let Some(embedded) = self.embedded() {
            return embedded.start_broker(id).await.unwrap();
        }
        assert!(Command::new(folder(id).join("start")).status().expect("start").success());
        let address = self.address(id);
        until_within(PATIENCE, "a broker listens", async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
    }

    /// Starts whatever is stopped, and waits until all replicas of all partitions are in sync, as every broker sees it.
    pub(crate) async fn made_whole(self) {
        let mut down = Vec::new();
        for id in self.brokers() {
            if tokio::net::TcpStream::connect(self.address(id)).await.is_err() {
                down.push(id);
            }
        }
        for id in &down {
            self.start(*id).await;
        }
        for id in self.brokers() {
            let whole = |part: &MetadataResponsePartition| {
                part.leader_id.0 >= 0 && part.isr_nodes.len() == part.replica_nodes.len()
            };
            until_within(PATIENCE, "all replicas are in sync", async || {
                let answer = all(self, id).await;
                let there = answer.brokers.len() == self.brokers().len();
                let whole = there && answer.topics.iter().flat_map(|topic| &topic.partitions).all(whole);
                whole.then_some(())
            })
            .await;
        }
    }
}

async fn all(kafka: Kafka, id: i32) -> MetadataResponse {
    kafka.broker(id).await.ask(12, &MetadataRequest::default().with_topics(None)).await
}
