//! What becomes of a record that failed: one value per listener, shared by its partitions.
//!
//! ```text
//!   handler error, decode failure, panic, timeout
//!     └──▶ policy (pure; names: of errors) ──▶ again, after backoff (pure)
//!                                            ├──▶ dead letter: outlet writes it, the offset waits for that
//!                                            ├──▶ skipped
//!                                            └──▶ the partition stops
//! ```
//!
//! It knows neither lanes nor partitions' loops: whoever dispatches hands over the failed record and follows the answer.

mod backoff;
mod names;
pub(super) mod outlet;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kafka_client::consumer::ChunkBatch;
use kafka_client::records::Record;
use kafka_client::seams::Rng;
use kafka_client::{TopicName, TopicPartition};
use tokio::time::Instant;
use tracing::{error, warn};

use self::backoff::Tried;
use self::outlet::Letter;
pub(crate) use self::outlet::{ListenerOutlet, Outlet, Publisher};
use self::policy::{Decision, Policy};
use super::outcome::{Where, told};
use super::shared::{Counts, Shared};
use crate::config::{DeadLetters, ListenerSettings, OnExhausted};
use crate::dead_letter::headers::{self, FirstPlace, Reason};
use crate::listener::{Failure, causes};

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
}

impl<'r> Failed<'r> {
    /// The record, for messages.
    pub(crate) fn at(&self) -> Where<'r> {
        let Self { record, partition, attempt, .. } = *self;
        Where { partition, offset: record.offset, key: record.key, attempt }
    }

    fn tried(&self) -> Tried {
        Tried { attempt: self.attempt, elapsed: self.since.elapsed() }
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
    rng: Arc<Rng>,
    outlet: Arc<dyn Outlet>,
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
        Self { listener, group, policy: Policy::new(settings), dead_letters, rng, outlet }
    }

    /// Judges a failure, tells and counts it (in `shared`), and carries out what the policy says. It may wait for a
    /// broker; dropping the future leaves the record as open as it was.
    pub(crate) async fn resolve(
        &self,
        failed: &Failed<'_>,
        failure: &Failure,
        shared: &Shared,
    ) -> Resolution {
        shared.add(Counts { failed: 1, ..Counts::default() });
        let (listener, record, cause) = (self.listener, failed.at(), told(failure));
        match self.policy.decide(failure, failed.tried(), self.rng.unit()) {
            Decision::Retry(wait) => {
                warn!(listener, %record, ?wait, cause, "handler failed; it is tried again");
                shared.set_cause(Some(format!("{record}: {cause}")));
                Resolution::Retry(wait)
            }
            Decision::Exhausted(OnExhausted::DeadLetter) => {
                self.dead_letter(failed, failure, &cause, shared).await
            }
            Decision::Exhausted(OnExhausted::Skip) => {
                error!(listener, %record, cause, "record skipped (on-exhausted: skip)");
                shared.add(Counts { skipped: 1, ..Counts::default() });
                shared.set_cause(None);
                Resolution::Settled
            }
            Decision::Exhausted(OnExhausted::Stop) => {
                self.stop(record, &format!("{cause} (on-exhausted: stop)"))
            }
        }
    }

    /// Whether trying again can help, by the failure's sort.
    pub(crate) fn may_pass(&self, failure: &Failure) -> bool {
        self.policy.may_pass(failure)
    }

    /// Whether the policy gives no more tries: [`Recovery::resolve`] would not answer with `Retry`.
    pub(crate) fn is_spent(&self, failure: &Failure, attempt: u32, since: Instant) -> bool {
        let tried = Tried { attempt, elapsed: since.elapsed() };
        matches!(self.policy.decide(failure, tried, 0.0), Decision::Exhausted(_))
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
        let topic = self.dead_letters.topic.replace("{topic}", failed.partition.topic.as_str());
        let sent = match TopicName::new(&topic) {
            same if same == failed.partition.topic => Err("that is the topic that it comes from".to_owned()),
            topic => self.outlet.send(self.letter(topic, failed, failure, cause)).await,
        };
        match sent {
            Ok(sent) => {
                let at = sent.partition;
                error!(listener, %record, cause, dead_letter = %at, offset = sent.offset, "record failed for good: dead letter written");
                shared.add(Counts { dead_lettered: 1, ..Counts::default() });
                shared.set_cause(None);
                Resolution::Settled
            }
            Err(why) => {
                self.stop(record, &format!("{cause}; its dead letter cannot be written to {topic}: {why}"))
            }
        }
    }

    fn letter<'a>(
        &'a self,
        topic: TopicName,
        failed: &Failed<'a>,
        failure: &Failure,
        cause: &str,
    ) -> Letter<'a> {
        let Failed { record, batch, partition, attempt, .. } = *failed;
        let first = FirstPlace::of(
            (partition.topic.as_str(), partition.partition, record.offset),
            (record.timestamp, batch.batch().header().timestamp_type),
            self.group.as_deref(),
        );
        let (kind, class) = kind_and_class(failure);
        let reason = Reason {
            class,
            message: cause,
            chain: &chain(failure),
            kind,
            listener: self.listener,
            attempts: attempt,
            failed_at: self.outlet.now(),
        };
        let headers = headers::of_dead_letter(record.headers, &first, reason);
        let (key, value) = (record.key, record.value);
        Letter { topic, source: partition, key, value, headers, plan: &self.dead_letters }
    }

    fn stop(&self, record: Where<'_>, cause: &str) -> Resolution {
        error!(
            listener = self.listener, %record, cause,
            "partition stopped: its offset stays at this record, other partitions go on; `resume` or a seek starts it again, as does a new assignment"
        );
        Resolution::Stop(format!("{record}: {cause}"))
    }
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
        Failure::Handler(error) => {
            let causes: Vec<String> = causes(error.error()).map(ToString::to_string).collect();
            causes.join("\nCaused by: ")
        }
        other => told(other),
    }
}
