//! The batches of one partition: what gathers, what is ready, what is on its way, in order. Pure: times and answers
//! come in, batches to send and outcomes go out.
//!
//! ```text
//!   append ──▶ open ──(full, linger)──▶ ready ──take──▶ on the wire ──answered──▶ outcome
//!                                         ▲                              │
//!                                         └──── again, in its old place ─┘
//! ```
//!
//! A full batch is due at once where the wire is free; where it is busy it grows on until it is not, or until it has lingered,
//! so that a busy wire carries fewer and larger batches (KIP-782).
//!
//! Order is kept: a batch that is sent again goes alone, and nothing after it before it has its outcome. Without
//! idempotence, where a broker would take a later batch before an earlier one that failed, one batch is on its way
//! at a time, unless nothing is ever sent again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::batch::Batch;
use super::buffers::Buffers;
use super::receipt::{Outcome, Receipt};
use super::rules::Rules;
use super::sequences::{Identity, Restart, Sequences};
use super::verdict::Verdict;
use super::{SendError, Unsent};
use crate::error::Error;
use crate::ids::TopicPartition;
use crate::records::encode::RecordToWrite;

/// How long a batch waits for the end of the transaction before.
pub(super) const SOON: Duration = Duration::from_millis(20);

/// What an appended record changed for whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A batch has one more record.
    None,
    /// A full batch is full once more.
    Grown,
    /// A batch began: it is due after the linger time.
    Began,
    /// A batch is full.
    Filled,
}

/// When there is something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// There is nothing at all.
    Idle,
    Now,
    /// It is full, and may grow on while the wire is busy: until that time.
    Full(Instant),
    /// At that time, or after an answer.
    At(Instant),
}

impl Due {
    /// Whether a batch may be taken, where the wire is free.
    pub(super) fn may_go(self) -> bool {
        matches!(self, Self::Now | Self::Full(_))
    }
}

#[derive(Debug)]
struct OnWire {
    receipt: Arc<Receipt>,
    order: u64,
    deadline: Instant,
}

/// What an answer or the time left behind.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// Bytes of memory that are free again.
    pub(super) freed: usize,
    /// A producer identity that must not be used any more.
    pub(super) used_up: Option<Identity>,
    /// What a transaction has to know.
    pub(super) failure: Option<Failure>,
    /// Records that were not written.
    pub(super) failed: u64,
}

/// The failure of a batch in a transaction.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: SendError,
    /// Whether the batch had a sequence: it leaves a gap, or its fate is unknown.
    pub(super) stamped: bool,
}

/// The batches of one partition.
#[derive(Debug)]
pub(super) struct Queue {
    partition: TopicPartition,
    rules: Rules,
    buffers: Buffers,
    open: Option<Batch>,
    ready: VecDeque<Batch>,
    on_wire: Vec<OnWire>,
    sequences: Sequences,
    not_before: Option<Instant>,
    next_order: u64,
    /// How large the last batch became: the next one will need as much.
    expected_size: usize,
    /// Why nothing can be sent at the moment, for the error of what expires.
    pub(super) trouble: Option<String>,
    /// The first failure that the transaction was not told of.
    failure: Option<Failure>,
    /// Records that failed and were not counted yet.
    failed: u64,
}

impl Queue {
    pub(super) fn new(partition: TopicPartition, rules: Rules, buffers: Buffers) -> Self {
        Self {
            partition,
            rules,
            buffers,
            open: None,
            ready: VecDeque::new(),
            on_wire: Vec::new(),
            sequences: Sequences::new(rules.transactional),
            not_before: None,
            next_order: 0,
            expected_size: 0,
            trouble: None,
            failure: None,
            failed: 0,
        }
    }

    /// Puts a record of at most `charge` bytes in its batch; the batch's receipt and the place in it.
    pub(super) fn append(
        &mut self,
        record: RecordToWrite<'_>,
        charge: usize,
        now: impl FnOnce() -> Instant,
    ) -> (Arc<Receipt>, i32, Change) {
        let mut change = Change::None;
        if let Some(open) = &mut self.open {
            let size = open.size() + charge;
            if size > self.rules.batch_size && open.fill() {
                change = Change::Filled;
            }
            if size > self.rules.largest_batch {
                self.close();
                change = Change::Filled;
            }
        }
        let batch = self.open.get_or_insert_with(|| {
            change = change.max_of(Change::Began);
            self.next_order += 1;
            Batch::new(self.buffers.take(self.expected_size), now(), self.next_order)
        });
        let before = self.rules.fills(batch);
        let index = batch.append(record, charge).unwrap_or(0);
        let receipt = Arc::clone(&batch.receipt);
        if batch.size() >= self.rules.batch_size && batch.fill() {
            change = Change::Filled;
        } else if self.rules.fills(batch) > before {
            change = change.max_of(Change::Grown);
        }
        (receipt, index, change)
    }

