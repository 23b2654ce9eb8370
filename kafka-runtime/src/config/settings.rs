//! What the configuration comes to: typed, complete, checked.

use std::time::Duration;

use kafka_client::config::{ClientConfig, ConsumerConfig, ProducerConfig};

/// How offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitStrategy {
    /// The loop waits for each commit; retried until it succeeds, is refused for good, or a deadline passes.
    Sync,
    /// The loop goes on; a failure goes to the callback and is not retried; one commit of a member in flight.
    Async,
    /// Async while running; sync before partitions are given away, when idle, and at shutdown. **(default)**
    #[default]
    Combined,
}

/// When offsets are committed: at the first of those set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cadence {
    /// After each record.
    Record,
    /// After what one drain of the partition's queue handed over (at most `max_poll_records`).
    Batch,
    /// After so much time, so many records, or whichever comes first. At least one is set. A number of records is a
    /// hard bound: dispatch of the partition pauses while that many are finished and not committed.
    Every {
        /// A number of records.
        records: Option<u32>,
        /// A duration **(1 s)**.
        time: Option<Duration>,
    },
}

impl Default for Cadence {
    fn default() -> Self {
        Self::Every { records: None, time: Some(Duration::from_secs(1)) }
    }
}

/// Who says that a record is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// The handler's return. **(default)**
    #[default]
    Auto,
    /// The handler's `Ack`; committed at the cadence.
    Manual,
    /// The handler's `Ack`; committed at once.
    ManualImmediate,
}

/// What happens when the tries are spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// The partition stops, visibly; others go on. **(default until dead letters exist)**
    #[default]
    Stop,
    /// The record is logged, counted and passed over.
    Skip,
}

/// Trying again in place: the partition waits, other partitions do not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Tries in all **(10)**.
    pub attempts: u32,
    /// The first wait **(100 ms)**.
    pub initial: Duration,
    /// The longest wait **(10 s)**.
    pub max: Duration,
    /// What a wait is multiplied by for the next **(2)**.
    pub multiplier: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 10,
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            multiplier: 2.0,
        }
    }
}

/// Everything that one listener runs by: defaults, file, attribute and environment merged.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Its id.
    pub id: String,
    /// How it reaches the cluster.
    pub client: ClientConfig,
    /// What it consumes, as what.
    pub consumer: ConsumerConfig,
    /// Members of the group in this process **(1)**.
    pub members: usize,
    /// Handlers at once, over all partitions of a member; `None`: one per assigned partition. **(None)**
    pub concurrency: Option<usize>,
    /// Strategy.
    pub commit: CommitStrategy,
    /// Cadence.
    pub cadence: Cadence,
    /// Acknowledgement.
    pub ack: AckMode,
    /// A commit is tried again for this long **(60 s)**.
    pub commit_timeout: Duration,
    /// Retry in place.
    pub retry: Retry,
    /// What then.
    pub on_exhausted: OnExhausted,
    /// Records of one batch at most, for batch listeners and the cadence `batch` **(500)**.
    pub max_poll_records: usize,
    /// After this a handler is called stuck **(5 min)**.
    pub max_poll_interval: Duration,
    /// Whether it starts with the application **(true)**.
    pub auto_startup: bool,
    /// How long a graceful stop may take in all **(20 s)**.
    pub shutdown_timeout: Duration,
    /// How long handlers may finish when partitions are given away; with a commit it must fit into
    /// `max_poll_interval` **(10 s)**.
    pub drain_timeout: Duration,
    /// `listener.missing-topics-fatal`.
    pub missing_topics_fatal: bool,
}

/// What the template runs by.
#[derive(Debug, Clone)]
pub struct TemplateSettings {
    /// How it reaches the cluster.
    pub client: ClientConfig,
    /// How it sends.
    pub producer: ProducerConfig,
    /// `template.default-topic`.
    pub default_topic: Option<String>,
    /// `template.close-timeout` **(5 s)**.
    pub close_timeout: Duration,
}
