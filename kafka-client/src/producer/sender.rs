//! The I/O of a producer: one task that takes batches from the queues, sends one request per broker with all that is
//! ready for it, and brings the answers back to the queues.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::SendError;
use super::batch::Batch;
use super::enqueue::Shared;
use super::queue::{Aftermath, Due};
use super::request;
use super::sequences::Identity;
use super::topics::{Partition, Place};
use super::verdict::Verdict;
use crate::cluster::{Cluster, ClusterMetadata};
use crate::config::Acks;
use crate::error::{Error, Result};
use crate::fetch::Map;
use crate::ids::TopicPartition;
use crate::net::{Connection, Pool, Purpose};

/// Topics that are sent to are marked as used so often; see [`Cluster::track_while_used`].
const RENEW: Duration = Duration::from_secs(60);

/// What callers tell the sender.
#[derive(Debug)]
pub(super) enum Command {
    /// A batch of this partition began or is full.
    Changed(Arc<Partition>),
    /// Somebody waits for what lingers.
    Hurry,
    Stop,
}

/// What the sender's own tasks tell it.
enum Event {
    Connected(i32, Result<Arc<Connection>>),
    Answered {
        broker: i32,
        sent: Vec<Sent>,
        /// `None` with acks 0.
        answer: Result<Option<ProduceResponse>>,
    },
    Identified(Result<Identity>),
    /// The coordinator of transactions was asked; the answer is in the machine.
    Added,
}

/// A batch on the wire.
struct Sent {
    partition: Arc<Partition>,
    batch: Batch,
}

/// What leads to one broker.
#[derive(Default)]
struct Lane {
    connection: Option<Arc<Connection>>,
    connecting: bool,
    /// Requests without an answer.
    in_flight: usize,
    not_before: Option<Instant>,
    /// Partitions that have something to send now, in turn.
    line: VecDeque<Arc<Partition>>,
}

/// The producer id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Idempotence {
    Missing { failures: u32, not_before: Instant },
    Asking { failures: u32 },
    Known(Identity),
}

