//! What becomes of a record that failed: one value per listener, shared by its partitions.
//!
//! ```text
//!   handler error, decode failure, panic, timeout
//!     └──▶ policy (pure; names: of errors) ──▶ again, after backoff (pure)
//!                                            ├──▶ retry topic (hops: which, pure) ┐ outlet writes it,
//!                                            ├──▶ dead letter ────────────────────┘ the offset waits for that
//!                                            ├──▶ skipped
//!                                            └──▶ the partition stops
//! ```
//!
//! It knows neither lanes nor partitions' loops: whoever dispatches hands over the failed record and follows the answer.

mod backoff;
mod hops;
mod names;
pub(super) mod outlet;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kafka_client::consumer::ChunkBatch;
use kafka_client::producer::RecordMetadata;
use kafka_client::records::{HeadersView, Record};
use kafka_client::seams::Rng;
use kafka_client::{TopicName, TopicPartition};
use tokio::time::Instant;
use tracing::{error, warn};

use self::backoff::Tried;
use self::hops::Hop;
pub(crate) use self::hops::Hops;
use self::outlet::Letter;
pub(crate) use self::outlet::{ListenerOutlet, Outlet, Publisher};
use self::policy::{Decision, Policy};
use super::outcome::{Where, chained, told};
use super::shared::{Counts, Shared};
use super::status::{EventKind, Events};
use crate::config::{DeadLetters, ListenerSettings, OnExhausted};
use crate::dead_letter::headers::{self, FirstPlace, NextTry, Reason};
use crate::listener::Failure;
use crate::template::Tx;

/// A delivery that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed<'r> {
    pub(crate) record: Record<'r>,
    /// The record's batch.
    pub(crate) batch: &'r ChunkBatch,
    pub(crate) partition: TopicPartition,
    /// Tries so far, 1 after the first.
    pub(crate) attempt: u32,
    /// When it failed for the first time.
    pub(crate) since: Instant,
    /// The transaction that what becomes of it is part of.
    pub(crate) tx: Option<&'r Tx>,
}

impl<'r> Failed<'r> {
    /// The record, for messages.
    pub(crate) fn at(&self) -> Where<'r> {
        let Self { record, partition, attempt, .. } = *self;
        Where { partition, offset: record.offset, key: record.key, attempt }
    }

    /// The tries in place of this delivery, which is the record's `delivery`-th.
    fn tried(&self, delivery: u32) -> Tried {
        let attempt = self.attempt.saturating_sub(delivery.saturating_sub(1));
        Tried { attempt, elapsed: self.since.elapsed() }
    }
}

/// What whoever dispatches does with a failed record. Told and counted already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Hand it over again, after this wait.
    Retry(Duration),
    /// It is done without its handler: go on behind it, and do not count it as handled.
    Settled,
    /// Go no further, and leave its offset where it is. The cause names the record.
    Stop(String),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Recovery {
    listener: &'static str,
    group: Option<String>,
    policy: Policy,
    dead_letters: DeadLetters,
    hops: Option<Hops>,
    /// Of a listener of retry topics: what stands behind the names of its topics.
    hop: Option<String>,
    /// How retry topics are made.
    hop_plan: DeadLetters,
    rng: Arc<Rng>,
    outlet: Arc<dyn Outlet>,
    events: Events,
}

impl Recovery {
    pub(crate) fn new(
        listener: &'static str,
        settings: &ListenerSettings,
        rng: Arc<Rng>,
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        let group = settings.consumer.group.as_ref().map(|group| group.group_id.clone());
        let dead_letters = settings.dead_letters.clone();
        let hop_plan = hop_plan(&dead_letters);
        let hops = settings.retry_topics.as_ref().map(Hops::new);
        let (policy, hop) = (Policy::new(settings), settings.hop.clone());
        Self {
            listener,
            group,
            policy,
            dead_letters,
            hops,
            hop,
            hop_plan,
            rng,
            outlet,
            events: Events::default(),
        }
    }

