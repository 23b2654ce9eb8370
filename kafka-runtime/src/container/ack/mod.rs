//! Acknowledgement by hand.
//!
//! ```text
//!   lane ──deliver──▶ AckDesk (ledger) ◀──ack / nack / drop── Ack, from any task
//!     ▲                   └──▶ safe offset ──▶ committer
//!     └──failures to deliver again─┘
//! ```
//!
//! Records are delivered while earlier ones wait for their acknowledgement; the ledger commits only what is settled
//! without a gap. How far delivery may run ahead of it is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
pub(crate) use self::desk::WINDOW;
pub(crate) use self::desk::{AckDesk, Unacknowledged};
use crate::listener::HandlerError;

mod desk;

/// What a dropped acknowledgement is called.
const DROPPED: &str = "its Ack was dropped without an acknowledgement";

/// Makes `Ack`s for the records of one partition.
#[derive(Debug)]
pub struct AckIssuer {
    desk: Arc<AckDesk>,
    /// Tells this delivery from an earlier one of the same record.
    delivery: AtomicU64,
}

/// A record's acknowledgement, for `ack = "manual"`: may be kept, moved to another task, and used there.
/// Dropping it without a call is a failed outcome of the record.
#[derive(Debug)]
#[must_use = "dropping an Ack unused is a failed outcome of its record"]
pub struct Ack {
    desk: Arc<AckDesk>,
    last: i64,
    delivery: u64,
    used: bool,
}

/// The partition was given away before the acknowledgement.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the partition was given away before this record was acknowledged: another member handles it again")]
pub struct AckError;

impl AckIssuer {
    /// An `Ack` for the record at `offset` (or, for a batch, for everything up to it).
    pub fn issue(&self, offset: i64) -> Ack {
        let delivery = self.delivery.load(Ordering::Relaxed);
        self.desk.issued();
        Ack { desk: Arc::clone(&self.desk), last: offset, delivery, used: false }
    }

    pub(crate) fn new(desk: Arc<AckDesk>) -> Self {
        Self { desk, delivery: AtomicU64::new(0) }
    }

    pub(crate) fn desk(&self) -> &AckDesk {
        &self.desk
    }

    pub(crate) fn shared_desk(&self) -> Arc<AckDesk> {
        Arc::clone(&self.desk)
    }

    /// Records from `first` to `last` go to a handler now.
    pub(crate) fn deliver(&self, first: i64, last: i64) {
        self.delivery.store(self.desk.deliver(first, last), Ordering::Relaxed);
    }
}

impl Ack {
    /// The record is handled. Committed at the cadence, or at once with `manual-immediate`.
    ///
    /// # Errors
    /// The partition is not this member's any more.
    pub fn ack(mut self) -> Result<(), AckError> {
        self.used = true;
        self.desk.settle(self.last, self.delivery)
    }

    /// The record is not handled: a failed outcome with this reason.
    pub fn nack(mut self, reason: impl Into<String>) {
        self.used = true;
        self.desk.fail(self.last, self.delivery, HandlerError::from(reason.into()));
    }

    /// The record is not handled: a failed outcome with this error.
    pub(crate) fn fail(mut self, error: HandlerError) {
        self.used = true;
        self.desk.fail(self.last, self.delivery, error);
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.used {
            self.desk.fail(self.last, self.delivery, HandlerError::from(DROPPED));
        }
        self.desk.ended();
    }
}

#[cfg(test)]
mod tests {
    use kafka_client::TopicPartition;

    use super::*;
    use crate::container::cadence::Settled;
    use crate::container::shared::Shared;

    fn issuer() -> (AckIssuer, Arc<Shared>) {
        let shared = Arc::new(Shared::new(TopicPartition::new("jobs", 0), 0, 1, -1, true));
        (AckIssuer::new(AckDesk::new(Arc::clone(&shared), 0, None)), shared)
    }

