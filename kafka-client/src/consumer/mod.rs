//! A consumer: events of its assignment, and a stream of chunks for each partition that it holds.
//!
//! ```text
//!   group driver ──Assigned/Revoked/Lost──▶ Consumer::next ──▶ one PartitionStream per partition
//!   fetch loops ───chunks (bounded)───────────────────────────▶ PartitionStream::next
//!   ConsumerHandle::commit ──▶ coordinator, stamped with the member's identity
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::group::{CommittedOffset, Lease, Leave};
use crate::ids::TopicPartition;
use crate::records::{Batch, RecordError, Records};

/// What happens to a consumer's partitions.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// New partitions, positions known, fetching.
    Assigned(Vec<PartitionStream>),
    /// Partitions to give back: drain, commit, then drop the [`Revocation`].
    Revoked(Revocation),
    /// Partitions that are gone: stop at once, never commit.
    Lost(Vec<TopicPartition>),
    /// Something a person should know (no broker answers, a topic is missing, a permission); the consumer goes on.
    Problem(Error),
    /// The consumer has ended and will not recover. Held partitions were lost before.
    Fatal(Error),
}

/// A request to give partitions back; the rebalance waits until it is dropped, or until its deadline.
#[derive(Debug)]
pub struct Revocation {
    /// What to give back.
    pub partitions: Vec<TopicPartition>,
    /// After this the group goes on without this member.
    pub deadline: Instant,
    pub(crate) _done: Option<tokio::sync::oneshot::Sender<()>>,
}

/// The reading end of one partition. Fetching for it goes on only as fast as it is read; dropping it ends that.
#[derive(Debug)]
pub struct PartitionStream {}

impl PartitionStream {
    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        todo!()
    }
    /// Where reading begins: the committed offset or what the reset policy chose.
    #[must_use]
    pub fn start(&self) -> &Start {
        todo!()
    }
    /// The next chunk; `None` when the partition has ended (revoked, lost, closed). Cancel-safe.
    pub async fn next(&mut self) -> Option<StreamItem> {
        todo!()
    }
    /// A chunk that is there already.
    pub fn try_next(&mut self) -> Option<StreamItem> {
        todo!()
    }
}

/// Where a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The first offset to be read.
    pub offset: i64,
    /// The committed offset and its metadata, if there was one.
    pub committed: Option<CommittedOffset>,
    /// The position's epoch: it grows with every seek, reset and truncation. Commits of an older one are refused.
    pub epoch: u64,
}

/// What a partition's stream yields.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamItem {
    /// Records.
    Chunk(Chunk),
    /// The position jumped (seek, out of range, truncation, new topic id): forget what is not finished, a new epoch
    /// of the position begins. Chunks of the old one do not come any more.
    Moved(Start),
    /// The partition cannot be read on (corrupt batch, no offset with reset `none`, not authorised). It stays
    /// assigned; a seek brings it back.
    Failed(Error),
}

/// A part of a partition as one fetch brought it. Verified and decompressed batch by batch as it is read.
#[derive(Debug)]
pub struct Chunk {}

impl Chunk {
    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        todo!()
    }
    /// The position's epoch that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        todo!()
    }
    /// The next batch with something in it or only offsets to pass (control, aborted, compacted away): see
    /// [`ChunkBatch::next_offset`]. Lower records than the position are left out.
    ///
    /// # Errors
    /// A batch that cannot be read; nothing after it is read either.
    pub fn next_batch(&mut self) -> Result<Option<ChunkBatch>, RecordError> {
        todo!()
    }
    /// The first offset of the batch that failed, after an error.
    #[must_use]
    pub fn failed_at(&self) -> i64 {
        todo!()
    }
    /// The partition's high watermark (or last stable offset under `read_committed`) when it was fetched.
    #[must_use]
    pub fn end_offset(&self) -> i64 {
        todo!()
    }
}

/// One opened batch of a chunk. Cheap to clone; keeps the bytes it borrows from, and its share of the prefetch
/// budget, alive.
#[derive(Debug, Clone)]
pub struct ChunkBatch {}

impl ChunkBatch {
    /// The records that a reader should see, in order: none of a control or aborted batch, none below the position.
    pub fn records(&self) -> Records<'_> {
        todo!()
    }
    /// The batch that the records borrow from.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        todo!()
    }
    /// Whether the reader should see any of it.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        todo!()
    }
    /// The offset after everything in this batch, gaps and markers included.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        todo!()
    }
}

/// Offsets to commit.
pub type Offsets = Vec<(TopicPartition, CommittedOffset)>;

/// The outcome of a commit, per partition.
#[derive(Debug, Clone)]
pub struct CommitOutcome {
    /// Each partition and, if it failed, why.
    pub partitions: Vec<(TopicPartition, Result<()>)>,
}

/// A consumer; dropping it ends it without leaving the group.
#[derive(Debug)]
pub struct Consumer {}

impl Consumer {
    /// The next event; `None` after [`Consumer::close`] or a fatal error. Cancel-safe.
    pub async fn next(&mut self) -> Option<ConsumerEvent> {
        todo!()
    }
    /// A handle for commits and controls, usable from any thread.
    #[must_use]
    pub fn handle(&self) -> ConsumerHandle {
        todo!()
    }
    /// Ends fetching and goes. Drain and commit before; `deadline` bounds the goodbye.
    pub async fn close(self, leave: Leave, deadline: Duration) -> Result<()> {
        let _ = (leave, deadline);
        todo!()
    }
}

impl Consumer {
    /// Starts its tasks on the client's I/O thread.
    pub(crate) fn start(
        context: crate::client::ClientContext,
        config: crate::config::ConsumerConfig,
    ) -> Result<Self> {
        let _ = (context, config);
        todo!()
    }
}

/// Controls of a running consumer.
#[derive(Debug, Clone)]
pub struct ConsumerHandle {}

impl ConsumerHandle {
    /// One commit request, stamped with the member's identity; not repeated, but for REBALANCE_IN_PROGRESS and
    /// ILLEGAL_GENERATION during a cooperative rebalance, where it is stamped anew for partitions still held.
    /// A partition that is not held any more is refused without asking the broker.
    pub async fn commit(&self, offsets: Offsets) -> CommitOutcome {
        let _ = offsets;
        todo!()
    }
    /// Repeats [`ConsumerHandle::commit`] for retriable failures until `deadline`.
    pub async fn commit_sync(&self, offsets: Offsets, deadline: Duration) -> CommitOutcome {
        let _ = (offsets, deadline);
        todo!()
    }
    /// The lease of the membership.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        todo!()
    }
    /// Stops fetching these partitions; what is queued stays.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
        todo!()
    }
    /// Fetches them again.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
        todo!()
    }
    /// Moves a partition; its stream yields [`StreamItem::Moved`].
    pub async fn seek(&self, partition: TopicPartition, to: crate::config::StartAt) -> Result<()> {
        let _ = (partition, to);
        todo!()
    }
    /// Ends the consumer from elsewhere: fetching stops, held partitions come as `Revoked`, then `next` ends.
    pub fn shutdown(&self) {
        todo!()
    }
}
