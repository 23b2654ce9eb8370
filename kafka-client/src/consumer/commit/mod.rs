//! Commits: one request after the other for each partition, while it is held, stamped with who the member is right now.
//!
//! ```text
//! holding  what may be committed
//! lanes    which commits go beside each other, and when one is over
//! ```
//!
//! This file makes one commit: its requests, what their answers mean, and when it is tried again.

mod holding;
mod lanes;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

pub(super) use self::holding::Holding;
use self::lanes::Request;
pub(super) use self::lanes::{Requests, over, run};
use super::task::Command;
use super::{CommitOutcome, Offsets};
use crate::cluster::Cluster;
use crate::error::{At, Error, Result};
use crate::fetch::Map;
use crate::group::{self, Coordinator, Identity};
use crate::ids::TopicPartition;
use crate::net::{Connection, Purpose, Retry};
use crate::watch;

/// How long a commit that is not repeated may take, waiting for a new identity included.
const ONCE: Duration = Duration::from_secs(7);

/// How much is done for a commit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Persistence {
    Once,
    /// Repeated until then.
    Until(Instant),
}

impl Persistence {
    fn until(self) -> Option<Instant> {
        match self {
            Self::Once => None,
            Self::Until(moment) => Some(moment),
        }
    }
}

/// A commit to be made.
#[derive(Debug)]
pub(super) struct CommitJob {
    offsets: Offsets,
    /// What the partitions were held by when it was asked for. One that was lost and came back meanwhile is read anew
    /// from what was committed before: nothing of its last life may be committed then.
    assignments: Arc<Map<TopicPartition, u64>>,
    persistence: Persistence,
    reply: oneshot::Sender<CommitOutcome>,
}

impl CommitJob {
    /// One for partitions held right now, and where its outcome comes.
    pub(super) fn new(
        offsets: Offsets,
        persistence: Persistence,
        holding: &Holding,
    ) -> (Self, oneshot::Receiver<CommitOutcome>) {
        let (reply, outcome) = oneshot::channel();
        let assignments = Arc::new(holding.of(&offsets));
        (Self { offsets, assignments, persistence, reply }, outcome)
    }
}

/// On whose behalf commits are made.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) group: String,
    pub(super) instance_id: Option<String>,
    pub(super) coordinator: Arc<Coordinator>,
    /// `None` for a reader of fixed partitions, who is nobody to the group (Java's `assign`).
    pub(super) identity: Option<watch::Receiver<Identity>>,
    pub(super) holding: Arc<Holding>,
    /// Where refusals are told.
    pub(super) task: mpsc::WeakUnboundedSender<Command>,
    pub(super) cluster: Arc<Cluster>,
}

/// What a request led to, where something is left of the commit.
enum Trouble {
    /// The stamp is out of date.
    Stamp(ResponseError),
    /// It can pass.
    Passing(Error),
}

/// A commit under way.
struct Attempt {
    left: Offsets,
    done: Map<TopicPartition, Result<()>>,
}

impl Attempt {
    /// Takes out what there is a result for.
    fn settle(&mut self, mut result: impl FnMut(TopicPartition) -> Option<Result<()>>) {
        let done = &mut self.done;
        self.left.retain(|(partition, _)| match result(*partition) {
            Some(result) => {
                done.insert(*partition, result);
                false
            }
            None => true,
        });
    }
}

