//! Topics: created, deleted, listed, described, extended, configured; offsets of partitions and groups.
//!
//! Every call runs on the I/O thread and waits for it on the caller's runtime.

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

mod configs;
mod offsets;
mod topics;

#[cfg(test)]
mod tests;

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

/// A topic's configuration by Kafka's names, defaults included; `None` where a value is not told.
pub type TopicConfig = BTreeMap<String, Option<String>>;

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
    ///
    /// # Errors
    /// No controller answers in time.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<()>)>> {
        let (pool, topics) = (Arc::clone(&self.pool), topics.to_vec());
        self.context.on_io(async move { topics::create(&pool, &topics, timeout).await }).await
    }

    /// Deletes topics, one result each; waits at most `timeout` for the controller.
    ///
    /// # Errors
    /// No controller answers in time.
    pub async fn delete_topics(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<()>)>> {
        let (pool, topics) = (Arc::clone(&self.pool), owned(topics));
        self.context.on_io(async move { topics::delete(&pool, &topics, timeout).await }).await
    }

    /// Raises the number of partitions of a topic to `total`.
    ///
    /// # Errors
    /// The controller's, or that none answers in time.
    pub async fn create_partitions(&self, topic: &str, total: i32, timeout: Duration) -> Result<()> {
        let (pool, topic) = (Arc::clone(&self.pool), topic.to_owned());
        self.context.on_io(async move { topics::extend(&pool, &topic, total, timeout).await }).await
    }

    /// The configuration of topics, one result each, in the order of `topics`.
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn topic_configs(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<TopicConfig>)>> {
        let (pool, topics) = (Arc::clone(&self.pool), owned(topics));
        self.context.on_io(async move { configs::describe(&pool, &topics, timeout).await }).await
    }

    /// Sets these values of topics' configurations, and leaves the others as they are (KIP-339, Kafka 2.3): one result for
    /// each topic, in the order of `changes`.
    ///
    /// # Errors
    /// No broker answers in time, or they are too old.
    pub async fn set_topic_configs(
        &self,
        changes: &[(String, BTreeMap<String, String>)],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<()>)>> {
        let (pool, changes) = (Arc::clone(&self.pool), changes.to_vec());
        self.context.on_io(async move { configs::alter(&pool, &changes, timeout).await }).await
    }

    /// All topics that this user may see, Kafka's own left out; sorted.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn list_topics(&self) -> Result<Vec<TopicName>> {
        let all = self.describe(None).await?;
        let mut names: Vec<_> =
            all.topics.into_iter().filter(|(_, topic)| !topic.internal).map(|(name, _)| name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// What the cluster says of these topics, asked anew; nothing is created by asking. A topic that does not exist
    /// has that as its [`TopicMetadata::error`].
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_topics(&self, topics: &[&str]) -> Result<BTreeMap<TopicName, TopicMetadata>> {
        let topics = topics.iter().map(|topic| TopicName::new(topic)).collect();
        Ok(self.describe(Some(topics)).await?.topics.into_iter().collect())
    }

    /// Brokers and controller.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_cluster(&self) -> Result<ClusterMetadata> {
        self.describe(Some(vec![])).await
    }

    /// The offsets of partitions at a place (`Committed` is not one), in the order of `at`. A time after the newest
    /// record is the end.
    ///
    /// # Errors
    /// A place that is none. What is wrong with one partition is its own result.
    pub async fn list_offsets(
        &self,
        at: &[(TopicPartition, StartAt)],
    ) -> Result<Vec<(TopicPartition, Result<i64>)>> {
        let (pool, at) = (Arc::clone(&self.pool), at.to_vec());
        self.context.on_io(async move { offsets::list(&pool, &at).await }).await
    }

    /// The committed offsets of a group, in the order of `partitions`; `None` where it committed none.
    ///
    /// # Errors
    /// The coordinator's, of the group or of any of the partitions, or that none answers in time.
    pub async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Option<CommittedOffset>)>> {
        let (pool, group, partitions) = (Arc::clone(&self.pool), group.to_owned(), partitions.to_vec());
        self.context.on_io(async move { offsets::committed(pool, &group, &partitions).await }).await
    }

    async fn describe(&self, topics: Option<Vec<TopicName>>) -> Result<ClusterMetadata> {
        let pool = Arc::clone(&self.pool);
        self.context.on_io(async move { topics::describe(&pool, topics.as_deref()).await }).await
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
