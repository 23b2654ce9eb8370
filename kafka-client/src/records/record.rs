//! The records of a batch, one by one.

use std::iter::FusedIterator;

use super::batches::Batch;
use super::header::{BatchHeader, TimestampType};
use super::headers::{HeadersView, read_nullable};
use super::{Flaw, RecordError, legacy, take, varint};

/// One record, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'b> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, -1 in magic 0.
    pub timestamp: i64,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'b [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'b [u8]>,
    /// The headers, parsed when asked for.
    pub headers: HeadersView<'b>,
    /// Where the record starts in its batch, for [`Batch::record_at`].
    pub position: usize,
}

/// The records of a batch. After an error it ends.
#[derive(Debug, Clone)]
pub struct Records<'b> {
    base: Base,
    body: &'b [u8],
    rest: &'b [u8],
    left: u32,
}

/// A place between two records of a batch, to go on from later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsMark {
    position: usize,
    left: u32,
}

/// What a record's numbers are relative to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    pub(super) old_format: bool,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    /// With LogAppendTime every record has the batch's time, and the stored one means nothing.
    pub(super) append_time: Option<i64>,
}

impl Base {
    /// `offset` is the header's own base offset in magic 2; what inner offsets are relative to in the old formats.
    pub(super) fn of(header: &BatchHeader, offset: i64) -> Self {
        let append_time =
            (header.timestamp_type == TimestampType::LogAppendTime).then_some(header.max_timestamp);
        Self { old_format: header.magic < 2, offset, timestamp: header.base_timestamp, append_time }
    }
}

impl<'b> Records<'b> {
    pub(super) fn new(base: Base, body: &'b [u8], count: u32) -> Self {
        Self { base, body, rest: body, left: count }
    }

    /// Passes over the records below `offset`. One that cannot be read is not passed over.
    pub(super) fn starting_at(mut self, offset: i64) -> Self {
        loop {
            let before = self.clone();
            match self.next() {
                Some(Ok(record)) if record.offset < offset => {}
                _ => return before,
            }
        }
    }

    /// Where the next record begins, for [`Batch::resume`].
    #[must_use]
    pub fn mark(&self) -> RecordsMark {
        RecordsMark { position: self.body.len() - self.rest.len(), left: self.left }
    }

    /// No records at all, for a batch whose records a reader should not see.
    #[must_use]
    pub fn none() -> Self {
        let base = Base { old_format: false, offset: 0, timestamp: 0, append_time: None };
        Self::new(base, &[], 0)
    }

    #[cold]
    fn fail(&mut self, flaw: Flaw, position: usize) -> RecordError {
        self.left = 0;
        flaw.in_the("record", position)
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let position = self.body.len() - self.rest.len();
        Some(match read(&mut self.rest, &self.base, position) {
            // As Java does: what follows the last record makes the last record the error.
            Ok(_) if self.left == 0 && !self.rest.is_empty() => {
                Err(self.fail(Flaw("bytes after the last record"), position))
            }
            Ok(record) => Ok(record),
            Err(flaw) => Err(self.fail(flaw, position)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The count is the sender's word: an upper bound, nothing to reserve memory by.
        (0, Some(self.left as usize))
    }
}

impl FusedIterator for Records<'_> {}

/// Reads the record at the front of `bytes`, which lies at `position` of its batch.
#[inline]
pub(super) fn read<'b>(bytes: &mut &'b [u8], base: &Base, position: usize) -> Result<Record<'b>, Flaw> {
    if base.old_format {
        return legacy::read_message(bytes, base, position);
    }
    let length = varint::read_i32(bytes)?;
    let length = usize::try_from(length).map_err(|_| Flaw("a negative length"))?;
    let record = take(bytes, length)?;
    let (_attributes, mut record) = record.split_first().ok_or(Flaw("an empty record"))?;
    let timestamp_delta = varint::read_i64(&mut record)?;
    let offset_delta = varint::read_i32(&mut record)?;
    Ok(Record {
        offset: base.offset.wrapping_add(i64::from(offset_delta)),
        timestamp: base.append_time.unwrap_or(base.timestamp.wrapping_add(timestamp_delta)),
        key: read_nullable(&mut record)?,
        value: read_nullable(&mut record)?,
        headers: HeadersView::delimit(record)?,
        position,
    })
}

impl Batch {
    /// The records, in order, control records included.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(self.base(), self.body(), self.count())
    }

    /// The records from `offset` on: a fetch can start inside a batch.
    #[must_use]
    pub fn records_from(&self, offset: i64) -> Records<'_> {
        let records = self.records();
        if offset <= self.header().base_offset { records } else { records.starting_at(offset) }
    }

    /// The records from a mark of this batch on; none where it cannot be one.
    #[must_use]
    pub fn resume(&self, mark: RecordsMark) -> Records<'_> {
        let RecordsMark { position, left } = mark;
        match self.body().get(position..) {
            Some(rest) => Records { base: self.base(), body: self.body(), rest, left },
            None => Records::none(),
        }
    }

    /// The record that starts at `position` (of an earlier [`Record::position`]).
    ///
    /// # Errors
    /// There is no record at that position.
    pub fn record_at(&self, position: usize) -> Result<Record<'_>, RecordError> {
        self.body()
            .get(position..)
            .ok_or(Flaw("a position beyond the end"))
            .and_then(|mut bytes| read(&mut bytes, &self.base(), position))
            .map_err(|flaw| flaw.in_the("record", position))
    }
}
