//! What the client can be told. Every field has Kafka's name in its description and Kafka's default.

mod compression;

use std::time::Duration;

pub use self::compression::{Compression, LevelError, Packing};
use crate::ids::TopicPartition;
pub use crate::producer::{Choice, ChoosePartition, KeyHash, Keyless, OwnPartitioner, Partitioner};

/// Exponential back-off: the n-th wait is `initial * 2^n`, at most `max`, with 20 % jitter to either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait before attempt `attempt` (0 is the first repetition); `unit` in `0.0..1.0` is the jitter's chance.
    #[must_use]
    pub fn wait(&self, attempt: u32, unit: f64) -> Duration {
        let doubled = self.initial.saturating_mul(2u32.saturating_pow(attempt.min(30)));
        doubled.min(self.max).mul_f64(0.8 + 0.4 * unit)
    }
}

/// How to reach a cluster, common to all that the client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// `bootstrap.servers`: `host:port`, the first brokers to ask. Default: `localhost:9092`.
    pub bootstrap_servers: Vec<String>,
    /// `client.id`, shown in the brokers' logs and quotas.
    pub client_id: String,
    /// `client.rack`: lets a fetch go to the nearest replica (KIP-392).
    pub rack: Option<String>,
    /// `request.timeout.ms` **(30 s)**: how long a request without a deadline of its own waits for its answer.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms` **(10 s)**.
    pub connect_timeout: Duration,
    /// `connections.max.idle.ms` **(9 min)**.
    pub connections_max_idle: Duration,
    /// `reconnect.backoff.ms`, `reconnect.backoff.max.ms` **(50 ms, 1 s)**.
    pub reconnect_backoff: Backoff,
    /// `retry.backoff.ms`, `retry.backoff.max.ms` **(100 ms, 1 s)**.
    pub retry_backoff: Backoff,
    /// `metadata.max.age.ms` **(5 min)**.
    pub metadata_max_age: Duration,
    /// The longest answer that is read **(256 MiB)**; a longer length prefix means that this is no Kafka server.
    pub max_response_size: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: vec!["localhost:9092".into()],
            client_id: "kafka-client".into(),
            rack: None,
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            connections_max_idle: Duration::from_secs(9 * 60),
            reconnect_backoff: Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) },
            retry_backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) },
            metadata_max_age: Duration::from_secs(5 * 60),
            max_response_size: 256 << 20,
        }
    }
}

/// What a consumer reads.
#[derive(Debug, Clone)]
pub enum Subscription {
    /// These topics, shared out in the group.
    Topics(Vec<String>),
    /// All topics whose whole name matches this regular expression, shared out in the group; new ones are
    /// noticed with the metadata's age. Internal topics are left out.
    Pattern(String),
    /// Exactly these partitions, without sharing. With a group, its committed offsets are used and commits are
    /// possible (Java's `assign`); without one, `StartAt` decides.
    Partitions(Vec<(TopicPartition, StartAt)>),
}

/// Where a directly assigned partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The group's committed offset, or what `auto_offset_reset` says.
    Committed,
    /// The oldest record.
    Beginning,
    /// After the newest record.
    End,
    /// This offset.
    Offset(i64),
    /// The first record at or after this time, in milliseconds since 1970.
    Timestamp(i64),
}

/// `auto.offset.reset`: where a partition starts that has no committed offset, or whose offset is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// The oldest record.
    Earliest,
    /// After the newest record. **(default)**
    #[default]
    Latest,
    /// It is an error.
    None,
    /// The first record not older than this (KIP-1106, `by_duration:PT1H`).
    ByDuration(Duration),
}

/// `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// Records of open and aborted transactions are read too. **(default)**
    #[default]
    ReadUncommitted,
    /// Only what was committed.
    ReadCommitted,
}

/// A way of sharing partitions out, by Kafka's name of it (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// `range`, eager.
    Range,
    /// `roundrobin`, eager.
    RoundRobin,
    /// `sticky`, eager.
    Sticky,
    /// `cooperative-sticky`, incremental (KIP-429).
    CooperativeSticky,
}

/// `group.protocol`: how members and coordinator agree on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// `classic`: a leader among the members assigns; all brokers speak it. **(default)**
    #[default]
    Classic,
    /// `consumer` (KIP-848): the coordinator assigns and says how often it wants heartbeats; a rebalance stops nobody
    /// who keeps its partitions. Apache Kafka 4.0 and later.
    Consumer,
}

/// Membership of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: String,
    /// `group.protocol` **(classic)**.
    pub protocol: GroupProtocol,
    /// `group.instance.id`: static membership (KIP-345); such a member does not leave when it closes.
    pub instance_id: Option<String>,
    /// `session.timeout.ms` **(45 s)**. With the consumer protocol the coordinator's counts, which the member asks for;
    /// this one does if it is not told (`DESCRIBE_CONFIGS` of the group is needed for that).
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms` **(3 s)**; of the classic protocol only.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms` **(5 min)**: how long a rebalance waits for this member.
    pub rebalance_timeout: Duration,
    /// `partition.assignment.strategy` **(range, cooperative-sticky)**. One eager assignor in the list makes the
    /// member eager, as in the Java client. Of the classic protocol only.
    pub assignors: Vec<Assignor>,
    /// `group.remote.assignor`: which assignor the coordinator is to use, `uniform` or `range`, by the consumer
    /// protocol; the one that most members ask for is used. **(the coordinator's choice)**
    pub remote_assignor: Option<String>,
}

