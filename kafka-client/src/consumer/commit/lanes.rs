//! Which commits are under way beside each other: those of different partitions, each over a connection of its own.
//!
//! ```text
//!   jobs, in order ──▶ the first lane that is free ──▶ committer ──request──▶ the lane's connection
//!                 └ waits while a lane has one of its partitions, or all lanes are taken
//! ```
//!
//! A lane is taken until its request is over, also if nobody waits for that any more: see [`Purpose::Commit`]. After one without an
//! answer all lanes begin with new connections. A job that has to wait holds up those behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{CommitJob, Committer};
use crate::consumer::{CommitOutcome, ConsumerHandle};
use crate::error::{Error, Result};
use crate::fetch::Map;
use crate::group::Answers;
use crate::ids::TopicPartition;
use crate::net::Purpose;
use crate::seams::until;
use crate::watch;

/// Kafka 4 lets a commit wait 5 ms for others before it writes them down together (`group.coordinator.append.linger.ms`), and reads
/// no other request of its connection meanwhile.
const LANES: usize = ConsumerHandle::COMMITS_AT_A_TIME;

/// Makes the commits of a consumer, until nobody can ask for one any more and the last one is over; `requests` says
/// how far they are. Without a group there are none.
pub(in crate::consumer) async fn run(
    committer: Option<Committer>,
    mut jobs: mpsc::UnboundedReceiver<CommitJob>,
    requests: watch::Sender<Requests>,
) {
    let Some(committer) = committer else {
        while let Some(job) = jobs.recv().await {
            let error = Error::Config("offsets are committed to a group, and this consumer has none".into());
            job.fail(&error);
        }
        return;
    };
    let mut lanes = Lanes::new(committer, requests);
    loop {
        let job = tokio::select! {
            biased;
            job = jobs.recv() => job,
            () = lanes.one_ends(), if !lanes.under_way.is_empty() => continue,
        };
        match job {
            Some(job) => lanes.take_up(job).await,
            None => break,
        }
    }
    // With the last handle their connections would end, and a system goes on sending what was written to one.
    while !lanes.under_way.is_empty() {
        lanes.one_ends().await;
    }
}

struct Lanes {
    committer: Arc<Committer>,
    requests: Arc<watch::Sender<Requests>>,
    /// The partitions of the commit that is under way there.
    taken: [Option<Arc<Map<TopicPartition, u64>>>; LANES],
    /// Whose connection is from before a request that was not answered. What a broker has not read of that yet is to be behind the
    /// handshake of what comes after it.
    stale: [bool; LANES],
    under_way: JoinSet<Ended>,
}

impl Lanes {
    fn new(committer: Committer, requests: watch::Sender<Requests>) -> Self {
        let (committer, requests) = (Arc::new(committer), Arc::new(requests));
        let (taken, stale) = (Default::default(), Default::default());
        Self { committer, requests, taken, stale, under_way: JoinSet::new() }
    }

    /// Begins a commit as soon as a lane is free and no other has its partitions: none overtakes another.
    async fn take_up(&mut self, job: CommitJob) {
        let time_is_up = job.persistence.until();
        let lane = loop {
            if time_is_up.is_some_and(|moment| moment <= self.committer.now()) {
                return job.fail(&self.committer.out_of_time());
            }
            if let Some(lane) = self.lane_for(&job) {
                break lane;
            }
            tokio::select! {
                biased;
                () = self.one_ends() => {}
                () = until(time_is_up) => {}
            }
        };
        let CommitJob { offsets, assignments, persistence, reply } = job;
        self.taken[lane] = Some(Arc::clone(&assignments));
        let committer = Arc::clone(&self.committer);
        let mut request = Request::new(lane, Arc::clone(&self.requests));
        if std::mem::take(&mut self.stale[lane]) {
            committer.coordinator.pool().renew(request.purpose());
        }
        self.under_way.spawn(async move {
            let outcome = committer.commit(offsets, &assignments, persistence, &mut request).await;
            // Who does not wait any more does not need to know.
            let _ = reply.send(outcome);
            request.end().await;
            Ended { lane, unanswered: request.unanswered }
        });
    }

    fn lane_for(&self, job: &CommitJob) -> Option<usize> {
        let has_one = |taken: &Map<_, _>| job.assignments.keys().any(|one| taken.contains_key(one));
        let is_free = self.taken.iter().position(Option::is_none);
        is_free.filter(|_| !self.taken.iter().flatten().any(|taken| has_one(taken)))
    }

    /// Waits for one of them. The future may be dropped.
    async fn one_ends(&mut self) {
        match self.under_way.join_next().await {
            Some(Ok(Ended { lane, unanswered })) => {
                self.taken[lane] = None;
                if unanswered {
                    self.stale = [true; LANES];
                }
            }
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // It is cancelled with the runtime.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }
}

/// A lane is free.
struct Ended {
    lane: usize,
    unanswered: bool,
}

impl CommitJob {
    fn fail(self, error: &Error) {
        let _ = self.reply.send(CommitOutcome::failed(self.offsets, error));
    }
}

/// A lane's request, until it is answered or its connection has ended.
pub(super) struct Request {
    lane: usize,
    under_way: Option<Pin<Box<dyn Future<Output = Result<Answers>> + Send>>>,
    /// Whether any of the commit's requests was.
    unanswered: bool,
    requests: Arc<watch::Sender<Requests>>,
}

impl Request {
    fn new(lane: usize, requests: Arc<watch::Sender<Requests>>) -> Self {
        Self { lane, under_way: None, unanswered: false, requests }
    }

    /// What the connection is for that it goes over.
    pub(super) fn purpose(&self) -> Purpose {
        match self.lane {
            0 => Purpose::Commit,
            lane => Purpose::CommitAside(lane),
        }
    }

    pub(super) fn is(&mut self, request: impl Future<Output = Result<Answers>> + Send + 'static) {
        debug_assert!(self.under_way.is_none(), "the last one is over");
        self.under_way = Some(Box::pin(request));
        self.note(|requests, lane| {
            requests.sent += 1;
            requests.under_way[lane] = Some(requests.sent);
        });
    }

    /// Waits for its end, if it is under way. The future may be dropped.
    pub(super) async fn end(&mut self) -> Option<Result<Answers>> {
        let answer = self.under_way.as_mut()?.await;
        self.under_way = None;
        self.unanswered |= answer.is_err();
        self.note(|requests, lane| requests.under_way[lane] = None);
        Some(answer)
    }

    fn note(&self, what: impl FnOnce(&mut Requests, usize)) {
        self.requests.send_if_modified(|requests| {
            what(requests, self.lane);
            true
        });
    }
}

/// How many commit requests were sent, and which of them is under way in each lane.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::consumer) struct Requests {
    sent: u64,
    under_way: [Option<u64>; LANES],
}

impl Requests {
    /// Whether all are over that were sent before this many.
    fn are_over(&self, sent: u64) -> bool {
        self.under_way.iter().flatten().all(|request| *request > sent)
    }
}

/// Waits until the commit requests are over that are under way at the call: one that was asked for in an earlier life of a
/// partition, or that nobody waits for any more, must not come after what is read of commits then.
pub(in crate::consumer) async fn over(mut requests: watch::Receiver<Requests>) {
    let sent = requests.borrow().sent;
    // Where nobody commits any more all are.
    drop(requests.wait_for(|now| now.are_over(sent)).await);
}

#[cfg(test)]
impl Requests {
    /// Whether one is under way.
    pub(in crate::consumer) fn any(&self) -> bool {
        !self.are_over(self.sent)
    }
}
