//! What a lane does when a record fails.

use std::time::Duration;

use tracing::{error, warn};

use super::{End, Lane, Verdict};
use crate::container::events::EventKind;
use crate::container::outcome::{Outcome, Where, decide, told};
use crate::container::shared::{Counts, PartitionPhase, Signal};
use crate::listener::Failure;

impl Lane {
    /// What becomes of a record that failed; waits before it is tried again. Other partitions go on meanwhile.
    /// `in_hand` records were taken with it and are not finished either.
    pub(crate) async fn failed(&mut self, at: Where<'_>, failure: &Failure, in_hand: u64) -> Verdict {
        self.handler_waits(in_hand);
        let verdict = match self.judge(at, failure) {
            Outcome::Retry(wait) => self.wait_to_retry(wait).await,
            Outcome::Skip => Verdict::Skip,
            Outcome::Stop => Verdict::End(End::Stop),
        };
        if let Verdict::End(_) = verdict {
            self.give_back(in_hand);
        }
        verdict
    }

    /// Whether the policy gives no more tries.
    pub(crate) fn is_spent(&self, failure: &Failure, attempt: u32) -> bool {
        !matches!(decide(&self.work.settings, failure, attempt, 0.0), Outcome::Retry(_))
    }

    /// A batch failed as a whole for the last time: its records go one by one.
    pub(crate) fn failed_together(&mut self, at: Where<'_>, failure: &Failure, in_hand: u64) {
        self.handler_waits(in_hand);
        self.shared.add(Counts { failed: 1, ..Counts::default() });
        let (listener, cause) = (self.work.id, told(failure));
        warn!(listener, record = %at, records = in_hand, cause, "batch failed; its records are handed over one by one to find which");
        self.shared.set_cause(Some(format!("{at}: {cause}")));
    }

    /// Of the records in hand the first `records` are finished: everything below `offset`.
    pub(crate) fn part_done(&mut self, records: u64, offset: i64) {
        self.granted -= records;
        self.shared.set_position(offset);
        self.count(records);
    }

    /// These records were taken and are not finished: they are not counted.
    pub(crate) fn give_back(&mut self, records: u64) {
        self.fuel = self.granted.min(self.fuel + records);
    }

    /// The handler failed: its delivery is the loop's business again. `false` if it was acknowledged before.
    pub(crate) fn take_back(&self, last: i64) -> bool {
        self.issuer.as_ref().is_none_or(|issuer| issuer.desk().take_back(last))
    }

    /// The delivery that ends with `last` is done without an acknowledgement.
    pub(crate) fn settle_by_policy(&self, last: i64) {
        if let Some(issuer) = &self.issuer {
            issuer.desk().settle_by_policy(last);
        }
    }

    /// Of the delivery around `last`, what ends there waits for an acknowledgement of its own.
    pub(crate) fn split(&self, last: i64) {
        if let Some(issuer) = &self.issuer {
            issuer.desk().split(last);
        }
    }

    /// What the policy makes of a failure, counted and told.
    pub(crate) fn judge(&mut self, at: Where<'_>, failure: &Failure) -> Outcome {
        self.shared.add(Counts { failed: 1, ..Counts::default() });
        let (listener, cause) = (self.work.id, told(failure));
        self.work.events.emit(listener, || EventKind::RecordFailed {
            partition: at.partition,
            offset: at.offset,
            attempt: at.attempt,
            cause: cause.clone(),
        });
        let outcome = decide(&self.work.settings, failure, at.attempt, self.work.rng.unit());
        match outcome {
            Outcome::Retry(wait) => {
                warn!(listener, record = %at, ?wait, cause, "handler failed; it is tried again");
                self.shared.set_cause(Some(format!("{at}: {cause}")));
            }
            Outcome::Skip => {
                self.skipped += 1;
                error!(listener, record = %at, cause, "record skipped (on-exhausted: skip)");
            }
            Outcome::Stop => self.stop(at, &cause),
        }
        outcome
    }

    async fn wait_to_retry(&mut self, wait: Duration) -> Verdict {
        self.shared.set_phase(PartitionPhase::Retrying);
        self.permit = None;
        // It ends early when the partition is given away, or the position has jumped.
        let ends = || self.shared.signal() >= Signal::Drain || self.shared.is_outdated();
        let _ = tokio::time::timeout(wait, self.shared.woken(|| ends().then_some(()))).await;
        loop {
            if let Some(end) = self.clear().await {
                return Verdict::End(end);
            }
            if self.have_permit().await {
                break;
            }
        }
        self.shared.set_phase(PartitionPhase::Running);
        Verdict::Retry
    }

    fn stop(&mut self, at: Where<'_>, cause: &str) {
        let listener = self.work.id;
        error!(
            listener, record = %at, cause,
            "partition stopped (on-exhausted: stop): its offset stays at this record, other partitions go on; `resume` or a seek starts it again, as does a new assignment"
        );
        self.rest_stopped(format!("{at}: {cause}"));
        self.permit = None;
    }

    /// The batch cannot be read from `offset` on.
    #[cold]
    pub(crate) fn unreadable(&mut self, offset: i64, cause: &str) -> End {
        self.settle(offset);
        self.stop(Where { partition: self.partition(), offset, key: None, attempt: 1 }, cause);
        End::Stop
    }

    /// The record in hand was tried again and succeeded.
    pub(crate) fn recovered(&self) {
        self.shared.set_cause(None);
    }
}
