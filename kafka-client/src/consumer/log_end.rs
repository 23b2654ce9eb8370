//! Where a partition's log ends, as the fetch answers said last: what lag is counted from, without a request for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The end of a partition's log, as the last fetch answer told it: the high watermark or, under `read_committed`, the
/// last stable offset. No request is made for it, so it is as old as the last answer that named the partition: a
/// broker names a partition when its end moves, and does not while the partition is paused.
#[derive(Debug, Default)]
pub struct LogEnd(Mutex<Option<(i64, Instant)>>);

impl LogEnd {
    pub(crate) fn told(&self, offset: i64) {
        // A follower that redirects knows of none.
        if offset >= 0 {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((offset, Instant::now()));
        }
    }

    /// The offset that the next record will have; `None` as long as no answer told it.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.last().map(|(offset, _)| offset)
    }

    /// How long ago it was told.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.last().map(|(_, at)| at.elapsed())
    }

    fn last(&self) -> Option<(i64, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
