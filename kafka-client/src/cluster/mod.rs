//! One metadata cache for all that a client does.
//!
//! ```text
//!   track, refresh ──▶ Known (what is wanted) ──▶ refreshing task ──Metadata──▶ any broker
//!   snapshot, watch ◀── Known (the last picture) ◀── merge (never back to an older leader epoch) ◀──┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::task::AbortHandle;

use crate::config::ClientConfig;
use crate::error::Result;
use crate::ids::{TopicName, TopicPartition};
use crate::seams::Seams;
use crate::watch;

mod known;
mod merge;
mod missed;
mod refresh;

#[cfg(test)]
mod tests;

pub(crate) use known::{Known, TrackAll};
pub(crate) use merge::picture;
pub(crate) use missed::NOTICED;
pub(crate) use refresh::metadata;

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
pub(crate) struct Cluster {
    known: Arc<Known>,
    refreshing: AbortHandle,
}

impl Cluster {
    /// Starts the refreshing task on the current tokio runtime; it ends with the last handle. It asks nothing before
    /// somebody wants to know something.
    pub(crate) fn new(config: ClientConfig, seams: Seams) -> Arc<Self> {
        let known = Arc::new(Known::new(config, seams));
        let refreshing = tokio::spawn(refresh::run(Arc::clone(&known))).abort_handle();
        Arc::new(Self { known, refreshing })
    }
    pub(crate) fn config(&self) -> &ClientConfig {
        self.known.config()
    }
    pub(crate) fn seams(&self) -> &Seams {
        self.known.seams()
    }
    /// The last picture; empty before the first answer.
    pub(crate) fn snapshot(&self) -> Arc<ClusterMetadata> {
        self.known.snapshot()
    }
    /// Every new picture.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<ClusterMetadata>> {
        self.known.watch()
    }
    /// From now on these topics are part of the picture, created if the broker does that and `create` says so.
    pub(crate) fn track(&self, topics: &[TopicName], create: bool) {
        self.known.track(topics, create, None);
    }
    /// [`Cluster::track`] for whoever comes again at every use: a topic that is not used for as long as
    /// `metadata.max.idle.ms` says (5 min) is dropped from the picture.
    pub(crate) fn track_while_used(&self, topic: TopicName, create: bool) {
        self.known.track(&[topic], create, Some(known::MAX_IDLE));
    }
    /// From now on all topics are part of the picture, until the guard is dropped (for a pattern).
    pub(crate) fn track_all(&self) -> TrackAll {
        self.known.track_all()
    }
    /// Asks for a new picture soon: at once, or after the retry back-off when the last one was just taken.
    pub(crate) fn refresh(&self) {
        self.known.refresh();
    }
    /// A picture taken after this call, or why there is none. One attempt: who needs one asks again.
    pub(crate) async fn refreshed(&self) -> Result<Arc<ClusterMetadata>> {
        self.known.refreshed().await
    }
    /// Why the last attempt to get a picture failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<crate::error::Error> {
        self.known.last_failure()
    }
    /// What a pool needs to know of the cluster, without keeping the refreshing task alive.
    pub(crate) fn known(&self) -> &Arc<Known> {
        &self.known
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.refreshing.abort();
    }
}
