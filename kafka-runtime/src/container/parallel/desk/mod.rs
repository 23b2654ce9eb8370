//! One partition's open records, shared by the loop that admits them, the workers that take them, and the committer.
//!
//! The lock is held for a few hundred nanoseconds, for one record or a chunk of them, never across an await. What is behind
//! it is `state`.

mod state;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kafka_client::consumer::ChunkBatch;
use kafka_client::group::Life;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::state::State;
pub(crate) use self::state::{Gate, Totals};
use super::dispatch::{Open, State as Waits, Taken};
use super::remembered::Remembered;
use crate::container::shared::{Retrying, Safe};

/// See the module.
pub(crate) struct Desk {
    state: Mutex<State>,
    aborted: AtomicBool,
    abort: Notify,
    /// Whether workers are told of it; the pool's business, under its lock.
    pub(super) listed: AtomicBool,
}

/// Where a record lies.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) batch: Arc<ChunkBatch>,
    /// Of the record in its batch.
    pub(crate) position: usize,
}

/// A record for a worker.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) taken: Taken,
    pub(crate) item: Item,
    /// When it failed for the first time.
    pub(crate) failed: Option<Instant>,
}

/// What an open record is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenPhase {
    /// A handler has it.
    Running,
    /// It failed, and waits for its next try; with `ordering = "key"` the later records of its key wait with it.
    Parked,
    /// The partition stopped at it.
    Stopped,
    /// It waits for an earlier record of its key, or for a handler that is free.
    Waiting,
    /// Its handler has returned, and its `Ack` was not used yet, or what it led to (`send_to`) has not arrived.
    Unacknowledged,
}

/// A record that is open, for `explain`.
#[derive(Debug, Clone)]
pub(crate) struct OpenOne {
    pub(crate) offset: i64,
    pub(crate) attempt: u32,
    pub(crate) begun: Option<Instant>,
    pub(crate) phase: OpenPhase,
    pub(crate) next_try: Option<Instant>,
    pub(crate) item: Item,
}

impl OpenOne {
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.item.batch.batch().record_at(self.item.position).ok()?.key
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its records.
        let (safe, totals) = (self.safe(), self.totals());
        f.debug_struct("Desk").field("safe", &safe).field("totals", &totals).finish_non_exhaustive()
    }
}

