//! Where a partition's log ends: what lag is counted from. Fetch answers tell it of what is fetched; of what is not, because
//! it is paused, or has stopped, or its reader is behind, leaders are asked now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::task::{Done, Task};
use crate::fetch::Map;
use crate::fetch::leader::{Sought, Told, list_offsets};
use crate::fetch::reset::Target;

/// How often it is looked for ends that nobody told lately.
const EVERY: Duration = Duration::from_secs(5);

/// The end of a partition's log: the high watermark or, under `read_committed`, the last stable offset. Fetch answers tell it
/// when it moves, without a request for it. Where the partition is paused, is not read any more, or records of it wait for their
/// reader, its leader is asked each 5 s.
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

impl Task {
    /// Asks where the logs end of which nobody told anything lately, and from which nothing may be fetched.
    pub(super) fn ask_ends(&mut self) {
        let picture = self.env.cluster.snapshot();
        let mut questions: Map<i32, Vec<Sought>> = Map::default();
        for (partition, held) in &self.partitions {
            // Its reader is behind, or has gone, or it cannot be read on.
            let is_behind = held.paused
                || held.slot.has_items()
                || held.slot.is_over()
                || held.tracker.placed_with().is_none();
            let is_old = held.slot.log_end().age().is_none_or(|age| age >= EVERY / 2);
            if let Some((broker, leader_epoch)) = picture.leader(*partition).filter(|_| is_behind && is_old) {
                let sought = Sought { partition: *partition, leader_epoch, target: Target::Latest };
                questions.entry(broker).or_default().push(sought);
            }
        }
        for (broker, sought) in questions {
            let (pool, isolation) = (Arc::clone(&self.env.pool), self.env.config.isolation);
            self.jobs.spawn(async move {
                let told = timeout(EVERY, list_offsets(&pool, broker, &sought, isolation, EVERY)).await;
                // Who did not tell is asked again.
                Done::Ends(told.ok().and_then(Result::ok).unwrap_or_default())
            });
        }
        self.ends_due = self.now() + EVERY;
    }

    pub(super) fn ends(&mut self, told: Vec<Told>) {
        for (partition, told) in told {
            if let (Some(held), Ok(end)) = (self.partitions.get(&partition), told) {
                held.slot.log_end().told(end.offset);
            }
        }
    }
}
