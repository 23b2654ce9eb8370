//! Controls of a running consumer, from any thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Offsets;
use super::commit::{CommitJob, Holding, Persistence};
use super::metadata::{GroupMetadata, Membership};
use super::task::Command;
use crate::config::StartAt;
use crate::error::{Error, Result};
use crate::group::Lease;
use crate::ids::TopicPartition;

/// The outcome of a commit, per partition.
#[derive(Debug, Clone)]
pub struct CommitOutcome {
    /// Each partition and, if it failed, why.
    pub partitions: Vec<(TopicPartition, Result<()>)>,
}

impl CommitOutcome {
    /// The same error for all.
    pub(super) fn failed(offsets: Offsets, error: &Error) -> Self {
        Self {
            partitions: offsets.into_iter().map(|(partition, _)| (partition, Err(error.clone()))).collect(),
        }
    }
}

/// Controls of a running consumer.
#[derive(Debug, Clone)]
pub struct ConsumerHandle {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) commits: mpsc::UnboundedSender<CommitJob>,
    pub(super) holding: Arc<Holding>,
    pub(super) lease: Arc<Lease>,
    /// `None` without a group.
    pub(super) membership: Option<Arc<Membership>>,
}

impl ConsumerHandle {
    /// How many commits, of different partitions, are under way at a time.
    pub const COMMITS_AT_A_TIME: usize = 4;

    /// One commit request, stamped with the member's identity; not repeated, but for REBALANCE_IN_PROGRESS and
    /// ILLEGAL_GENERATION during a cooperative rebalance, where it is stamped anew for partitions still held.
    /// A partition that is not held any more is refused without asking the broker, with [`Error::NotHeld`]; so is one
    /// that was lost and came back before its turn.
    ///
    /// Commits of a partition go out one after the other, in the order of the calls, so that none overtakes another;
    /// those of different partitions go beside each other ([`ConsumerHandle::COMMITS_AT_A_TIME`]), each over a connection of its own. This one's time,
    /// 7 s, begins with its turn. Dropping the future does not take the commit back.
    pub async fn commit(&self, offsets: Offsets) -> CommitOutcome {
        self.send(offsets, Persistence::Once).await
    }

    /// Repeats [`ConsumerHandle::commit`] for retriable failures until `deadline`. If the time is over before its turn comes it fails
    /// unsent, with REQUEST_TIMED_OUT.
    pub async fn commit_sync(&self, offsets: Offsets, deadline: Duration) -> CommitOutcome {
        let now = Instant::now();
        self.send(offsets, Persistence::Until(now.checked_add(deadline).unwrap_or(now))).await
    }

    async fn send(&self, offsets: Offsets, persistence: Persistence) -> CommitOutcome {
        let partitions: Offsets = offsets.clone();
        let (job, answer) = CommitJob::new(offsets, persistence, &self.holding);
        if self.commits.send(job).is_err() {
            return CommitOutcome::failed(partitions, &Error::Closed);
        }
        answer.await.unwrap_or_else(|_| CommitOutcome::failed(partitions, &Error::Closed))
    }

    /// Who this member is right now, to commit offsets of `partitions` in a transaction
    /// ([`Transaction::send_offsets`](crate::producer::Transaction::send_offsets)). To be asked for each transaction
    /// anew, with the partitions whose records it is made from.
    ///
    /// # Errors
    /// [`Error::NotHeld`] for a partition that is not held any more: its transaction has to be aborted.
    /// [`Error::Config`] without a group.
    pub fn group_metadata(&self, partitions: &[TopicPartition]) -> Result<GroupMetadata> {
        match &self.membership {
            Some(membership) => membership.metadata(partitions),
            None => Err(Error::Config("offsets are committed to a group, and this consumer has none".into())),
        }
    }

    /// The lease of the membership.
    #[must_use]
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    /// Stops fetching these partitions; what is queued stays.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        // A consumer that has ended fetches nothing anyway.
        let _ = self.commands.send(Command::Pause(partitions.to_vec(), true));
    }

    /// Fetches them again.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        let _ = self.commands.send(Command::Pause(partitions.to_vec(), false));
    }

    /// Moves a partition; its stream yields [`crate::consumer::StreamItem::Moved`], and nothing that was queued
    /// before. Returns the position's new epoch when that is in the stream. A later seek of the same partition takes the
    /// place of one that is still under way.
    ///
    /// # Errors
    /// [`Error::NotHeld`]; [`Error::NoOffset`] for a committed offset that there is not.
    pub async fn seek(&self, partition: TopicPartition, to: StartAt) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Seek { partition, to, reply }).map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Ends the partition's stream and begins another at `at`, as if it were assigned anew: the new stream comes with
    /// a [`crate::consumer::ConsumerEvent::Assigned`] of its own. For a reader that cannot go on with the old one. Commits stay
    /// possible throughout; a pause ends. Returns when that event is on its way.
    ///
    /// # Errors
    /// [`Error::NotHeld`]; what keeps the new position from being known for good.
    pub async fn restart(&self, partition: TopicPartition, at: StartAt) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Restart { partition, at, reply }).map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed)).map(|_| ())
    }

    /// Ends the consumer from elsewhere: fetching stops, held partitions come as `Revoked`, then `next` ends.
    pub fn shutdown(&self) {
        let _ = self.commands.send(Command::Shutdown);
    }
}
