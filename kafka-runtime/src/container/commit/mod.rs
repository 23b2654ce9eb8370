//! Commits of one member: sync, async, combined.
//!
//! ```text
//!   partition loops ──due flag / demand (+ who waits)──▶ committer ──at most `beside` in flight──▶ coordinator
//!        ▲                                               │  ▲
//!        └── Signal::Commit (sync), answers ◀────────────┘  └── ticker: the cadence of time, and idle partitions
//! ```
//!
//! At most one commit of a partition is in flight. With nobody waiting there is one in all: newer offsets of all partitions
//! go together in the next. Where loops wait (sync, or a bound on records) a few go beside each other, or each partition would
//! wait for the commits of others.
//! [`book`] decides; this file carries out.

mod book;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use kafka_client::config::Backoff;
use kafka_client::consumer::{CommitOutcome, ConsumerHandle, Offsets};
use kafka_client::group::CommittedOffset;
use kafka_client::seams::Rng;
use kafka_client::{Error, TopicPartition};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

pub(crate) use self::book::Tries;
use self::book::{Book, Sent};
use super::listed::Listed;
use super::shared::{Safe, Shared};
use crate::config::{Cadence, CommitStrategy, ListenerSettings};

/// How often partitions that stand still are looked at when no cadence of time is set.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// One partition of a commit request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PartitionCommit {
    /// Which.
    pub partition: TopicPartition,
    /// The offset that was sent.
    pub offset: i64,
    /// Why it was refused, if it was.
    pub result: Result<(), Error>,
}

/// What became of one commit request, for [`App::on_commit`](crate::App::on_commit).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommitEvent {
    /// The listener's id.
    pub listener: Arc<str>,
    /// Its group.
    pub group: Arc<str>,
    /// Each partition of the request.
    pub partitions: Vec<PartitionCommit>,
}

impl CommitEvent {
    /// Whether any partition was refused.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.partitions.iter().any(|one| one.result.is_err())
    }
}

/// A commit callback.
pub(crate) type CommitHook = Arc<dyn Fn(&CommitEvent) + Send + Sync>;

/// Where commits go.
pub(crate) trait CommitPort: Send + Sync + 'static {
    /// One request, not repeated. Those of a partition go out one after the other, also those of different lives of it.
    fn commit(&self, offsets: Offsets) -> impl Future<Output = CommitOutcome> + Send;
}

impl CommitPort for ConsumerHandle {
    async fn commit(&self, offsets: Offsets) -> CommitOutcome {
        ConsumerHandle::commit(self, offsets).await
    }
}

/// What commits go by.
pub(crate) struct CommitPolicy {
    pub(crate) listener: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) strategy: CommitStrategy,
    pub(crate) cadence: Cadence,
    pub(crate) timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) hook: Option<CommitHook>,
    pub(crate) rng: Arc<Rng>,
}

impl CommitPolicy {
    pub(crate) fn new(settings: &ListenerSettings, hook: Option<CommitHook>, rng: Arc<Rng>) -> Option<Self> {
        let group = settings.consumer.group.as_ref()?;
        Some(Self {
            listener: settings.id.as_str().into(),
            group: group.group_id.as_str().into(),
            strategy: settings.commit,
            cadence: settings.cadence,
            timeout: settings.commit_timeout,
            backoff: settings.client.retry_backoff,
            hook,
            rng,
        })
    }

    /// The cadence of time, if there is one.
    fn time(&self) -> Option<Duration> {
        match self.cadence {
            Cadence::Every { time, .. } => time,
            Cadence::Record | Cadence::Batch => None,
        }
    }

    /// How many commits are in flight at a time.
    fn beside(&self) -> usize {
        let loops_wait = self.strategy == CommitStrategy::Sync || self.cadence.bound().is_some();
        if loops_wait { ConsumerHandle::COMMITS_AT_A_TIME } else { 1 }
    }
}

/// What a commit came to; an error of the channel when the partition is not held any more.
pub(crate) type Answer = oneshot::Receiver<Result<(), Error>>;

type Waiter = oneshot::Sender<Result<(), Error>>;

