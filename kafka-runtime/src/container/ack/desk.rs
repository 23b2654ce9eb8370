//! The ledger of one partition with its open deliveries: where the lane delivers and `Ack`s settle.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use kafka_client::consumer::ChunkBatch;
use tokio::time::Instant;

use super::AckError;
use crate::container::cadence::Settled;
use crate::container::commit::Committer;
use crate::container::ledger::Ledger;
use crate::container::shared::{Retrying, Shared};
use crate::container::unsettled::{Delivered, Unsettled};
use crate::listener::HandlerError;

/// Deliveries of one partition that may wait for their acknowledgement, or for that of an earlier one.
pub(crate) const WINDOW: usize = 1_000;

/// A delivery that was not acknowledged.
#[derive(Debug)]
pub(crate) struct NotAcknowledged {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) reason: HandlerError,
}

/// A delivery that is open, for explanations.
#[derive(Debug)]
pub(crate) struct Unacknowledged {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) delivered: Delivered,
    batch: Option<ChunkBatch>,
}

impl Unacknowledged {
    pub(crate) fn key(&self) -> Option<Vec<u8>> {
        let mut records = self.batch.as_ref()?.records().flatten();
        records.find(|record| record.offset == self.first)?.key.map(<[u8]>::to_vec)
    }
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
    open: Unsettled,
    deliveries: u64,
    failures: Vec<NotAcknowledged>,
    /// Records settled since the last look, and whether an `Ack` said so of one.
    settled: u64,
    acknowledged: bool,
    /// `Ack`s that were issued and not used or dropped yet.
    under_way: usize,
    /// `Ack`s of deliveries below are from before the partition was given away, or from an older position.
    oldest_valid: u64,
    closed: bool,
}

