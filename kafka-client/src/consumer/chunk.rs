//! What one fetch brought of one partition, opened batch by batch by whoever handles it.

use bytes::Bytes;

use crate::fetch::aborted::Aborted;
use crate::ids::TopicPartition;
use crate::records::control::{ControlType, control_type};
use crate::records::{Batch, BatchHeader, Batches, RecordError, Records};

/// A part of a partition as one fetch brought it. Verified and decompressed batch by batch as it is read.
#[derive(Debug)]
pub struct Chunk {
    partition: TopicPartition,
    epoch: u64,
    /// The first offset that the reader wants: a fetch can start inside a batch.
    position: i64,
    end_offset: i64,
    bytes: Bytes,
    batches: Batches,
    /// Under `read_committed`.
    aborted: Option<Aborted>,
    failed_at: i64,
}

/// What a chunk is made of.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: TopicPartition,
    pub(crate) epoch: u64,
    pub(crate) position: i64,
    pub(crate) end_offset: i64,
    pub(crate) bytes: Bytes,
    pub(crate) check_crcs: bool,
    pub(crate) aborted: Option<Aborted>,
}

impl Chunk {
    pub(crate) fn new(part: Part) -> Self {
        Self {
            partition: part.partition,
            epoch: part.epoch,
            position: part.position,
            end_offset: part.end_offset,
            batches: Batches::new(part.bytes.clone(), part.check_crcs),
            bytes: part.bytes,
            aborted: part.aborted,
            failed_at: part.position,
        }
    }

    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// The position's epoch that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The first offset that is wanted of it.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Bytes as they came from the broker.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The next batch with something in it or only offsets to pass (control, aborted, compacted away): see
    /// [`ChunkBatch::next_offset`]. Lower records than the position are left out.
    ///
    /// # Errors
    /// A batch that cannot be read; nothing after it is read either.
    pub fn next_batch(&mut self) -> Result<Option<ChunkBatch>, RecordError> {
        // A header that cannot be read is left to `next_batch`, which fails with it and then ends.
        while let Ok(Some(header)) = self.batches.peek_header() {
            if header.next_offset() <= self.position {
                self.batches.skip_batch();
                continue;
            }
            // Where reading stands if this batch cannot be opened.
            self.failed_at = self.failed_at.max(header.base_offset);
            break;
        }
        let Some(batch) = self.batches.next_batch()? else { return Ok(None) };
        self.failed_at = batch.header().next_offset();
        let view = self.view_of(&batch);
        let share = batch.is_detached().then(|| self.bytes.clone());
        Ok(Some(ChunkBatch { batch, view, _share: share }))
    }

    fn view_of(&mut self, batch: &Batch) -> View {
        let header = batch.header();
        let aborted = self.aborted.as_mut().is_some_and(|aborted| {
            let covered = aborted.covers(header);
            if is_abort_marker(header, batch) {
                aborted.ended(header);
            }
            covered
        });
        if aborted || header.is_control {
            View::Nothing
        } else if header.base_offset < self.position {
            View::From(self.position)
        } else {
            View::All
        }
    }

    /// The first offset of the batch that failed, after an error.
    #[must_use]
    pub fn failed_at(&self) -> i64 {
        self.failed_at
    }

    /// The partition's high watermark (or last stable offset under `read_committed`) when it was fetched.
    #[must_use]
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }
}

fn is_abort_marker(header: &BatchHeader, batch: &Batch) -> bool {
    header.is_control
        && matches!(batch.records().next(),
            Some(Ok(record)) if control_type(record.key) == Some(ControlType::Abort))
}

/// Which records of a batch a reader should see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    All,
    /// Those at this offset and after it.
    From(i64),
    Nothing,
}

/// One opened batch of a chunk. Cheap to clone; keeps the bytes it borrows from, and its share of the prefetch
/// budget, alive.
#[derive(Debug, Clone)]
pub struct ChunkBatch {
    batch: Batch,
    view: View,
    /// A decompressed batch borrows nothing from the answer, but stays charged as if it did.
    _share: Option<Bytes>,
}

impl ChunkBatch {
    /// The records that a reader should see, in order: none of a control or aborted batch, none below the position.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        match self.view {
            View::All => self.batch.records(),
            View::From(offset) => self.batch.records_from(offset),
            View::Nothing => Records::none(),
        }
    }

    /// The batch that the records borrow from.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Whether the reader should see any of it.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.view != View::Nothing
    }

    /// The offset after everything in this batch, gaps and markers included.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.batch.header().next_offset()
    }
}