#[derive(Debug)]
enum Command {
    Hold { shared: Arc<Shared>, confirmed: Option<i64> },
    Forget(Arc<Shared>),
    Demand { shared: Arc<Shared>, tries: Tries, waiter: Option<Waiter> },
}

/// A handle to a member's committer; it ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    commands: mpsc::UnboundedSender<Command>,
    look: Arc<Notify>,
    strategy: CommitStrategy,
    timeout: Duration,
}

impl Committer {
    /// Starts the committer's task.
    pub(crate) fn start(port: impl CommitPort, policy: CommitPolicy) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let look = Arc::new(Notify::new());
        let (strategy, timeout) = (policy.strategy, policy.timeout);
        let task =
            Task { book: Book::new(policy.backoff), policy, inbox, look: Arc::clone(&look), trouble: None };
        tokio::spawn(task.run(port));
        Self { commands, look, strategy, timeout }
    }

    /// The strategy, matched by those who ask for commits.
    pub(crate) fn strategy(&self) -> CommitStrategy {
        self.strategy
    }

    /// This partition may be committed from now on.
    pub(crate) fn hold(&self, shared: Arc<Shared>, confirmed: Option<i64>) {
        self.send(Command::Hold { shared, confirmed });
    }

    /// Nothing of this partition is committed any more, unless it is held anew meanwhile.
    pub(crate) fn forget(&self, shared: &Arc<Shared>) {
        self.send(Command::Forget(Arc::clone(shared)));
    }

    /// Asks for a commit and goes on. The committer takes what is safe when it gets to it.
    pub(crate) fn ask(&self, shared: &Shared) {
        shared.set_due();
        self.look.notify_one();
    }

    /// Asks for a commit that is tried again for the commit timeout, and goes on.
    pub(crate) fn insist(&self, shared: &Arc<Shared>) {
        let tries = Tries::Until(Instant::now() + self.timeout);
        self.send(Command::Demand { shared: Arc::clone(shared), tries, waiter: None });
    }

    /// Asks for a commit of everything that is safe at the call. The answer says when it is confirmed or was refused.
    pub(crate) fn request(&self, shared: &Arc<Shared>, tries: Tries) -> Answer {
        let (waiter, answer) = oneshot::channel();
        self.send(Command::Demand { shared: Arc::clone(shared), tries, waiter: Some(waiter) });
        answer
    }

    /// As [`Committer::request`], tried again for the commit timeout.
    pub(crate) fn request_sync(&self, shared: &Arc<Shared>) -> Answer {
        self.request(shared, Tries::Until(Instant::now() + self.timeout))
    }

    /// Waits for a commit that is tried again for the commit timeout.
    pub(crate) async fn commit_sync(&self, shared: &Arc<Shared>) -> Result<(), Error> {
        self.request_sync(shared).await.unwrap_or(Err(Error::Closed))
    }

    fn send(&self, command: Command) {
        // The task ends with the last handle, so there is one to receive it.
        let _ = self.commands.send(command);
    }
}

struct Task {
    policy: CommitPolicy,
    book: Book<Waiter>,
    inbox: mpsc::UnboundedReceiver<Command>,
    look: Arc<Notify>,
    /// What the last round failed with: said once, not with each try.
    trouble: Option<String>,
}

impl Task {
    async fn run(mut self, port: impl CommitPort) {
        let every = self.policy.time().unwrap_or(IDLE_TICK).max(Duration::from_millis(1));
        let mut ticker = tokio::time::interval_at(Instant::now() + every, every);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beside = self.policy.beside();
        let mut in_flight = FuturesUnordered::new();
        loop {
            while let Ok(command) = self.inbox.try_recv() {
                self.apply(command);
            }
            let has_room = in_flight.len() < beside;
            if has_room {
                let round = self.next_round();
                if !round.is_empty() {
                    in_flight.push(send(&port, round));
                    continue;
                }
            }
            let next_try = if has_room { self.book.next_try() } else { None };
            tokio::select! {
                biased;
                Some((round, outcome)) = in_flight.next() => self.answered(round, outcome),
                _ = ticker.tick() => self.tick(),
                command = self.inbox.recv() => match command {
                    Some(command) => self.apply(command),
                    None => break,
                },
                () = self.look.notified(), if has_room => {}
                () = sleep_until(next_try), if next_try.is_some() => {}
            }
        }
        // The last that was asked for, and those who wait.
        loop {
            let round = self.next_round();
            if !round.is_empty() {
                in_flight.push(send(&port, round));
            }
            match in_flight.next().await {
                Some((round, outcome)) => self.answered(round, outcome),
                None => return,
            }
        }
    }

