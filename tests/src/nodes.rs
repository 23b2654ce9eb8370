//! The nodes of an Apache Kafka cluster, to be killed and started again.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The nodes of the cluster that `scripts/with-kafka` started for this test.
#[derive(Debug)]
pub struct Nodes {
    folder: PathBuf,
    /// How many there are.
    pub count: usize,
}

impl Nodes {
    /// `None`, loudly, where there are fewer than `needed`.
    pub fn at_least(needed: usize) -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os("KAFKA_CLUSTER_DIR").unwrap_or_default());
        let count = (1..).take_while(|node| folder.join(format!("node-{node}/pid")).exists()).count();
        if count < needed {
            eprintln!(
                "NOT RUN: {needed} nodes are needed that may be killed (scripts/with-kafka -n {needed})"
            );
            return None;
        }
        Some(Self { folder, count })
    }

    /// Kills a node (from 1) without a goodbye, and starts it again after `pause`; returns when it is up.
    pub async fn restart(&self, node: usize, pause: Duration) {
        let folder = self.folder.join(format!("node-{node}"));
        let log = || {
            std::fs::read_to_string(folder.join("log"))
                .unwrap_or_default()
                .matches("Kafka Server started")
                .count()
        };
        let before = log();
        let pid = std::fs::read_to_string(folder.join("pid")).expect("pid");
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().expect("kill").success());
        tokio::time::sleep(pause).await;
        assert!(Command::new(folder.join("start")).status().expect("start").success());
        crate::eventually(&format!("node {node} is up again"), Duration::from_secs(240), || async {
            log() > before
        })
        .await;
    }

    /// Waits until all replicas of these topics, and of Kafka's own, have caught up.
    pub async fn in_sync(&self, cluster: &crate::Cluster, topics: &[&str]) {
        let own = ["__transaction_state", "__consumer_offsets"];
        let names: Vec<&str> = topics.iter().copied().chain(own).collect();
        crate::eventually("all replicas are in sync", Duration::from_secs(120), || async {
            let Ok(found) = cluster.admin().describe_topics(&names).await else { return false };
            let mut partitions = found.values().flat_map(|topic| &topic.partitions);
            partitions.all(|partition| partition.leader.is_some() && partition.isr.len() >= 3)
        })
        .await;
    }

    /// Stops a node (from 1) in the middle of whatever it does, with its connections open, until the guard is dropped.
    pub fn freeze(&self, node: usize) -> Frozen {
        let pid = std::fs::read_to_string(self.folder.join(format!("node-{node}/pid"))).expect("pid");
        let frozen = Frozen { pid: pid.trim().to_owned() };
        frozen.signal("-STOP");
        frozen
    }
}

/// A node that is frozen.
#[derive(Debug)]
pub struct Frozen {
    pid: String,
}

impl Frozen {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid]).status().expect("kill").success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}
