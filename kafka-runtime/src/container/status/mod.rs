//! What a listener shows of itself.
//!
//! ```text
//! mod      the board: where members write what is shown
//! health   what that means; lag
//! explain  which records hold up their partitions
//! events   what happens, for subscribers
//! idle     standing still for long (pure)
//! ```

mod events;
mod explain;
mod health;
mod idle;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::consumer::LogEnd;
use kafka_client::seams::{Clock as _, SystemClock};
use tokio::time::Instant;

pub(crate) use self::events::Events;
pub use self::events::{EventKind, EventStream, ListenerEvent};
pub use self::explain::OpenRecord;
pub(super) use self::explain::describe;
use self::explain::explain;
pub use self::health::{Health, HealthStatus, ListenerHealth, PartitionLag};
pub(crate) use self::idle::{Idleness, Rest};
use super::ack::AckDesk;
use super::commit::Committer;
use super::partition::PartitionRemote;
use super::pauses::Pauses;
use super::shared::{Counts, PartitionPhase, Retrying, Shared, Writing};
use super::work::ListenerWork;

/// The client repeats a problem every 10 seconds while it lasts.
const LASTS: Duration = Duration::from_secs(30);

/// A listener's state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerState {
    /// Configured not to start with the application (`auto-startup: false`).
    NotStarted,
    /// At work, or trying to be: see [`ListenerStatus::problem`].
    Running,
    /// It was told to stop, and did.
    Stopped,
    /// It has ended and will not recover by itself; the application goes on without it.
    Failed(String),
}

/// One listener, as [`RunningApp::status`](crate::RunningApp::status) shows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// Its id.
    pub id: &'static str,
    /// Its state.
    pub state: ListenerState,
    /// What stands in its way now (no broker answers, a topic is missing, a permission); gone when partitions come, or
    /// half a minute after it was met last.
    pub problem: Option<String>,
    /// All records since the start, those of partitions that were given away included.
    pub counts: Counts,
    /// Whether it is paused as a whole. It keeps its partitions.
    pub paused: bool,
    /// Whether it pauses by itself, because what its handlers need is down (`circuit-breaker`).
    pub circuit_open: bool,
    /// What it waits for, because a check says that it is down (`pause-when`), and what the check said.
    pub downstream_down: Option<String>,
    /// The partitions that it holds.
    pub partitions: Vec<PartitionStatus>,
}

impl ListenerStatus {
    /// Whether nobody has to look at it: it is not [`HealthStatus::Down`].
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        ListenerHealth::of(self).status != HealthStatus::Down
    }
}

/// One partition of a listener.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Which.
    pub partition: TopicPartition,
    /// What it is doing.
    pub phase: PartitionPhase,
    /// The record that failed last and why, while it is tried again or the partition has stopped.
    pub cause: Option<String>,
    /// The offset of the record whose handler has been running for longer than `max-poll-interval`; `None` for none.
    pub stuck: Option<i64>,
    /// The offset of the first record that has been handed over and not acknowledged for longer than `max-poll-interval`
    /// (by hand, or by the broker that it was sent on to); `None` for none.
    pub unacknowledged: Option<i64>,
    /// Records that failed and are tried again while others go on: with `ordering = "key"` and `"none"`, and where records
    /// are acknowledged by hand or sent on. Elsewhere the partition waits for the one ([`PartitionPhase::Retrying`]).
    pub retrying: Option<Retrying>,
    /// The dead letter, or record for a retry topic, that has been on its way for the longest.
    pub writing: Option<Writing>,
    /// The offset in hand, or the next one.
    pub position: i64,
    /// The last offset that the group's coordinator confirmed.
    pub committed: Option<i64>,
    /// Whether it was told to pause, by itself or with its listener.
    pub paused: bool,
    /// Where the partition's log ends: the high watermark or, under `read_committed`, the last stable offset. Fetch answers
    /// tell it when it moves; where the partition is paused or stopped, or its handlers are behind, its leader is asked each 5 s.
    pub log_end: Option<i64>,
    /// How long ago that was told.
    pub log_end_age: Option<Duration>,
    /// How old the newest record of the batch in hand is, by its timestamp; zero where nothing is left to handle.
    pub behind: Option<Duration>,
    /// Records since the partition was assigned.
    pub counts: Counts,
}

impl PartitionStatus {
    /// Offsets between the position and the end of the log; `None` before the end was told.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        self.log_end.map(|end| end.saturating_sub(self.position).max(0))
    }
}

/// A record whose handler was still running when its listener had to stop: it is handled again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undone {
    /// The listener's id.
    pub listener: &'static str,
    /// The partition.
    pub partition: TopicPartition,
    /// The offset in hand.
    pub offset: i64,
}

/// Where members write what [`ListenerStatus`] shows.
#[derive(Debug)]
pub(crate) struct Board {
    id: &'static str,
    pub(crate) pauses: Pauses,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: ListenerState,
    problem: Option<(String, Instant)>,
    partitions: BTreeMap<TopicPartition, Entry>,
    /// Of partitions that were given away.
    gone: Counts,
    undone: Vec<Undone>,
    /// While it runs.
    work: Weak<ListenerWork>,
}

/// A partition and who commits it.
#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    log_end: Arc<LogEnd>,
    committer: Option<Committer>,
    /// Where records are settled later than their handlers return.
    acks: Option<Arc<AckDesk>>,
}

impl Inner {
    /// What was said a while ago and not again has passed.
    fn problem(&self) -> Option<String> {
        let lasting = self.problem.as_ref().filter(|(_, since)| since.elapsed() < LASTS);
        lasting.map(|(problem, _)| problem.clone())
    }
}

