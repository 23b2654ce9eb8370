//! Which record may go to a handler next, and how far it is safe to commit. Pure: offsets, lanes and times in.
//!
//! ```text
//!            safe()                                             frontier()
//!              ▼                                                   ▼
//!   finished ──[running]─ finished ─[parked]─[queued]─[ready]─ fin. ── not admitted yet
//!                  └────────────── lane 7 ──────┘
//! ```
//!
//! Only open records are kept. Records of one lane (a key) go one after the other, in the order of their offsets, also
//! while the first of them waits for its next try. Of those that may go, the lowest offset goes first: that keeps what
//! is finished ahead of an open record small, and gives a frequent key, whose records lag behind, precedence.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use tokio::time::Instant;

/// What is open of one partition. `T` is whatever a record's handler needs.
#[derive(Debug)]
pub(crate) struct Dispatcher<T> {
    open: BTreeMap<i64, Open<T>>,
    /// The last open record of each lane.
    tails: HashMap<u64, i64, BuildHasherDefault<AsItIs>>,
    ready: BinaryHeap<Reverse<i64>>,
    parked: BTreeSet<(Instant, i64)>,
    running: usize,
    /// Everything below it was admitted, or is not for a handler.
    frontier: i64,
    /// Records that were finished, and those of them below the first open one.
    finished: u64,
    settled: u64,
    /// Once what waited was discarded: the safe offset of that moment.
    discarded: Option<i64>,
}

/// An admitted record that is not finished.
#[derive(Debug)]
pub(crate) struct Open<T> {
    lane: Option<u64>,
    /// The next record of its lane.
    next: Option<i64>,
    /// 1 at the first try.
    pub(crate) attempt: u32,
    pub(crate) state: State,
    /// When it went to a handler for the first time.
    pub(crate) begun: Option<Instant>,
    /// How it failed, if it is tried again.
    pub(crate) failed: Option<Box<Failures>>,
    /// Finished records between this one and the next open one.
    after: u64,
    pub(crate) item: T,
}

/// The failures of a record that is tried again.
#[derive(Debug)]
pub(crate) struct Failures {
    /// When it failed for the first time.
    pub(crate) since: Instant,
    /// The last one, with the record.
    pub(crate) last: String,
}

/// What an open record waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// For an earlier record of its lane.
    Queued,
    /// For a handler that is free.
    Ready,
    /// For its handler's return, since then.
    Running(Instant),
    /// For its next try, until then.
    Parked(Instant),
    /// For nothing any more: the partition stopped at it.
    Stopped,
}

/// A record on its way to a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) offset: i64,
    pub(crate) attempt: u32,
}

/// An open record with what follows it, for a description of what is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The open record.
    pub(crate) offset: i64,
    /// Finished records between it and the next open one (or the frontier).
    pub(crate) finished: u64,
}

impl<T> Dispatcher<T> {
    /// A partition that is read from `start`.
    pub(crate) fn new(start: i64) -> Self {
        Self {
            open: BTreeMap::new(),
            tails: HashMap::default(),
            ready: BinaryHeap::new(),
            parked: BTreeSet::new(),
            running: 0,
            frontier: start,
            finished: 0,
            settled: 0,
            discarded: None,
        }
    }

    /// Takes in the record at `offset`, which is not below the frontier. Without a lane it waits for no other.
    pub(crate) fn admit(&mut self, offset: i64, lane: Option<u64>, item: T) {
        if offset < self.frontier {
            return;
        }
        self.frontier = offset + 1;
        let before = lane.and_then(|lane| self.tails.insert(lane, offset));
        let state = match before.and_then(|before| self.open.get_mut(&before)) {
            Some(before) => {
                before.next = Some(offset);
                State::Queued
            }
            None => {
                self.ready.push(Reverse(offset));
                State::Ready
            }
        };
        self.open.insert(
            offset,
            Open { lane, next: None, attempt: 1, state, begun: None, failed: None, after: 0, item },
        );
    }

    /// Everything below `next` that was not admitted is not for a handler.
    pub(crate) fn pass_to(&mut self, next: i64) {
        self.frontier = self.frontier.max(next);
    }

    /// The record that may go next, if any.
    pub(crate) fn peek(&self) -> Option<i64> {
        self.ready.peek().map(|Reverse(offset)| *offset)
    }

