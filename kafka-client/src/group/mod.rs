//! Consumer groups, classic protocol: what members say to each other, how partitions are shared out, and the
//! membership as a pure state machine with a thin driver.

mod assignor;
mod coordinator;
mod lease;
mod offsets;
mod protocol;

#[cfg(test)]
mod vectors;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::{GroupConfig, Subscription};
use crate::error::{Error, Result};
use crate::ids::TopicPartition;
use crate::net::Pool;

pub(crate) use coordinator::Coordinator;
pub use lease::Lease;
pub(crate) use offsets::{commit, fetch_committed};

/// Who this member is right now, stamped on every commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    /// -1 before the first join is complete.
    pub(crate) generation: i32,
}

impl Identity {
    /// Of somebody who is not a member: the group must be empty for a commit of theirs.
    pub(crate) fn none() -> Self {
        Self { member_id: String::new(), generation: -1 }
    }

    /// Whether it is that of a member in a generation. The broker takes a commit without one as long as the group
    /// is empty, so one that lost its membership must not send it.
    pub(crate) fn is_member(&self) -> bool {
        self.generation >= 0
    }
}

/// What the membership tells the consumer. The consumer answers `Revoked` by dropping or sending `done`; the group
/// waits for that until `deadline` before it goes on.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// These are new for this member. (After an eager revocation: all of them.)
    Assigned(Vec<TopicPartition>),
    /// These are to be given back: drain, commit, let go.
    Revoked { partitions: Vec<TopicPartition>, deadline: Instant, done: oneshot::Sender<()> },
    /// These are gone already: stop at once, never commit.
    Lost(Vec<TopicPartition>),
    /// Something to tell the user; the driver goes on by itself.
    Problem(Error),
    /// The membership has ended for good (fenced instance, not authorised, invalid group).
    Fatal(Error),
}

/// How a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Leaves the group if the member is dynamic; a static one stays until its session ends (Java's default).
    Default,
    /// Leaves in any case.
    Always,
    /// Just goes; the session times out.
    Never,
}

/// A running membership.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) events: mpsc::UnboundedReceiver<GroupEvent>,
    pub(crate) identity: watch::Receiver<Identity>,
    pub(crate) lease: Arc<Lease>,
}

impl Membership {
    /// Joins the group on the current tokio runtime and stays in it.
    pub(crate) fn start(
        config: GroupConfig,
        subscription: Subscription,
        pool: Arc<Pool>,
        coordinator: Arc<Coordinator>,
    ) -> Self {
        let _ = (config, subscription, pool, coordinator);
        todo!()
    }
    /// Stops heartbeating and goes. Partitions must have been drained and committed before.
    pub(crate) async fn leave(self, leave: Leave) -> Result<()> {
        let _ = leave;
        todo!()
    }
    /// A commit was answered with UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION or REBALANCE_IN_PROGRESS:
    /// what the driver should look into.
    pub(crate) fn commit_refused(&self, code: kafka_protocol::ResponseError) {
        let _ = code;
        todo!()
    }
}

/// An offset to commit, or one that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to handle.
    pub offset: i64,
    /// Leader epoch of the last handled record, -1 where unknown.
    pub leader_epoch: i32,
    /// Free text kept beside it.
    pub metadata: String,
}
