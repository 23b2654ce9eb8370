//! One metadata cache for all that a client does.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::sync::watch;

use crate::config::ClientConfig;
use crate::error::Result;
use crate::ids::{TopicName, TopicPartition};
use crate::seams::Seams;

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `node.id`
    pub id: i32,
    /// host
    pub host: String,
    /// port
    pub port: u16,
    /// `broker.rack`
    pub rack: Option<String>,
}

/// What the cluster said of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Leader, if there is one now.
    pub leader: Option<i32>,
    /// Leader epoch, -1 where unknown.
    pub leader_epoch: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// In-sync replicas.
    pub isr: Vec<i32>,
}

/// What the cluster said of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// The topic's id as 128 bits, 0 where the broker gives none. A topic deleted and created again has another.
    pub id: u128,
    /// Whether it is Kafka's own.
    pub internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<PartitionMetadata>,
    /// Why there is nothing else to say (unknown, not authorised, no leader yet).
    pub error: Option<ResponseError>,
}

/// A picture of the cluster. A new one replaces it; none is ever changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// `cluster.id`
    pub cluster_id: Option<String>,
    /// The controller's id.
    pub controller: Option<i32>,
    /// Brokers by id.
    pub brokers: HashMap<i32, Broker>,
    /// The topics that were asked for.
    pub topics: HashMap<TopicName, TopicMetadata>,
}

impl ClusterMetadata {
    /// The leader of a partition and its epoch.
    #[must_use]
    pub fn leader(&self, partition: TopicPartition) -> Option<(i32, i32)> {
        let index = usize::try_from(partition.partition).ok()?;
        let found = self.topics.get(&partition.topic)?.partitions.get(index)?;
        Some((found.leader?, found.leader_epoch))
    }

    /// The name of the topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: u128) -> Option<TopicName> {
        self.topics.iter().find(|(_, topic)| topic.id == id && id != 0).map(|(name, _)| *name)
    }
}

/// The metadata cache. Refreshed when it is `metadata_max_age` old and when somebody asks; requests for it coalesce.
#[derive(Debug)]
pub(crate) struct Cluster {}

impl Cluster {
    /// Starts the refreshing task on the current tokio runtime; it ends with the last handle.
    pub(crate) fn new(config: ClientConfig, seams: Seams) -> Arc<Self> {
        let _ = (config, seams);
        todo!()
    }
    pub(crate) fn config(&self) -> &ClientConfig {
        todo!()
    }
    pub(crate) fn seams(&self) -> &Seams {
        todo!()
    }
    /// The last picture; empty before the first answer.
    pub(crate) fn snapshot(&self) -> Arc<ClusterMetadata> {
        todo!()
    }
    /// Every new picture.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<ClusterMetadata>> {
        todo!()
    }
    /// From now on these topics are part of the picture (an unused one is dropped after a while), created if the
    /// broker does that and `create` says so.
    pub(crate) fn track(&self, topics: &[TopicName], create: bool) {
        let _ = (topics, create);
        todo!()
    }
    /// From now on all topics are part of the picture, until the guard is dropped (for a pattern).
    pub(crate) fn track_all(&self) -> TrackAll {
        todo!()
    }
    /// Asks for a new picture soon: at once, or after the retry back-off when the last one was just taken.
    pub(crate) fn refresh(&self) {
        todo!()
    }
    /// A picture taken after this call, or why there is none.
    pub(crate) async fn refreshed(&self) -> Result<Arc<ClusterMetadata>> {
        todo!()
    }
}

/// Holds the picture wide open for a pattern.
#[derive(Debug)]
pub(crate) struct TrackAll {}
