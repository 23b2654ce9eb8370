//! What is behind a desk's lock (pure): the open records, the gate, the bound, and what may be committed.

use std::ops::Range;

use kafka_client::group::Life;

use super::super::dispatch::Dispatcher;
use super::super::remembered::{self, Frame, Remembered};
use super::Item;
use crate::container::shared::Safe;

/// What a broker takes as metadata unless `offset.metadata.max.bytes` says otherwise.
const METADATA: usize = 4096;
/// Records that may be finished ahead of an open one, where they are remembered and where a crash repeats them.
const AHEAD_REMEMBERED: u64 = 1 << 20;
const AHEAD_FORGOTTEN: u64 = 1 << 16;

/// See the module.
pub(super) struct State {
    pub(super) dispatcher: Dispatcher<Item>,
    pub(super) epoch: u64,
    /// Of the last batch that was admitted.
    pub(super) leader_epoch: i32,
    pub(super) gate: Gate,
    /// Told to pause: whatever the gate says, nothing goes.
    pub(super) paused: bool,
    /// The most that may be finished and not committed.
    pub(super) bound: Option<u64>,
    /// Of the finished records, those that a confirmed commit covers.
    pub(super) confirmed: u64,
    /// The loop is told when that many are finished, or the window is as small as this.
    pub(super) tell: (u64, Option<usize>),
    /// Whether there is something for the loop to look at.
    pub(super) news: bool,
    pub(super) stopped: Option<String>,
    /// How much metadata may be written; 0 where nothing is to be remembered.
    pub(super) metadata: usize,
    pub(super) remembered: Remembered,
    pub(super) life: Option<Life>,
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

impl State {
    pub(super) fn new(start: i64, epoch: u64, bound: Option<u64>, remember: bool) -> Self {
        Self {
            dispatcher: Dispatcher::new(start),
            epoch,
            leader_epoch: -1,
            gate: Gate::Open,
            paused: false,
            bound,
            confirmed: 0,
            tell: (u64::MAX, None),
            news: false,
            stopped: None,
            metadata: if remember { METADATA } else { 0 },
            remembered: Remembered::default(),
            life: None,
        }
    }

    /// A new epoch of the position begins.
    pub(super) fn restart(&mut self, start: i64, epoch: u64) {
        self.dispatcher = Dispatcher::new(start);
        (self.epoch, self.leader_epoch, self.gate) = (epoch, -1, Gate::Open);
        (self.confirmed, self.tell, self.stopped) = (0, (u64::MAX, None), None);
        self.remembered = Remembered::default();
    }

    /// How many records may be admitted, of a window of so many.
    pub(super) fn room(&self, window: usize) -> usize {
        let ahead = self.dispatcher.finished() - self.dispatcher.settled();
        let most = if self.metadata > 0 { AHEAD_REMEMBERED } else { AHEAD_FORGOTTEN };
        match ahead < most {
            true => window.saturating_sub(self.dispatcher.window()),
            false => 0,
        }
    }

    pub(super) fn life_holds(&self) -> bool {
        self.life.as_ref().is_none_or(Life::holds)
    }

    /// The bound on what a crash repeats: records that run or are finished and not committed. The first open record may
    /// have the last place, since it holds up the commit of all others.
    pub(super) fn takeable(&self) -> usize {
        let ready = self.dispatcher.ready();
        if self.gate != Gate::Open || self.paused || ready == 0 {
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

    pub(super) fn is_told(&self) -> bool {
        let (finished, window) = self.tell;
        self.dispatcher.finished() >= finished
            || window.is_some_and(|window| self.dispatcher.window() <= window)
    }

    pub(super) fn totals(&self) -> Totals {
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

    pub(super) fn safe(&self) -> Safe {
        let dispatcher = &self.dispatcher;
        let covered = if self.metadata > 0 { dispatcher.finished() } else { dispatcher.settled() };
        // Where a record is open, its own leader epoch: whoever checks the log by it finds the record before in place.
        let first = dispatcher.first().map(|open| open.item.batch.batch().header().leader_epoch);
        let leader_epoch = first.unwrap_or(self.leader_epoch);
        Safe { epoch: self.epoch, offset: dispatcher.safe(), leader_epoch, covered }
    }

    pub(super) fn to_commit(&self) -> (Safe, String) {
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