impl GroupConfig {
    /// The group `group_id` with Kafka's defaults.
    #[must_use]
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            protocol: GroupProtocol::default(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(5 * 60),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            remote_assignor: None,
        }
    }
}

/// What a fetch asks for and how far it may run ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchConfig {
    /// `fetch.min.bytes` **(1)**.
    pub min_bytes: i32,
    /// `fetch.max.bytes` **(50 MiB)**.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes` **(1 MiB)**.
    pub max_partition_bytes: i32,
    /// `fetch.max.wait.ms` **(500 ms)**; with `min_bytes` 1 and no `rack` up to four times as long while there is nothing to
    /// read, which nobody sees but the broker.
    pub max_wait: Duration,
    /// Bytes of answers that may wait for handlers, over all partitions of this consumer **(64 MiB)**. One batch
    /// larger than that passes alone.
    pub prefetch_bytes: usize,
    /// `check.crcs` **(true)**.
    pub check_crcs: bool,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            min_bytes: 1,
            max_bytes: 50 << 20,
            max_partition_bytes: 1 << 20,
            max_wait: Duration::from_millis(500),
            prefetch_bytes: 64 << 20,
            check_crcs: true,
        }
    }
}

/// One consumer: a member of a group, or a reader of fixed partitions.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// What it reads.
    pub subscription: Subscription,
    /// Its group, if any.
    pub group: Option<GroupConfig>,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level`.
    pub isolation: IsolationLevel,
    /// `allow.auto.create.topics` **(true)**.
    pub allow_auto_create_topics: bool,
    /// `default.api.timeout.ms` **(60 s)**: how long a synchronous commit is tried again.
    pub api_timeout: Duration,
    /// Fetching.
    pub fetch: FetchConfig,
}

impl ConsumerConfig {
    /// A consumer of `subscription` with Kafka's defaults and no group.
    #[must_use]
    pub fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            group: None,
            auto_offset_reset: OffsetReset::default(),
            isolation: IsolationLevel::default(),
            allow_auto_create_topics: true,
            api_timeout: Duration::from_secs(60),
            fetch: FetchConfig::default(),
        }
    }
}

/// `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// `0`: not even an answer; a lost record is not noticed.
    None,
    /// `1`: the leader has it; lost if the leader dies before a follower copied it.
    Leader,
    /// `all`: every in-sync replica has it. **(default)**
    #[default]
    All,
}

/// A producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerConfig {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence` **(true)**; needs `acks` all and retries above 0.
    pub idempotence: bool,
    /// `retries` **(2147483647)**, within `delivery_timeout`.
    pub retries: u32,
    /// `delivery.timeout.ms` **(2 min)**: from `send` to success or error.
    pub delivery_timeout: Duration,
    /// `request.timeout.ms` **(30 s)**.
    pub request_timeout: Duration,
    /// `linger.ms` **(5 ms, as Kafka 4)**: how long a batch gathers records. A batch with a record that somebody waits for
    /// (`send`) goes out at once when nothing of its partition is under way.
    pub linger: Duration,
    /// `batch.size` **(16 KiB)**: a batch of so many bytes lingers no longer, if its broker has no request to work on. 0: each
    /// record is a batch of its own.
    pub batch_size: usize,
    /// `batch.max.size` **(256 KiB)**: how large a full batch may become while its broker has a request to work on
    /// (KIP-782). It goes when that is answered, when `linger` is over, or when it is as large: with `batch_size` or less a
    /// busy producer sends more and smaller batches instead. `max_request_size` bounds it too. A topic that takes less
    /// (`max.message.bytes`) is noticed, and gets smaller ones from then on.
    pub batch_max_size: usize,
    /// `buffer.memory` **(32 MiB)**.
    pub buffer_memory: usize,
    /// `max.block.ms` **(60 s)**: how long a send waits for buffer memory or metadata.
    pub max_block: Duration,
    /// `max.request.size` **(1 MiB)**: the largest record or request.
    pub max_request_size: usize,
    /// `max.in.flight.requests.per.connection` **(5)**.
    pub max_in_flight: usize,
    /// `compression.type` **(none)**, and `compression.gzip.level` and the like: a [`Compression`] by `.into()`, or
    /// [`at_level`](Compression::at_level).
    pub compression: Packing,
    /// `partitioner.class`, `partitioner.ignore.keys`; librdkafka's `partitioner`.
    pub partitioner: Partitioner,
    /// `partitioner.adaptive.partitioning.enable` **(true)**: where [`Partitioner`] sticks to a partition until a batch is
    /// full, the next one is the likelier the less waits for it, so that a slow broker gets fewer records (KIP-794).
    pub adaptive_partitioning: bool,
    /// `transaction.timeout.ms` **(60 s)**: after that without an end the coordinator aborts a transaction. The broker's
    /// `transaction.max.timeout.ms` (15 min) bounds it.
    pub transaction_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotence: true,
            retries: i32::MAX as u32,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(5),
            batch_size: 16 << 10,
            batch_max_size: 256 << 10,
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
            max_request_size: 1 << 20,
            max_in_flight: 5,
            compression: Packing::default(),
            partitioner: Partitioner::Murmur2,
            adaptive_partitioning: true,
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_with_jitter() {
        let backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
        assert_eq!(backoff.wait(0, 0.5), Duration::from_millis(100));
        assert_eq!(backoff.wait(2, 0.5), Duration::from_millis(400));
        assert_eq!(backoff.wait(200, 0.5), Duration::from_secs(1));
        assert_eq!(backoff.wait(200, 0.0), Duration::from_millis(800));
    }
}
