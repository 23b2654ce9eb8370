//! Records of a partition side by side: `ordering = "key"` and `"none"`.
//!
//! ```text
//!   stream ──▶ feeder ──admit──▶ desk (what is open, and in which order it may go) ──▶ committer
//!                 └──offer──▶ pool ──▶ workers ──take──▶ handler ──finish, park, stop──▶ desk
//! ```
//!
//! ```text
//! feeder      the loop of one partition: admits records as there is room, commits, follows signals
//! commits     when it asks for a commit
//! dispatch    order per key, what waits for its next try, how far it is safe to commit (pure)
//! remembered  what is finished ahead of the committed offset, in the commit's metadata (pure)
//! desk        the two behind one lock, for feeder, workers and committer
//! pool        the workers of a listener, at most `concurrency`, over all of its partitions
//! worker      a task: takes a record, calls the handler, says what became of it
//! ```
//!
//! A worker is a task, so that handlers use all cores. Keys do not share lanes: no key waits for another. What is kept
//! per partition is bounded by [`window`]: when that many records are open (their handlers run, they wait for a
//! handler, for an earlier record of their key or for their next try), the partition is read no further.

mod commits;
mod desk;
mod dispatch;
mod feeder;
mod pool;
mod remembered;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

pub use desk::OpenPhase;
pub(crate) use desk::{Desk, OpenOne};
pub(crate) use feeder::Feeder;
pub(crate) use pool::{Pool, Worker};
pub(crate) use remembered::{Frame, Remembered, encode};
pub(crate) use worker::work_off;

use super::forward::Waiter;
use super::shared::Shared;

/// Open records of a partition, at least.
const WINDOW: usize = 1024;

/// How many records of a partition may be open, where so many handlers run at once: enough that they find as many
/// different keys.
fn window(concurrency: usize) -> usize {
    concurrency.saturating_mul(4).max(WINDOW)
}

/// A partition for workers.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    pub(crate) desk: Arc<Desk>,
    /// Waits for what is up to brokers: what handlers return, dead letters.
    pub(super) waiter: Waiter,
}
