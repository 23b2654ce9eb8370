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

    /// A chunk of these bytes, for tests of what stands on this crate.
    #[doc(hidden)]
    #[must_use]
    pub fn from_bytes(partition: TopicPartition, epoch: u64, position: i64, bytes: Bytes) -> Self {
        Self::new(Part {
            partition,
            epoch,
            position,
            end_offset: i64::MAX,
            bytes,
            check_crcs: true,
            aborted: None,
        })
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

/// A batch that no fetch brought: all of it is to be seen, and nothing is charged for it. For tests of what handles
/// records.
impl From<Batch> for ChunkBatch {
    fn from(batch: Batch) -> Self {
        Self { batch, view: View::All, _share: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compression;
    use crate::fetch::testing::{Recipe, compacted, joined};

    fn chunk(bytes: Bytes, position: i64, aborted: Option<Vec<(i64, i64)>>) -> Chunk {
        Chunk::new(Part {
            partition: TopicPartition::new("orders", 0),
            epoch: 3,
            position,
            end_offset: 1000,
            bytes,
            check_crcs: true,
            aborted: aborted.map(Aborted::new),
        })
    }

    /// The offsets that a reader sees, and the last `next_offset`.
    fn read(mut chunk: Chunk) -> (Vec<i64>, i64) {
        let (mut seen, mut next) = (Vec::new(), -1);
        while let Some(batch) = chunk.next_batch().unwrap() {
            assert!(batch.next_offset() > next);
            next = batch.next_offset();
            let offsets: Vec<_> = batch.records().map(|record| record.unwrap().offset).collect();
            assert_eq!(batch.is_visible() && batch.batch().header().record_count > 0, !offsets.is_empty());
            seen.extend(offsets);
        }
        (seen, next)
    }

    #[test]
    fn a_fetch_can_start_inside_a_batch() {
        let bytes = joined(&[Recipe::new(10, 5).build(), Recipe::new(15, 3).build()]);
        assert_eq!(read(chunk(bytes.clone(), 10, None)), ((10..18).collect(), 18));
        assert_eq!(read(chunk(bytes.clone(), 13, None)), ((13..18).collect(), 18));
        assert_eq!(read(chunk(bytes.clone(), 15, None)), ((15..18).collect(), 18));
        assert_eq!(read(chunk(bytes, 17, None)), (vec![17], 18));
    }

    #[test]
    fn compaction_leaves_gaps_that_are_passed() {
        let gap = compacted(&Recipe::new(10, 2).build(), 5);
        let bytes = joined(&[gap, Recipe::new(20, 1).build()]);
        let mut one = chunk(bytes.clone(), 10, None);
        assert_eq!(one.next_batch().unwrap().unwrap().next_offset(), 17);
        assert_eq!(read(chunk(bytes.clone(), 10, None)), (vec![10, 11, 20], 21));
        // Inside the gap: the batch is opened for the sake of its last offset alone.
        let mut inside = chunk(bytes, 14, None);
        let batch = inside.next_batch().unwrap().unwrap();
        assert_eq!((batch.records().count(), batch.next_offset()), (0, 17));
    }

    #[test]
    fn aborted_transactions_are_passed_and_committed_ones_are_read() {
        let of = |producer, base_offset, count| Recipe {
            transaction: Some(producer),
            ..Recipe::new(base_offset, count)
        };
        let bytes = joined(&[
            of(1, 0, 2).build(),       // aborted
            of(2, 2, 2).build(),       // committed
            Recipe::new(4, 1).build(), // no transaction
            of(1, 5, 1).build(),       // aborted, the same one
            of(1, 6, 1).marker(false),
            of(2, 7, 1).marker(true),
            of(1, 8, 2).build(), // the same producer again: committed
            of(1, 10, 1).marker(true),
            of(2, 11, 1).build(), // aborted
            of(2, 12, 1).marker(false),
        ]);
        let aborted = vec![(2, 11), (1, 0)];
        assert_eq!(read(chunk(bytes.clone(), 0, Some(aborted.clone()))), (vec![2, 3, 4, 8, 9], 13));
        // Uncommitted: all but the markers.
        assert_eq!(read(chunk(bytes.clone(), 0, None)), (vec![0, 1, 2, 3, 4, 5, 8, 9, 11], 13));
        // From inside the aborted transaction on.
        assert_eq!(read(chunk(bytes, 5, Some(aborted))), (vec![8, 9], 13));
    }

    #[test]
    fn an_idempotent_batch_of_a_producer_with_an_aborted_transaction_is_read() {
        let aborted = Recipe { transaction: Some(1), ..Recipe::new(0, 1) }.build();
        let plain = Recipe::new(1, 1).build();
        assert_eq!(read(chunk(joined(&[aborted, plain]), 0, Some(vec![(1, 0)]))), (vec![1], 2));
    }

    #[test]
    fn a_broken_batch_is_an_error_with_its_offset_and_the_end() {
        let mut bytes = joined(&[Recipe::new(10, 2).build(), Recipe::new(12, 2).build()]).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut broken = chunk(bytes.into(), 10, None);
        assert!(broken.next_batch().unwrap().is_some());
        assert!(matches!(broken.next_batch(), Err(RecordError::Checksum { .. })));
        assert_eq!(broken.failed_at(), 12);
        assert!(broken.next_batch().unwrap().is_none());

        let mut bytes = joined(&[Recipe::new(10, 2).build(), Recipe::new(12, 2).build()]).to_vec();
        let second = bytes.len() / 2;
        bytes[second + 16] = 9;
        let mut broken = chunk(bytes.into(), 10, None);
        assert!(broken.next_batch().unwrap().is_some());
        assert!(matches!(broken.next_batch(), Err(RecordError::Malformed(_))));
        assert_eq!(broken.failed_at(), 12);
        assert!(broken.next_batch().unwrap().is_none());
    }

    #[test]
    fn a_decompressed_batch_keeps_its_share_charged() {
        let bytes = Recipe { compression: Compression::Lz4, ..Recipe::new(0, 100) }.build();
        let (alive, owner) = (std::sync::Arc::new(()), bytes);
        struct Owner(Bytes, #[allow(dead_code)] std::sync::Arc<()>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let mut chunk = chunk(Bytes::from_owner(Owner(owner, std::sync::Arc::clone(&alive))), 0, None);
        let batch = chunk.next_batch().unwrap().unwrap();
        drop(chunk);
        assert!(batch.batch().is_detached());
        assert_eq!(std::sync::Arc::strong_count(&alive), 2);
        drop(batch);
        assert_eq!(std::sync::Arc::strong_count(&alive), 1);
    }
}
