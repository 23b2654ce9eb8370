//! What a consumer tells its user.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Chunk, PartitionStream};
use crate::error::Error;
use crate::group::CommittedOffset;
use crate::ids::TopicPartition;

/// What happens to a consumer's partitions.
///
/// For one partition the order is always `Assigned`, then `Revoked` or `Lost` (or `Revoked`, then `Lost`, when the
/// membership ends while it is given back), then perhaps `Assigned` again with a new stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// New partitions, positions known, fetching. One assignment of the group can come as several of these, as
    /// positions become known: a partition without a leader does not hold up the others.
    Assigned(Vec<PartitionStream>),
    /// Partitions to give back: drain, commit, then drop the [`Revocation`]. Their streams have ended already: what
    /// was queued and not taken is dropped, and the next owner reads it.
    Revoked(Revocation),
    /// Partitions that are gone: stop at once, never commit.
    Lost(Vec<TopicPartition>),
    /// Partitions that were assigned and whose committed offset is part of a transaction that is still open
    /// (UNSTABLE_OFFSET_COMMIT), told once for each assignment: their `Assigned` comes when that has ended. Where its owner
    /// is gone, that is after its `transaction.timeout.ms`, or as soon as somebody
    /// [prepares](crate::producer::TransactionalProducer::prepare) a producer with its transactional id.
    HeldUp(Vec<TopicPartition>),
    /// Something a person should know (no broker answers, a topic is missing, a permission); the consumer goes on.
    /// The same one is repeated every 10 seconds at most, while it lasts.
    Problem(Error),
    /// The consumer has ended and will not recover. Held partitions were lost before.
    Fatal(Error),
}

/// A request to give partitions back; the rebalance waits until it is dropped, or until its deadline. Until then
/// their offsets can be committed, later they cannot.
#[derive(Debug)]
pub struct Revocation {
    /// What to give back.
    pub partitions: Vec<TopicPartition>,
    /// After this the group goes on without this member.
    pub deadline: Instant,
    pub(crate) _done: Option<oneshot::Sender<()>>,
}

/// Where a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The first offset to be read; -1 where there is none, and the stream says so with [`StreamItem::Failed`].
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
