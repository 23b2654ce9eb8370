//! Consumer groups by the classic protocol: what members say to each other, how partitions are shared out, and the
//! membership as a pure state machine with a thin driver; and by KIP-848 (`consumer_protocol`), where the coordinator
//! shares out. The consumer sees one `Membership`.
//!
//! ```text
//!   consumer ◀── events, identity, lease ── driver ◀── effects ── membership (pure) ──▶ assignor (pure), protocol
//!      │  leave, refused commits ─────────▶   │    ─── inputs ──▶
//!      │                                      └─▶ requests ─┐
//!      └── offsets: fetch_committed, commit ────────────────┴─▶ coordinator ──▶ pool
//! ```

mod assignor;
mod complaints;
mod consumer_protocol;
mod coordinator;
mod driver;
mod lease;
mod membership;
mod offsets;
mod outlets;
mod protocol;
mod requests;
mod retry;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::{GroupConfig, GroupProtocol, Subscription};
use crate::error::{Error, Result};
use crate::ids::TopicPartition;
use crate::net::Pool;
use crate::watch;

pub(crate) use coordinator::Coordinator;
pub use lease::{Lease, Life};
pub(crate) use offsets::{Answers, commit, fetch_committed, fetch_committed_watched};

use consumer_protocol::Speaker;
use driver::{Command, Starting};
use membership::{Interest, Machine, Settings};
use outlets::Outlets;
use requests::Requests;

/// Who this member is right now, stamped on every commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    /// -1 before the first join is complete. The member's epoch, by KIP-848.
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

impl Default for Identity {
    fn default() -> Self {
        Self::none()
    }
}

/// What the membership tells the consumer. The consumer answers `Revoked` by dropping or sending `done`; the group
/// waits for that until `deadline` before it goes on.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// These are new for this member. (After an eager revocation: all of them.) Comes at the end of every round, with
    /// none if nothing is new.
    Assigned(Vec<TopicPartition>),
    /// These are to be given back: drain, commit, let go.
    Revoked { partitions: Vec<TopicPartition>, deadline: Instant, done: oneshot::Sender<()> },
    /// These are gone already: stop at once, never commit. Comes for those of a `Revoked`, too, that were not given
    /// back at its deadline, or lost meanwhile.
    Lost(Vec<TopicPartition>),
    /// Something to tell the user; the driver goes on by itself.
    Problem(Error),
    /// The membership has ended for good (fenced instance, not authorised, invalid group).
    Fatal(Error),
}

/// How a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Leaves the group if the member is dynamic; a static one keeps its place until its session ends (Java's default).
    Default,
    /// Leaves in any case.
    Always,
    /// Just goes; the session times out.
    Never,
}

/// A running membership. Dropping it ends it without a goodbye.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) events: mpsc::UnboundedReceiver<GroupEvent>,
    /// What commits are stamped with: set when a round is complete, without a generation when all is lost.
    pub(crate) identity: watch::Receiver<Identity>,
    pub(crate) lease: Arc<Lease>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Membership {
    /// Joins the group on the current tokio runtime and stays in it. The cluster should track the topics already if
    /// they are to be created.
    pub(crate) fn start(
        config: GroupConfig,
        subscription: Subscription,
        pool: Arc<Pool>,
        coordinator: Arc<Coordinator>,
    ) -> Self {
        let cluster = Arc::clone(pool.cluster());
        let seams = cluster.seams();
        let (events, heard) = mpsc::unbounded_channel();
        let (identity, stamped) = watch::channel(Identity::none());
        let (commands, obeyed) = mpsc::unbounded_channel();
        let lease = Lease::new(Arc::clone(&seams.clock));
        let this = Self { events: heard, identity: stamped, lease: Arc::clone(&lease), commands };
        let interest = match Interest::of(subscription) {
            Ok(interest) => interest,
            Err(error) => {
                let _ = events.send(GroupEvent::Fatal(error));
                return this;
            }
        };
        let outlets = Outlets::new(config.group_id.clone(), events, identity, lease);
        let (rack, retry) = (cluster.config().rack.clone(), cluster.config().retry_backoff);
        let (now, protocol) = (seams.clock.now(), config.protocol);
        let requests = Requests { pool, coordinator, group: Arc::new(config.clone()) };
        match protocol {
            GroupProtocol::Classic => {
                let settings = Settings { group: config, interest: interest.clone(), rack, retry };
                let machine = Machine::new(settings, now);
                tokio::spawn(Starting::new(machine, interest, requests, outlets).run(obeyed));
            }
            GroupProtocol::Consumer => {
                let member_id = format!("{:016x}{:016x}", seams.rng.next_u64(), seams.rng.next_u64());
                let speaker = Speaker { requests, member_id, rack };
                let machine = consumer_protocol::Machine::new(
                    consumer_protocol::Settings { group: config, interest: interest.clone(), retry },
                    speaker.member_id.clone(),
                    now,
                );
                let starting = consumer_protocol::Starting::new(machine, interest, speaker, outlets);
                tokio::spawn(starting.run(obeyed));
            }
        }
        this
    }

    /// Stops heartbeating and goes. Partitions must have been drained and committed before.
    pub(crate) async fn leave(self, leave: Leave) -> Result<()> {
        let (done, gone) = oneshot::channel();
        // A membership that has ended already has nobody to listen.
        let _ = self.commands.send(Command::Leave { leave, done });
        gone.await.unwrap_or(Ok(()))
    }

    /// A commit was answered with UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, STALE_MEMBER_EPOCH or
    /// REBALANCE_IN_PROGRESS: what the driver should look into. It asks the coordinator by a heartbeat, since the commit may have been
    /// stamped before the last round.
    pub(crate) fn commit_refused(&self, code: kafka_protocol::ResponseError) {
        tracing::debug!(%code, "a commit was refused");
        let _ = self.commands.send(Command::Doubt);
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
