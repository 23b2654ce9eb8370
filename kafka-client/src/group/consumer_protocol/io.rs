//! What goes into the state machine and what comes out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::ClusterMetadata;
use crate::error::{Error, Result};
use crate::group::{Identity, Leave};
use crate::ids::{TopicName, TopicPartition};

/// What happens to the member.
#[derive(Debug)]
pub(super) enum Input {
    /// Something is due: see [`super::Machine::wakes_at`].
    Wake,
    /// A picture of the cluster. For a pattern only pictures that show all topics.
    Picture(Arc<ClusterMetadata>),
    /// `sent`: when the request went out.
    Beaten {
        turn: u64,
        sent: Instant,
        answer: Result<Answer>,
    },
    /// The goodbye before another attempt was answered, or will not be.
    Parted,
    /// Who had the instance id is gone, or why not.
    Released(Result<()>),
    /// The coordinator's session timeout for this group.
    Session(Duration),
    /// Nobody coordinated the group then: its coordinator's process is down.
    Vacant(Instant),
    /// The consumer is done with a revocation.
    GivenBack {
        round: u64,
    },
    /// A commit was refused: is all well?
    Doubt,
    Leave(Leave),
    /// The last goodbye was answered, or will not be.
    Left,
}

/// The coordinator's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) epoch: i32,
    pub(super) interval: Duration,
    /// All that the member is to have, by topic id; `None` if that is as before.
    pub(super) assignment: Option<Vec<(u128, i32)>>,
}

/// What a heartbeat says. `None` for what the coordinator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// 0 joins.
    pub(super) epoch: i32,
    /// Whether what never changes is to be said too.
    pub(super) introduces: bool,
    pub(super) topics: Option<Vec<TopicName>>,
    pub(super) held: Option<Vec<(u128, i32)>>,
}

/// What is to be done. In this order.
#[derive(Debug)]
pub(super) enum Effect {
    Beat {
        turn: u64,
        report: Report,
    },
    /// Say goodbye once, then [`Input::Parted`].
    Part {
        epoch: i32,
    },
    /// See to it that nobody has the instance id any more, then [`Input::Released`].
    Release,
    /// The last goodbye; then [`Input::Left`].
    Goodbye {
        epoch: i32,
    },
    /// Ask for the session timeout: then perhaps [`Input::Session`].
    AskSession,
    /// A topic id has no name in the picture.
    Refresh,
    /// What commits are stamped with from now on.
    Identity(Identity),
    /// The lease holds until then.
    Lease(Instant),
    /// The lease is over.
    LeaseEnds,
    Assigned(Vec<TopicPartition>),
    Revoked {
        round: u64,
        partitions: Vec<TopicPartition>,
        deadline: Instant,
    },
    Lost(Vec<TopicPartition>),
    Problem(Error),
    Fatal(Error),
}