    fn delivered(issuer: &AckIssuer, offset: i64) -> Ack {
        issuer.deliver(offset, offset);
        issuer.issue(offset)
    }

    #[test]
    fn acknowledgements_out_of_order_commit_the_prefix() {
        let (issuer, shared) = issuer();
        let acks: Vec<Ack> = (0..3).map(|offset| delivered(&issuer, offset)).collect();
        let [first, second, third] = <[Ack; 3]>::try_from(acks).unwrap();
        third.ack().unwrap();
        assert_eq!(shared.safe().offset, 0);
        assert_eq!(issuer.desk().take_settled(), Settled { records: 1, safe: 0, ahead: 1, open: 2 });
        first.ack().unwrap();
        assert_eq!(shared.safe().offset, 1);
        second.ack().unwrap();
        assert_eq!(shared.safe().offset, 3);
        assert_eq!(issuer.desk().take_settled(), Settled { records: 2, safe: 3, ahead: 0, open: 0 });
    }

    #[test]
    fn dropping_and_refusing_are_failures_with_their_reasons() {
        let (issuer, shared) = issuer();
        drop(delivered(&issuer, 0));
        delivered(&issuer, 1).nack("no stock");
        let failures = issuer.desk().take_failures();
        let told: Vec<_> =
            failures.iter().map(|failure| (failure.first, failure.reason.to_string())).collect();
        assert_eq!(told, [(0, DROPPED.into()), (1, "no stock".into())]);
        assert_eq!(shared.safe().offset, 0);
    }

    #[test]
    fn an_old_ack_cannot_fail_a_later_try_but_may_settle_it() {
        let (issuer, shared) = issuer();
        let (one, two) = (delivered(&issuer, 0), delivered(&issuer, 0));
        drop(one);
        assert!(!issuer.desk().has_failures());
        two.ack().unwrap();
        assert_eq!(shared.safe().offset, 1);

        let late = delivered(&issuer, 1);
        assert!(issuer.desk().take_back(1));
        late.ack().unwrap();
        assert_eq!(shared.safe().offset, 2);
        assert!(!issuer.desk().take_back(1), "it was acknowledged");
    }

    #[test]
    fn after_the_partition_has_gone_it_is_an_error() {
        let (issuer, shared) = issuer();
        let (one, two) = (delivered(&issuer, 0), delivered(&issuer, 1));
        issuer.desk().close();
        one.ack().unwrap_err();
        drop(two);
        assert!(!issuer.desk().has_failures());
        assert_eq!(shared.safe().offset, 0);
    }

    #[test]
    fn an_ack_of_an_older_position_is_an_error() {
        let (issuer, shared) = issuer();
        let old = delivered(&issuer, 0);
        issuer.desk().restart(0);
        let new = delivered(&issuer, 0);
        old.ack().unwrap_err();
        new.ack().unwrap();
        assert_eq!(shared.safe().offset, 1);
    }

    #[test]
    fn an_ack_for_the_front_of_a_batch_settles_that() {
        let (issuer, shared) = issuer();
        issuer.deliver(0, 9);
        let front = issuer.issue(3);
        front.ack().unwrap();
        assert_eq!(shared.safe().offset, 4);
        issuer.deliver(4, 9);
        drop(issuer.issue(5));
        let failures = issuer.desk().take_failures();
        assert_eq!((failures[0].first, failures[0].last), (4, 5));
    }

    #[test]
    fn the_window_is_bounded() {
        let (issuer, _) = issuer();
        let mut acks: Vec<Ack> =
            (0..i64::try_from(WINDOW).unwrap()).map(|offset| delivered(&issuer, offset)).collect();
        assert!(issuer.desk().is_full());
        acks.swap_remove(1).ack().unwrap();
        assert!(issuer.desk().is_full(), "the first one still holds it");
        acks.swap_remove(0).ack().unwrap();
        assert!(!issuer.desk().is_full());
        for ack in acks {
            ack.ack().unwrap();
        }
        assert!(issuer.desk().is_clear());
    }
}
