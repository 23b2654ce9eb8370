//! The I/O of a producer: one task that takes batches from the queues, sends one request per broker with all that is
//! ready for it, and brings the answers back to the queues.
//!
//! - `filing`: which partition waits where
//! - `lanes`: connections, lines and requests, for each broker
//! - `answers`: what comes back

mod answers;
mod filing;
mod lanes;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ProduceResponse;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::batch::Batch;
use super::enqueue::Shared;
use super::sequences::Identity;
use super::topics::Partition;
use super::{SendError, Unsent};
use crate::cluster::{Cluster, ClusterMetadata};
use crate::error::Result;
use crate::fetch::Map;
use crate::ids::TopicPartition;
use crate::net::{Connection, Pool};
use crate::watch;
use lanes::Lane;

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
                // What is rare goes first; in one order, so that a simulation repeats.
                biased;
                // The cluster lives as long as this does.
                _ = self.pictures.changed() => {
                    let picture = Arc::clone(&self.pictures.borrow_and_update());
                    self.shared.topics.update(&picture);
                    self.look_at_those_that_wait();
                }
                () = news_of(&mut self.transaction_news) => self.transaction_went_on(),
                Some(event) = self.calls.join_next() => self.take_in(event),
                command = self.inbox.recv() => match command {
                    None | Some(Command::Stop) => return,
                    Some(command) => self.obey(command),
                },
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

    /// The transaction took partitions in, or nothing more will be part of it.
    fn transaction_went_on(&mut self) {
        if let Some(transaction) = &self.shared.transaction
            && transaction.machine().refusal().is_some()
        {
            transaction.abandon(&self.shared);
        }
        self.look_at_those_that_wait();
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

impl Drop for Sender {
    /// Whatever ended the sender, nobody waits for ever.
    fn drop(&mut self) {
        self.shared.topics.close();
        if let Some(transaction) = &self.shared.transaction {
            transaction.close();
        }
        let abandon = |partition: &Arc<Partition>| {
            let closed = SendError::Closed { record: Unsent::somewhere_in(partition.id), doubtful: false };
            partition.queue().abandon(&closed).0
        };
        let batches: usize = self.shared.topics.partitions().iter().map(abandon).sum();
        if batches > 0 {
            tracing::warn!(
                batches,
                "the producer ended with records that were not delivered: close it before"
            );
        }
    }
}
