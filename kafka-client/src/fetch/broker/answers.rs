//! What comes back: parts for the slots, and refusals.

use std::pin::pin;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::FetchResponse;
use tokio::time::sleep;

use super::{BrokerLoop, Link, Report};
use crate::consumer::{Chunk, chunk};
use crate::error::{At, Error};
use crate::fetch::Map;
use crate::fetch::answer::{self, Part};
use crate::fetch::budget::{Block, Reservation};
use crate::fetch::session::Asked;
use crate::fetch::slot::{Delivery, Position};
use crate::ids::TopicPartition;
use crate::net::Answer;

impl<L: Link> BrokerLoop<L> {
    pub(super) async fn answered(
        &mut self,
        answer: Answer<FetchResponse>,
        reservation: Reservation,
        outside: Option<Map<TopicPartition, Asked>>,
    ) -> Option<()> {
        match (answer.body.error_code.err(), &outside) {
            (Some(code), _) => return self.refused(code).await,
            (None, Some(_)) => {}
            (None, None) => self.session.answered(answer.body.session_id),
        }
        self.failures = 0;
        let (brought, known) = self.take_apart(answer, reservation, outside.as_ref());
        if !known {
            // It would answer the same at once, again and again.
            let (broker, reason) = (self.broker.to_string(), "partitions that were not asked for".to_owned());
            return self.failed(Error::Malformed { api: "Fetch", broker, reason }).await;
        }
        self.patience.answered(brought);
        Some(())
    }

    /// Hands the parts of an answer on: whether it brought something, and whether it was about what was asked.
    pub(super) fn take_apart(
        &mut self,
        answer: Answer<FetchResponse>,
        reservation: Reservation,
        outside: Option<&Map<TopicPartition, Asked>>,
    ) -> (bool, bool) {
        let named = answer.body.responses.len();
        let parts = answer::parts(answer.body, answer.version, self.settings.isolation, |id| {
            self.names.get(&id).copied()
        });
        let block = reservation.received(parts.iter().map(|part| part.records.len()).sum());
        let (mut brought, mut known) = (false, named == 0);
        for part in parts {
            let asked = match outside {
                Some(outside) => outside.get(&part.partition).copied(),
                None => self.session.asked(part.partition),
            };
            if let Some(asked) = asked {
                (brought, known) = (brought || !part.records.is_empty(), true);
                self.handle(part, asked, &block);
            }
        }
        (brought, known)
    }

    fn handle(&mut self, part: Part, asked: Asked, block: &Arc<Block>) {
        let partition = part.partition;
        let turn = asked.turn;
        // Answers to an earlier placement mean nothing any more.
        if self.entries.get(&partition).is_none_or(|entry| entry.turn != turn) {
            return;
        }
        if let Some(entry) = self.entries.get(&partition).filter(|_| part.code.is_none()) {
            entry.slot.log_end().told(part.end_offset);
        }
        let report = if let Some(code) = part.code {
            Report::Refused { partition, turn, code, asked: asked.offset }
        } else if let Some(to) = part.preferred.filter(|to| *to != self.broker) {
            Report::Redirected { partition, turn, to }
        } else if part.records.is_empty() {
            return;
        } else if let Some(error) = self.deliver(part, asked, block) {
            Report::Broken { partition, turn, error }
        } else {
            return self.revisit(partition);
        };
        self.give_up(partition);
        // Nobody listens at the end; then it does not matter.
        let _ = self.reports.send(report);
    }

    /// Queues the part. An error is one that ends the partition: the inner one, if the reader will not meet it.
    fn deliver(&self, part: Part, asked: Asked, block: &Arc<Block>) -> Option<Option<Error>> {
        let entry = self.entries.get(&part.partition)?;
        let slot = &entry.slot;
        let extent = answer::extent(&part.records, Position { offset: asked.offset, leader_epoch: -1 });
        let got_on = extent.next.offset > asked.offset;
        if !got_on && extent.broken.is_none() {
            let reason = format!(
                "the broker sent {} bytes without one whole batch at or after this offset",
                part.records.len()
            );
            return Some(Some(Error::Records { partition: part.partition, offset: asked.offset, reason }));
        }
        let epoch = entry.epoch;
        let chunk = Chunk::new(chunk::Part {
            partition: part.partition,
            epoch,
            position: asked.offset,
            end_offset: part.end_offset,
            bytes: block.part(part.records, slot.usage()),
            check_crcs: self.settings.fetch.check_crcs,
            aborted: part.aborted,
        });
        // Not taken where the position has moved meanwhile: then it is asked for again, from there.
        let taken = slot.deliver(Delivery { epoch, asked: asked.offset, next: extent.next, chunk });
        (taken && extent.broken.is_some()).then_some(None)
    }

    /// The broker refused the whole request.
    async fn refused(&mut self, code: ResponseError) -> Option<()> {
        match code {
            ResponseError::FetchSessionIdNotFound => self.session.gone(),
            _ => self.session.broken(),
        }
        let of_session =
            matches!(code, ResponseError::FetchSessionIdNotFound | ResponseError::InvalidFetchSessionEpoch);
        if of_session && self.failures == 0 {
            // Sessions come and go with brokers' restarts and full caches: the next request opens another.
            self.failures = 1;
            return Some(());
        }
        let at = At::Broker(self.broker.to_string());
        self.failed(Error::Broker { api: "Fetch", code, at }).await
    }

    /// Waits before the next try. Other brokers' loops are not concerned.
    pub(super) async fn failed(&mut self, error: Error) -> Option<()> {
        self.session.broken();
        // Without partitions it is nobody's trouble.
        if !self.entries.is_empty() {
            let _ = self.reports.send(Report::Unreachable { broker: self.broker, error });
        }
        let pause = self.settings.backoff.wait(self.failures, self.settings.rng.unit());
        self.failures = self.failures.saturating_add(1);
        let mut pause = pin!(sleep(pause));
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => self.obey(command?)?,
                () = &mut pause => return Some(()),
            }
        }
    }
}