    /// The same, telling these subscribers.
    pub(crate) fn telling(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Judges a failure, tells and counts it (in `shared`), and carries out what the policy says. It may wait for a
    /// broker; dropping the future leaves the record as open as it was. So does a partition that may be another's by now: its
    /// next owner handles the record, and says what becomes of it.
    pub(crate) async fn resolve(
        &self,
        failed: &Failed<'_>,
        failure: &Failure,
        shared: &Shared,
    ) -> Resolution {
        shared.add(Counts { failed: 1, ..Counts::default() });
        if shared.is_cut_off() {
            return Resolution::Retry(Duration::ZERO);
        }
        let (listener, record, cause) = (self.listener, failed.at(), told(failure));
        let delivery = self.delivery_of(failed.record.headers);
        let tried = failed.tried(delivery);
        let next = self.hops.as_ref().filter(|_| self.policy.may_pass(failure));
        let next = next.and_then(|hops| hops.after(delivery));
        match (self.policy.decide(failure, tried, self.rng.unit()), next) {
            (Decision::Retry(wait), _) => {
                warn!(listener, %record, ?wait, cause, "handler failed; it is tried again");
                shared.set_cause(Some(format!("{record}: {cause}")));
                Resolution::Retry(wait)
            }
            (Decision::Exhausted(_), Some(hop)) => {
                self.retry_later(failed, failure, &cause, (delivery, hop), shared).await
            }
            (Decision::Exhausted(OnExhausted::DeadLetter), None) => {
                self.dead_letter(failed, failure, &cause, shared).await
            }
            (Decision::Exhausted(OnExhausted::Skip), None) => {
                error!(listener, %record, cause, "record skipped (on-exhausted: skip)");
                shared.add(Counts { skipped: 1, ..Counts::default() });
                let (partition, offset) = (failed.partition, failed.record.offset);
                self.events.emit(listener, || EventKind::Skipped { partition, offset, cause });
                shared.set_cause(None);
                Resolution::Settled
            }
            (Decision::Exhausted(OnExhausted::Stop), None) => {
                self.stop(record, &format!("{cause} (on-exhausted: stop)"))
            }
        }
    }

    /// Chance, for waits.
    pub(crate) fn unit(&self) -> f64 {
        self.rng.unit()
    }

    /// Whether trying again can help, by the failure's sort.
    pub(crate) fn may_pass(&self, failure: &Failure) -> bool {
        self.policy.may_pass(failure)
    }

    /// Whether this is a listener of retry topics, whose records are not due yet.
    #[inline]
    pub(crate) fn is_of_retries(&self) -> bool {
        self.hop.is_some()
    }

    /// Which delivery of a record this is: 1, and more in retry topics.
    pub(crate) fn delivery_of(&self, headers: HeadersView<'_>) -> u32 {
        if self.is_of_retries() { headers::attempt(headers) } else { 1 }
    }

    /// How long a record of a retry topic still waits.
    pub(crate) fn not_due_for(&self, headers: HeadersView<'_>) -> Option<Duration> {
        let left = headers::due(headers)?.saturating_sub(self.outlet.now());
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
    }

    /// The topic that the record failed in first.
    fn main_topic(&self, failed: &Failed<'_>) -> String {
        let own = failed.partition.topic.as_str();
        match self.hop.as_deref().and_then(|suffix| own.strip_suffix(suffix)) {
            Some(main) => main.to_owned(),
            None => own.to_owned(),
        }
    }

    /// Sends the record to its next retry topic and waits until that is acknowledged; until then nothing moves.
    async fn retry_later(
        &self,
        failed: &Failed<'_>,
        failure: &Failure,
        cause: &str,
        (delivery, hop): (u32, &Hop),
        shared: &Shared,
    ) -> Resolution {
        let (listener, record, wait) = (self.listener, failed.at(), hop.delay);
        let topic = format!("{}{}", self.main_topic(failed), hop.suffix);
        let wait_millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let own = failed.record.headers;
        let next = NextTry {
            attempt: delivery.saturating_add(1),
            due: self.outlet.now().saturating_add(wait_millis),
            original_timestamp: &headers::original_timestamp(own, failed.record.timestamp),
        };
        let written =
            self.written(failed, failure, cause, |first, reason| headers::of_retry(own, first, reason, next));
        let letter = letter(TopicName::new(&topic), failed, written, &self.hop_plan);
        match self.write(letter, failed, shared).await {
            Ok(sent) => {
                let at = sent.partition;
                warn!(listener, %record, cause, ?wait, retry_topic = %at, offset = sent.offset, "handler failed; it is tried again from a retry topic");
                shared.add(Counts { retried_later: 1, ..Counts::default() });
                self.events.emit(listener, || EventKind::RetriedLater {
                    partition: failed.partition,
                    offset: failed.record.offset,
                    retry_topic: at,
                    wait,
                    cause: cause.to_owned(),
                });
                shared.set_cause(None);
                Resolution::Settled
            }
            Err(why) => self.stop(record, &format!("{cause}; it cannot be written to {topic}: {why}")),
        }
    }

    /// Whether the policy gives no more tries: [`Recovery::resolve`] would not answer with `Retry`.
    pub(crate) fn is_spent(&self, failure: &Failure, attempt: u32, since: Instant) -> bool {
        let tried = Tried { attempt, elapsed: since.elapsed() };
        matches!(self.policy.decide(failure, tried, 0.0), Decision::Exhausted(_))
    }

    /// Whether it is another topic's now: [`Recovery::resolve`] would wait for brokers.
    pub(crate) fn is_to_be_written(&self, failure: &Failure, attempt: u32, since: Instant) -> bool {
        let tried = Tried { attempt, elapsed: since.elapsed() };
        match self.policy.decide(failure, tried, 0.0) {
            Decision::Retry(_) => false,
            Decision::Exhausted(OnExhausted::DeadLetter) => true,
            Decision::Exhausted(_) => self.hops.is_some() && self.policy.may_pass(failure),
        }
    }

    /// Writes the dead letter and waits until it is acknowledged; until then nothing moves.
    async fn dead_letter(
        &self,
        failed: &Failed<'_>,
        failure: &Failure,
        cause: &str,
        shared: &Shared,
    ) -> Resolution {
        let (listener, record) = (self.listener, failed.at());
        shared.set_cause(Some(format!("{record}: {cause}; its dead letter is being written")));
        let topic = self.dead_letters.topic.replace("{topic}", &self.main_topic(failed));
        let sent = match self.is_a_circle(&topic, failed) {
            Some(why) => Err(why.to_owned()),
            None => {
                let own = failed.record.headers;
                let written = self.written(failed, failure, cause, |first, reason| {
                    headers::of_dead_letter(own, first, reason)
                });
                let letter = letter(TopicName::new(&topic), failed, written, &self.dead_letters);
                self.write(letter, failed, shared).await
            }
        };
        match sent {
            Ok(sent) => {
                let at = sent.partition;
                error!(listener, %record, cause, dead_letter = %at, offset = sent.offset, "record failed for good: dead letter written");
                shared.add(Counts { dead_lettered: 1, ..Counts::default() });
                self.events.emit(listener, || EventKind::DeadLettered {
                    partition: failed.partition,
                    offset: failed.record.offset,
                    letter: at,
                    letter_offset: sent.offset,
                    cause: cause.to_owned(),
                });
                shared.set_cause(None);
                Resolution::Settled
            }
            Err(why) => {
                self.stop(record, &format!("{cause}; its dead letter cannot be written to {topic}: {why}"))
            }
        }
    }

    /// Waits until it is acknowledged, or never will be; shown meanwhile.
    fn write<'a>(
        &'a self,
        letter: Letter<'a>,
        failed: &Failed<'_>,
        shared: &'a Shared,
    ) -> impl Future<Output = Result<RecordMetadata, String>> + use<'a> {
        let shown = shared.write_to(letter.topic, failed.record.offset);
        self.outlet.send(letter).inspect(move |_| drop(shown))
    }

    /// Why this dead letter would come back to its listener.
    fn is_a_circle(&self, topic: &str, failed: &Failed<'_>) -> Option<&'static str> {
        if topic == failed.partition.topic.as_str() {
            return Some("that is the topic that it comes from");
        }
        let header = |name: &str| failed.record.headers.last(name)?.value;
        // Without one it is no dead letter.
        let group = header(&format!("{}{}", headers::DLT, headers::ORIGINAL_GROUP))?;
        // Other listeners share the group, and one of them may read the dead letters. Spring's name no listener.
        let is_own = match header(headers::LISTENER) {
            Some(listener) => listener == self.listener.as_bytes(),
            None => Some(group) == self.group.as_deref().map(str::as_bytes),
        };
        is_own.then_some(
            "it is a dead letter of this listener already, which reads its own dead-letter topic (a pattern?)",
        )
    }

    /// The headers of a failed record on its way out.
    fn written(
        &self,
        failed: &Failed<'_>,
        failure: &Failure,
        cause: &str,
        write: impl FnOnce(&FirstPlace, Reason<'_>) -> headers::Written,
    ) -> headers::Written {
        let Failed { record, batch, partition, attempt, .. } = *failed;
        let carried = self.hop.as_ref().and_then(|_| FirstPlace::carried(record.headers));
        let first = carried.unwrap_or_else(|| {
            FirstPlace::of(
                (partition.topic.as_str(), partition.partition, record.offset),
                (record.timestamp, batch.batch().header().timestamp_type),
                self.group.as_deref(),
            )
        });
        let (kind, class) = kind_and_class(failure);
        let hidden = names::of_hidden(failure);
        let reason = Reason {
            class,
            cause_class: hidden.as_deref().unwrap_or(class),
            message: cause,
            chain: &chain(failure),
            kind,
            listener: self.listener,
            attempts: attempt,
            failed_at: self.outlet.now(),
        };
        write(&first, reason)
    }

    fn stop(&self, record: Where<'_>, cause: &str) -> Resolution {
        error!(
            listener = self.listener, %record, cause,
            "partition stopped: its offset stays at this record, other partitions go on; `resume` or a seek starts it again, as does a new assignment"
        );
        Resolution::Stop(format!("{record}: {cause}"))
    }
}

/// How retry topics are made: as dead letters' are, but with their source's partitions, and nothing stays in them for long.
pub(crate) fn hop_plan(dead_letters: &DeadLetters) -> DeadLetters {
    DeadLetters { partitions: None, retention: None, ..dead_letters.clone() }
}

fn letter<'a>(
    topic: TopicName,
    failed: &Failed<'a>,
    headers: headers::Written,
    plan: &'a DeadLetters,
) -> Letter<'a> {
    let Failed { record, partition, tx, .. } = *failed;
    Letter { topic, source: partition, key: record.key, value: record.value, headers, plan, tx }
}

/// What a dead letter calls the failure, and what stands where Spring writes the exception's class.
fn kind_and_class(failure: &Failure) -> (&'static str, &str) {
    match failure {
        Failure::Handler(error) => ("error", error.type_name()),
        Failure::Decode(_) => ("decode", "kafka_runtime::listener::Failure::Decode"),
        Failure::Panic(_) => ("panic", "kafka_runtime::listener::Failure::Panic"),
        Failure::Timeout(_) => ("timeout", "kafka_runtime::listener::Failure::Timeout"),
    }
}

/// The error and its causes, one a line, as a stack trace has them.
fn chain(failure: &Failure) -> String {
    match failure {
        Failure::Handler(error) => chained(error, "\nCaused by: "),
        other => told(other),
    }
}
