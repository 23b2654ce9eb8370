//! A consumer: events of its assignment, and a stream of chunks for each partition that it holds.
//!
//! ```text
//!   group driver ──Assigned/Revoked/Lost──▶ Consumer::next ──▶ one PartitionStream per partition
//!   fetch loops ───chunks (bounded)───────────────────────────▶ PartitionStream::next
//!   ConsumerHandle::commit ──▶ coordinator, stamped with the member's identity
//! ```
//!
//! Inside, on the I/O runtime:
//!
//! ```text
//!   task ─┬─ partitions   what is held: a slot, a tracker, and whether the user knows of it
//!         ├─ start        first offsets: committed, or by policy
//!         ├─ drive        each tracker's next step: a question to a leader, a place in a loop
//!         ├─ loops        the brokers' fetch loops
//!         └─ outbox       events, problems not too often
//!   commit                for each partition that is held one OffsetCommit after the other
//!   log_end               how far each log goes, as fetch answers told it
//!   metadata              who the member is, for commits in transactions
//! ```
//!
//! # What a reader may rely on
//! - Streams end (`None`) before the `Revoked` or `Lost` of their partition is seen; what was queued is dropped.
//! - A partition found after the consumer began (the topic grew, or was created) starts at its first record even when
//!   the reset policy is `latest`: nobody could have seen its records before. So does one of a topic that was
//!   deleted and created again.
//! - A start chosen by `latest` or by age is committed before the first record is handed out.
//! - Paused partitions keep what is queued (two chunks at most), and are left out of the fetch session: they cost no
//!   traffic. A pause ends with the assignment: whoever wants it kept pauses the next one.

pub(crate) mod chunk;
mod commit;
mod drive;
mod event;
mod handle;
mod log_end;
mod loops;
mod metadata;
mod outbox;
mod partitions;
mod start;
mod stream;
mod task;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::client::ClientContext;
use crate::config::ConsumerConfig;
use crate::error::{Error, Result};
use crate::group::{CommittedOffset, Leave};
use crate::ids::TopicPartition;

pub use chunk::{Chunk, ChunkBatch};
pub use event::{ConsumerEvent, Revocation, Start, StreamItem};
pub use handle::{CommitOutcome, ConsumerHandle};
pub use log_end::LogEnd;
pub use metadata::GroupMetadata;
pub use stream::PartitionStream;

use task::Command;

/// Offsets to commit.
pub type Offsets = Vec<(TopicPartition, CommittedOffset)>;

/// A consumer; dropping it ends it without leaving the group.
#[derive(Debug)]
pub struct Consumer {
    events: mpsc::UnboundedReceiver<ConsumerEvent>,
    handle: ConsumerHandle,
    /// The task ends when this goes.
    _alive: oneshot::Sender<()>,
    _context: ClientContext,
}

impl Consumer {
    pub(crate) fn start(context: ClientContext, config: ConsumerConfig) -> Result<Self> {
        check(&config)?;
        let running = {
            let _on_io = context.io.enter();
            task::start(&context, config)
        };
        Ok(Self { events: running.events, handle: running.handle, _alive: running.alive, _context: context })
    }

    /// The next event; `None` after [`Consumer::close`], a finished [`ConsumerHandle::shutdown`] or a fatal error.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<ConsumerEvent> {
        self.events.recv().await
    }

    /// A handle for commits and controls, usable from any thread.
    #[must_use]
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Ends fetching and goes. Drain and commit before; `deadline` bounds the goodbye.
    ///
    /// # Errors
    /// The goodbye's; the consumer has ended all the same.
    pub async fn close(self, leave: Leave, deadline: Duration) -> Result<()> {
        let (reply, gone) = oneshot::channel();
        self.handle.commands.send(Command::Close { leave, deadline, reply }).map_err(|_| Error::Closed)?;
        // A task that has ended before (a fatal error) has nothing left to say.
        gone.await.unwrap_or(Ok(()))
    }
}

/// What cannot work is refused before anything runs.
fn check(config: &ConsumerConfig) -> Result<()> {
    use crate::config::Subscription;
    let refuse = |reason: &str| Err(Error::Config(reason.to_owned()));
    match &config.subscription {
        Subscription::Topics(topics) if topics.is_empty() => refuse("a consumer of no topics"),
        Subscription::Partitions(partitions) if partitions.is_empty() => {
            refuse("a consumer of no partitions")
        }
        Subscription::Topics(_) | Subscription::Pattern(_) if config.group.is_none() => {
            refuse("topics are shared out in a group: a group.id is needed, or partitions by number")
        }
        Subscription::Pattern(pattern) => regex_lite::Regex::new(pattern)
            .map(|_| ())
            .map_err(|error| Error::Config(format!("the topic pattern '{pattern}' is none: {error}"))),
        Subscription::Topics(_) | Subscription::Partitions(_) => Ok(()),
    }
}
