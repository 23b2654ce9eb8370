//! One member of a group (or reader of fixed partitions): its events, its partitions, its commits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::consumer::{Consumer, ConsumerEvent, ConsumerHandle, PartitionStream, Revocation};
use kafka_client::group::Leave;
use kafka_client::{Error, TopicPartition};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, error, info, warn};

use super::commit::{CommitPolicy, Committer};
use super::give_back::{Exit, Held, Leaving};
use super::listed::Listed;
use super::partition::{self, Commits};
use super::status::{Board, EventKind, ListenerState};
use super::steering::Order;
use super::transact::{Inheritance, Transact};
use super::watch::Watched;
use super::work::ListenerWork;
use crate::config::OnRevoke;

/// How often handlers are looked at that may be stuck.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// However short an interval is set for events of idleness.
const OFTEN_ENOUGH: Duration = Duration::from_millis(50);

/// Until when everything must have stopped, once it is to stop.
pub(crate) type StopBy = watch::Receiver<Option<Instant>>;

/// A running member.
pub(crate) struct Member {
    consumer: Consumer,
    pub(super) handle: ConsumerHandle,
    pub(super) work: Arc<ListenerWork>,
    pub(super) board: Arc<Board>,
    pub(super) exit: Exit,
    stop: StopBy,
    orders: mpsc::UnboundedReceiver<Order>,
    pub(super) held: HashMap<TopicPartition, Held>,
    /// Partitions on their way out.
    leaving: JoinSet<()>,
    /// Partitions that wait until what was in hand in their last life here is finished.
    beginning: JoinSet<PartitionStream>,
    awaited: HashMap<TopicPartition, AbortHandle>,
    /// Transactions that owners before this member left open.
    inheritance: Inheritance,
    /// Orders under way.
    pub(super) errands: JoinSet<()>,
    watched: HashMap<TopicPartition, Watched>,
}

impl Member {
    pub(crate) fn new(
        consumer: Consumer,
        work: Arc<ListenerWork>,
        board: Arc<Board>,
        commits: Option<CommitPolicy>,
        stop: StopBy,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let handle = consumer.handle();
        let exit = Exit {
            listener: work.id,
            board: Arc::clone(&board),
            committer: commits.map(|policy| Committer::start(handle.clone(), policy)),
            why: Leaving::HandOver { drain_timeout: work.settings.drain_timeout },
            transactional: work.transactions.is_some(),
            on_revoke: work.settings.on_revoke,
            lingering: Arc::default(),
        };
        let (held, watched) = (HashMap::new(), HashMap::new());
        let (leaving, errands, beginning) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let awaited = HashMap::new();
        Self {
            consumer,
            handle,
            work,
            board,
            exit,
            stop,
            orders,
            held,
            leaving,
            beginning,
            awaited,
            inheritance: Inheritance::default(),
            errands,
            watched,
        }
    }

