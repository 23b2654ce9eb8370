//! Commits: one request after the other, for partitions that are held, stamped with who the member is right now.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::task::Command;
use super::{CommitOutcome, Offsets};
use crate::cluster::Cluster;
use crate::error::{At, Error, Result};
use crate::fetch::Map;
use crate::group::{self, Answers, Coordinator, Identity};
use crate::ids::TopicPartition;
use crate::net::{Connection, Purpose, Retry};
use crate::watch;

/// How long a commit that is not repeated may take, waiting for a new identity included.
const ONCE: Duration = Duration::from_secs(7);

/// Partitions whose offsets may be committed, each with the number of its assignment.
#[derive(Debug, Default)]
pub(super) struct Holding(Mutex<Map<TopicPartition, u64>>);

impl Holding {
    fn with<T>(&self, work: impl FnOnce(&mut Map<TopicPartition, u64>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take(&self, partition: TopicPartition, assignment: u64) {
        self.with(|held| held.insert(partition, assignment));
    }

    /// Ends one assignment of a partition; a later one stays.
    pub(super) fn let_go(&self, partition: TopicPartition, assignment: u64) {
        self.with(|held| {
            if held.get(&partition) == Some(&assignment) {
                held.remove(&partition);
            }
        });
    }

    /// Ends whatever assignment there is; whether there was one.
    pub(super) fn lose(&self, partition: TopicPartition) -> bool {
        self.with(|held| held.remove(&partition).is_some())
    }

    pub(super) fn clear(&self) {
        self.with(Map::clear);
    }

    pub(super) fn has(&self, partition: TopicPartition) -> bool {
        self.with(|held| held.contains_key(&partition))
    }

    /// The assignments that these partitions are held by.
    fn of(&self, offsets: &Offsets) -> Map<TopicPartition, u64> {
        let one = |held: &Map<TopicPartition, u64>, partition| Some((partition, *held.get(&partition)?));
        self.with(|held| offsets.iter().filter_map(|(partition, _)| one(held, *partition)).collect())
    }

    /// Whether the partition is held by that assignment still.
    fn is_held_by(&self, partition: TopicPartition, assignment: Option<&u64>) -> bool {
        assignment.is_some() && self.with(|held| held.get(&partition) == assignment)
    }
}

/// How much is done for a commit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Persistence {
    Once,
    /// Repeated until then.
    Until(Instant),
}

/// A commit to be made.
#[derive(Debug)]
pub(super) struct CommitJob {
    offsets: Offsets,
    /// What the partitions were held by when it was asked for. One that was lost and came back meanwhile is read anew
    /// from what was committed before: nothing of its last life may be committed then.
    assignments: Map<TopicPartition, u64>,
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
        let assignments = holding.of(&offsets);
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

/// The commits of a consumer, until nobody can ask for one any more and the last one is over; `requests` says how
/// far they are. Without a group there are none.
pub(super) async fn run(
    committer: Option<Committer>,
    mut jobs: mpsc::UnboundedReceiver<CommitJob>,
    requests: watch::Sender<Requests>,
) {
    let mut last = LastRequest { request: None, requests };
    loop {
        let job = tokio::select! {
            biased;
            job = jobs.recv() => job,
            _ = last.end(), if last.request.is_some() => continue,
        };
        let Some(CommitJob { offsets, assignments, persistence, reply }) = job else { break };
        let outcome = match &committer {
            Some(committer) => committer.commit(offsets, &assignments, persistence, &mut last).await,
            None => {
                let error =
                    Error::Config("offsets are committed to a group, and this consumer has none".into());
                CommitOutcome::failed(offsets, &error)
            }
        };
        // Who does not wait any more does not need to know.
        let _ = reply.send(outcome);
    }
    // With the last handle its connection would end, and a system goes on sending what was written to one.
    last.end().await;
}

/// The last request, until it is answered or its connection has ended. The next one is not sent before, even if nobody
/// waits for this one any more: see [`Purpose::Commit`].
struct LastRequest {
    request: Option<Pin<Box<dyn Future<Output = Result<Answers>> + Send>>>,
    requests: watch::Sender<Requests>,
}

impl LastRequest {
    fn is(&mut self, request: impl Future<Output = Result<Answers>> + Send + 'static) {
        debug_assert!(self.request.is_none(), "the last one is over");
        self.request = Some(Box::pin(request));
        self.count(|requests| requests.sent += 1);
    }

    /// Waits for its end, if there is one under way. The future may be dropped.
    async fn end(&mut self) -> Option<Result<Answers>> {
        let answer = self.request.as_mut()?.await;
        self.request = None;
        self.count(|requests| requests.over += 1);
        Some(answer)
    }

    fn count(&self, one: impl FnOnce(&mut Requests)) {
        self.requests.send_if_modified(|requests| {
            one(requests);
            true
        });
    }
}

/// How many commit requests were sent, and how many of them are over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Requests {
    pub(super) sent: u64,
    pub(super) over: u64,
}

/// Waits until the commit request is over that is under way at the call: one that was asked for in an earlier life of a
/// partition, or that nobody waits for any more, must not come after what is read of commits then.
pub(super) async fn over(mut requests: watch::Receiver<Requests>) {
    let sent = requests.borrow().sent;
    // Where nobody commits any more all are.
    drop(requests.wait_for(|now| now.over >= sent).await);
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
        last: &mut LastRequest,
    ) -> CommitOutcome {
        let order: Vec<_> = offsets.iter().map(|(partition, _)| *partition).collect();
        let now = self.cluster.seams().clock.now();
        let until = match persistence {
            Persistence::Once => now + ONCE,
            Persistence::Until(moment) => moment,
        };
        let mut retry = Retry::within(&self.cluster, until.saturating_duration_since(now));
        let mut attempt = Attempt { left: offsets, done: Map::default() };
        loop {
            self.drop_what_is_not_held(&mut attempt, assignments);
            if attempt.left.is_empty() {
                break;
            }
            let connection = self.connection(last, until).await;
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
                Ok(connection) => self.request(&mut attempt, last, (&connection, &stamp), until).await,
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

    /// A connection that nothing is under way on.
    async fn connection(&self, last: &mut LastRequest, until: Instant) -> Result<Arc<Connection>> {
        let connection = async {
            last.end().await;
            self.coordinator.connection(Purpose::Commit).await
        };
        let connection = timeout_at(until, connection).await;
        connection.unwrap_or_else(|_| Err(self.refusal(ResponseError::RequestTimedOut)))
    }

    /// One request for what is left.
    async fn request(
        &self,
        attempt: &mut Attempt,
        last: &mut LastRequest,
        (connection, stamp): (&Arc<Connection>, &Identity),
        until: Instant,
    ) -> Option<Trouble> {
        let instance_id = self.instance_id.as_deref();
        last.is(group::commit(&self.coordinator, connection, stamp, instance_id, &attempt.left));
        let answer: Map<_, _> = match timeout_at(until, last.end()).await {
            Ok(Some(Ok(answer))) => answer.into_iter().collect(),
            Ok(Some(Err(error))) => return Some(Trouble::Passing(error)),
            Ok(None) | Err(_) => {
                return Some(Trouble::Passing(self.refusal(ResponseError::RequestTimedOut)));
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
