//! Topics: created, deleted, listed, described, extended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::client::ClientContext;
use crate::cluster::{ClusterMetadata, TopicMetadata};
use crate::config::StartAt;
use crate::error::Result;
use crate::group::CommittedOffset;
use crate::ids::{TopicName, TopicPartition};
use crate::net::Pool;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; the broker's default without.
    pub partitions: Option<i32>,
    /// Its replication factor; the broker's default without.
    pub replication: Option<i16>,
    /// Its configuration.
    pub config: BTreeMap<String, String>,
}

/// Administration of a cluster; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    context: ClientContext,
    pool: Arc<Pool>,
}

impl Admin {
    pub(crate) fn new(context: ClientContext, pool: Arc<Pool>) -> Self {
        Self { context, pool }
    }
    /// Creates topics, one result each; waits at most `timeout` for the controller.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<()>)>> {
        let _ = (topics, timeout);
        todo!()
    }
    /// Deletes topics, one result each.
    pub async fn delete_topics(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<()>)>> {
        let _ = (topics, timeout);
        todo!()
    }
    /// Raises the number of partitions of a topic to `total`.
    pub async fn create_partitions(&self, topic: &str, total: i32, timeout: Duration) -> Result<()> {
        let _ = (topic, total, timeout);
        todo!()
    }
    /// All topics that this user may see.
    pub async fn list_topics(&self) -> Result<Vec<TopicName>> {
        todo!()
    }
    /// What the cluster says of these topics, asked anew; nothing is created by asking.
    pub async fn describe_topics(&self, topics: &[&str]) -> Result<BTreeMap<TopicName, TopicMetadata>> {
        let _ = topics;
        todo!()
    }
    /// Brokers and controller.
    pub async fn describe_cluster(&self) -> Result<ClusterMetadata> {
        todo!()
    }
    /// The offsets of partitions at a place (`Committed` is not one).
    pub async fn list_offsets(
        &self,
        at: &[(TopicPartition, StartAt)],
    ) -> Result<Vec<(TopicPartition, Result<i64>)>> {
        let _ = at;
        todo!()
    }
    /// The committed offsets of a group.
    pub async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Option<CommittedOffset>)>> {
        let _ = (group, partitions);
        todo!()
    }
}
