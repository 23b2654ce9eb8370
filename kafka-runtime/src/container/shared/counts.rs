//! Records by what became of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Records of a partition (or of a listener) by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The handler returned without an error.
    pub handled: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Passed over after the last try.
    pub skipped: u64,
    /// Written to the dead-letter topic after the last try.
    pub dead_lettered: u64,
    /// Sent to a retry topic.
    pub retried_later: u64,
    /// Left out by the listener's `filter`.
    pub filtered: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            handled: self.handled + other.handled,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            retried_later: self.retried_later + other.retried_later,
            filtered: self.filtered + other.filtered,
        }
    }
}

/// The same while it is counted: one writer, any readers.
#[derive(Debug, Default)]
pub(super) struct Counters {
    handled: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    dead_lettered: AtomicU64,
    retried_later: AtomicU64,
    filtered: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, more: Counts) {
        for (counter, more) in [
            (&self.handled, more.handled),
            (&self.failed, more.failed),
            (&self.skipped, more.skipped),
            (&self.dead_lettered, more.dead_lettered),
            (&self.retried_later, more.retried_later),
            (&self.filtered, more.filtered),
        ] {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn read(&self) -> Counts {
        Counts {
            handled: self.handled.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            dead_lettered: self.dead_lettered.load(Ordering::Relaxed),
            retried_later: self.retried_later.load(Ordering::Relaxed),
            filtered: self.filtered.load(Ordering::Relaxed),
        }
    }
}
