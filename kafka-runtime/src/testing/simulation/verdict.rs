//! The history of a run, and what is wrong with it. Pure: times are instants that somebody else took.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use super::Order;
use crate::testing::witness::{Fate, Handling};

/// What was seen of a run, of one topic and one listener.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By partition: how many records were sent to it.
    pub(super) sent: BTreeMap<i32, i64>,
    /// Number and key of each, in the order in which they were sent.
    pub(super) keys: Vec<(u64, String)>,
    /// In the order in which handlers were called.
    pub(super) handlings: Vec<Handling>,
    /// Values of the dead letters that are there at the end.
    pub(super) dead: BTreeSet<Vec<u8>>,
    /// Committed offsets as the coordinator told them, in order.
    pub(super) commits: Vec<(Instant, i32, i64)>,
    /// An instance was given a partition.
    pub(super) assigned: Vec<(Instant, u32, i32)>,
}

/// What a run is held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) order: Order,
    /// Records may come again behind later ones: their transaction was aborted.
    pub(super) goes_back: bool,
    pub(super) replay_bound: Option<u64>,
    /// After how many tries that failed a record becomes a dead letter, if any does.
    pub(super) tries: Option<u32>,
}

impl History {
    /// What is wrong, in words.
    pub(super) fn violations(&self, rules: Rules) -> Vec<String> {
        let mut found = self.lost(rules);
        found.extend(self.dead_by_mistake(rules));
        found.extend(self.out_of_order(rules));
        found.extend(self.not_their_own());
        found.extend(self.commits_ahead(rules));
        if let Some(bound) = rules.replay_bound {
            found.extend(self.replayed(rules, bound));
        }
        found
    }

    fn lost(&self, rules: Rules) -> Vec<String> {
        let done: std::collections::HashSet<_> =
            self.settled(rules).map(|one| (one.partition.partition, one.offset)).collect();
        let all =
            self.sent.iter().flat_map(|(partition, count)| (0..*count).map(|offset| (*partition, offset)));
        let lost = all.filter(|record| !done.contains(record));
        lost.map(|(partition, offset)| {
            format!("lost: partition {partition}, offset {offset} was never handled")
        })
        .collect()
    }

    /// Handlings that ended with an outcome: well, or with a dead letter that is there.
    fn settled(&self, rules: Rules) -> impl Iterator<Item = &Handling> {
        self.handlings.iter().filter(move |one| one.fate == Fate::Done || self.gave_up(one, rules))
    }

    fn gave_up(&self, one: &Handling, rules: Rules) -> bool {
        let was_last = rules.tries.is_some_and(|tries| one.attempt >= tries) && one.has_failed();
        was_last && one.value.as_ref().is_some_and(|value| self.dead.contains(&value[..]))
    }

    /// Dead letters of records whose last try did not fail.
    fn dead_by_mistake(&self, rules: Rules) -> Vec<String> {
        let given_up: BTreeSet<&[u8]> = self
            .handlings
            .iter()
            .filter(|one| self.gave_up(one, rules))
            .filter_map(|one| one.value.as_deref())
            .collect();
        let mistaken = self.dead.iter().filter(|value| !given_up.contains(&value[..]));
        mistaken
            .map(|value| format!("dead letter of nothing: `{}`", String::from_utf8_lossy(value)))
            .collect()
    }

    /// Whether `instance` was given the partition between two moments.
    fn was_assigned(&self, instance: u32, partition: i32, from: Instant, to: Instant) -> bool {
        self.assigned
            .iter()
            .any(|(at, who, what)| (*who, *what) == (instance, partition) && (from..=to).contains(at))
    }

    /// Within one instance, and while it keeps the partition, records come one after the other.
    fn out_of_order(&self, rules: Rules) -> Vec<String> {
        let mut last: HashMap<(u32, i32, &[u8]), &Handling> = HashMap::new();
        let mut found = Vec::new();
        for one in &self.handlings {
            let partition = one.partition.partition;
            let line: &[u8] = match rules.order {
                Order::None => return found,
                Order::Partition => b"",
                Order::Key => one.key.as_deref().unwrap_or_default(),
            };
            let Some(before) = last.insert((one.instance, partition, line), one) else { continue };
            if self.was_assigned(one.instance, partition, before.began, one.began) {
                continue;
            }
            let overlaps = before.ended.is_none_or(|ended| ended > one.began);
            if (one.offset < before.offset && !rules.goes_back) || overlaps {
                let how = if overlaps { "beside" } else { "after" };
                found.push(format!(
                    "order: instance {} was given partition {partition}, offset {} {how} {}",
                    one.instance, one.offset, before.offset
                ));
            }
        }
        found
    }

