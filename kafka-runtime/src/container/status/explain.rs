//! Which records hold up their partitions.

use std::fmt;
use std::time::Duration;

use kafka_client::TopicPartition;
use tokio::time::Instant;

use crate::container::ack::{AckDesk, Unacknowledged};
use crate::container::outcome::shown;
use crate::container::parallel::{OpenOne, OpenPhase};
use crate::container::partition::PartitionRemote;
use crate::container::shared::{PartitionPhase, Shared};

/// Records of one partition at most.
const MOST: usize = 100;

/// A record that was begun and is not finished: [`RunningApp::explain`](crate::RunningApp::explain).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenRecord {
    /// The listener's id.
    pub listener: &'static str,
    /// Topic and partition.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its key as text, shortened; `None` for none.
    pub key: Option<String>,
    /// 1 at the first try.
    pub attempt: u32,
    /// What it is doing.
    pub phase: OpenPhase,
    /// Since its first try began. Where a partition's records go one after the other, this is known to a second.
    pub age: Duration,
    /// Until its next try, while it waits for that; `None` too where it is acknowledged by hand.
    pub next_try: Option<Duration>,
}

impl fmt::Display for OpenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listener, partition, offset, attempt, age, .. } = self;
        write!(f, "listener `{listener}`: {partition} at offset {offset}")?;
        if let Some(key) = &self.key {
            write!(f, ", key {key}")?;
        }
        let phase = match self.phase {
            OpenPhase::Running => "its handler runs",
            OpenPhase::Parked => "it waits for its next try",
            OpenPhase::Stopped => "the partition stopped at it",
            OpenPhase::Waiting => "it waits",
            OpenPhase::Unacknowledged => "it is not acknowledged",
        };
        write!(f, ", attempt {attempt}, since {age:.1?}: {phase}")?;
        match self.next_try {
            Some(wait) => write!(f, " in {wait:.1?}"),
            None => Ok(()),
        }
    }
}

/// The records that a partition has begun and not finished, the lowest offset first.
pub(super) fn explain(listener: &'static str, shared: &Shared, acks: Option<&AckDesk>) -> Vec<OpenRecord> {
    first(MOST, listener, shared, acks)
}

fn first(most: usize, listener: &'static str, shared: &Shared, acks: Option<&AckDesk>) -> Vec<OpenRecord> {
    let (now, partition) = (Instant::now(), shared.partition);
    let Some(desk) = shared.desk() else { return one_by_one(most, listener, shared, acks) };
    let of = |one: OpenOne| OpenRecord {
        listener,
        partition,
        offset: one.offset,
        key: one.key().map(shown),
        attempt: one.attempt,
        phase: one.phase,
        age: one.begun.map_or(Duration::ZERO, |begun| now.duration_since(begun)),
        next_try: one.next_try.map(|then| then.saturating_duration_since(now)),
    };
    desk.explain(most).into_iter().map(of).collect()
}

/// The record at `offset`, for the log. It may lie behind many others.
pub(in crate::container) fn describe(
    listener: &'static str,
    remote: &PartitionRemote,
    offset: i64,
) -> String {
    let (shared, acks) = (&remote.shared, remote.desk.as_deref());
    let record = first(usize::MAX, listener, shared, acks).into_iter().find(|record| record.offset == offset);
    record.map_or_else(|| format!("{} at offset {offset}", shared.partition), |record| record.to_string())
}

/// Where records go one after the other: those that were handed over and are not settled, and the one in hand.
fn one_by_one(
    most: usize,
    listener: &'static str,
    shared: &Shared,
    acks: Option<&AckDesk>,
) -> Vec<OpenRecord> {
    let in_hand = in_hand(listener, shared);
    let (now, partition, position) = (Instant::now(), shared.partition, shared.position());
    let open = acks.map(|acks| acks.explain(most)).unwrap_or_default().into_iter();
    // Of a batch it is the first that stands for all.
    let is_at = |one: &Unacknowledged| (one.first..=one.last).contains(&position);
    let has_one = in_hand.is_some();
    let open = open.filter(|one| !(has_one && is_at(one)));
    let of = |one: Unacknowledged| OpenRecord {
        listener,
        partition,
        offset: one.first,
        key: one.key().map(|key| shown(&key)),
        attempt: one.delivered.tries,
        phase: if one.delivered.has_failed { OpenPhase::Parked } else { OpenPhase::Unacknowledged },
        age: now.duration_since(one.delivered.begun),
        next_try: None,
    };
    let mut records: Vec<OpenRecord> = open.map(of).chain(in_hand).collect();
    records.sort_by_key(|record| record.offset);
    records
}

/// The one that its handler has, or would have next.
fn in_hand(listener: &'static str, shared: &Shared) -> Option<OpenRecord> {
    let phase = match shared.phase() {
        PartitionPhase::Idle => return None,
        PartitionPhase::Running => OpenPhase::Running,
        PartitionPhase::Retrying => OpenPhase::Parked,
        PartitionPhase::Stopped => OpenPhase::Stopped,
        _ => OpenPhase::Waiting,
    };
    let (partition, offset) = (shared.partition, shared.position());
    let (key, age) = (shared.key_in_hand(offset).map(|key| shown(&key)), shared.age_in_hand(offset));
    Some(OpenRecord {
        listener,
        partition,
        offset,
        key,
        attempt: shared.attempt(),
        phase,
        age,
        next_try: shared.waits_until().map(|then| then.saturating_duration_since(Instant::now())),
    })
}
