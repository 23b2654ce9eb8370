//! What comes back: connections, the producer id, and answers, which are brought to the queues.

use std::sync::Arc;

use kafka_protocol::messages::ProduceResponse;

use super::{Idempotence, Sender, Sent};
use crate::error::{Error, Result};
use crate::net::Connection;
use crate::producer::queue::Aftermath;
use crate::producer::request;
use crate::producer::sequences::Identity;
use crate::producer::verdict::Verdict;
use crate::producer::{SendError, Unsent};

impl Sender {
    pub(super) fn connected(&mut self, broker: i32, result: Result<Arc<Connection>>) {
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

    pub(super) fn identified(&mut self, result: Result<Identity>) {
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
                let refused = SendError::Refused {
                    record: Unsent::somewhere_in(partition.id),
                    source: error.clone(),
                    doubtful: false,
                };
                let (_, aftermath) = queue.abandon(&refused);
                self.shared.memory.add_permits(aftermath.freed);
                self.shared.counters.failed(aftermath.failed);
            }
        }
    }

    pub(super) fn answered(&mut self, broker: i32, sent: Vec<Sent>, answer: Result<Option<ProduceResponse>>) {
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
    pub(super) fn settle(&mut self, one: Sent, verdict: Verdict) {
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

    pub(super) fn clear_up(&mut self, aftermath: Aftermath) {
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
}
