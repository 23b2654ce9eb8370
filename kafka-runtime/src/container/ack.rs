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

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::commit::Committer;
use super::ledger::Ledger;
use super::shared::Shared;

/// Deliveries of one partition that may wait for their acknowledgement, or for that of an earlier one.
pub(crate) const WINDOW: usize = 1_000;

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
        Ack { desk: Arc::clone(&self.desk), last: offset, delivery, used: false }
    }

    pub(crate) fn new(desk: Arc<AckDesk>) -> Self {
        Self { desk, delivery: AtomicU64::new(0) }
    }

    pub(crate) fn desk(&self) -> &AckDesk {
        &self.desk
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
        self.desk.fail(self.last, self.delivery, reason.into());
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.used {
            self.desk.fail(self.last, self.delivery, DROPPED.into());
        }
    }
}

/// A delivery that was not acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAcknowledged {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) reason: String,
}

/// The ledger of one partition with its open deliveries, shared with the `Ack`s.
#[derive(Debug)]
pub(crate) struct AckDesk {
    shared: Arc<Shared>,
    /// Where acknowledgements ask for a commit at once.
    immediate: Option<Committer>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// The last delivery number of each open one, by last offset: an `Ack` of an earlier try cannot fail a later one.
    open: HashMap<i64, u64>,
    deliveries: u64,
    failures: Vec<NotAcknowledged>,
    /// Records acknowledged since the last look.
    settled: u64,
    /// `Ack`s of deliveries below are from before the partition was given away, or from an older position.
    oldest_valid: u64,
    closed: bool,
}

impl AckDesk {
    pub(crate) fn new(shared: Arc<Shared>, start: i64, immediate: Option<Committer>) -> Arc<Self> {
        let state = State {
            ledger: Ledger::new(start),
            open: HashMap::new(),
            deliveries: 0,
            failures: Vec::new(),
            settled: 0,
            oldest_valid: 0,
            closed: false,
        };
        Arc::new(Self { shared, immediate, state: Mutex::new(state) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A delivery (again, perhaps); its number.
    fn deliver(&self, first: i64, last: i64) -> u64 {
        self.with(|state| {
            state.ledger.deliver(first, last);
            state.deliveries += 1;
            state.open.insert(last, state.deliveries);
            // What an earlier try of it reported is history.
            state.failures.retain(|failure| failure.last != last);
            state.deliveries
        })
    }

    fn settle(&self, last: i64, delivery: u64) -> Result<(), AckError> {
        let changed = self.with(|state| {
            if state.closed || delivery < state.oldest_valid {
                return Err(AckError);
            }
            let settled = state.settle(last);
            self.shared.acknowledged_to(state.ledger.safe());
            Ok(settled)
        })?;
        if changed {
            if let Some(committer) = &self.immediate {
                committer.ask(&self.shared);
            }
            self.shared.wake();
        }
        Ok(())
    }

    fn fail(&self, last: i64, delivery: u64, reason: String) {
        let noted = self.with(|state| {
            let current = !state.closed && state.open.get(&last) == Some(&delivery);
            let Some(first) = state.ledger.first_of(last).filter(|_| current) else { return false };
            state.failures.push(NotAcknowledged { first, last, reason });
            true
        });
        if noted {
            self.shared.wake();
        }
    }

    /// The handler failed: the delivery is the loop's own business again, whatever its `Ack` said meanwhile.
    /// `false` when it had been acknowledged before.
    pub(crate) fn take_back(&self, last: i64) -> bool {
        self.with(|state| {
            state.deliveries += 1;
            let number = state.deliveries;
            if let Some(open) = state.open.get_mut(&last) {
                *open = number;
            }
            state.failures.retain(|failure| failure.last != last);
            state.ledger.is_open(last)
        })
    }

    /// Everything below `first` of the delivery that ends with `last` is done without an acknowledgement.
    pub(crate) fn settle_below(&self, last: i64, first: i64) {
        self.with(|state| {
            state.ledger.settle_below(last, first);
            if !state.ledger.is_open(last) {
                state.open.remove(&last);
            }
            self.shared.acknowledged_to(state.ledger.safe());
        });
    }

    /// Offsets below `next` that were not delivered are not for a handler.
    pub(crate) fn pass_to(&self, next: i64) {
        self.with(|state| {
            state.ledger.pass_to(next);
            self.shared.acknowledged_to(state.ledger.safe());
        });
    }

    /// Whether delivery has to wait for acknowledgements.
    pub(crate) fn is_full(&self) -> bool {
        self.with(|state| state.ledger.window() >= WINDOW)
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.with(|state| !state.failures.is_empty())
    }

    pub(crate) fn take_failures(&self) -> Vec<NotAcknowledged> {
        self.with(|state| std::mem::take(&mut state.failures))
    }

    /// How many records were acknowledged since the last call.
    pub(crate) fn take_settled(&self) -> u64 {
        self.with(|state| std::mem::take(&mut state.settled))
    }

    /// The position moved to `start`: what is open belongs to the old one.
    pub(crate) fn restart(&self, start: i64) {
        self.with(|state| {
            state.ledger = Ledger::new(start);
            state.open.clear();
            state.failures.clear();
            state.oldest_valid = state.deliveries + 1;
        });
    }

    /// The partition is given away: acknowledgements are refused from now on.
    pub(crate) fn close(&self) {
        self.with(|state| state.closed = true);
    }
}

impl State {
    fn settle(&mut self, last: i64) -> bool {
        let first = self.ledger.first_of(last).unwrap_or(last);
        let settled = self.ledger.settle(last);
        if settled {
            self.open.remove(&last);
            self.failures.retain(|failure| failure.last != last);
            self.settled += u64::try_from(last - first + 1).unwrap_or(1);
        }
        settled
    }
}
