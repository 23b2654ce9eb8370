//! The offsets that a group has committed.

use std::collections::BTreeMap;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// -1 where the client did not say.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: StrBytes,
}

/// Committed offsets by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets(BTreeMap<TopicName, BTreeMap<i32, Committed>>);

impl Offsets {
    pub(crate) fn commit(&mut self, topic: &TopicName, partition: i32, committed: Committed) {
        match self.0.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, committed);
            }
            None => {
                let name = TopicName(crate::topics::owned(topic));
                self.0.insert(name, BTreeMap::from([(partition, committed)]));
            }
        }
    }

    pub(crate) fn get(&self, topic: &TopicName, partition: i32) -> Option<&Committed> {
        self.0.get(topic)?.get(&partition)
    }

    /// Forgets one offset.
    pub(crate) fn remove(&mut self, topic: &TopicName, partition: i32) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    /// Forgets a topic that is gone.
    pub(crate) fn remove_topic(&mut self, topic: &TopicName) {
        self.0.remove(topic);
    }

    /// Everything, by topic.
    pub(crate) fn all(&self) -> &BTreeMap<TopicName, BTreeMap<i32, Committed>> {
        &self.0
    }
}