    /// Runs until the consumer ends: because it was told to, or for good.
    ///
    /// # Errors
    /// What ended it for good.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let often = self.work.settings.idle_partition_event_interval.unwrap_or(WATCH_EVERY);
        let mut watch = tokio::time::interval(often.clamp(OFTEN_ENOUGH, WATCH_EVERY));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = self.stop.clone();
        let mut told = false;
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                biased;
                event = self.consumer.next() => match event {
                    Some(ConsumerEvent::Fatal(cause)) => outcome = Err(self.fatal(cause)),
                    Some(event) => self.on(event),
                    None => break,
                },
                _ = stopping.wait_for(Option::is_some), if !told => {
                    told = true;
                    self.handle.shutdown();
                }
                Some(_) = self.leaving.join_next() => {}
                Some(_) = self.errands.join_next() => {}
                Some(ready) = self.beginning.join_next_with_id() => if let Ok((id, stream)) = ready {
                    // It may have gone away, and come back, since it was ready.
                    let awaited = self.awaited.get(&stream.partition());
                    if awaited.is_some_and(|awaited| awaited.id() == id) {
                        self.begin(stream);
                    }
                },
                Some(order) = self.orders.recv() => self.obey(order),
                _ = watch.tick() => self.look_around(),
            }
        }
        self.end().await;
        outcome
    }

    fn on(&mut self, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Assigned(streams) => {
                self.board.set_problem(None);
                let partitions = Listed::new(streams.iter().map(PartitionStream::partition));
                info!(listener = self.work.id, %partitions, "assigned");
                self.tell(|| EventKind::Assigned(streams.iter().map(PartitionStream::partition).collect()));
                for stream in streams {
                    self.assigned(stream);
                }
            }
            ConsumerEvent::Revoked(revocation) => self.revoked(revocation),
            ConsumerEvent::Lost(lost) => {
                self.tell(|| EventKind::Lost(lost.clone()));
                let partitions = Listed::new(lost.iter().copied());
                warn!(listener = self.work.id, %partitions, "lost: what is not committed is handled again by the next owner");
                for partition in lost {
                    self.lost(partition);
                }
            }
            ConsumerEvent::HeldUp(partitions) => {
                for partition in partitions {
                    if let Some(transact) = self.transact(partition) {
                        self.inheritance.accept(transact);
                    }
                }
            }
            ConsumerEvent::Problem(problem) => self.problem(&problem),
            event => debug!(listener = self.work.id, ?event, "an event that this runtime does not know"),
        }
    }

    fn assigned(&mut self, stream: PartitionStream) {
        let partition = stream.partition();
        // An owner that did not get away in time would handle the same records beside the new one.
        self.lost(partition);
        let mut before = self.exit.lingering.of(partition);
        before.extend(self.inheritance.of(partition));
        if before.is_empty() {
            return self.begin(stream);
        }
        let wait = async move {
            for last in before {
                last.come().await;
            }
            stream
        };
        self.awaited.insert(partition, self.beginning.spawn(wait));
    }

    /// The transactions of a partition, where the listener has any.
    fn transact(&self, partition: TopicPartition) -> Option<Transact> {
        let all = self.work.transactions.as_ref()?;
        all.of(partition, &self.work.settings, self.handle.clone())
    }

    fn begin(&mut self, stream: PartitionStream) {
        let (partition, start) = (stream.partition(), stream.start().clone());
        self.awaited.remove(&partition);
        let committed = start.committed.as_ref().map(|committed| committed.offset);
        let shared = Arc::new(self.work.shared(partition, &start));
        debug!(listener = self.work.id, %partition, ?start, "begins");
        if let Some(committer) = &self.exit.committer {
            committer.hold(Arc::clone(&shared), committed.filter(|offset| *offset == start.offset));
        }
        if self.board.pauses.cover(partition) {
            shared.pause();
            self.handle.pause(&[partition]);
        }
        let log_end = stream.log_end();
        let (work, committer) = (Arc::clone(&self.work), self.exit.committer.clone());
        let transact = self.transact(partition);
        let commits = Commits { committer, transact };
        let (remote, task) =
            partition::begin(stream, &start, shared, work, commits, self.handle.lease().life());
        self.board.add(remote.clone(), log_end, self.exit.committer.clone());
        self.held.insert(partition, Held::new(remote, task));
    }

    fn tell(&self, kind: impl FnOnce() -> EventKind) {
        self.work.events.emit(self.work.id, kind);
    }

    fn revoked(&mut self, revocation: Revocation) {
        self.tell(|| EventKind::Revoked(revocation.partitions.clone()));
        let held = revocation.partitions.iter().filter_map(|partition| self.take(*partition)).collect();
        let mut exit = self.exit.clone();
        let deadline = match *self.stop.borrow() {
            None => revocation.deadline,
            Some(stop) => {
                // The process may be about to end, and handlers with it: no other member waits for them, the stop does.
                (exit.on_revoke, exit.why) = (OnRevoke::Cancel, Leaving::Stop);
                stop.min(revocation.deadline)
            }
        };
        self.leaving.spawn(exit.give_back(held, revocation, deadline));
    }

    fn lost(&mut self, partition: TopicPartition) {
        if let Some(held) = self.take(partition) {
            self.exit.lose(held);
        }
    }

    /// What is held of a partition that goes away.
    fn take(&mut self, partition: TopicPartition) -> Option<Held> {
        if let Some(waiting) = self.awaited.remove(&partition) {
            waiting.abort();
        }
        self.held.remove(&partition)
    }

    fn problem(&self, problem: &Error) {
        // The same trouble comes again with each try: once is enough.
        if self.board.set_problem(Some(problem.to_string())) {
            warn!(listener = self.work.id, %problem, "it is tried again until it works");
            self.tell(|| EventKind::Problem { cause: problem.to_string() });
        } else {
            debug!(listener = self.work.id, %problem, "still");
        }
    }

    fn fatal(&self, cause: Error) -> Error {
        error!(listener = self.work.id, %cause, "listener failed and will not recover; the application goes on without it");
        self.board.set_state(ListenerState::Failed(cause.to_string()));
        self.tell(|| EventKind::Failed { cause: cause.to_string() });
        cause
    }

    /// Looks for handlers that may be stuck, and for partitions that have had nothing to do for long.
    fn look_around(&mut self) {
        let now = Instant::now();
        self.watched.retain(|partition, _| self.held.contains_key(partition));
        for (partition, held) in &self.held {
            let watched = self.watched.entry(*partition).or_insert_with(|| Watched::new(&held.remote, now));
            watched.look(&held.remote, &self.work, now);
        }
    }

    /// Whatever is left: partitions that nobody revoked are lost; those on their way out are waited for.
    async fn end(mut self) {
        for (_, held) in self.held.drain() {
            self.exit.lose(held);
        }
        let stop_by = *self.stop.borrow();
        let stop_by = stop_by.unwrap_or_else(|| Instant::now() + self.work.settings.shutdown_timeout);
        let left = async { while self.leaving.join_next().await.is_some() {} };
        if tokio::time::timeout_at(stop_by, left).await.is_err() {
            self.leaving.abort_all();
        }
        let goodbye = stop_by.saturating_duration_since(Instant::now());
        if let Err(error) = self.consumer.close(Leave::Default, goodbye).await {
            warn!(listener = self.work.id, %error, "the group was not left in peace: its rebalance waits for the session to end");
        }
    }
}