impl Board {
    pub(crate) fn new(id: &'static str, state: ListenerState) -> Self {
        let inner = Inner {
            state,
            problem: None,
            partitions: BTreeMap::new(),
            gone: Counts::default(),
            undone: Vec::new(),
            work: Weak::new(),
        };
        Self { id, pauses: Pauses::default(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is started, whatever it was before.
    pub(crate) fn begin(&self) {
        let mut inner = self.inner();
        (inner.state, inner.problem) = (ListenerState::Running, None);
        // It is handled now.
        inner.undone.clear();
    }

    pub(crate) fn state(&self) -> ListenerState {
        self.inner().state.clone()
    }

    /// A failure is the last word, until it is started again.
    pub(crate) fn set_state(&self, state: ListenerState) {
        let mut inner = self.inner();
        if !matches!(inner.state, ListenerState::Failed(_)) {
            inner.state = state;
        }
    }

    /// `true` if this is not what it says already.
    pub(crate) fn set_problem(&self, problem: Option<String>) -> bool {
        let mut inner = self.inner();
        let is_new = inner.problem() != problem;
        inner.problem = problem.map(|problem| (problem, Instant::now()));
        is_new
    }

    pub(crate) fn add(
        &self,
        PartitionRemote { shared, desk }: PartitionRemote,
        log_end: Arc<LogEnd>,
        committer: Option<Committer>,
    ) {
        let partition = shared.partition;
        self.inner().partitions.insert(partition, Entry { shared, log_end, committer, acks: desk });
    }

    /// Commits whatever is behind, and waits for it.
    pub(crate) async fn commit_now(&self) {
        let ask = |entry: &Entry| {
            let committer = entry.committer.as_ref().filter(|_| entry.shared.is_behind())?;
            Some(committer.request_sync(&entry.shared))
        };
        let asked: Vec<_> = self.inner().partitions.values().filter_map(ask).collect();
        for answer in asked {
            // A refusal was logged by the committer.
            let _ = answer.await;
        }
    }

    /// The partition was given away; another member of this process may hold it by now.
    pub(crate) fn remove(&self, shared: &Arc<Shared>) {
        let mut inner = self.inner();
        if inner.partitions.get(&shared.partition).is_some_and(|held| Arc::ptr_eq(&held.shared, shared)) {
            inner.partitions.remove(&shared.partition);
        }
        inner.gone = inner.gone + shared.counts();
    }

    pub(crate) fn add_undone(&self, shared: &Shared) {
        let (listener, partition) = (self.id, shared.partition);
        let undone = shared.running().into_iter().map(|offset| Undone { listener, partition, offset });
        self.inner().undone.extend(undone);
    }

    /// It runs this from now on.
    pub(crate) fn set_work(&self, work: &Arc<ListenerWork>) {
        self.inner().work = Arc::downgrade(work);
    }

    /// Changes `concurrency`, while it runs. `false`: it does not.
    pub(crate) fn set_concurrency(&self, most: usize) -> bool {
        let work = self.inner().work.upgrade();
        work.is_some_and(|work| {
            work.set_concurrency(most);
            true
        })
    }

    /// Records that were begun and are not finished.
    pub(crate) fn explain(&self) -> Vec<OpenRecord> {
        let inner = self.inner();
        let of = |entry: &Entry| explain(self.id, &entry.shared, entry.acks.as_deref());
        inner.partitions.values().flat_map(of).collect()
    }

    pub(crate) fn undone(&self) -> Vec<Undone> {
        self.inner().undone.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        let inner = self.inner();
        inner.partitions.values().fold(inner.gone, |sum, entry| sum + entry.shared.counts())
    }

    pub(crate) fn status(&self) -> ListenerStatus {
        let counts = self.counts();
        let inner = self.inner();
        let flow = inner.work.upgrade().and_then(|work| work.flow.clone());
        ListenerStatus {
            id: self.id,
            state: inner.state.clone(),
            problem: inner.problem(),
            counts,
            paused: self.pauses.cover_all(),
            circuit_open: flow.as_ref().is_some_and(|flow| flow.is_open()),
            downstream_down: flow.as_ref().and_then(|flow| flow.downstream()?.down()),
            partitions: inner.partitions.values().map(Entry::status).collect(),
        }
    }

    /// Whether no handler has anything to do.
    pub(crate) fn is_resting(&self) -> bool {
        let at_rest = |phase| matches!(phase, PartitionPhase::Idle | PartitionPhase::Paused);
        self.inner().partitions.values().all(|entry| at_rest(entry.shared.phase()))
    }
}

impl Entry {
    fn retrying(&self) -> Option<Retrying> {
        let given_up = self.shared.written();
        match self.shared.desk() {
            Some(desk) => desk.retrying(&given_up),
            None => self.acks.as_ref()?.retrying(&given_up),
        }
    }

    fn status(&self) -> PartitionStatus {
        let Self { shared, log_end, .. } = self;
        let (position, end) = (shared.position(), log_end.offset());
        let retrying = self.retrying();
        let behind = shared.timestamp().zip(end).map(|(millis, end)| match position < end {
            true => Duration::from_millis(u64::try_from(SystemClock.wall_millis() - millis).unwrap_or(0)),
            false => Duration::ZERO,
        });
        PartitionStatus {
            partition: shared.partition,
            phase: shared.phase(),
            cause: shared.cause().or_else(|| retrying.as_ref()?.cause.clone()),
            stuck: shared.stuck(),
            unacknowledged: shared.unacknowledged(),
            retrying,
            writing: shared.writing(),
            position,
            committed: Some(shared.committed()).filter(|offset| *offset >= 0),
            paused: shared.is_paused(),
            log_end: end,
            log_end_age: log_end.age(),
            behind,
            counts: shared.counts(),
        }
    }
}
