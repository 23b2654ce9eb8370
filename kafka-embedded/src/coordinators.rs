//! Which broker coordinates a group or a transactional id.
//!
//! As in Kafka, keys fall into fifty slots, each led by a broker; besides, a test may give a key a coordinator of its
//! own choice, or none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::java_hash;

/// `offsets.topic.num.partitions`
const SLOTS: usize = 50;

#[derive(Debug)]
pub(crate) struct Coordinators(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The leader of each slot, if anyone leads it.
    slots: Vec<Option<i32>>,
    /// The coordinator of single keys, where it was chosen.
    chosen: HashMap<String, Option<i32>>,
}

impl Coordinators {
    /// Slots spread over the brokers.
    pub(crate) fn new(brokers: &[i32]) -> Self {
        let slots = brokers.iter().copied().map(Some).cycle().take(SLOTS).collect();
        Self(Mutex::new(State { slots, chosen: HashMap::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator of `key`, if it has one.
    pub(crate) fn of(&self, key: &str, is_live: impl Fn(i32) -> bool) -> Option<i32> {
        let state = self.lock();
        match state.chosen.get(key).copied() {
            Some(Some(id)) if is_live(id) => Some(id),
            Some(None) => None,
            _ => state.slots.get(slot(key)).copied().flatten(),
        }
    }

    /// Gives `key` a coordinator, or takes it away.
    pub(crate) fn choose(&self, key: &str, id: Option<i32>) {
        self.lock().chosen.insert(key.to_owned(), id);
    }

    /// Broker `id` has gone: the next that lives takes its slots.
    pub(crate) fn gone(&self, id: i32, live: &[i32]) {
        let next = live.iter().find(|other| **other > id).or_else(|| live.first()).copied();
        let mut state = self.lock();
        state.slots.iter_mut().filter(|slot| **slot == Some(id)).for_each(|slot| *slot = next);
    }

    /// Broker `id` is back: it takes the slots that nobody leads.
    pub(crate) fn back(&self, id: i32) {
        self.lock().slots.iter_mut().filter(|slot| slot.is_none()).for_each(|slot| *slot = Some(id));
    }
}

/// As Kafka finds the partition of `__consumer_offsets`: by Java's hash code.
pub(crate) fn slot(key: &str) -> usize {
    java_hash(key).cast_signed().checked_abs().unwrap_or(0).unsigned_abs() as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_where_kafka_puts_them() {
        // Utils.abs("billing".hashCode()) % 50, and a negative hash code.
        assert_eq!(slot("billing"), 9);
        assert_eq!(slot("console-consumer-1"), 24);
        assert_eq!(slot(""), 0);
    }

    #[test]
    fn a_slot_moves_when_its_broker_goes_and_stays_there() {
        let coordinators = Coordinators::new(&[1, 2, 3]);
        let first = coordinators.of("billing", |_| true).unwrap();
        let others: Vec<i32> = (1..=3).filter(|id| *id != first).collect();
        coordinators.gone(first, &others);
        let second = coordinators.of("billing", |id| id != first).unwrap();
        assert!(others.contains(&second));
        coordinators.back(first);
        assert_eq!(coordinators.of("billing", |_| true), Some(second));
        coordinators.gone(second, &[]);
        assert_eq!(coordinators.of("billing", |_| false), None);
        coordinators.back(first);
        assert_eq!(coordinators.of("billing", |_| true), Some(first));
    }

    #[test]
    fn a_chosen_coordinator_counts_while_it_lives() {
        let coordinators = Coordinators::new(&[1, 2, 3]);
        let usual = coordinators.of("billing", |_| true).unwrap();
        let other = usual % 3 + 1;
        coordinators.choose("billing", Some(other));
        assert_eq!(coordinators.of("billing", |_| true), Some(other));
        assert_eq!(coordinators.of("billing", |id| id != other), Some(usual));
        coordinators.choose("billing", None);
        assert_eq!(coordinators.of("billing", |_| true), None);
    }
}
