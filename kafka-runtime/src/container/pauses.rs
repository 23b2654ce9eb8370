//! What a listener's operator has paused. It belongs to the listener, not to an assignment: a partition that is paused
//! stays so over a rebalance in which it stays, and is paused again when it comes back.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kafka_client::TopicPartition;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<Wishes>);

#[derive(Debug, Default)]
struct Wishes {
    all: bool,
    partitions: BTreeSet<TopicPartition>,
}

impl Pauses {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses or resumes everything, or one partition. Resuming everything leaves partitions paused that were paused
    /// one by one.
    pub(crate) fn set(&self, partition: Option<TopicPartition>, paused: bool) {
        let mut wishes = self.wishes();
        match (partition, paused) {
            (None, paused) => wishes.all = paused,
            (Some(partition), true) => _ = wishes.partitions.insert(partition),
            (Some(partition), false) => _ = wishes.partitions.remove(&partition),
        }
    }

    /// Whether this partition is to be paused.
    pub(crate) fn cover(&self, partition: TopicPartition) -> bool {
        let wishes = self.wishes();
        wishes.all || wishes.partitions.contains(&partition)
    }

    /// Whether the whole listener is.
    pub(crate) fn cover_all(&self) -> bool {
        self.wishes().all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_paused_by_itself_stays_paused_when_the_listener_goes_on() {
        let (one, two) = (TopicPartition::new("orders", 1), TopicPartition::new("orders", 2));
        let pauses = Pauses::default();
        pauses.set(Some(one), true);
        pauses.set(None, true);
        assert!(pauses.cover(one) && pauses.cover(two));
        pauses.set(None, false);
        assert!(pauses.cover(one) && !pauses.cover(two));
        pauses.set(Some(one), false);
        assert!(!pauses.cover(one));
    }
}