    /// Once another instance has begun with a partition, nobody begins with it who was not given it again.
    fn not_their_own(&self) -> Vec<String> {
        let mut owner: HashMap<i32, &Handling> = HashMap::new();
        let mut found = Vec::new();
        for one in &self.handlings {
            let partition = one.partition.partition;
            let before = owner.insert(partition, one);
            let Some(before) = before.filter(|before| before.instance != one.instance) else { continue };
            let ever = self
                .assigned
                .iter()
                .filter(|(at, who, what)| (*who, *what) == (one.instance, partition) && *at <= one.began);
            // Its latest assignment must not be older than the other's.
            let own = ever.map(|(at, ..)| *at).max();
            let others = self.assigned.iter().filter(|(at, who, what)| {
                (*who, *what) == (before.instance, partition) && *at <= before.began
            });
            if own < others.map(|(at, ..)| *at).max() {
                found.push(format!(
                    "not its own: instance {} handled partition {partition}, offset {} after instance {} had begun with it",
                    one.instance, one.offset, before.instance
                ));
            }
        }
        found
    }

    fn commits_ahead(&self, rules: Rules) -> Vec<String> {
        let mut first_done: HashMap<(i32, i64), Instant> = HashMap::new();
        for one in self.settled(rules) {
            if let Some(ended) = one.ended {
                let at = first_done.entry((one.partition.partition, one.offset)).or_insert(ended);
                *at = (*at).min(ended);
            }
        }
        let mut found = Vec::new();
        let mut last: HashMap<i32, i64> = HashMap::new();
        for (at, partition, offset) in &self.commits {
            let before = last.insert(*partition, *offset).unwrap_or(0);
            if *offset < before {
                found.push(format!("commit went back: partition {partition}, from {before} to {offset}"));
            }
            let ahead = (before..*offset)
                .find(|below| first_done.get(&(*partition, *below)).is_none_or(|done| done > at));
            if let Some(record) = ahead {
                found.push(format!(
                    "commit ahead: partition {partition}, {offset} while {record} was not handled"
                ));
            }
        }
        found
    }

    /// Partitions that are not committed to their end, as far as was seen: none, at last.
    pub(super) fn not_committed(&self) -> Vec<String> {
        let mut last: HashMap<i32, i64> = HashMap::new();
        last.extend(self.commits.iter().map(|(_, partition, offset)| (*partition, *offset)));
        let behind =
            self.sent.iter().filter(|(partition, count)| last.get(partition).copied().unwrap_or(0) < **count);
        let found = behind.map(|(partition, count)| {
            let at = last.get(partition).copied().unwrap_or(0);
            format!("not committed: partition {partition} ends at {count}, committed is {at} at the end")
        });
        found.collect()
    }

    /// Settled handlings of what had been settled.
    pub(super) fn repeated(&self, rules: Rules) -> usize {
        let mut seen = std::collections::HashSet::new();
        self.settled(rules).filter(|one| !seen.insert((one.partition.partition, one.offset))).count()
    }

    /// Of what was settled while somebody had a partition, no more than `bound` records are settled again afterwards: what
    /// its end has cost. (Somebody who comes later may have to do again what several before have done, each of them others.)
    fn replayed(&self, rules: Rules, bound: u64) -> Vec<String> {
        let mut last: HashMap<(i32, i64), (i32, u32, Option<Instant>)> = HashMap::new();
        let mut again: BTreeMap<(i32, u32, Option<Instant>), Vec<i64>> = BTreeMap::new();
        for one in self.settled(rules) {
            let partition = one.partition.partition;
            let stint = self
                .assigned
                .iter()
                .filter(|(at, who, what)| (*who, *what) == (one.instance, partition) && *at <= one.began);
            let stint = (partition, one.instance, stint.map(|(at, ..)| *at).max());
            if let Some(before) = last.insert((partition, one.offset), stint) {
                again.entry(before).or_default().push(one.offset);
            }
        }
        let over = again.into_iter().filter(|(_, offsets)| offsets.len() as u64 > bound);
        let found = over.map(|((partition, instance, _), offsets)| {
            format!(
                "replayed: {} records of partition {partition} that instance {instance} had done, {bound} are allowed: {offsets:?}",
                offsets.len()
            )
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests;
