//! Connections: one per broker and purpose, requests pipelined, each with its deadline.
//!
//! ```text
//!   call ──▶ waiting line (by correlation id) ──▶ frames ──▶ writer ─┐
//!    ▲                                                               ├─ one task ── stream ── broker
//!    └────── oneshot ◀── header, throttle time ◀── frame ◀── reader ─┘
//! ```
//!
//! A [`Pool`] keeps connections by broker and [`Purpose`]; [`handshake`] is what happens on each new one.

mod address;
mod connection;
mod frame;
mod handshake;
mod pool;
mod retry;
mod waiting;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use address::Address;
pub(crate) use connection::{Answer, Connection};
pub(crate) use pool::{Connections, NEXT_AFTER, Pool};
pub(crate) use retry::Retry;

/// How long a heartbeat or a commit waits for its answer. A coordinator of Kafka 4 writes both down and gives its replicas 5 s for
/// that, and within 7 s a connection that only seems to stand is to be gone.
pub(crate) const COORDINATION_DEADLINE: Duration = Duration::from_millis(6500);

/// What a connection is for. A broker answers the requests of one connection in order and holds some of them
/// for long (a fetch until data comes, a join until the rebalance ends), so purposes do not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Fetch,
    /// For partitions that a fetch under way does not name.
    FetchAside,
    Produce,
    /// JoinGroup and SyncGroup.
    Join,
    /// Heartbeats, LeaveGroup, and what a group committed.
    Group,
    /// A consumer's commits, one at a time and nothing else: one that waits unread behind another request is read, and done, long
    /// after its connection was given up and a later one was made over the next. In a producer's own pool: transactions.
    Commit,
    /// Commits of other partitions than those that are under way elsewhere; the number tells several such connections apart.
    CommitAside(usize),
    /// Metadata, admin, ListOffsets, OffsetForLeaderEpoch, FindCoordinator.
    Control,
}

impl Purpose {
    /// How long the first answer of a new connection is waited for, at most: heartbeats and commits have no time for one that is
    /// accepted and then silent, and those that come meanwhile wait for the same one.
    fn patience(self) -> Duration {
        match self {
            Self::Group | Self::Commit | Self::CommitAside(_) => COORDINATION_DEADLINE,
            Self::Fetch | Self::FetchAside | Self::Produce | Self::Join | Self::Control => Duration::MAX,
        }
    }
}
