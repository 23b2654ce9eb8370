//! What leads to each broker: its connection, its line of partitions, and the requests that are made of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kafka_protocol::messages::ProduceRequest;
use tokio::time::Instant;

use super::{Event, Idempotence, Sender, Sent};
use crate::config::Acks;
use crate::error::Error;
use crate::ids::TopicPartition;
use crate::net::{Connection, Purpose};
use crate::producer::request;
use crate::producer::sequences::Identity;
use crate::producer::topics::{Partition, Place};
use crate::producer::verdict::Verdict;

/// What leads to one broker.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) connecting: bool,
    /// Requests without an answer.
    pub(super) in_flight: usize,
    pub(super) not_before: Option<Instant>,
    /// Partitions that have something to send now, in turn.
    pub(super) line: VecDeque<Arc<Partition>>,
    /// Something in line is due for another reason than its size.
    pub(super) presses: bool,
}

impl Lane {
    /// Whether one more request may go now. While the broker has one, what is only full grows on rather than be one more, and
    /// a small one.
    fn may_send(&self, most: usize) -> bool {
        let most = if self.presses { most } else { 1 };
        self.in_flight < most && !self.line.is_empty()
    }
}

impl Sender {
    /// Sends to one broker as many requests as it may have.
    pub(super) fn serve(&mut self, broker: i32, now: Instant, wake: &mut Instant) {
        let most = self.shared.config.max_in_flight;
        while self.lane(broker).may_send(most) {
            let Some(connection) = self.lane_connection(broker, now, wake) else { return };
            let sent = self.gather(broker, now);
            if sent.is_empty() {
                return;
            }
            self.dispatch(broker, &connection, sent);
        }
    }

    pub(super) fn lane(&mut self, broker: i32) -> &mut Lane {
        self.lanes.entry(broker).or_default()
    }

    /// The connection, if there is one; otherwise it is being opened, or will be.
    pub(super) fn lane_connection(
        &mut self,
        broker: i32,
        now: Instant,
        wake: &mut Instant,
    ) -> Option<Arc<Connection>> {
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
    pub(super) fn gather(&mut self, broker: i32, now: Instant) -> Vec<Sent> {
        let identity = self.identity(now);
        let hurry = self.shared.hurried.load(Ordering::Acquire) > 0;
        let (mut sent, mut size) = (Vec::new(), 0);
        self.lane(broker).presses = false;
        for _ in 0..self.lane(broker).line.len() {
            let Some(partition) = self.lane(broker).line.pop_front() else { break };
            partition.mark().place = Place::Nowhere;
            let mut queue = partition.queue();
            // It may have lined up in the transaction before.
            let may_go = partition.leader() == Some(broker) && self.admits(partition.id);
            if may_go && queue.due(now, hurry).may_go() {
                let next = queue.head_size();
                let fits = sent.is_empty() || size + next <= self.shared.config.max_request_size;
                let Some(batch) = fits.then(|| queue.take(identity)).flatten() else {
                    // Without an identity, or room in the request, the others have to wait as well.
                    drop(queue);
                    partition.mark().place = Place::Line;
                    let lane = self.lane(broker);
                    lane.line.push_front(partition);
                    lane.presses = true;
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
    pub(super) fn admits(&self, partition: TopicPartition) -> bool {
        self.shared.transaction.as_ref().is_none_or(|transaction| transaction.machine().admits(partition))
    }

    /// Tells the transaction's coordinator of partitions.
    pub(super) fn add_partitions(&mut self) {
        let Some(transaction) = &self.shared.transaction else { return };
        let Some(partitions) = transaction.machine().next_to_add() else { return };
        let transaction = Arc::clone(transaction);
        self.calls.spawn(async move {
            transaction.add_partitions(partitions).await;
            Event::Added
        });
    }

    /// The producer id; asked for if it is needed and not there.
    pub(super) fn identity(&mut self, now: Instant) -> Option<Identity> {
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

    pub(super) fn dispatch(&mut self, broker: i32, connection: &Connection, sent: Vec<Sent>) {
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
}

/// Two kinds of future as one.
fn futures<T>(
    future: impl Future<Output = T> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(future)
}