    /// Somebody waits for the record that came last; whether its batch is due by that.
    pub(super) fn hasten(&mut self) -> bool {
        match &mut self.open {
            Some(open) if !open.awaited => {
                open.awaited = true;
                self.on_wire.is_empty()
            }
            _ => false,
        }
    }

    fn close(&mut self) {
        if let Some(batch) = self.open.take() {
            self.expected_size = batch.size();
            self.ready.push_back(batch);
        }
    }

    /// When the next batch may be taken. In a `hurry` nothing lingers.
    pub(super) fn due(&self, now: Instant, hurry: bool) -> Due {
        let Some(head) = self.ready.front().or(self.open.as_ref()) else {
            return self.expiry().map_or(Due::Idle, Due::At);
        };
        let expiry = self.expiry().unwrap_or(now);
        if self.must_wait_for_answers(head) {
            return Due::At(expiry);
        }
        let waited_for = head.awaited && self.on_wire.is_empty();
        let grows = self.ready.is_empty() && !hurry && !waited_for && head.size() < self.rules.largest_batch;
        let linger_ends = grows.then(|| head.created + self.rules.linger).filter(|at| *at > now);
        match (self.not_before.filter(|at| *at > now), linger_ends) {
            (None, None) => Due::Now,
            (None, Some(at)) if head.full => Due::Full(at.min(expiry)),
            (Some(at), _) if head.full => Due::At(at.min(expiry)),
            (pause, linger) => pause.max(linger).map_or(Due::Now, |at| Due::At(at.min(expiry))),
        }
    }

    fn must_wait_for_answers(&self, head: &Batch) -> bool {
        let alone = head.attempts > 0 || (self.rules.idempotent && !self.sequences.is_proven());
        let most = if alone { 1 } else { self.rules.most_on_wire };
        self.on_wire.len() >= most || self.sequences.restarts_at().is_some_and(|order| head.order >= order)
    }

    /// The next batch, which has to be sent now: to be called when [`Due::may_go`]. `None` when it needs an identity first.
    pub(super) fn take(&mut self, identity: Option<Identity>) -> Option<Batch> {
        if self.ready.is_empty() {
            self.close();
        }
        let head = self.ready.front_mut()?;
        if self.rules.idempotent && head.stamp.is_none() {
            head.stamp = Some(self.sequences.stamp(identity, head.records)?);
        }
        let mut batch = self.ready.pop_front()?;
        batch.attempts += 1;
        (self.not_before, self.trouble) = (None, None);
        self.on_wire.push(OnWire {
            receipt: Arc::clone(&batch.receipt),
            order: batch.order,
            deadline: batch.created + self.rules.delivery_timeout,
        });
        Some(batch)
    }

