//! One partition's log: batches in offset order, found by offset, by timestamp and by leader epoch.
//!
//! ```text
//! produce request ──▶ Produced::parse (header, checksum) ──▶ Log::append (offset, epoch) ──▶ batches
//!                                                fetch answer ◀── Log::read (shares bytes) ◀──┘
//! ```
//! compact takes superseded records out; rewrite writes what is left of a batch.
//!
//! Where Kafka deletes and compacts by segments, each batch counts as a segment here: `segment.bytes` and `segment.ms`
//! have no effect, and what retention takes is exact to a batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

mod batch;
mod compact;
#[cfg(test)]
mod compact_tests;
mod rewrite;
#[cfg(test)]
mod tests;

pub(crate) use batch::{Batch, Produced, Refusal, Written as WrittenBatch};
pub(crate) use compact::Terms as CompactionTerms;

/// The offset asked for is outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfRange;

/// An offset, the timestamp of its record and the epoch of its append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

impl Found {
    fn new((offset, timestamp): (i64, i64), batch: &Batch) -> Self {
        Self { offset, timestamp, leader_epoch: batch.leader_epoch }
    }
}

/// How much a read may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    /// Whether the first batch is returned even where it is larger (KIP-74).
    pub(crate) at_least_one: bool,
    /// The first offset that may not be read.
    pub(crate) until: i64,
}

/// A transaction that was aborted, as far as it is in this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    /// Its first record.
    pub(crate) first: i64,
    /// Its marker.
    pub(crate) last: i64,
}

/// A log. Everything in it is readable: the high watermark is its end.
#[derive(Debug)]
pub(crate) struct Log {
    start: i64,
    end: i64,
    batches: VecDeque<Arc<Batch>>,
    /// Of all batches.
    bytes: usize,
    /// Each leader epoch that wrote, with its first offset.
    epochs: Vec<(i32, i64)>,
    /// In the order of their markers.
    aborted: VecDeque<Aborted>,
}

impl Default for Log {
    /// An empty log in its first leader epoch.
    fn default() -> Self {
        Self {
            start: 0,
            end: 0,
            batches: VecDeque::new(),
            bytes: 0,
            epochs: vec![(0, 0)],
            aborted: VecDeque::new(),
        }
    }
}

impl Log {
    /// The first offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Appends a batch; its base offset.
    pub(crate) fn append(&mut self, batch: Produced, leader_epoch: i32) -> i64 {
        let base = self.end;
        let batch = batch.place(base, leader_epoch);
        if self.epochs.last().is_none_or(|(last, _)| *last < leader_epoch) {
            self.epochs.push((leader_epoch, base));
        }
        self.end = batch.last_offset + 1;
        self.bytes += batch.size();
        self.batches.push_back(Arc::new(batch));
        base
    }

    /// Adds whole batches from the one that holds `offset` to `into`; their bytes.
    pub(crate) fn read(
        &self,
        offset: i64,
        limit: Limit,
        into: &mut Vec<Arc<Batch>>,
    ) -> Result<usize, OutOfRange> {
        if offset < self.start || offset > self.end {
            return Err(OutOfRange);
        }
        let mut total = 0;
        for batch in self.batches.range(self.position(offset)..) {
            if batch.base_offset() >= limit.until {
                break;
            }
            let first_of_all = total == 0 && limit.at_least_one;
            if total + batch.size() > limit.bytes && !first_of_all {
                break;
            }
            total += batch.size();
            into.push(Arc::clone(batch));
        }
        Ok(total)
    }

    /// Remembers that a transaction was aborted whose marker was appended last.
    pub(crate) fn abort(&mut self, producer_id: i64, first: i64) {
        self.aborted.push_back(Aborted { producer_id, first, last: self.end - 1 });
    }

    /// The aborted transactions that a reader of the offsets from `from` to before `until` meets.
    pub(crate) fn aborted(&self, from: i64, until: i64) -> impl Iterator<Item = Aborted> {
        let begin = self.aborted.partition_point(|aborted| aborted.last < from);
        self.aborted.range(begin..).filter(move |aborted| aborted.first < until).copied()
    }