/// The task.
pub(super) struct Sender {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    pool: Arc<Pool>,
    inbox: mpsc::UnboundedReceiver<Command>,
    pictures: watch::Receiver<Arc<ClusterMetadata>>,
    calls: JoinSet<Event>,
    /// Partitions that are not idle.
    active: Map<TopicPartition, Arc<Partition>>,
    /// When which of them is looked at again.
    alarms: BTreeSet<(Instant, TopicPartition)>,
    /// Those that wait for a leader, or to become part of the transaction.
    held: Vec<Arc<Partition>>,
    /// Somebody waits since the last look.
    hurried: bool,
    lanes: HashMap<i32, Lane>,
    idempotence: Idempotence,
    renewed: Instant,
    /// That the transaction went on, or was refused.
    transaction_news: Option<watch::Receiver<()>>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<Pool>, inbox: mpsc::UnboundedReceiver<Command>) -> Self {
        let cluster = Arc::clone(pool.cluster());
        let now = cluster.seams().clock.now();
        Self {
            pool,
            pictures: cluster.watch(),
            cluster,
            inbox,
            calls: JoinSet::new(),
            active: Map::default(),
            alarms: BTreeSet::new(),
            held: Vec::new(),
            hurried: false,
            lanes: HashMap::new(),
            idempotence: Idempotence::Missing { failures: 0, not_before: now },
            renewed: now,
            transaction_news: shared.transaction.as_ref().map(|transaction| transaction.news()),
            shared,
        }
    }

    /// Runs until it is told to stop, or until the last handle of the producer goes.
    pub(super) async fn run(mut self) {
        loop {
            let wake = self.pump();
            tokio::select! {
                command = self.inbox.recv() => match command {
                    None | Some(Command::Stop) => return,
                    Some(command) => self.obey(command),
                },
                Some(event) = self.calls.join_next() => self.take_in(event),
                // The cluster lives as long as this does.
                _ = self.pictures.changed() => {
                    let picture = Arc::clone(&self.pictures.borrow_and_update());
                    self.shared.topics.update(&picture);
                    self.look_at_those_that_wait();
                }
                () = news_of(&mut self.transaction_news) => self.transaction_went_on(),
                () = tokio::time::sleep_until(wake) => {}
            }
            while let Ok(command) = self.inbox.try_recv() {
                if matches!(command, Command::Stop) {
                    return;
                }
                self.obey(command);
            }
            while let Some(event) = self.calls.try_join_next() {
                self.take_in(event);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Changed(partition) => self.look(&partition, self.now()),
            Command::Hurry => self.hurried = true,
            Command::Stop => {}
        }
    }

    fn take_in(&mut self, event: Result<Event, JoinError>) {
        match event {
            Ok(Event::Connected(broker, result)) => self.connected(broker, result),
            Ok(Event::Answered { broker, sent, answer }) => self.answered(broker, sent, answer),
            Ok(Event::Identified(result)) => self.identified(result),
            Ok(Event::Added) => self.transaction_went_on(),
            Err(error) => tracing::error!(%error, "a request of the producer ended without an outcome"),
        }
    }

    fn now(&self) -> Instant {
        self.cluster.seams().clock.now()
    }

    fn unit(&self) -> f64 {
        self.cluster.seams().rng.unit()
    }

    /// Sends all that can be sent now; when to look again.
    fn pump(&mut self) -> Instant {
        let now = self.now();
        self.renew(now);
        if std::mem::take(&mut self.hurried) {
            let active: Vec<_> = self.active.values().map(Arc::clone).collect();
            active.iter().for_each(|partition| self.look(partition, now));
        }
        while let Some((_, partition)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            match self.active.get(&partition).map(Arc::clone) {
                Some(partition) => self.look(&partition, now),
                None => _ = self.alarms.pop_first(),
            }
        }
        let mut wake = self.alarms.first().map_or(now + RENEW, |(at, _)| (now + RENEW).min(*at));
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.line.is_empty());
        // In the order of their numbers, so that a run repeats exactly.
        let brokers: BTreeSet<i32> = waiting.map(|(broker, _)| *broker).collect();
        for broker in brokers {
            self.serve(broker, now, &mut wake);
        }
        self.add_partitions();
        match self.idempotence {
            // Batches wait for it; otherwise it is asked for when the first one does.
            Idempotence::Missing { not_before, .. } if not_before > now => wake.min(not_before),
            _ => wake,
        }
    }

    /// Files a partition by what is to be done for it. What expired is failed, what is idle let go.
    fn look(&mut self, partition: &Arc<Partition>, now: Instant) {
        let hurry = self.shared.hurried.load(Ordering::Acquire) > 0;
        let mut queue = partition.queue();
        let aftermath = queue.expire(now);
        let (due, expiry) = (queue.due(now, hurry), queue.expiry());
        partition.note_backlog(&queue);
        drop(queue);
        let sooner = |at: Instant| Some(expiry.map_or(at, |expiry| at.min(expiry)));
        match due {
            Due::Idle => self.set_alarm(partition, None),
            Due::At(at) => self.set_alarm(partition, sooner(at)),
            Due::Now => {
                self.set_alarm(partition, expiry);
                self.line_up(partition);
            }
        }
        match due {
            Due::Idle => _ = self.active.remove(&partition.id),
            _ => _ = self.active.entry(partition.id).or_insert_with(|| Arc::clone(partition)),
        }
        self.clear_up(aftermath);
    }

    fn set_alarm(&mut self, partition: &Partition, at: Option<Instant>) {
        let before = std::mem::replace(&mut partition.mark().alarm, at);
        if before != at {
            before.map(|before| self.alarms.remove(&(before, partition.id)));
            at.map(|at| self.alarms.insert((at, partition.id)));
        }
    }

    /// Into the line of its leader, if it has one and may be written to; to those that wait otherwise.
    fn line_up(&mut self, partition: &Arc<Partition>) {
        if partition.mark().place != Place::Nowhere {
            return;
        }
        match partition.leader() {
            Some(leader) if self.admits(partition.id) => {
                self.lane(leader).line.push_back(Arc::clone(partition));
                partition.mark().place = Place::Line;
                return;
            }
            Some(_) => {
                if let Some(transaction) = &self.shared.transaction
                    && transaction.machine().refusal().is_some()
                {
                    return transaction.abandon(&self.shared);
                }
            }
            None => {
                partition.queue().trouble.get_or_insert_with(|| "the partition has no leader".to_owned());
                self.cluster.track_while_used(partition.id.topic, true);
                self.cluster.refresh();
            }
        }
        self.held.push(Arc::clone(partition));
        partition.mark().place = Place::Held;
    }

    /// Looks again at what waits: leaders may have moved.
    fn look_at_those_that_wait(&mut self) {
        let lines = self.lanes.values_mut().flat_map(|lane| lane.line.drain(..));
        let waiting: Vec<_> = lines.chain(self.held.drain(..)).collect();
        let now = self.now();
        for partition in waiting {
            partition.mark().place = Place::Nowhere;
            self.look(&partition, now);
        }
    }

    /// The transaction took partitions in, or nothing more will be part of it.
    fn transaction_went_on(&mut self) {
        if let Some(transaction) = &self.shared.transaction
            && transaction.machine().refusal().is_some()
        {
            transaction.abandon(&self.shared);
        }
        self.look_at_those_that_wait();
    }

    /// Sends to one broker as many requests as it may have.
    fn serve(&mut self, broker: i32, now: Instant, wake: &mut Instant) {
        while self.lane(broker).in_flight < self.shared.config.max_in_flight
            && !self.lane(broker).line.is_empty()
        {
            let Some(connection) = self.lane_connection(broker, now, wake) else { return };
            let sent = self.gather(broker, now);
            if sent.is_empty() {
                return;
            }
            self.dispatch(broker, &connection, sent);
        }
    }

    fn lane(&mut self, broker: i32) -> &mut Lane {
        self.lanes.entry(broker).or_default()
    }

    /// The connection, if there is one; otherwise it is being opened, or will be.
    fn lane_connection(&mut self, broker: i32, now: Instant, wake: &mut Instant) -> Option<Arc<Connection>> {
        let lane = self.lanes.entry(broker).or_default();
        if let Some(connection) = lane.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Some(Arc::clone(connection));
        }
        match lane.not_before {
            Some(at) if at > now => *wake = (*wake).min(at),
            _ if lane.connecting => {}
            _ => {
                (lane.connection, lane.connecting) = (None, true);
                let pool = Arc::clone(&self.pool);
                self.calls.spawn(async move {
                    Event::Connected(broker, pool.broker(broker, Purpose::Produce).await)
                });
            }
        }
        None
    }

    /// One batch of each partition in the broker's line, up to the size of a request. Who has more lines up again.
    fn gather(&mut self, broker: i32, now: Instant) -> Vec<Sent> {
        let identity = self.identity(now);
        let hurry = self.shared.hurried.load(Ordering::Acquire) > 0;
        let (mut sent, mut size) = (Vec::new(), 0);
        for _ in 0..self.lane(broker).line.len() {
            let Some(partition) = self.lane(broker).line.pop_front() else { break };
            partition.mark().place = Place::Nowhere;
            let mut queue = partition.queue();
            // It may have lined up in the transaction before.
            let may_go = partition.leader() == Some(broker) && self.admits(partition.id);
            if may_go && queue.due(now, hurry) == Due::Now {
                let next = queue.head_size();
                let fits = sent.is_empty() || size + next <= self.shared.config.max_request_size;
                let Some(batch) = fits.then(|| queue.take(identity)).flatten() else {
                    // Without an identity, or room in the request, the others have to wait as well.
                    drop(queue);
                    partition.mark().place = Place::Line;
                    self.lane(broker).line.push_front(partition);
                    break;
                };
                size += next;
                self.shared.counters.sent(batch.attempts, now.saturating_duration_since(batch.created));
                if let Some(transaction) = &self.shared.transaction {
                    transaction.machine().sent();
                }
                sent.push(Sent { partition: Arc::clone(&partition), batch });
            }
            drop(queue);
            self.look(&partition, now);
        }
        sent
    }

    /// Whether a batch may go to this partition now: only in transactions it may not.
    fn admits(&self, partition: TopicPartition) -> bool {
        self.shared.transaction.as_ref().is_none_or(|transaction| transaction.machine().admits(partition))
    }

    /// Tells the transaction's coordinator of partitions.
    fn add_partitions(&mut self) {
        let Some(transaction) = &self.shared.transaction else { return };
        let Some(partitions) = transaction.machine().next_to_add() else { return };
        let transaction = Arc::clone(transaction);
        self.calls.spawn(async move {
            transaction.add_partitions(partitions).await;
            Event::Added
        });
    }

    /// The producer id; asked for if it is needed and not there.
    fn identity(&mut self, now: Instant) -> Option<Identity> {
        if let Some(transaction) = &self.shared.transaction {
            return transaction.machine().identity();
        }
        match self.idempotence {
            _ if !self.shared.config.idempotence => None,
            Idempotence::Known(identity) => Some(identity),
            Idempotence::Missing { failures, not_before } if not_before <= now => {
                self.idempotence = Idempotence::Asking { failures };
                let pool = Arc::clone(&self.pool);
                self.calls.spawn(async move { Event::Identified(request::identity(&pool).await) });
                None
            }
            Idempotence::Missing { .. } | Idempotence::Asking { .. } => None,
        }
    }

    fn dispatch(&mut self, broker: i32, connection: &Connection, sent: Vec<Sent>) {
        let config = &self.shared.config;
        let (mut written, mut broken) = (Vec::new(), Vec::new());
        let mut bytes = Vec::new();
        for mut one in sent {
            match one.batch.build(config.compression) {
                Ok(built) => {
                    bytes.push((one.partition.id, built));
                    written.push(one);
                }
                Err(error) => broken.push((one, error)),
            }
        }
        let transaction = self.shared.transaction.as_ref();
        let id = transaction.map(|transaction| transaction.wire_id());
        let request = request::produce(bytes, config.acks, config.request_timeout, id);
        let (acks, timeout) = (config.acks, config.request_timeout);
        let version = connection.version::<ProduceRequest>().map(|version| match transaction {
            Some(transaction) => version.min(transaction.highest::<ProduceRequest>()),
            None => version,
        });
        let begun = version.and_then(|version| match acks {
            Acks::None => {
                let done = connection.begin_send(version, &request)?;
                Ok(futures(async move { done.await.map(|()| None) }))
            }
            _ => {
                let answer = connection.begin(timeout, version, &request)?;
                Ok(futures(async move { answer.await.map(|answer| Some(answer.body)) }))
            }
        });
        self.lane(broker).in_flight += 1;
        match begun {
            Ok(answer) => {
                self.calls
                    .spawn(async move { Event::Answered { broker, sent: written, answer: answer.await } });
            }
            Err(error) => self.answered(broker, written, Err(error)),
        }
        for (one, error) in broken {
            let error = Error::Config(format!("the batch cannot be written: {error}"));
            self.settle(one, Verdict::Refused(error));
        }
    }

    fn connected(&mut self, broker: i32, result: Result<Arc<Connection>>) {
        let trouble = result.as_ref().err().map(ToString::to_string);
        let not_before = trouble.is_some().then(|| {
            self.cluster.refresh();
            self.now() + self.cluster.config().retry_backoff.wait(0, self.unit())
        });
        let lane = self.lane(broker);
        (lane.connection, lane.connecting, lane.not_before) = (result.ok(), false, not_before);
        for partition in self.active.values().filter(|partition| partition.leader() == Some(broker)) {
            partition.queue().trouble.clone_from(&trouble);
        }
    }

    fn identified(&mut self, result: Result<Identity>) {
        let Idempotence::Asking { failures } = self.idempotence else { return };
        let wait = self.cluster.config().retry_backoff.wait(failures, self.unit());
        self.idempotence = match &result {
            Ok(identity) => Idempotence::Known(*identity),
            Err(_) => {
                Idempotence::Missing { failures: failures.saturating_add(1), not_before: self.now() + wait }
            }
        };
        let Err(error) = result else { return };
        tracing::debug!(%error, "no producer id");
        for partition in self.active.values() {
            let mut queue = partition.queue();
            queue.trouble = Some(error.to_string());
            if !error.is_retriable() {
                let refused = SendError::Refused { partition: partition.id, source: error.clone() };
                let (_, aftermath) = queue.abandon(&refused);
                self.shared.memory.add_permits(aftermath.freed);
                self.shared.counters.failed(aftermath.failed);
            }
        }
    }

    fn answered(&mut self, broker: i32, sent: Vec<Sent>, answer: Result<Option<ProduceResponse>>) {
        let lane = self.lane(broker);
        lane.in_flight = lane.in_flight.saturating_sub(1);
        match answer {
            Ok(None) => {
                for one in sent {
                    self.settle(one, Verdict::Written { base_offset: -1, log_append_time: None });
                }
            }
            Ok(Some(response)) => {
                let mut verdicts = request::verdicts(&response);
                let leaders = request::leaders(&response);
                let known = self.cluster.snapshot();
                for one in sent {
                    let silent = || {
                        Verdict::of_failure(Error::Malformed {
                            api: "Produce",
                            broker: format!("broker {broker}"),
                            reason: format!("nothing was said of {}", one.partition.id),
                        })
                    };
                    let verdict = verdicts.remove(&one.partition.id).unwrap_or_else(silent);
                    // One that is not in the picture comes with the next.
                    let leader = leaders.get(&one.partition.id);
                    if let Some(leader) = leader.filter(|leader| known.brokers.contains_key(leader)) {
                        one.partition.follow(*leader);
                    }
                    self.settle(one, verdict);
                }
            }
            Err(error) => {
                for one in sent {
                    self.settle(one, Verdict::of_failure(error.clone()));
                }
            }
        }
    }

    /// Brings a batch's verdict to its queue.
    fn settle(&mut self, one: Sent, verdict: Verdict) {
        if verdict.asks_for_metadata() {
            self.cluster.refresh();
        }
        tracing::trace!(partition = %one.partition.id, records = one.batch.records, ?verdict, "batch answered");
        let (now, unit) = (self.now(), self.unit());
        if let Verdict::Written { .. } = verdict {
            let took = now.saturating_duration_since(one.batch.created);
            self.shared.counters.written(one.batch.records, one.batch.size(), took);
        }
        let aftermath = one.partition.queue().answered(one.batch, verdict, now, unit);
        self.clear_up(aftermath);
        if let Some(transaction) = &self.shared.transaction {
            transaction.settled();
        }
        self.look(&one.partition, now);
    }

    fn clear_up(&mut self, aftermath: Aftermath) {
        self.shared.memory.add_permits(aftermath.freed);
        self.shared.counters.failed(aftermath.failed);
        if aftermath.used_up.is_some_and(|used_up| self.idempotence == Idempotence::Known(used_up)) {
            self.idempotence = Idempotence::Missing { failures: 0, not_before: self.now() };
        }
        if let (Some(failure), Some(transaction)) = (aftermath.failure, &self.shared.transaction) {
            transaction.failed(failure);
            // Nothing more of it can be committed, and nobody shall wait for it.
            transaction.abandon(&self.shared);
        }
    }

    fn renew(&mut self, now: Instant) {
        if now.duration_since(self.renewed) >= RENEW {
            self.renewed = now;
            let topics: BTreeSet<_> = self.active.keys().map(|partition| partition.topic).collect();
            topics.into_iter().for_each(|topic| self.cluster.track_while_used(topic, true));
        }
    }
}

/// Waits for news, for ever where there are none.
async fn news_of(news: &mut Option<watch::Receiver<()>>) {
    if let Some(news) = news
        && news.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Two kinds of future as one.
fn futures<T>(
    future: impl Future<Output = T> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(future)
}

impl Drop for Sender {
    /// Whatever ended the sender, nobody waits for ever.
    fn drop(&mut self) {
        self.shared.topics.close();
        if let Some(transaction) = &self.shared.transaction {
            transaction.close();
        }
        let abandon = |partition: &Arc<Partition>| partition.queue().abandon(&SendError::Closed).0;
        let batches: usize = self.shared.topics.partitions().iter().map(abandon).sum();
        if batches > 0 {
            tracing::warn!(
                batches,
                "the producer ended with records that were not delivered: close it before"
            );
        }
    }
}
