//! What a cluster does with old records: retention from time to time, compaction when asked.

use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::topics::{PartitionState, Topic};

/// Why a topic was not compacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// There is no such topic.
    #[error("cannot compact '{topic}': there is no such topic")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// Its `cleanup.policy` is not to compact.
    #[error("cannot compact '{topic}': its cleanup.policy has no 'compact'")]
    NotCompacted {
        /// Its name.
        topic: String,
    },
}

impl Cluster {
    /// Enforces retention every so often, for ever.
    pub(crate) async fn run_housekeeping(&self) {
        loop {
            sleep(self.settings.retention_check_interval).await;
            self.enforce_retention();
        }
    }

    pub(crate) fn enforce_retention(&self) {
        let now = self.clock.wall_millis();
        for topic in self.topics.all() {
            each_partition(&topic, |state| state.enforce_retention(&topic.configs, now));
        }
    }

    pub(crate) fn compact(&self, topic: &str) -> Result<(), CompactError> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let unknown = || CompactError::UnknownTopic { topic: topic.to_owned() };
        let topic: Arc<Topic> = self.topics.by_name(&name).ok_or_else(unknown)?;
        if !topic.configs.compacts {
            return Err(CompactError::NotCompacted { topic: name.to_string() });
        }
        let now = self.clock.wall_millis();
        each_partition(&topic, |state| state.compact(&topic.configs, now));
        Ok(())
    }
}

fn each_partition(topic: &Topic, change: impl Fn(&mut PartitionState)) {
    topic.partitions.iter().for_each(|partition| change(&mut partition.lock()));
}
