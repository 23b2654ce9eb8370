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

type ByTopic<T> = BTreeMap<TopicName, BTreeMap<i32, T>>;

/// An offset, and which commit of the group it was.
#[derive(Debug)]
struct Numbered {
    committed: Committed,
    number: u64,
}

/// Committed offsets by topic and partition, and what open transactions will commit.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: ByTopic<Numbered>,
    /// By producer id.
    pending: BTreeMap<i64, ByTopic<Numbered>>,
    commits: u64,
}

impl Offsets {
    pub(crate) fn commit(&mut self, topic: &TopicName, partition: i32, committed: Committed) {
        let numbered = self.number(committed);
        insert(&mut self.committed, topic, partition, numbered);
    }

    fn number(&mut self, committed: Committed) -> Numbered {
        self.commits += 1;
        Numbered { committed, number: self.commits }
    }

    /// Commits once the producer's transaction is committed.
    pub(crate) fn commit_later(
        &mut self,
        producer_id: i64,
        topic: &TopicName,
        partition: i32,
        committed: Committed,
    ) {
        let numbered = self.number(committed);
        insert(self.pending.entry(producer_id).or_default(), topic, partition, numbered);
    }

    /// A producer's transaction has ended. What was committed after the transaction's own commit stays.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for (topic, partitions) in self.pending.remove(&producer_id).filter(|_| commit).into_iter().flatten()
        {
            for (partition, numbered) in partitions {
                let present = self.committed.get(&topic).and_then(|known| known.get(&partition));
                if present.is_none_or(|present| present.number < numbered.number) {
                    insert(&mut self.committed, &topic, partition, numbered);
                }
            }
        }
    }

    /// Whether an open transaction may still change the offset (KIP-447).
    pub(crate) fn is_unstable(&self, topic: &TopicName, partition: i32) -> bool {
        let holds = |pending: &ByTopic<Numbered>| {
            pending.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
        };
        self.pending.values().any(holds)
    }

    pub(crate) fn get(&self, topic: &TopicName, partition: i32) -> Option<&Committed> {
        self.committed.get(topic)?.get(&partition).map(|numbered| &numbered.committed)
    }

    /// Forgets one offset, committed or about to be.
    pub(crate) fn remove(&mut self, topic: &TopicName, partition: i32) {
        remove(&mut self.committed, topic, partition);
        for pending in self.pending.values_mut() {
            remove(pending, topic, partition);
        }
    }

    /// Forgets a topic that is gone.
    pub(crate) fn remove_topic(&mut self, topic: &TopicName) {
        self.committed.remove(topic);
        for pending in self.pending.values_mut() {
            pending.remove(topic);
        }
    }

    /// Everything that is committed: topic, partition, offset.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&TopicName, i32, &Committed)> {
        let of_topic = |(topic, partitions)| {
            let partitions: &BTreeMap<i32, Numbered> = partitions;
            partitions.iter().map(move |(partition, numbered)| (topic, *partition, &numbered.committed))
        };
        self.committed.iter().flat_map(of_topic)
    }
}

fn insert<T>(map: &mut ByTopic<T>, topic: &TopicName, partition: i32, value: T) {
    match map.get_mut(topic) {
        Some(partitions) => _ = partitions.insert(partition, value),
        None => {
            let name = TopicName(crate::topics::owned(topic));
            map.insert(name, BTreeMap::from([(partition, value)]));
        }
    }
}

fn remove<T>(map: &mut ByTopic<T>, topic: &TopicName, partition: i32) {
    if let Some(partitions) = map.get_mut(topic) {
        partitions.remove(&partition);
        if partitions.is_empty() {
            map.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicName {
        TopicName(StrBytes::from_static_str("orders"))
    }

    fn at(offset: i64) -> Committed {
        Committed { offset, leader_epoch: -1, metadata: StrBytes::default() }
    }

    fn committed(offsets: &Offsets) -> Option<i64> {
        offsets.get(&topic(), 0).map(|committed| committed.offset)
    }

    #[test]
    fn a_transactions_offset_is_unstable_until_it_ends() {
        let mut offsets = Offsets::default();
        offsets.commit(&topic(), 0, at(1));
        offsets.commit_later(7, &topic(), 0, at(5));
        assert_eq!((committed(&offsets), offsets.is_unstable(&topic(), 0)), (Some(1), true));
        assert!(!offsets.is_unstable(&topic(), 1));
        offsets.end_transaction(8, true);
        assert!(offsets.is_unstable(&topic(), 0), "another producer's");
        offsets.end_transaction(7, true);
        assert_eq!((committed(&offsets), offsets.is_unstable(&topic(), 0)), (Some(5), false));
        offsets.commit_later(7, &topic(), 0, at(9));
        offsets.end_transaction(7, false);
        assert_eq!(committed(&offsets), Some(5));
    }

    #[test]
    fn a_later_commit_outlives_a_transaction_that_ends_after_it() {
        let mut offsets = Offsets::default();
        offsets.commit_later(7, &topic(), 0, at(5));
        offsets.commit(&topic(), 0, at(3));
        offsets.end_transaction(7, true);
        assert_eq!(committed(&offsets), Some(3));
    }
}
