//! What goes into the state machine and what comes out.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::cluster::ClusterMetadata;
use crate::config::Assignor;
use crate::error::{Error, Result};
use crate::group::Identity;
use crate::ids::{TopicName, TopicPartition};

/// When an input comes, and a random number in `0.0..1.0`.
#[derive(Debug, Clone, Copy)]
pub(in crate::group) struct Moment {
    pub(in crate::group) now: Instant,
    pub(in crate::group) chance: f64,
}

/// What happens to the member.
#[derive(Debug)]
pub(in crate::group) enum Input {
    /// Something is due: see [`super::Machine::wakes_at`].
    Wake,
    /// A picture of the cluster. For a pattern only pictures that show all topics.
    Picture(Arc<ClusterMetadata>),
    Joined {
        attempt: u64,
        answer: Result<JoinAnswer>,
    },
    /// The topics that the leader needs are in the last picture, as far as they can be.
    LookedUp {
        attempt: u64,
    },
    /// `sent`: when the request went out.
    Synced {
        attempt: u64,
        sent: Instant,
        answer: Result<Bytes>,
    },
    Beaten {
        stamp: Identity,
        sent: Instant,
        answer: Result<()>,
    },
    /// Whether the group still is in the generation, and what the member has in it.
    Asked {
        stamp: Identity,
        sent: Instant,
        answer: Result<Bytes>,
    },
    /// Nobody coordinated the group then: its coordinator's process is down.
    Vacant(Instant),
    /// The consumer is done with a revocation.
    GivenBack {
        round: u64,
    },
    /// A commit was refused: is all well?
    Doubt,
    /// Goes; whether the coordinator is told.
    Leave {
        goodbye: bool,
    },
    /// The goodbye was answered, or will not be.
    Left,
}

/// The coordinator's answer to JoinGroup.
#[derive(Debug)]
pub(in crate::group) enum JoinAnswer {
    /// Once more with this member id (KIP-394).
    IdRequired(String),
    Accepted(Joined),
}

/// A place in a generation.
#[derive(Debug, Clone, Default)]
pub(in crate::group) struct Joined {
    pub(in crate::group) identity: Identity,
    /// The chosen assignor's name.
    pub(in crate::group) assignor: String,
    pub(in crate::group) role: Role,
}

#[derive(Debug, Clone, Default)]
pub(in crate::group) enum Role {
    #[default]
    Follower,
    Leader {
        members: Vec<JoinedMember>,
        /// The group goes on with the assignment that it has: a static leader came back (KIP-814).
        skip_assignment: bool,
    },
}

/// A member as the coordinator tells the leader of it.
#[derive(Debug, Clone, Default)]
pub(in crate::group) struct JoinedMember {
    pub(in crate::group) id: String,
    pub(in crate::group) instance_id: Option<String>,
    pub(in crate::group) subscription: Bytes,
}

/// What is to be done. In this order.
#[derive(Debug)]
pub(in crate::group) enum Effect {
    Join {
        attempt: u64,
        member_id: String,
        protocols: Vec<(Assignor, Bytes)>,
        reason: &'static str,
    },
    /// These topics are to be in the next picture; then `LookedUp`.
    LookUp {
        attempt: u64,
        topics: Vec<TopicName>,
    },
    Sync {
        attempt: u64,
        stamp: Identity,
        assignor: Assignor,
        assignments: Vec<(String, Bytes)>,
    },
    Beat {
        stamp: Identity,
    },
    /// Instead of a heartbeat: ask what the member has in this generation; then `Asked`.
    Ask {
        stamp: Identity,
        assignor: Assignor,
    },
    Goodbye {
        member_id: String,
    },
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
