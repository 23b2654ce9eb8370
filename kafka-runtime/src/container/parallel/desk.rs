//! One partition's open records, shared by the loop that admits them, the workers that take them, and the committer.
//!
//! The lock is held for a few hundred nanoseconds, for one record or a chunk of them, never across an await.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kafka_client::consumer::ChunkBatch;
use kafka_client::group::Lease;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::dispatch::{Dispatcher, State as Waits, Taken};
use super::remembered::{self, Frame, Remembered};
use crate::container::shared::Safe;

/// What a broker takes as metadata unless `offset.metadata.max.bytes` says otherwise.
const METADATA: usize = 4096;
/// Records that may be finished ahead of an open one, where they are remembered and where a crash repeats them.
const AHEAD_REMEMBERED: u64 = 1 << 20;
const AHEAD_FORGOTTEN: u64 = 1 << 16;

/// See the module.
pub(crate) struct Desk {
    state: Mutex<State>,
    aborted: AtomicBool,
    abort: Notify,
    /// Whether workers are told of it; the pool's business, under its lock.
    pub(super) listed: AtomicBool,
}

struct State {
    dispatcher: Dispatcher<Item>,
    epoch: u64,
    /// Of the last batch that was admitted.
    leader_epoch: i32,
    gate: Gate,
    /// The most that may be finished and not committed.
    bound: Option<u64>,
    /// Of the finished records, those that a confirmed commit covers.
    confirmed: u64,
    /// The loop is told when that many are finished, or the window is as small as this.
    tell: (u64, Option<usize>),
    /// Whether there is something for the loop to look at.
    news: bool,
    stopped: Option<String>,
    /// How much metadata may be written; 0 where nothing is to be remembered.
    metadata: usize,
    remembered: Remembered,
    lease: Option<(Arc<Lease>, u64)>,
}

/// Whether records may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// Not before a commit is confirmed, or the lease holds again.
    Held,
    /// Not any more: the partition has stopped, or is given away.
    Closed,
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

