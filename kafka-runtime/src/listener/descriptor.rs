//! A listener as its attribute says it: a constant, registered through `inventory`.

use std::fmt;

use super::Preparation;
use crate::container::Bound;

/// Where the attribute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLocation {
    /// `file!()`
    pub file: &'static str,
    /// `line!()`
    pub line: u32,
    /// `column!()`
    pub column: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// `partitions("orders", "0, 2-4", from = "earliest")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionsAttribute {
    /// The topic.
    pub topic: &'static str,
    /// Numbers and ranges, or `*`.
    pub partitions: &'static str,
    /// `committed`, `earliest`, `latest`, an offset, or an RFC 3339 / millisecond timestamp as `@1700000000000`.
    pub from: Option<&'static str>,
}

/// `commit_every(records = 500, time = "2s")`, or `commit_every = "record" | "batch"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitEvery {
    /// `record` or `batch`.
    pub each: Option<&'static str>,
    /// A number of records.
    pub records: Option<&'static str>,
    /// A duration.
    pub time: Option<&'static str>,
}

/// What holds a listener back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlsAttribute {
    /// `rate_limit = "100/s"`.
    pub rate_limit: Option<&'static str>,
    /// `circuit_breaker(failures = 5, ..)`.
    pub circuit_failures: Option<&'static str>,
    /// `circuit_breaker(.., pause = "10s")`.
    pub circuit_pause: Option<&'static str>,
    /// `circuit_breaker(.., max_pause = "1m")`.
    pub circuit_max_pause: Option<&'static str>,
    /// `pause_when = "bank"`.
    pub pause_when: Option<&'static str>,
    /// `pause_when(.., interval = "5s")`.
    pub pause_interval: Option<&'static str>,
    /// `drain_timeout = "10s"`.
    pub drain_timeout: Option<&'static str>,
    /// `on_revoke = "cancel" | "finish"`.
    pub on_revoke: Option<&'static str>,
    /// `idle_event_interval = "1m"`.
    pub idle_event_interval: Option<&'static str>,
    /// `idle_partition_event_interval = "1m"`.
    pub idle_partition_event_interval: Option<&'static str>,
}

/// `retry(attempts = 5, backoff = "100ms..10s", only = [Type])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryAttribute {
    /// Tries in all.
    pub attempts: Option<&'static str>,
    /// The first wait and the longest, `100ms..10s`; or one for both.
    pub backoff: Option<&'static str>,
    /// What a wait is multiplied by for the next.
    pub multiplier: Option<&'static str>,
    /// How far chance moves a wait, as a part of it.
    pub jitter: Option<&'static str>,
    /// How long it is tried at most.
    pub max_elapsed: Option<&'static str>,
    /// The types of errors that alone are tried again, as they are written; the handler sorts by them.
    pub only: &'static [&'static str],
    /// The types of errors that are not tried again.
    pub never: &'static [&'static str],
}

/// `dead_letter = "orders-dlt"`, or `dead_letter(topic = "orders-dlt", partitions = 3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadLetterAttribute {
    /// The topic; `{topic}` in it stands for the record's.
    pub topic: Option<&'static str>,
    /// Whether it is created when it is missing.
    pub create: Option<&'static str>,
    /// With how many partitions.
    pub partitions: Option<&'static str>,
    /// With which replication factor.
    pub replication: Option<&'static str>,
    /// With which `retention.ms`.
    pub retention: Option<&'static str>,
}

/// `retry_topics`, or `retry_topics(attempts = 4, backoff = "1s..1m", multiplier = 2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryTopicsAttribute {
    /// Deliveries in all.
    pub attempts: Option<&'static str>,
    /// The first wait and the longest, `1s..1m`; or one for both.
    pub backoff: Option<&'static str>,
    /// What a wait is multiplied by for the next.
    pub multiplier: Option<&'static str>,
    /// `delay` or `index`: what stands behind a topic's name.
    pub names: Option<&'static str>,
}

/// What the attribute says, as text: literals and `${placeholders}` alike, so that the file and the attribute are
/// parsed by the same code and fail with the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `topic = ".."` or `topics = [..]`.
    pub topics: &'static [&'static str],
    /// `pattern = ".."`.
    pub pattern: Option<&'static str>,
    /// `partitions(..)`.
    pub partitions: &'static [PartitionsAttribute],
    /// `group = ".."`.
    pub group: Option<&'static str>,
    /// `prefetch = "16MB"`.
    pub prefetch: Option<&'static str>,
    /// `ordering = "partition" | "key" | "none"`.
    pub ordering: Option<&'static str>,
    /// `transactional`.
    pub transactional: Option<&'static str>,
    /// `concurrency = 4` or `"${..}"`.
    pub concurrency: Option<&'static str>,
    /// `members = 2`.
    pub members: Option<&'static str>,
    /// `commit = "sync" | "async" | "combined"`.
    pub commit: Option<&'static str>,
    /// `commit_every`.
    pub commit_every: Option<CommitEvery>,
    /// `commit_remember = false`.
    pub commit_remember: Option<&'static str>,
    /// `ack = "auto" | "manual" | "manual-immediate"`.
    pub ack: Option<&'static str>,
    /// `retry(..)`.
    pub retry: RetryAttribute,
    /// `on_exhausted = "dead-letter" | "skip" | "stop"`.
    pub on_exhausted: Option<&'static str>,
    /// `dead_letter`.
    pub dead_letter: DeadLetterAttribute,
    /// `send_to = "enriched"`.
    pub send_to: Option<&'static str>,
    /// `reply`.
    pub reply: bool,
    /// `retry_topics`.
    pub retry_topics: Option<RetryTopicsAttribute>,
    /// `handler_timeout = "30s"`.
    pub handler_timeout: Option<&'static str>,
    /// `auto_startup = false`.
    pub auto_startup: Option<&'static str>,
    /// `client_id = ".."`.
    pub client_id: Option<&'static str>,
    /// What holds it back.
    pub controls: ControlsAttribute,
    /// `properties("max.poll.records" = "10")`, Kafka's names.
    pub properties: &'static [(&'static str, &'static str)],
}

/// One annotated function.
#[derive(Debug, Clone, Copy)]
pub struct ListenerDescriptor {
    /// `id = ".."`, or the function's name.
    pub id: &'static str,
    /// The function with its module path.
    pub function: &'static str,
    /// Where it stands.
    pub location: SourceLocation,
    /// What the attribute says.
    pub attributes: Attributes,
    /// Whether it takes batches.
    pub batch: bool,
    /// Whether an argument is `Ack`.
    pub takes_ack: bool,
    /// Whether an argument is `&Tx`.
    pub takes_tx: bool,
    /// The name of the type of error that it returns, as [`std::any::type_name`] has it; `None` where it returns none.
    pub error_type: fn() -> Option<&'static str>,
    /// Looks up what the handler needs and binds it: the only call into the generated code before records come.
    pub bind: fn(&mut Preparation<'_>) -> Bound,
}

inventory::collect!(ListenerDescriptor);