impl AckDesk {
    pub(crate) fn new(shared: Arc<Shared>, start: i64, immediate: Option<Committer>) -> Arc<Self> {
        let state = State {
            ledger: Ledger::new(start),
            open: Unsettled::default(),
            deliveries: 0,
            failures: Vec::new(),
            settled: 0,
            acknowledged: false,
            under_way: 0,
            oldest_valid: 0,
            closed: false,
        };
        Arc::new(Self { shared, immediate, state: Mutex::new(state) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// There is one more `Ack`.
    pub(super) fn issued(&self) {
        self.with(|state| state.under_way += 1);
    }

    /// An `Ack` was used or dropped.
    pub(super) fn ended(&self) {
        self.with(|state| state.under_way = state.under_way.saturating_sub(1));
        self.shared.wake();
    }

    /// A delivery (again, perhaps); its number.
    pub(super) fn deliver(&self, first: i64, last: i64) -> u64 {
        self.with(|state| {
            state.ledger.deliver(first, last);
            state.deliveries += 1;
            state.open.deliver(last, state.deliveries);
            // What an earlier try of it reported is history.
            state.failures.retain(|failure| failure.last != last);
            state.deliveries
        })
    }

    pub(super) fn settle(&self, last: i64, delivery: u64) -> Result<(), AckError> {
        let changed = self.with(|state| {
            if state.closed || delivery < state.oldest_valid {
                return Err(AckError);
            }
            let settled = state.settle(last);
            state.acknowledged |= settled;
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

    pub(super) fn fail(&self, last: i64, delivery: u64, reason: HandlerError) {
        let noted = self.with(|state| {
            state.split(last);
            let current = !state.closed && state.open.get(last).is_some_and(|open| open.number == delivery);
            let Some(first) = state.ledger.first_of(last).filter(|_| current) else { return false };
            state.open.fail(last);
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
            state.open.renumber(last, state.deliveries);
            state.failures.retain(|failure| failure.last != last);
            state.ledger.is_open(last)
        })
    }

    /// The delivery that ends with `last` is done without an acknowledgement.
    pub(crate) fn settle_by_policy(&self, last: i64) {
        self.with(|state| {
            state.settle(last);
            self.shared.acknowledged_to(state.ledger.safe());
        });
    }

    /// Of the delivery around `last`, what ends there goes its own way.
    pub(crate) fn split(&self, last: i64) {
        self.with(|state| state.split(last));
    }

    /// Keeps the batches of what is about to be delivered, as long as that is open.
    pub(crate) fn hold(&self, batches: &[ChunkBatch]) {
        self.with(|state| state.open.hold(batches, state.ledger.safe()));
    }

    /// The batches that open records are in.
    pub(crate) fn batches(&self, first: i64, last: i64) -> Vec<ChunkBatch> {
        self.with(|state| state.open.batches(first, last))
    }

    /// The batch that an open record is in.
    pub(crate) fn batch_of(&self, offset: i64) -> Option<ChunkBatch> {
        self.with(|state| state.open.batch_of(offset))
    }

    /// What is open, the lowest offset first.
    pub(crate) fn explain(&self, most: usize) -> Vec<Unacknowledged> {
        self.with(|state| {
            let State { ledger, open, .. } = state;
            let of = |(first, last): (i64, i64)| {
                Some(Unacknowledged { first, last, delivered: open.get(last)?, batch: open.batch_of(first) })
            };
            ledger.open().filter_map(of).take(most).collect()
        })
    }

    /// The first record whose `Ack` is awaited, and since when; not one that waits for its next try.
    pub(crate) fn awaited(&self) -> Option<(i64, Instant)> {
        self.with(|state| {
            let State { ledger, open, .. } = state;
            let mut of = ledger.open().filter_map(|(first, last)| Some((first, open.get(last)?)));
            of.find(|(_, open)| !open.has_failed).map(|(first, open)| (first, open.latest))
        })
    }

    /// Deliveries that failed before and are not settled. Not those that are `given_up`.
    pub(crate) fn retrying(&self, given_up: &[i64]) -> Option<Retrying> {
        self.with(|state| {
            let State { ledger, open, .. } = state;
            let failed = |last| open.get(last).is_some_and(|open| open.has_failed || open.tries > 1);
            let mut failed = ledger.open().filter(|(first, last)| failed(*last) && !given_up.contains(first));
            let (offset, _) = failed.next()?;
            Some(Retrying { records: 1 + failed.count(), offset, cause: None })
        })
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
        self.room() == 0
    }

    /// How many deliveries may be made before it has.
    pub(crate) fn room(&self) -> u64 {
        self.with(|state| WINDOW.saturating_sub(state.ledger.window()) as u64)
    }

    /// Whether no `Ack` is under way any more.
    pub(crate) fn is_clear(&self) -> bool {
        self.with(|state| state.under_way == 0)
    }

    /// Whether something was acknowledged or refused since the last look.
    pub(crate) fn has_news(&self) -> bool {
        self.with(|state| state.settled > 0 || !state.failures.is_empty())
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.with(|state| !state.failures.is_empty())
    }

    pub(crate) fn take_failures(&self) -> Vec<NotAcknowledged> {
        self.with(|state| std::mem::take(&mut state.failures))
    }

    /// What was settled since the last call, and how far that went.
    pub(crate) fn take_settled(&self) -> Settled {
        self.with(|state| Settled {
            records: std::mem::take(&mut state.settled),
            safe: state.ledger.safe(),
            ahead: state.ledger.ahead(),
            open: state.ledger.open_offsets(),
        })
    }

    /// Whether one was acknowledged since the last call.
    pub(crate) fn take_acknowledged(&self) -> bool {
        self.with(|state| std::mem::take(&mut state.acknowledged))
    }

    /// Whether a delivery of these offsets waits for its end.
    pub(crate) fn is_open_within(&self, offsets: &RangeInclusive<i64>) -> bool {
        self.with(|state| state.ledger.is_open_within(offsets))
    }

    /// The position moved to `start`: what is open belongs to the old one.
    pub(crate) fn restart(&self, start: i64) {
        self.with(|state| {
            state.ledger = Ledger::new(start);
            state.open.clear();
            state.failures.clear();
            state.settled = 0;
            state.oldest_valid = state.deliveries + 1;
        });
    }

    /// The partition is given away: acknowledgements are refused from now on.
    pub(crate) fn close(&self) {
        self.with(|state| state.closed = true);
    }
}

impl State {
    /// An `Ack` may stand for the front of a delivery: a batch whose rest could not be decoded.
    fn split(&mut self, last: i64) {
        if let Some(end) = self.ledger.split(last) {
            self.open.split(last, end);
        }
    }

    fn settle(&mut self, last: i64) -> bool {
        self.split(last);
        let first = self.ledger.first_of(last).unwrap_or(last);
        let settled = self.ledger.settle(last);
        if settled {
            self.open.settle(last);
            self.failures.retain(|failure| failure.last != last);
            self.settled += u64::try_from(last - first + 1).unwrap_or(1);
        }
        settled
    }
}
