//! One partition's log: batches in offset order, found by offset, by timestamp and by leader epoch.
//!
//! ```text
//! produce request ──▶ Batch::parse (header, checksum) ──▶ Log::append (offset, epoch) ──▶ batches
//!                                             fetch answer ◀── Log::read (shares bytes) ◀──┘
//! ```

use std::collections::VecDeque;

pub(crate) mod batch;
#[cfg(test)]
mod tests;

pub(crate) use batch::Batch;

/// Why a produced batch is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// CORRUPT_MESSAGE
    Corrupt,
    /// INVALID_RECORD, with the reason.
    InvalidRecord(&'static str),
}

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

/// How much a read may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    /// Whether the first batch is returned even where it is larger (KIP-74).
    pub(crate) at_least_one: bool,
}

/// A log. Everything in it is readable: the high watermark is its end.
#[derive(Debug, Default)]
pub(crate) struct Log {
    start: i64,
    end: i64,
    batches: VecDeque<Batch>,
    /// Each leader epoch that wrote, with its first offset.
    epochs: Vec<(i32, i64)>,
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
    pub(crate) fn append(&mut self, mut batch: Batch, leader_epoch: i32) -> i64 {
        let base = self.end;
        batch.place(base, leader_epoch);
        if self.epochs.last().is_none_or(|(last, _)| *last < leader_epoch) {
            self.epochs.push((leader_epoch, base));
        }
        self.end = batch.last_offset() + 1;
        self.batches.push_back(batch);
        base
    }

    /// Adds whole batches from the one that holds `offset` to `into`; their bytes.
    pub(crate) fn read(&self, offset: i64, limit: Limit, into: &mut Vec<Batch>) -> Result<usize, OutOfRange> {
        if offset < self.start || offset > self.end {
            return Err(OutOfRange);
        }
        let mut total = 0;
        for batch in self.batches.range(self.position(offset)..) {
            let first_of_all = total == 0 && limit.at_least_one;
            if total + batch.size() > limit.bytes && !first_of_all {
                break;
            }
            total += batch.size();
            into.push(batch.clone());
        }
        Ok(total)
    }

    /// Bytes from the batch that holds `offset` to the end, counted up to `enough`.
    pub(crate) fn available(&self, offset: i64, enough: usize) -> usize {
        let mut total = 0;
        for batch in self.batches.range(self.position(offset)..) {
            total += batch.size();
            if total >= enough {
                break;
            }
        }
        total
    }

    /// Index of the first batch that ends at or after `offset`.
    fn position(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last_offset() < offset)
    }

    /// The first batch whose highest timestamp is at least `timestamp`.
    pub(crate) fn batch_at_time(&self, timestamp: i64) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.max_timestamp() >= timestamp)
    }

    /// The first batch that has the highest timestamp of all.
    pub(crate) fn batch_of_max_time(&self) -> Option<&Batch> {
        self.batches.iter().reduce(
            |best, next| {
                if next.max_timestamp() > best.max_timestamp() { next } else { best }
            },
        )
    }

    /// The epoch of the record at the start and at the end, for offsets without a record of their own.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.iter().rev().find(|(_, first)| *first <= offset).map(|(epoch, _)| *epoch)
    }

    /// The largest epoch that is not above `epoch`, and where it ended (KIP-101); `None` where the log has none.
    pub(crate) fn end_of_epoch(&self, epoch: i32, current: i32) -> Option<(i32, i64)> {
        if epoch == current {
            return Some((epoch, self.end));
        }
        let after = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let (known, _) = self.epochs.get(after.checked_sub(1)?)?;
        let (_, end) = self.epochs.get(after)?;
        Some((*known, *end))
    }

    /// Makes `offset` the first that can be read (DeleteRecords); batches wholly before it are dropped.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<(), OutOfRange> {
        if offset > self.end {
            return Err(OutOfRange);
        }
        self.start = self.start.max(offset);
        while self.batches.front().is_some_and(|batch| batch.last_offset() < self.start) {
            self.batches.pop_front();
        }
        let kept = self.epochs.partition_point(|(_, first)| *first <= self.start).saturating_sub(1);
        self.epochs.drain(..kept);
        if let Some((_, first)) = self.epochs.first_mut() {
            *first = (*first).max(self.start);
        }
        Ok(())
    }
}
