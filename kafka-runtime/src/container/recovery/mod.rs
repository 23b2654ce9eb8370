//! What becomes of a record that failed: one value per listener, shared by its partitions.
//!
//! ```text
//!   handler error, decode failure, panic ──▶ policy (pure) ──▶ again, after backoff (pure)
//!                                              ├──▶ settled without its handler
//!                                              └──▶ the partition stops
//! ```
//!
//! It knows neither lanes nor partitions' loops: whoever dispatches hands over the failed record and follows the answer.

mod backoff;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::consumer::ChunkBatch;
use kafka_client::records::Record;
use kafka_client::seams::Rng;
use tokio::time::Instant;
use tracing::{error, warn};

use self::backoff::Tried;
use self::policy::Policy;
use super::outcome::{Where, told};
use super::shared::{Counts, Shared};
use crate::config::ListenerSettings;
use crate::listener::Failure;

/// A delivery that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed<'r> {
    pub(crate) record: Record<'r>,
    /// The record's batch.
    #[expect(dead_code, reason = "a dead letter says whose timestamp it is, which the batch knows")]
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
    policy: Policy,
    rng: Arc<Rng>,
}

impl Recovery {
    pub(crate) fn new(listener: &'static str, settings: &ListenerSettings, rng: Arc<Rng>) -> Self {
        Self { listener, policy: Policy::new(settings), rng }
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
            policy::Decision::Retry(wait) => {
                warn!(listener, %record, ?wait, cause, "handler failed; it is tried again");
                shared.set_cause(Some(format!("{record}: {cause}")));
                Resolution::Retry(wait)
            }
            policy::Decision::Skip => {
                error!(listener, %record, cause, "record skipped (on-exhausted: skip)");
                shared.add(Counts { skipped: 1, ..Counts::default() });
                shared.set_cause(None);
                Resolution::Settled
            }
            policy::Decision::Stop => {
                error!(
                    listener, %record, cause,
                    "partition stopped (on-exhausted: stop): its offset stays at this record, other partitions go on; `resume` or a seek starts it again, as does a new assignment"
                );
                Resolution::Stop(format!("{record}: {cause}"))
            }
        }
    }

    /// Whether the policy gives no more tries: [`Recovery::resolve`] would not answer with `Retry`.
    pub(crate) fn is_spent(&self, failure: &Failure, attempt: u32, since: Instant) -> bool {
        let tried = Tried { attempt, elapsed: since.elapsed() };
        !matches!(self.policy.decide(failure, tried, 0.0), policy::Decision::Retry(_))
    }
}

impl Failed<'_> {
    fn tried(&self) -> Tried {
        Tried { attempt: self.attempt, elapsed: self.since.elapsed() }
    }
}
