//! What may be committed: partitions that are held, each in its present assignment.

use std::sync::{Mutex, PoisonError};

use crate::consumer::Offsets;
use crate::fetch::Map;
use crate::ids::TopicPartition;

/// Partitions whose offsets may be committed, each with the number of its assignment.
#[derive(Debug, Default)]
pub(in crate::consumer) struct Holding(Mutex<Map<TopicPartition, u64>>);

impl Holding {
    fn with<T>(&self, work: impl FnOnce(&mut Map<TopicPartition, u64>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(in crate::consumer) fn take(&self, partition: TopicPartition, assignment: u64) {
        self.with(|held| held.insert(partition, assignment));
    }

    /// Ends one assignment of a partition; a later one stays.
    pub(in crate::consumer) fn let_go(&self, partition: TopicPartition, assignment: u64) {
        self.with(|held| {
            if held.get(&partition) == Some(&assignment) {
                held.remove(&partition);
            }
        });
    }

    /// Ends whatever assignment there is; whether there was one.
    pub(in crate::consumer) fn lose(&self, partition: TopicPartition) -> bool {
        self.with(|held| held.remove(&partition).is_some())
    }

    pub(in crate::consumer) fn clear(&self) {
        self.with(Map::clear);
    }

    pub(in crate::consumer) fn has(&self, partition: TopicPartition) -> bool {
        self.with(|held| held.contains_key(&partition))
    }

    /// The assignments that these partitions are held by.
    pub(super) fn of(&self, offsets: &Offsets) -> Map<TopicPartition, u64> {
        let one = |held: &Map<TopicPartition, u64>, partition| Some((partition, *held.get(&partition)?));
        self.with(|held| offsets.iter().filter_map(|(partition, _)| one(held, *partition)).collect())
    }

    /// Whether the partition is held by that assignment still.
    pub(super) fn is_held_by(&self, partition: TopicPartition, assignment: Option<&u64>) -> bool {
        assignment.is_some() && self.with(|held| held.get(&partition) == assignment)
    }
}
