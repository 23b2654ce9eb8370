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

pub(crate) use address::Address;
pub(crate) use connection::{Answer, Connection};
pub(crate) use pool::{Connections, NEXT_AFTER, Pool};
pub(crate) use retry::Retry;

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
