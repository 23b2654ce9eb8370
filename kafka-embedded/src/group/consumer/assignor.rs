//! Kafka's server-side assignors: pure functions of topics and members.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::super::member::MemberId;
use super::Partitions;

/// `group.consumer.assignors`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// As even as can be, and as little moved as possible. The default.
    Uniform,
    /// Each topic in ranges, in the order of the members' names.
    Range,
}

/// Somebody to be given partitions.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<StrBytes>,
    pub(super) topics: BTreeSet<Uuid>,
    /// Its part of the last assignment.
    pub(super) has: Partitions,
}

impl Assignor {
    pub(crate) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Everyone's part, in the order of the candidates. `counts`: the partitions of each topic.
    pub(super) fn assign(self, counts: &BTreeMap<Uuid, i32>, candidates: &[Candidate]) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform(counts, candidates),
            Self::Range => range(counts, candidates),
        }
    }
}

fn range(counts: &BTreeMap<Uuid, i32>, candidates: &[Candidate]) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // Static members first, by instance id; Java compares UTF-16 units.
    order.sort_by_key(|at| {
        candidates.get(*at).map(|one| {
            let name = one.instance_id.as_ref().unwrap_or(&one.id);
            (one.instance_id.is_none(), name.encode_utf16().collect::<Vec<_>>())
        })
    });
    let mut assigned = vec![Partitions::new(); candidates.len()];
    for (topic, count) in counts {
        let wants = |at: &&usize| candidates.get(**at).is_some_and(|one| one.topics.contains(topic));
        let subscribers: Vec<usize> = order.iter().filter(wants).copied().collect();
        let Ok(number) = i32::try_from(subscribers.len()) else { continue };
        let mut start = 0;
        for (rank, at) in (0..number).zip(subscribers) {
            let end = start + count / number + i32::from(rank < count % number);
            if let Some(part) = assigned.get_mut(at) {
                part.extend((start..end).map(|partition| (*topic, partition)));
            }
            start = end;
        }
    }
    assigned
}

/// Keeps what may be kept, gives the rest to whoever has least, and evens out.
fn uniform(counts: &BTreeMap<Uuid, i32>, candidates: &[Candidate]) -> Vec<Partitions> {
    let exists = |(topic, partition): &(Uuid, i32)| counts.get(topic).is_some_and(|count| partition < count);
    let may_keep = |one: &Candidate| {
        one.has.iter().filter(|had| exists(had) && one.topics.contains(&had.0)).copied().collect()
    };
    let mut assigned: Vec<Partitions> = candidates.iter().map(may_keep).collect();
    let alike = candidates.windows(2).all(|pair| matches!(pair, [one, other] if one.topics == other.topics));
    if alike {
        trim(counts, candidates, &mut assigned);
    }
    let kept: BTreeSet<(Uuid, i32)> = assigned.iter().flatten().copied().collect();
    for (topic, count) in counts {
        let wants = |at: &usize| candidates.get(*at).is_some_and(|one| one.topics.contains(topic));
        let subscribers: Vec<usize> = (0..candidates.len()).filter(wants).collect();
        let mut by_load: BTreeSet<(usize, usize)> =
            subscribers.into_iter().filter_map(|at| Some((assigned.get(at)?.len(), at))).collect();
        for partition in (0..*count).map(|partition| (*topic, partition)).filter(|one| !kept.contains(one)) {
            let Some((load, at)) = by_load.pop_first() else { break };
            if let Some(part) = assigned.get_mut(at) {
                part.insert(partition);
            }
            by_load.insert((load + 1, at));
        }
    }
    if !alike {
        even_out(candidates, &mut assigned);
    }
    assigned
}

/// All want the same: nobody keeps more than a fair share. Who has most may have one more, where not all can have the
/// same.
fn trim(counts: &BTreeMap<Uuid, i32>, candidates: &[Candidate], assigned: &mut [Partitions]) {
    let Some(first) = candidates.first() else { return };
    let total: i32 = first.topics.iter().filter_map(|topic| counts.get(topic)).sum();
    let total = usize::try_from(total).unwrap_or(0);
    let (fair, mut extra) = (total / candidates.len(), total % candidates.len());
    let mut order: Vec<&mut Partitions> = assigned.iter_mut().collect();
    order.sort_by_key(|part| std::cmp::Reverse(part.len()));
    for part in order {
        let quota = fair + usize::from(extra > 0);
        extra = extra.saturating_sub(1);
        while part.len() > quota {
            part.pop_last();
        }
    }
}

/// Moves single partitions from who has more to who has less, as long as that brings them closer.
fn even_out(candidates: &[Candidate], assigned: &mut [Partitions]) {
    while let Some((from, to, partition)) = improvement(candidates, assigned) {
        if let Some(part) = assigned.get_mut(from) {
            part.remove(&partition);
        }
        if let Some(part) = assigned.get_mut(to) {
            part.insert(partition);
        }
    }
}

fn improvement(candidates: &[Candidate], assigned: &[Partitions]) -> Option<(usize, usize, (Uuid, i32))> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|at| assigned.get(*at).map(BTreeSet::len));
    for to in order.iter().copied() {
        let (wanted, load) = (&candidates.get(to)?.topics, assigned.get(to)?.len());
        for from in order.iter().rev().copied() {
            let part = assigned.get(from)?;
            if part.len() < load + 2 {
                break;
            }
            if let Some(partition) = part.iter().rev().find(|(topic, _)| wanted.contains(topic)) {
                return Some((from, to, *partition));
            }
        }
    }
    None
}