    /// The record that may go next goes to a handler.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Taken> {
        let Reverse(offset) = self.ready.pop()?;
        let open = self.open.get_mut(&offset)?;
        open.state = State::Running(now);
        open.begun.get_or_insert(now);
        self.running += 1;
        Some(Taken { offset, attempt: open.attempt })
    }

    /// The record is done; the next one of its lane may go. `false`: it was not open.
    pub(crate) fn finish(&mut self, offset: i64) -> bool {
        let Some(open) = self.open.remove(&offset) else { return false };
        self.leave_state(offset, open.state);
        if self.discarded.is_some() {
            return true;
        }
        self.finished += 1;
        let freed = open.after + 1;
        match self.open.range_mut(..offset).next_back() {
            Some((_, before)) => before.after += freed,
            None => self.settled += freed,
        }
        match open.next {
            Some(next) => self.make_ready(next),
            None => self.end_lane(open.lane, offset),
        }
        true
    }

    /// The record in hand failed, as `last` tells: it is tried again from `until` on; its lane waits with it.
    pub(crate) fn park(&mut self, offset: i64, until: Instant, now: Instant, last: String) {
        if let Some(open) = self.put_down(offset, State::Parked(until)) {
            let since = open.failed.as_ref().map_or(now, |failed| failed.since);
            open.failed = Some(Box::new(Failures { since, last }));
            open.attempt = open.attempt.saturating_add(1);
            self.parked.insert((until, offset));
        }
    }

    /// The record in hand may go again from now on, as if it had not been tried; time that it is tried for begins anew.
    pub(crate) fn put_back(&mut self, offset: i64, now: Instant) {
        if let Some(open) = self.put_down(offset, State::Parked(now)) {
            open.failed = None;
            self.parked.insert((now, offset));
        }
    }

    /// The record in hand stays open, and nobody tries it again.
    pub(crate) fn stop_at(&mut self, offset: i64) {
        self.put_down(offset, State::Stopped);
    }

    /// Parked records whose time has come may go again.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some((until, offset)) = self.parked.first().copied().filter(|(until, _)| *until <= now) {
            self.parked.remove(&(until, offset));
            self.make_ready(offset);
        }
    }

    /// When the next parked record may go.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.parked.first().map(|(until, _)| *until)
    }

    /// The position moved: all that waits is let go of, and what runs comes to nothing.
    pub(crate) fn discard(&mut self) {
        self.discarded = Some(self.safe());
        self.open.retain(|_, open| matches!(open.state, State::Running(_)));
        self.ready.clear();
        self.parked.clear();
        self.tails.clear();
    }

    /// The offset to commit: everything below it is finished or not for a handler.
    pub(crate) fn safe(&self) -> i64 {
        let first = self.open.first_key_value().map_or(self.frontier, |(offset, _)| *offset);
        self.discarded.unwrap_or(first)
    }

    /// Everything below it was admitted, or is not for a handler.
    pub(crate) fn frontier(&self) -> i64 {
        self.frontier
    }

    /// Admitted records that are not finished.
    pub(crate) fn window(&self) -> usize {
        self.open.len()
    }

    /// Records in handlers' hands.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Records that may go now.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Records that failed and wait for their next try.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Records that were finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    /// Those of them below [`Dispatcher::safe`].
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Open records, in the order of their offsets.
    pub(crate) fn open(&self) -> impl Iterator<Item = (i64, &Open<T>)> {
        self.open.iter().map(|(offset, open)| (*offset, open))
    }

    /// One that is open.
    pub(crate) fn get(&self, offset: i64) -> Option<&Open<T>> {
        self.open.get(&offset)
    }

    /// The first that is open.
    pub(crate) fn first(&self) -> Option<&Open<T>> {
        self.open.first_key_value().map(|(_, open)| open)
    }

    /// What is finished ahead of the first open record.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let open = self.open.iter().filter(|_| self.discarded.is_none());
        open.map(|(offset, open)| Gap { offset: *offset, finished: open.after })
    }

    fn make_ready(&mut self, offset: i64) {
        if let Some(open) = self.open.get_mut(&offset) {
            open.state = State::Ready;
            self.ready.push(Reverse(offset));
        }
    }

    /// The record in hand is in nobody's hand any more; `None` if that is the end of it.
    fn put_down(&mut self, offset: i64, state: State) -> Option<&mut Open<T>> {
        if self.discarded.is_some() {
            self.finish(offset);
            return None;
        }
        let before = self.open.get(&offset)?.state;
        self.leave_state(offset, before);
        let open = self.open.get_mut(&offset)?;
        open.state = state;
        Some(open)
    }

    fn leave_state(&mut self, offset: i64, state: State) {
        match state {
            State::Running(_) => self.running -= 1,
            State::Parked(until) => {
                self.parked.remove(&(until, offset));
            }
            State::Queued | State::Ready | State::Stopped => {}
        }
    }

    fn end_lane(&mut self, lane: Option<u64>, offset: i64) {
        if let Some(lane) = lane.filter(|lane| self.tails.get(lane) == Some(&offset)) {
            self.tails.remove(&lane);
        }
    }
}

/// Lanes are hashes already.
#[derive(Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