/// How far things are, for the loop's decisions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) window: usize,
    pub(crate) running: usize,
    pub(crate) ready: usize,
    pub(crate) parked: usize,
    pub(crate) finished: u64,
    pub(crate) confirmed: u64,
    /// Records that may go now.
    pub(crate) takeable: usize,
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
        let state = State {
            dispatcher: Dispatcher::new(start),
            epoch,
            leader_epoch: -1,
            gate: Gate::Open,
            bound,
            confirmed: 0,
            tell: (u64::MAX, None),
            news: false,
            stopped: None,
            metadata: if remember { METADATA } else { 0 },
            remembered: Remembered::default(),
            lease: None,
        };
        Self {
            state: Mutex::new(state),
            aborted: AtomicBool::new(false),
            abort: Notify::new(),
            listed: AtomicBool::new(false),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    // The loop.

    /// What the metadata of the committed offset says, and the lease that each record is taken under.
    pub(crate) fn begin(&self, remembered: Remembered, lease: Arc<Lease>) {
        self.with(|state| {
            let epoch = lease.epoch();
            (state.remembered, state.lease) = (remembered, Some((lease, epoch)));
        });
    }

    /// How many records may be admitted, of a window of so many.
    pub(crate) fn room(&self, window: usize) -> usize {
        self.with(|state| {
            let ahead = state.dispatcher.finished() - state.dispatcher.settled();
            let most = if state.metadata > 0 { AHEAD_REMEMBERED } else { AHEAD_FORGOTTEN };
            match ahead < most {
                true => window.saturating_sub(state.dispatcher.window()),
                false => 0,
            }
        })
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
        self.with(|state| {
            state.dispatcher = Dispatcher::new(start);
            (state.epoch, state.leader_epoch, state.gate) = (epoch, -1, Gate::Open);
            (state.confirmed, state.tell, state.stopped) = (0, (u64::MAX, None), None);
            state.remembered = Remembered::default();
        });
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
            if !state.lease_holds() {
                (state.gate, state.news) = (Gate::Held, true);
                return None;
            }
            let taken = state.dispatcher.take(now)?;
            let open = state.dispatcher.get(taken.offset)?;
            Some(Ticket { taken, item: open.item.clone(), failed: open.failed })
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

    /// The record is tried again from `until` on.
    pub(crate) fn park(&self, offset: i64, until: Instant, now: Instant) -> bool {
        self.settle(|state| {
            state.dispatcher.park(offset, until, now);
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

    /// Records in handlers' hands.
    pub(crate) fn running(&self) -> Vec<i64> {
        self.with(|state| {
            let running =
                |(_, open): &(i64, &super::dispatch::Open<Item>)| matches!(open.state, Waits::Running(_));
            state.dispatcher.open().filter(running).map(|(offset, _)| offset).collect()
        })
    }

    /// Open records that a handler has or had, and the first one.
    pub(crate) fn explain(&self, most: usize) -> Vec<OpenOne> {
        self.with(|state| {
            let of = |(offset, open): (i64, &super::dispatch::Open<Item>)| {
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

impl State {
    fn lease_holds(&self) -> bool {
        self.lease.as_ref().is_none_or(|(lease, epoch)| lease.is_valid() && lease.epoch() == *epoch)
    }

    /// The bound on what a crash repeats: records that run or are finished and not committed. The first open record may
    /// have the last place, since it holds up the commit of all others.
    fn takeable(&self) -> usize {
        let ready = self.dispatcher.ready();
        if self.gate != Gate::Open || ready == 0 {
            return 0;
        }
        let Some(bound) = self.bound else { return ready };
        let used = self.dispatcher.finished().saturating_sub(self.confirmed)
            + u64::try_from(self.dispatcher.running()).unwrap_or(u64::MAX);
        let left = usize::try_from(bound.saturating_sub(used)).unwrap_or(usize::MAX);
        match self.dispatcher.peek() == Some(self.dispatcher.safe()) {
            true => left.min(ready),
            false => left.saturating_sub(1).min(ready),
        }
    }

    fn is_told(&self) -> bool {
        let (finished, window) = self.tell;
        self.dispatcher.finished() >= finished
            || window.is_some_and(|window| self.dispatcher.window() <= window)
    }

    fn totals(&self) -> Totals {
        let dispatcher = &self.dispatcher;
        Totals {
            window: dispatcher.window(),
            running: dispatcher.running(),
            ready: dispatcher.ready(),
            parked: dispatcher.parked(),
            finished: dispatcher.finished(),
            confirmed: self.confirmed,
            takeable: self.takeable(),
        }
    }

    fn safe(&self) -> Safe {
        let dispatcher = &self.dispatcher;
        let covered = if self.metadata > 0 { dispatcher.finished() } else { dispatcher.settled() };
        // Where a record is open, its own leader epoch: whoever checks the log by it finds the record before in place.
        let first = dispatcher.first().map(|open| open.item.batch.batch().header().leader_epoch);
        let leader_epoch = first.unwrap_or(self.leader_epoch);
        Safe { epoch: self.epoch, offset: dispatcher.safe(), leader_epoch, covered }
    }

    fn to_commit(&self) -> (Safe, String) {
        let safe = self.safe();
        if self.metadata == 0 {
            return (safe, String::new());
        }
        let leader_epoch = self.leader_epoch.max(self.remembered.leader_epoch());
        let frame = Frame { base: safe.offset, leader_epoch, limit: self.metadata };
        let frontier = self.dispatcher.frontier();
        let gaps: Vec<_> = self.dispatcher.gaps().collect();
        let ends = gaps.iter().skip(1).map(|gap| gap.offset).chain([frontier]);
        let finished = gaps.iter().zip(ends).map(|(gap, end)| gap.offset + 1..end);
        // What an earlier owner finished and this one has not come to yet.
        let later = self.remembered.ranges().filter(|range| range.end > frontier);
        let later = later.map(|range| range.start.max(frontier)..range.end);
        let ranges = join(finished.chain(later).filter(|range| !range.is_empty()));
        let (metadata, end) = remembered::encode(frame, ranges.into_iter());
        let told: u64 = gaps.iter().take_while(|gap| gap.offset < end).map(|gap| gap.finished).sum();
        (Safe { covered: self.dispatcher.settled() + told, ..safe }, metadata)
    }
}

/// Ranges in order, those that touch as one.
fn join(ranges: impl Iterator<Item = Range<i64>>) -> Vec<Range<i64>> {
    let mut joined: Vec<Range<i64>> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|last| last.end >= range.start) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}