    /// Index of the first batch that ends at or after `offset`.
    fn position(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last_offset < offset)
    }

    /// The first record that can be read whose timestamp is at least `timestamp`.
    pub(crate) fn at_time(&self, timestamp: i64) -> Option<Found> {
        let start = self.start;
        let candidates = self.batches.iter().filter(|batch| batch.max_timestamp >= timestamp);
        candidates.into_iter().find_map(|batch| {
            let found = batch.find(|record| record.offset >= start && record.timestamp >= timestamp)?;
            Some(Found::new(found, batch))
        })
    }

    /// The first record that has the highest timestamp of all.
    pub(crate) fn at_max_time(&self) -> Option<Found> {
        let latest = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        self.at_time(latest)
    }

    /// The leader epoch that holds, or would hold, `offset`.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.iter().rev().find(|(_, first)| *first <= offset).map(|(epoch, _)| *epoch)
    }

    /// A new leader begins: what it writes, if anything, begins here. An epoch that wrote nothing leaves no trace.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.retain(|(_, first)| *first < self.end);
        self.epochs.push((epoch, self.end));
    }

    /// Ends the log at `end`, or before the batch that holds it: what lies behind was on a replica that is gone.
    /// Beyond its end there is nothing to lose, and it never ends before its start.
    pub(crate) fn truncate(&mut self, end: i64) {
        let end = end.clamp(self.start, self.end);
        while self.batches.back().is_some_and(|last| last.last_offset >= end) {
            let Some(last) = self.batches.pop_back() else { break };
            self.bytes -= last.size();
            self.end = last.base_offset().max(self.start);
        }
        // Where compaction has left a gap there is no batch to end before.
        self.end = self.end.min(end);
        let end = self.end;
        self.aborted.retain(|aborted| aborted.last < end);
        self.epochs.retain(|(_, first)| *first < end);
    }

    /// Its batches, the oldest first.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &Arc<Batch>> {
        self.batches.iter()
    }

    /// The largest epoch that is not above `epoch`, and where it ended (KIP-101): as Kafka's cache of epochs answers.
    /// `None` for an epoch that is yet to come.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let after = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let before = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        match (before, self.epochs.get(after)) {
            (Some((known, _)), None) => (*known == epoch).then_some((epoch, self.end)),
            (Some((known, _)), Some((_, end))) => Some((*known, *end)),
            (None, Some((_, end))) => Some((epoch, *end)),
            (None, None) => None,
        }
    }

    /// Drops the oldest batches for as long as `limit` bytes are left without them (`retention.bytes`). Whether
    /// anything was.
    pub(crate) fn shrink(&mut self, limit: usize) -> bool {
        self.drop_while(|log, oldest| log.bytes - oldest.size() >= limit)
    }

    /// Drops the oldest batches whose records are all older than `time` (`retention.ms`). Whether anything was.
    pub(crate) fn expire(&mut self, time: i64) -> bool {
        self.drop_while(|_, oldest| (0..time).contains(&oldest.max_timestamp))
    }

    /// Drops the oldest batches that came `age` ago or earlier. Whether anything was.
    pub(crate) fn expire_arrived(&mut self, age: Duration) -> bool {
        self.drop_while(|_, oldest| oldest.arrived.elapsed() >= age)
    }

    fn drop_while(&mut self, is_over: impl Fn(&Self, &Batch) -> bool) -> bool {
        let before = self.start;
        while let Some(oldest) = self.batches.front().filter(|oldest| is_over(self, oldest)) {
            let next = oldest.last_offset + 1;
            // The end of a batch is not beyond the log's.
            let _ = self.delete_before(next);
        }
        self.start > before
    }

    /// Makes `offset` the first that can be read (DeleteRecords); batches wholly before it are dropped.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<(), OutOfRange> {
        if !(0..=self.end).contains(&offset) {
            return Err(OutOfRange);
        }
        self.start = self.start.max(offset);
        while self.batches.front().is_some_and(|batch| batch.last_offset < self.start) {
            self.bytes -= self.batches.pop_front().map_or(0, |batch| batch.size());
        }
        while self.aborted.front().is_some_and(|aborted| aborted.last < self.start) {
            self.aborted.pop_front();
        }
        let kept = self.epochs.partition_point(|(_, first)| *first <= self.start).saturating_sub(1);
        self.epochs.drain(..kept);
        if let Some((_, first)) = self.epochs.first_mut() {
            *first = (*first).max(self.start);
        }
        Ok(())
    }
}