impl Committer {
    async fn commit(
        &self,
        offsets: Offsets,
        assignments: &Map<TopicPartition, u64>,
        persistence: Persistence,
        request: &mut Request,
    ) -> CommitOutcome {
        let order: Vec<_> = offsets.iter().map(|(partition, _)| *partition).collect();
        let now = self.now();
        let until = persistence.until().unwrap_or(now + ONCE);
        let mut retry = Retry::within(&self.cluster, until.saturating_duration_since(now));
        let mut attempt = Attempt { left: offsets, done: Map::default() };
        loop {
            self.drop_what_is_not_held(&mut attempt, assignments);
            if attempt.left.is_empty() {
                break;
            }
            let connection = self.connection(request.purpose(), until).await;
            // While that was waited for, what is held may have been lost, and come back in the same generation.
            self.drop_what_is_not_held(&mut attempt, assignments);
            if attempt.left.is_empty() {
                break;
            }
            let stamp = self.stamp();
            let trouble = match connection {
                // A broker would take it as that of an outsider, as long as the group is empty.
                _ if self.identity.is_some() && !stamp.is_member() => {
                    Some(Trouble::Stamp(ResponseError::UnknownMemberId))
                }
                Ok(connection) => self.send(&mut attempt, request, (&connection, &stamp), until).await,
                Err(error) => Some(Trouble::Passing(error)),
            };
            let error = match (trouble, persistence) {
                (None, _) => continue,
                (Some(Trouble::Stamp(code)), _) => match self.new_stamp(&stamp, code, until).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                (Some(Trouble::Passing(error)), Persistence::Once) => error,
                (Some(Trouble::Passing(error)), Persistence::Until(_)) => match retry.after(error).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            attempt.settle(|_| Some(Err(error.clone())));
        }
        let done =
            |partition| (partition, attempt.done.get(&partition).cloned().unwrap_or(Err(Error::Closed)));
        CommitOutcome { partitions: order.into_iter().map(done).collect() }
    }

    fn now(&self) -> Instant {
        self.cluster.seams().clock.now()
    }

    fn stamp(&self) -> Identity {
        self.identity.as_ref().map_or_else(Identity::none, |identity| identity.borrow().clone())
    }

    /// Only what is held since the commit was asked for may be committed.
    fn drop_what_is_not_held(&self, attempt: &mut Attempt, assignments: &Map<TopicPartition, u64>) {
        attempt.settle(|partition| {
            let held = self.holding.is_held_by(partition, assignments.get(&partition));
            (!held).then_some(Err(Error::NotHeld { partition }))
        });
    }

    async fn connection(&self, purpose: Purpose, until: Instant) -> Result<Arc<Connection>> {
        let connection = timeout_at(until, self.coordinator.connection(purpose)).await;
        connection.unwrap_or_else(|_| Err(self.out_of_time()))
    }

    /// One request for what is left.
    async fn send(
        &self,
        attempt: &mut Attempt,
        request: &mut Request,
        (connection, stamp): (&Arc<Connection>, &Identity),
        until: Instant,
    ) -> Option<Trouble> {
        let instance_id = self.instance_id.as_deref();
        request.is(group::commit(&self.coordinator, connection, stamp, instance_id, &attempt.left));
        let answer: Map<_, _> = match timeout_at(until, request.end()).await {
            Ok(Some(Ok(answer))) => answer.into_iter().collect(),
            Ok(Some(Err(error))) => return Some(Trouble::Passing(error)),
            Ok(None) | Err(_) => {
                attempt.settle(|_| Some(Err(self.out_of_time())));
                return None;
            }
        };
        let mut trouble = None;
        attempt.settle(|partition| {
            let refusal = |code| Error::Broker { api: "OffsetCommit", code, at: At::Partition(partition) };
            match answer.get(&partition).copied() {
                Some(None) => return Some(Ok(())),
                None => return Some(Err(refusal(ResponseError::UnknownServerError))),
                Some(Some(code)) => match self.judge(code) {
                    Judgement::Stamp => trouble = Some(Trouble::Stamp(code)),
                    Judgement::Passing => _ = trouble.get_or_insert(Trouble::Passing(refusal(code))),
                    Judgement::Final => return Some(Err(refusal(code))),
                },
            }
            None
        });
        trouble
    }

    fn judge(&self, code: ResponseError) -> Judgement {
        use ResponseError as E;
        match code {
            E::RebalanceInProgress | E::IllegalGeneration | E::StaleMemberEpoch
                if self.identity.is_some() =>
            {
                Judgement::Stamp
            }
            E::UnknownMemberId | E::FencedInstanceId => {
                self.tell(code);
                Judgement::Final
            }
            code if code.is_retriable() => Judgement::Passing,
            _ => Judgement::Final,
        }
    }

    /// Tells the membership that the stamp was refused, and waits until it has another.
    async fn new_stamp(&self, stamp: &Identity, code: ResponseError, until: Instant) -> Result<()> {
        let Some(mut identity) = self.identity.clone() else { return Err(self.refusal(code)) };
        if *identity.borrow() == *stamp {
            self.tell(code);
        }
        match timeout_at(until, identity.wait_for(|now| now != stamp)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(self.refusal(code)),
        }
    }

    fn tell(&self, code: ResponseError) {
        if let Some(task) = self.task.upgrade() {
            let _ = task.send(Command::CommitRefused(code));
        }
    }

    fn out_of_time(&self) -> Error {
        self.refusal(ResponseError::RequestTimedOut)
    }

    fn refusal(&self, code: ResponseError) -> Error {
        Error::Broker { api: "OffsetCommit", code, at: At::Group(self.group.clone()) }
    }
}

/// What a refusal of one partition means.
enum Judgement {
    /// The stamp is out of date.
    Stamp,
    Passing,
    Final,
}