    /// A batch's answer. `unit` is the jitter's chance.
    pub(super) fn answered(
        &mut self,
        mut batch: Batch,
        verdict: Verdict,
        now: Instant,
        unit: f64,
    ) -> Aftermath {
        batch.doubtful |= verdict.leaves_doubt();
        self.on_wire.retain(|sent| !Arc::ptr_eq(&sent.receipt, &batch.receipt));
        let freed = match verdict {
            Verdict::Written { base_offset, log_append_time } => {
                self.sequences.prove();
                batch.finish(Outcome::Written { base_offset, log_append_time }, &self.buffers)
            }
            Verdict::Passing(error) => self.again(batch, error, now, unit),
            // An earlier batch is on its way, or will be again.
            Verdict::Gap(error) if self.rules.transactional && self.has_older(batch.order) => {
                self.again(batch, error, now, unit)
            }
            Verdict::Gap(error) | Verdict::Forgotten(error) | Verdict::Fenced(error)
                if self.rules.transactional =>
            {
                let refusal = self.refusal(error);
                self.fail(batch, refusal)
            }
            Verdict::Gap(error) => {
                if !self.has_older(batch.order) {
                    self.want_restart(&batch, Restart::Epoch);
                }
                self.again(batch, error, now, unit)
            }
            Verdict::Forgotten(error) => {
                self.want_restart(&batch, Restart::Epoch);
                self.again(batch, error, now, unit)
            }
            Verdict::Fenced(error) => {
                self.want_restart(&batch, Restart::Identity);
                self.again(batch, error, now, unit)
            }
            Verdict::TooLarge(error) if batch.records > 1 => {
                // The topic takes less than batches may grow to.
                let largest = self.rules.largest_batch.min(batch.charged / 2);
                self.rules.largest_batch = largest.max(self.rules.batch_size);
                self.split(batch, error)
            }
            // What follows a refused batch goes on with the sequences it has. If they leave a gap, the broker says so,
            // and only then is it certain that no request which is still under way can write any of it.
            Verdict::TooLarge(error) | Verdict::Refused(error) => {
                let refusal = self.refusal(error);
                self.fail(batch, refusal)
            }
            Verdict::Blamed { records, rest } => {
                let refusal = |error| self.refusal(error).with_doubt(batch.doubtful);
                let rest = refusal(rest);
                let records = records.into_iter().map(|(index, error)| (index, refusal(error))).collect();
                self.note_failure(&batch, &rest);
                batch.finish(Outcome::Blamed { records, rest }, &self.buffers)
            }
        };
        self.aftermath(freed)
    }

    /// Puts a batch back in its place, unless its time or its retries are over.
    fn again(&mut self, mut batch: Batch, error: Error, now: Instant, unit: f64) -> usize {
        if batch.receipt.is_complete() || now >= batch.created + self.rules.delivery_timeout {
            return self.expired(batch, &error.to_string());
        }
        if batch.attempts > self.rules.retries {
            let (record, attempts) = (self.unsent(), batch.attempts);
            let spent = SendError::RetriesSpent { record, attempts, source: error, doubtful: false };
            return self.fail(batch, spent);
        }
        let wait = self.rules.backoff.wait(batch.attempts - 1, unit).min(longest_wait(&error));
        self.not_before = Some(now + wait);
        batch.last = Some(error);
        self.put_back(batch);
        0
    }

    fn put_back(&mut self, batch: Batch) {
        let place = self.ready.partition_point(|other| other.order < batch.order);
        self.ready.insert(place, batch);
    }

    fn split(&mut self, batch: Batch, error: Error) -> usize {
        match batch.split() {
            Ok([one, two]) => {
                self.put_back(two);
                self.put_back(one);
                0
            }
            Err(batch) => {
                let refusal = self.refusal(error);
                self.fail(*batch, refusal)
            }
        }
    }

    /// Ends a batch that was not written; the bytes that are free now.
    fn fail(&mut self, batch: Batch, error: SendError) -> usize {
        let error = error.with_doubt(batch.doubtful);
        self.note_failure(&batch, &error);
        batch.finish(Outcome::Failed(error), &self.buffers)
    }

    fn note_failure(&mut self, batch: &Batch, error: &SendError) {
        self.failed += u64::try_from(batch.records).unwrap_or(0);
        if self.rules.transactional {
            let stamped = batch.stamp.is_some();
            let failure = self.failure.get_or_insert_with(|| Failure { error: error.clone(), stamped });
            failure.stamped |= stamped;
        }
    }

    fn aftermath(&mut self, freed: usize) -> Aftermath {
        let (failure, failed) = (self.failure.take(), std::mem::take(&mut self.failed));
        Aftermath { freed, used_up: self.maybe_restart(), failure, failed }
    }

    fn refusal(&self, source: Error) -> SendError {
        SendError::Refused { record: self.unsent(), source, doubtful: false }
    }

    fn want_restart(&mut self, batch: &Batch, how: Restart) {
        if batch.stamp.is_some() {
            self.sequences.want_restart(batch.order, how);
        }
    }

    fn has_older(&self, order: u64) -> bool {
        self.ready.iter().any(|batch| batch.stamp.is_some() && batch.order < order)
            || self.on_wire.iter().any(|sent| sent.order < order)
    }

    /// Starts with a new epoch, once everything older than the gap has its outcome.
    fn maybe_restart(&mut self) -> Option<Identity> {
        let order = self.sequences.restarts_at()?;
        if !self.on_wire.is_empty() || self.has_older(order) {
            return None;
        }
        for batch in &mut self.ready {
            batch.stamp = None;
        }
        self.sequences.restart()
    }