impl Desk {
    pub(crate) fn new(start: i64, epoch: u64, bound: Option<u64>, remember: bool) -> Self {
        Self {
            state: Mutex::new(State::new(start, epoch, bound, remember)),
            aborted: AtomicBool::new(false),
            abort: Notify::new(),
            listed: AtomicBool::new(false),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // The loop.

    /// What the metadata of the committed offset says, and the life in which each record is taken.
    pub(crate) fn begin(&self, remembered: Remembered, life: Life) {
        self.with(|state| (state.remembered, state.life) = (remembered, Some(life)));
    }

    /// How many records may be admitted, of a window of so many.
    pub(crate) fn room(&self, window: usize) -> usize {
        self.with(|state| state.room(window))
    }

    /// Takes in records of one batch, each with its lane; those that an earlier owner finished are passed.
    pub(crate) fn admit(
        &self,
        leader_epoch: i32,
        records: impl Iterator<Item = (i64, Option<u64>, Item)>,
    ) -> u64 {
        self.with(|state| {
            state.leader_epoch = state.leader_epoch.max(leader_epoch);
            let mut passed = 0;
            for (offset, lane, item) in records {
                match state.remembered.take(offset, leader_epoch) {
                    true => {
                        state.dispatcher.pass_to(offset + 1);
                        passed += 1;
                    }
                    false => state.dispatcher.admit(offset, lane, item),
                }
            }
            passed
        })
    }

    /// Everything below `next` that was not admitted is not for a handler.
    pub(crate) fn pass_to(&self, next: i64, leader_epoch: i32) {
        self.with(|state| {
            state.dispatcher.pass_to(next);
            state.leader_epoch = state.leader_epoch.max(leader_epoch);
        });
    }

    /// Parked records whose time has come may go again. When the next one is due.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        self.with(|state| {
            state.dispatcher.wake(now);
            state.dispatcher.next_wake()
        })
    }

    /// Tells the loop when so many records are finished, or no more than `window` are open. `false`: it is so already.
    pub(crate) fn tell_at(&self, finished: u64, window: Option<usize>) -> bool {
        self.with(|state| {
            state.tell = (finished, window);
            !state.is_told()
        })
    }

    /// Opens or shuts the gate; a closed one stays closed until the position moves.
    pub(crate) fn set_gate(&self, gate: Gate) {
        self.with(|state| {
            if state.gate != Gate::Closed {
                state.gate = gate;
            }
        });
    }

    /// Pauses or goes on, from the next record on.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.with(|state| state.paused = paused);
    }

    /// Whether there is something to look at since the last [`Desk::look`].
    pub(crate) fn has_news(&self) -> bool {
        self.with(|state| state.news)
    }

    pub(crate) fn look(&self) -> Totals {
        self.with(|state| {
            state.news = false;
            state.totals()
        })
    }

    pub(crate) fn totals(&self) -> Totals {
        self.with(|state| state.totals())
    }

    /// Whether no record has failed that is still open.
    pub(crate) fn is_calm(&self) -> bool {
        self.with(|state| state.dispatcher.parked() == 0 && state.stopped.is_none())
    }

    /// Why it stopped, if it did.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.with(|state| state.stopped.clone())
    }

    /// The position moved: what waits is let go of, what runs comes to nothing.
    pub(crate) fn discard(&self) {
        self.with(|state| {
            if state.gate == Gate::Open {
                state.gate = Gate::Held;
            }
            state.dispatcher.discard();
        });
    }

    /// A new epoch of the position begins; nothing runs.
    pub(crate) fn restart(&self, start: i64, epoch: u64) {
        self.with(|state| state.restart(start, epoch));
    }

    /// Handlers in hand are dropped at their await points, and what they still do comes to nothing.
    pub(crate) fn abort(&self) {
        self.with(|state| state.gate = Gate::Closed);
        self.aborted.store(true, Ordering::Release);
        self.abort.notify_waiters();
    }

    // Workers.

    /// A record for a handler.
    pub(crate) fn take(&self, now: Instant) -> Option<Ticket> {
        self.with(|state| {
            if state.takeable() == 0 {
                state.news |= state.dispatcher.ready() > 0;
                return None;
            }
            if !state.life_holds() {
                (state.gate, state.news) = (Gate::Held, true);
                return None;
            }
            let taken = state.dispatcher.take(now)?;
            let open = state.dispatcher.get(taken.offset)?;
            Some(Ticket {
                taken,
                item: open.item.clone(),
                failed: open.failed.as_ref().map(|failed| failed.since),
            })
        })
    }

    /// How many records may be taken now.
    pub(crate) fn takeable(&self) -> usize {
        self.with(|state| state.takeable())
    }

    /// The record is done. Whether the loop has something to look at.
    pub(crate) fn finish(&self, offset: i64) -> bool {
        self.settle(|state| {
            state.dispatcher.finish(offset);
        })
    }

    /// The record failed, as `cause` tells, and is tried again from `until` on.
    pub(crate) fn park(&self, offset: i64, until: Instant, now: Instant, cause: String) -> bool {
        self.settle(|state| {
            state.dispatcher.park(offset, until, now, cause);
            state.news = true;
        })
    }

    /// The record in hand goes back as if it had not been tried.
    pub(crate) fn put_back(&self, offset: i64, now: Instant) -> bool {
        self.settle(|state| {
            state.dispatcher.put_back(offset, now);
            state.news = true;
        })
    }

    /// The partition stops at this record; handlers in hand finish.
    pub(crate) fn stop_at(&self, offset: i64, cause: String) -> bool {
        self.settle(|state| {
            state.dispatcher.stop_at(offset);
            state.stopped.get_or_insert(cause);
            (state.gate, state.news) = (Gate::Closed, true);
        })
    }

    fn settle(&self, change: impl FnOnce(&mut State)) -> bool {
        if self.is_aborted() {
            return false;
        }
        self.with(|state| {
            change(state);
            state.news |= state.is_told() || state.dispatcher.running() == 0;
            state.news
        })
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Waits for [`Desk::abort`].
    pub(crate) async fn aborted(&self) {
        let mut notified = std::pin::pin!(self.abort.notified());
        notified.as_mut().enable();
        if !self.is_aborted() {
            notified.await;
        }
    }

    // The committer and whoever asks.

    /// What may be committed. `covered` counts what the metadata says too, if all of it fits.
    pub(crate) fn safe(&self) -> Safe {
        self.with(|state| state.safe())
    }

    /// What may be committed, with its metadata.
    pub(crate) fn to_commit(&self) -> (Safe, String) {
        self.with(|state| state.to_commit())
    }

    /// A commit of this was confirmed.
    pub(crate) fn confirm(&self, sent: &Safe) {
        self.with(|state| {
            if state.epoch == sent.epoch {
                (state.confirmed, state.news) = (sent.covered, true);
            }
        });
    }

    /// Whether something was finished that no confirmed commit covers.
    pub(crate) fn is_behind(&self) -> bool {
        self.with(|state| state.safe().covered > state.confirmed)
    }

    /// The broker refused metadata of this length.
    pub(crate) fn metadata_refused(&self, length: usize) {
        self.with(|state| state.metadata = state.metadata.min(length / 2));
    }

    pub(crate) fn position(&self) -> i64 {
        self.with(|state| state.dispatcher.safe())
    }

    /// The record that is to be admitted next.
    pub(crate) fn frontier(&self) -> i64 {
        self.with(|state| state.dispatcher.frontier())
    }

    /// The record whose handler has run longest.
    pub(crate) fn oldest_running(&self) -> Option<i64> {
        self.with(|state| {
            let running = state.dispatcher.open().filter_map(|(offset, open)| match open.state {
                Waits::Running(since) => Some((since, offset)),
                _ => None,
            });
            running.min().map(|(_, offset)| offset)
        })
    }

    /// Records that failed and are tried again: they wait for that, or a handler has them again. Not those that are
    /// `given_up`.
    pub(crate) fn retrying(&self, given_up: &[i64]) -> Option<Retrying> {
        self.with(|state| {
            let open = state.dispatcher.open().filter(|(offset, _)| !given_up.contains(offset));
            let mut failed = open.filter_map(|(offset, open)| Some((offset, open.failed.as_ref()?)));
            let (offset, first) = failed.next()?;
            Some(Retrying { records: 1 + failed.count(), offset, cause: Some(first.last.clone()) })
        })
    }

    /// Records in handlers' hands.
    pub(crate) fn running(&self) -> Vec<i64> {
        self.with(|state| {
            let running = |(_, open): &(i64, &Open<Item>)| matches!(open.state, Waits::Running(_));
            state.dispatcher.open().filter(running).map(|(offset, _)| offset).collect()
        })
    }

    /// Open records that a handler has or had, and the first one.
    pub(crate) fn explain(&self, most: usize) -> Vec<OpenOne> {
        self.with(|state| {
            let of = |(offset, open): (i64, &Open<Item>)| {
                let (phase, next_try) = match open.state {
                    Waits::Running(_) => (OpenPhase::Running, None),
                    Waits::Parked(until) => (OpenPhase::Parked, Some(until)),
                    Waits::Stopped => (OpenPhase::Stopped, None),
                    Waits::Queued | Waits::Ready => (OpenPhase::Waiting, None),
                };
                OpenOne {
                    offset,
                    attempt: open.attempt,
                    begun: open.begun,
                    phase,
                    next_try,
                    item: open.item.clone(),
                }
            };
            state.dispatcher.open().map(of).filter(|one| one.begun.is_some()).take(most).collect()
        })
    }
}
