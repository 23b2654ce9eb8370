//! What a lane does when a record fails.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::records::Record;
use tracing::{error, warn};

use super::{End, Lane, Verdict};
use crate::container::flow::Fate;
use crate::container::outcome::{Where, told};
use crate::container::recovery::{Failed, Resolution};
use crate::container::shared::{Counts, PartitionPhase, Signal};
use crate::container::status::EventKind;
use crate::listener::Failure;

impl Lane {
    /// What becomes of a record that failed; waits before it is tried again, and for brokers. Other partitions go on
    /// meanwhile. `in_hand` records were taken with it and are not finished either.
    pub(crate) async fn failed(&mut self, failed: &Failed<'_>, failure: &Failure, in_hand: u64) -> Verdict {
        self.handler_waits(in_hand);
        let verdict = match self.fate(failure, failed.record.offset).await {
            Fate::Again(opened) => {
                self.tell_held_up(failed, failure, opened);
                self.try_again(Verdict::Again).await
            }
            Fate::Policy => match self.resolve(failed, failure).await {
                Resolution::Retry(wait) => self.wait_to_retry(wait).await,
                Resolution::Settled => Verdict::Skip,
                Resolution::Stop(_) => Verdict::End(End::Stop),
            },
        };
        if let Verdict::End(_) = verdict {
            self.give_back(in_hand);
            self.abort_transaction().await;
        }
        verdict
    }

    /// What the policy makes of a failure, carried out.
    pub(crate) async fn resolve(&mut self, failed: &Failed<'_>, failure: &Failure) -> Resolution {
        self.permit = None;
        let (work, shared) = (Arc::clone(&self.work), Arc::clone(&self.shared));
        self.tell_failed(failed, &told(failure));
        // It may be a broker that is waited for.
        shared.set_phase(PartitionPhase::Waiting);
        let resolution = work.recovery.resolve(failed, failure, &shared).await;
        match &resolution {
            Resolution::Retry(_) => self.shared.set_attempt(failed.attempt.saturating_add(1)),
            Resolution::Settled => {
                self.unhandled += 1;
                self.shared.set_attempt(1);
            }
            Resolution::Stop(cause) => self.rest_stopped(cause.clone()),
        }
        resolution
    }

    pub(super) fn tell_failed(&self, failed: &Failed<'_>, cause: &str) {
        self.work.events.emit(self.work.id, || EventKind::RecordFailed {
            partition: failed.partition,
            offset: failed.record.offset,
            attempt: failed.attempt,
            cause: cause.to_owned(),
        });
    }

    /// A batch failed as a whole for the last time: its records go one by one.
    pub(crate) fn failed_together(&mut self, at: Where<'_>, failure: &Failure, records: u64) {
        self.shared.add(Counts { failed: 1, ..Counts::default() });
        let (listener, cause) = (self.work.id, told(failure));
        warn!(listener, record = %at, records, cause, "batch failed; its records are handed over one by one to find which");
        self.shared.set_cause(Some(format!("{at}: {cause}")));
    }

    /// These records were taken, or passed, and are not for the handler: they cost nothing of the rate.
    pub(crate) fn filtered(&mut self, taken: u64) {
        self.unhandled += taken;
        self.lent = self.lent.saturating_sub(taken);
        self.shared.add(Counts { filtered: 1, ..Counts::default() });
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

    /// A record of a retry topic waits until it is due, and those behind it with it; nothing else does.
    pub(crate) async fn until_due(&mut self, record: &Record<'_>) -> Option<End> {
        self.work.recovery.not_due_for(record.headers)?;
        self.settle(record.offset);
        self.release();
        self.drained().await;
        loop {
            if let Some(end) = self.clear().await {
                return Some(end);
            }
            self.shared.set_phase(PartitionPhase::Waiting);
            let wait = self.work.recovery.not_due_for(record.headers)?;
            let _waits = self.shared.wait_in_hand(wait);
            // It ends early for a jump, a pause, a commit, or when the partition is given away.
            let _ = tokio::time::timeout(wait, self.shared.raised(Signal::Look)).await;
        }
    }

    async fn wait_to_retry(&mut self, wait: Duration) -> Verdict {
        self.shared.set_phase(PartitionPhase::Retrying);
        // It ends early when the partition is given away, or the position has jumped.
        let ends = || self.shared.signal() >= Signal::Drain || self.shared.is_outdated();
        let waits = self.shared.wait_in_hand(wait);
        let _ = tokio::time::timeout(wait, self.shared.woken(|| ends().then_some(()))).await;
        drop(waits);
        self.try_again(Verdict::Retry).await
    }

    /// Waits for what stands against another try.
    pub(super) async fn try_again(&mut self, verdict: Verdict) -> Verdict {
        loop {
            if let Some(end) = self.clear().await {
                return Verdict::End(end);
            }
            if self.have_leave(1).await && self.have_permit().await {
                break;
            }
        }
        // Tries in place are not limited.
        self.repay();
        self.shared.set_phase(PartitionPhase::Running);
        verdict
    }

    /// The batch cannot be read from `offset` on.
    #[cold]
    pub(crate) fn unreadable(&mut self, offset: i64, cause: &str) -> End {
        self.settle(offset);
        let (listener, partition) = (self.work.id, self.partition());
        error!(
            listener, %partition, offset, cause,
            "partition stopped: it cannot be read from here on; its offset stays, other partitions go on"
        );
        self.rest_stopped(format!("{partition} at offset {offset}: {cause}"));
        self.permit = None;
        End::Stop
    }

    /// The record in hand was tried again and succeeded.
    pub(crate) fn recovered(&mut self) {
        if self.issuer.is_none() {
            self.went_well();
        }
        self.shared.set_attempt(1);
        self.shared.set_cause(None);
    }
}