    fn next_round(&mut self) -> Vec<Sent<Waiter>> {
        self.book.collect_due();
        let (round, satisfied) = self.book.round(Instant::now());
        for waiter in satisfied {
            let _ = waiter.send(Ok(()));
        }
        round
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Hold { shared, confirmed } => self.book.hold(shared, confirmed),
            Command::Forget(shared) => self.book.forget(&shared),
            Command::Demand { shared, tries, waiter } => {
                if let Some(waiter) = self.book.demand(&shared, tries, waiter) {
                    let _ = waiter.send(Err(Error::Closed));
                }
            }
        }
    }

    fn tick(&mut self) {
        let until = Instant::now() + self.policy.timeout;
        self.book.tick(self.policy.strategy, self.policy.time().is_some(), until);
    }

    fn answered(&mut self, round: Vec<Sent<Waiter>>, outcome: CommitOutcome) {
        let mut results: HashMap<_, _> = outcome.partitions.into_iter().collect();
        let mut partitions = Vec::with_capacity(round.len());
        // One wait for all, so that what failed together is tried again together.
        let unit = self.policy.rng.unit();
        for sent in round {
            let (partition, offset) = (sent.shared.partition, sent.safe.offset);
            let result = results.remove(&partition).unwrap_or(Err(Error::Closed));
            for waiter in self.book.answered(sent, &result, Instant::now(), unit) {
                let _ = waiter.send(result.clone());
            }
            partitions.push(PartitionCommit { partition, offset, result });
        }
        self.log(&partitions);
        self.call_hook(partitions);
    }

    fn log(&mut self, round: &[PartitionCommit]) {
        let listener = &*self.policy.listener;
        debug!(listener, ?round, "commit answered");
        let failed = round.iter().find_map(|one| one.result.as_ref().err());
        let Some(error) = failed else {
            if self.trouble.take().is_some() {
                info!(listener, "commits succeed again");
            }
            return;
        };
        if self.trouble.replace(error.to_string()).is_none_or(|said| said != error.to_string()) {
            let failed = round.iter().filter(|one| one.result.is_err());
            let partitions = Listed::new(failed.map(|one| one.partition));
            warn!(listener, %partitions, %error, "commit failed");
        }
    }

    fn call_hook(&self, partitions: Vec<PartitionCommit>) {
        let Some(hook) = &self.policy.hook else { return };
        let (listener, group) = (Arc::clone(&self.policy.listener), Arc::clone(&self.policy.group));
        call_hook(hook, &CommitEvent { listener, group, partitions });
    }
}

/// Tells the application of a commit.
pub(crate) fn call_hook(hook: &CommitHook, event: &CommitEvent) {
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(event)));
    if called.is_err() {
        warn!(listener = &*event.listener, "the commit callback panicked; commits go on");
    }
}

async fn send<W>(port: &impl CommitPort, round: Vec<Sent<W>>) -> (Vec<Sent<W>>, CommitOutcome) {
    let outcome = port.commit(round.iter().map(to_commit).collect()).await;
    (round, outcome)
}

fn to_commit<W>(sent: &Sent<W>) -> (TopicPartition, CommittedOffset) {
    let Safe { offset, leader_epoch, .. } = sent.safe;
    (sent.shared.partition, CommittedOffset { offset, leader_epoch, metadata: sent.metadata.clone() })
}

/// Sleeps until then; with `None` not at all.
pub(crate) async fn sleep_until(when: Option<Instant>) {
    if let Some(when) = when {
        tokio::time::sleep_until(when).await;
    }
}