    /// Fails what was not delivered in time. What is on the wire keeps its memory until it is answered.
    pub(super) fn expire(&mut self, now: Instant) -> Aftermath {
        if self.expiry().is_none_or(|at| at > now) {
            return Aftermath::default();
        }
        let limit = self.rules.delivery_timeout;
        let mut expired = Vec::new();
        let mut kept = VecDeque::new();
        for batch in self.ready.drain(..).chain(self.open.take_if(|open| open.created + limit <= now)) {
            match batch.created + limit <= now {
                true => expired.push(batch),
                false => kept.push_back(batch),
            }
        }
        self.ready = kept;
        for sent in self.on_wire.iter().filter(|sent| sent.deadline <= now && !sent.receipt.is_complete()) {
            let error = self.timeout("it was sent and not answered yet".to_owned(), true);
            if self.rules.transactional {
                self.failure.get_or_insert_with(|| Failure { error: error.clone(), stamped: true });
            }
            sent.receipt.complete(Outcome::Failed(error));
        }
        let freed = expired.into_iter().map(|batch| self.expired(batch, "")).sum();
        self.aftermath(freed)
    }

    fn expired(&mut self, batch: Batch, last: &str) -> usize {
        let last = match (&batch.last, &self.trouble) {
            _ if !last.is_empty() => last.to_owned(),
            (Some(error), _) => error.to_string(),
            (None, Some(trouble)) => trouble.clone(),
            (None, None) => "it was not sent: too much was waiting before it".to_owned(),
        };
        let error = self.timeout(last, false);
        self.fail(batch, error)
    }

    fn timeout(&self, last: String, doubtful: bool) -> SendError {
        let after = self.rules.delivery_timeout;
        SendError::DeliveryTimeout { record: self.unsent(), after, last, doubtful }
    }

    /// What stands for a record until its own delivery is asked.
    fn unsent(&self) -> Unsent {
        Unsent::somewhere_in(self.partition)
    }

    /// How many batches of `batch.size` wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.ready.iter().chain(&self.open).map(|batch| self.rules.fills(batch)).sum()
    }

    /// When the first of all batches expires that has no outcome.
    pub(super) fn expiry(&self) -> Option<Instant> {
        // In order, so that the first is the oldest.
        let waiting = self.ready.front().or(self.open.as_ref());
        let waiting = waiting.map(|batch| batch.created + self.rules.delivery_timeout);
        let sent = self.on_wire.iter().filter(|sent| !sent.receipt.is_complete()).map(|sent| sent.deadline);
        sent.chain(waiting).min()
    }

    /// Whether nothing is in it, nor on its way.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.ready.is_empty() && self.on_wire.is_empty()
    }

    /// The receipts of all that has no outcome.
    pub(super) fn receipts(&self) -> Vec<Arc<Receipt>> {
        let waiting = self.ready.iter().chain(&self.open).map(|batch| &batch.receipt);
        let sent = self.on_wire.iter().map(|sent| &sent.receipt);
        waiting.chain(sent).map(Arc::clone).collect()
    }

    /// Fails everything: how many batches had no outcome, and the bytes that are free now. (What is on the wire frees
    /// its own when it is answered.)
    pub(super) fn abandon(&mut self, error: &SendError) -> (usize, Aftermath) {
        let open = self.receipts().iter().filter(|receipt| !receipt.is_complete()).count();
        for sent in &self.on_wire {
            sent.receipt.complete(Outcome::Failed(error.clone().with_doubt(true)));
        }
        let waiting: Vec<_> = self.ready.drain(..).chain(self.open.take()).collect();
        let mut freed = 0;
        for batch in waiting {
            freed += self.fail(batch, error.clone());
        }
        (open, self.aftermath(freed))
    }

    /// Bytes of the next batch.
    pub(super) fn head_size(&self) -> usize {
        self.ready.front().or(self.open.as_ref()).map_or(0, Batch::size)
    }
}

/// What passes within milliseconds is not waited for longer: the end of the transaction before (KIP-890).
fn longest_wait(error: &Error) -> Duration {
    match error.code() {
        Some(ResponseError::ConcurrentTransactions) => SOON,
        _ => Duration::MAX,
    }
}

impl Change {
    fn max_of(self, other: Self) -> Self {
        if self == Self::None { other } else { self }
    }
}
