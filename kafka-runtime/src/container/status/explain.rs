//! Which records hold up their partitions.

use std::fmt;
use std::time::Duration;

use kafka_client::TopicPartition;
use tokio::time::Instant;

use crate::container::outcome::shown;
use crate::container::parallel::{OpenOne, OpenPhase};
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
    /// Until its next try, while it waits for that.
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
        };
        write!(f, ", attempt {attempt}, since {age:.1?}: {phase}")?;
        match self.next_try {
            Some(wait) => write!(f, " in {wait:.1?}"),
            None => Ok(()),
        }
    }
}

/// The records that a partition has begun and not finished, the lowest offset first.
pub(super) fn explain(listener: &'static str, shared: &Shared) -> Vec<OpenRecord> {
    let (now, partition) = (Instant::now(), shared.partition);
    let Some(desk) = shared.desk() else { return in_hand(listener, shared).into_iter().collect() };
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
    desk.explain(MOST).into_iter().map(of).collect()
}

/// The record at `offset`, for the log.
pub(in crate::container) fn describe(listener: &'static str, shared: &Shared, offset: i64) -> String {
    let record = explain(listener, shared).into_iter().find(|record| record.offset == offset);
    record.map_or_else(|| format!("{} at offset {offset}", shared.partition), |record| record.to_string())
}

/// Where records go one after the other, there is one at most.
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
        next_try: None,
    })
}
