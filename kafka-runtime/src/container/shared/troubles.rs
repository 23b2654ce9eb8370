//! What keeps records of a partition from being done, while the partition itself goes on.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_client::TopicName;
use tokio::time::Instant;

/// Records of a partition that failed and are tried again, while others of it go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retrying {
    /// How many.
    pub records: usize,
    /// The first of them.
    pub offset: i64,
    /// That record and how its last try failed; `None` where records are settled later than their handlers return: events
    /// tell it.
    pub cause: Option<String>,
}

/// A record that is given up, or goes to a retry topic, and is not acknowledged there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Writing {
    /// Its offset.
    pub offset: i64,
    /// Where it goes.
    pub topic: TopicName,
    /// For how long it has been on its way.
    pub age: Duration,
}

impl fmt::Display for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, topic, age } = self;
        write!(f, "offset {offset} is being written to {topic}, for {age:.0?} by now")
    }
}

/// The records of a partition that are on their way.
#[derive(Debug, Default)]
pub(super) struct Letters(Mutex<Vec<Letter>>);

#[derive(Debug, Clone, Copy)]
struct Letter {
    offset: i64,
    topic: TopicName,
    since: Instant,
}

impl Letters {
    fn all(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is on its way, until this is dropped.
    pub(super) fn write(&self, offset: i64, topic: TopicName) -> OnItsWay<'_> {
        self.all().push(Letter { offset, topic, since: Instant::now() });
        OnItsWay { letters: self, offset }
    }

    pub(super) fn offsets(&self) -> Vec<i64> {
        self.all().iter().map(|letter| letter.offset).collect()
    }

    /// The one that has been for the longest.
    pub(super) fn oldest(&self) -> Option<Writing> {
        let oldest = self.all().iter().min_by_key(|letter| letter.since).copied()?;
        let Letter { offset, topic, since } = oldest;
        Some(Writing { offset, topic, age: since.elapsed() })
    }
}

/// See [`Letters::write`].
pub(crate) struct OnItsWay<'a> {
    letters: &'a Letters,
    offset: i64,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.letters.all().retain(|letter| letter.offset != self.offset);
    }
}
