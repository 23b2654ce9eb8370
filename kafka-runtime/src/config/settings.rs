//! What the configuration comes to: typed, complete, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_client::TopicName;
use kafka_client::config::{ClientConfig, ConsumerConfig, ProducerConfig, StartAt};

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
    /// hard bound on what a crash repeats of a partition: no more are handed over and not committed. A batch listener gets
    /// no more than that at once, and with `ack = "manual"` no more are waiting for their acknowledgement.
    Every {
        /// A number of records.
        records: Option<u32>,
        /// A duration **(1 s)**.
        time: Option<Duration>,
    },
}

impl Cadence {
    /// The most records of a partition that a crash may repeat, if that is bounded. A bound of 0 would never let a record
    /// through.
    pub(crate) fn bound(self) -> Option<u64> {
        match self {
            Self::Every { records, .. } => records.map(|records| u64::from(records.max(1))),
            Self::Record | Self::Batch => None,
        }
    }
}

impl Default for Cadence {
    fn default() -> Self {
        Self::Every { records: None, time: Some(Duration::from_secs(1)) }
    }
}

/// Which records of a partition wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// All: one after the other. **(default)**
    #[default]
    Partition,
    /// Those of one key, by its bytes, also while one of them waits for its next try; keys run side by side, up to
    /// `concurrency`. Records without a key wait for nobody.
    Key,
    /// None: side by side, up to `concurrency`.
    None,
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
    /// The record goes to the dead-letter topic; its offset waits for the acknowledgement. If it cannot be written, the
    /// partition stops. **(default)**
    #[default]
    DeadLetter,
    /// The record is logged, counted and passed over.
    Skip,
    /// The partition stops, visibly; others go on.
    Stop,
}

/// Where dead letters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// The topic; `{topic}` in it stands for the topic that the record failed in. **(`{topic}-dlt`)**
    pub topic: String,
    /// Whether it is created when it is missing **(what `admin.auto-create` says: true)**.
    pub create: bool,
    /// Its partitions when it is created; `None`: as many as the record's own topic has. **(None)**
    pub partitions: Option<i32>,
    /// Its replication factor when it is created; `None`: the broker's default. **(None)**
    pub replication: Option<i16>,
    /// Its `retention.ms` when it is created; `None`: the broker's default. **(None)**
    pub retention: Option<Duration>,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            topic: "{topic}-dlt".into(),
            create: true,
            partitions: None,
            replication: None,
            retention: None,
        }
    }
}

/// Retry topics, as Spring's `@RetryableTopic` has them: a failed record goes to a topic of its own, where it waits
/// while the records behind it go on. The order is given up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryTopics {
    /// Deliveries in all, the first one included **(3)**.
    pub attempts: u32,
    /// The first wait **(1 s)**.
    pub initial: Duration,
    /// The longest wait **(30 s)**.
    pub max: Duration,
    /// What a wait is multiplied by for the next **(1)**.
    pub multiplier: f64,
    /// What stands behind a topic's name, where there are several.
    pub names: RetryTopicNames,
}

/// What stands behind the name of a topic for its retry topics, where there are several; one alone is `-retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryTopicNames {
    /// `-retry-1000`, by the milliseconds of its wait **(default)**.
    #[default]
    Delay,
    /// `-retry-0`; what Spring Boot's `spring.kafka.retry.topic` does.
    Index,
}

/// Which errors are tried again, by names: of the error itself or of any of its causes. `panic` and `timeout` are names too.
///
/// A name fits the path of a type that ends with it, or with whose parts it agrees in order (`std::io::Error` is
/// `std::io::error::Error`); for an enum the variant may stand behind it (`BankError::Closed`), as `Debug` names it. Paths are
/// known of the type that the handler returns and of the types that the attribute names. Of every other error (in
/// a `Box<dyn Error>`, in `anyhow::Error`, a cause) only the word that its `Debug` begins with is known, a struct's name or
/// a variant's: a name of one word fits that, whatever enum the variant belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryErrors {
    /// Only these; `None`: what the attribute says.
    pub only: Option<Vec<String>>,
    /// Not these; `None`: what the attribute says.
    pub never: Option<Vec<String>>,
    /// Whether the attribute names types that alone are tried again.
    pub attribute_only: bool,
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
    /// What a wait is multiplied by for the next; 1 waits the same each time **(2)**.
    pub multiplier: f64,
    /// How far chance moves a wait to either side, as a part of it from 0 to 1 **(0.2)**.
    pub jitter: f64,
    /// No try begins later than this after the first failure; `None`: as long as there are tries. **(None)**
    pub max_elapsed: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 10,
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            multiplier: 2.0,
            jitter: 0.2,
            max_elapsed: None,
        }
    }
}

/// What becomes of a handler that is still running when its partition has to be given away (after the drain timeout) or
/// was lost. Either way nothing of it is committed, and the next owner handles the record again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRevoke {
    /// It is dropped at its await point. **(default)**
    #[default]
    Cancel,
    /// It runs to its end, beside the next owner's; if the partition comes back here meanwhile, that waits for it.
    Finish,
}

/// A number of records in a time: `100/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub records: u32,
    /// In which time.
    pub per: Duration,
}

/// When a listener pauses because what its handlers need is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// After so many tries in a row that failed in a way that may pass, over all of its partitions. Where a record is
    /// acknowledged by hand, or what its handler returns is sent on, that is its outcome, and not the handler's return.
    pub failures: u32,
    /// Before the first probe **(10 s)**; twice as long after each that fails.
    pub pause: Duration,
    /// Up to this **(1 min)**.
    pub max_pause: Duration,
}

/// What a listener pauses for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseWhen {
    /// The name that the check has in the application: [`App::downstream`](crate::App::downstream).
    pub check: String,
    /// How often it is asked, beside each time that a try has failed, and how long it may take to answer **(5 s)**.
    pub interval: Duration,
}

/// The client ids of a listener's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIds {
    /// What they begin with.
    pub base: String,
    /// The number of the first member.
    pub first: usize,
}

impl ClientIds {
    /// The id of the member `index`, from 0: `<base>-<number>`.
    #[must_use]
    pub fn of_member(&self, index: usize) -> String {
        format!("{}-{}", self.base, self.first.saturating_add(index))
    }
}

/// Where what a handler returns goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendTo {
    /// To this topic.
    Topic(TopicName),
    /// To the topic that the record names in `kafka_replyTopic`, as its answer.
    Answer {
        /// Where it names none: to this topic, or nowhere.
        otherwise: Option<TopicName>,
    },
}

/// Everything that one listener runs by: defaults, file, attribute and environment merged.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Its id.
    pub id: String,
    /// How it reaches the cluster; the client id is the first member's.
    pub client: ClientConfig,
    /// The client ids of all members.
    pub client_ids: ClientIds,
    /// What it consumes, as what. The group's instance id is that of a single member, see
    /// [`for_member`](Self::for_member).
    pub consumer: ConsumerConfig,
    /// Topics of which every partition is read, whatever their number (`partitions("orders", "*")`): to be added to
    /// the subscription's fixed partitions once the cluster has said how many there are.
    pub whole_topics: Vec<(TopicName, StartAt)>,
    /// Members of the group in this process **(1)**.
    pub members: usize,
    /// Handlers at once, over all partitions and members of the listener; `None`: one per assigned partition.
    /// **(None)**
    pub concurrency: Option<usize>,
    /// Which records of a partition wait for each other **(partition)**. With `key` or `none` there is a `concurrency`.
    pub ordering: Ordering,
    /// Whether records that are finished ahead of the committed offset are remembered in the commit's metadata, so
    /// that they are not handled again. For `key` and `none` **(true)**.
    pub remember: bool,
    /// Whether its records are handled in transactions, each with the offsets of what it was made from **(false)**. The
    /// cadence is that of the transactions then **(100 ms)**, and the isolation level is read_committed unless it is said.
    pub transactional: bool,
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
    /// Which errors are tried again.
    pub retry_errors: RetryErrors,
    /// What then.
    pub on_exhausted: OnExhausted,
    /// Where dead letters go.
    pub dead_letters: DeadLetters,
    /// Retry topics between the tries in place and the dead letter. **(None)**
    pub retry_topics: Option<RetryTopics>,
    /// Where what the handler returns goes **(nowhere)**.
    pub send_to: Option<SendTo>,
    /// Of a listener of retry topics: what stands behind the names of its listener's topics.
    pub(crate) hop: Option<String>,
    /// A handler that takes longer is dropped where it waits, and has failed; `None`: it may take as long as it likes.
    /// **(None)**
    pub handler_timeout: Option<Duration>,
    /// Records of one batch at most, for batch listeners and the cadence `batch` **(500)**.
    pub max_poll_records: usize,
    /// After this a handler is called stuck **(5 min)**.
    pub max_poll_interval: Duration,
    /// Whether it starts with the application **(true)**.
    pub auto_startup: bool,
    /// How long a graceful stop may take in all: handlers in hand have three quarters of it, the rest is for the last
    /// commit and the goodbye **(20 s)**.
    pub shutdown_timeout: Duration,
    /// How long handlers may finish when their partition moves to another member (at a stop `shutdown_timeout` says it);
    /// with a commit it must fit into `max_poll_interval` **(10 s)**.
    pub drain_timeout: Duration,
    /// What becomes of handlers that do not **(cancel)**.
    pub on_revoke: OnRevoke,
    /// How fast records are handed out, over all partitions and members of this process: evenly, a tenth of the number at
    /// once at most. Tries of a record in place do not count **(None)**.
    pub rate_limit: Option<Rate>,
    /// When it pauses by itself **(None)**.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// The check that says whether what its handlers need is down **(None)**.
    pub pause_when: Option<PauseWhen>,
    /// After so long without a record an event says so, and again after each such time **(None)**.
    pub idle_event_interval: Option<Duration>,
    /// The same for each partition **(None)**.
    pub idle_partition_event_interval: Option<Duration>,
    /// `listener.missing-topics-fatal`.
    pub missing_topics_fatal: bool,
}

impl ListenerSettings {
    /// The configuration of the member `index`, from 0: each has its own client id and, where there are several
    /// static members, its own instance id (`<id>-<index>`, as in Spring).
    #[must_use]
    pub fn for_member(&self, index: usize) -> (ClientConfig, ConsumerConfig) {
        let client = ClientConfig { client_id: self.client_ids.of_member(index), ..self.client.clone() };
        let mut consumer = self.consumer.clone();
        if self.members > 1
            && let Some(instance) = consumer.group.as_mut().and_then(|group| group.instance_id.as_mut())
        {
            *instance = format!("{instance}-{index}");
        }
        (client, consumer)
    }
}

/// What the admin client runs by.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// How it reaches the cluster.
    pub client: ClientConfig,
    /// `admin.auto-create`: declared topics may be created at start-up **(true)**.
    pub auto_create: bool,
    /// `admin.fail-fast`: the application does not start when the cluster cannot be reached **(false)**.
    pub fail_fast: bool,
    /// `admin.modify-topic-configs`: what declared topics that exist have otherwise than declared is set at start-up
    /// **(false)**.
    pub modify_topic_configs: bool,
    /// `admin.close-timeout` **(10 s)**.
    pub close_timeout: Duration,
    /// `admin.operation-timeout` **(30 s)**.
    pub operation_timeout: Duration,
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
    /// `template.transaction-id-prefix`, `producer.transaction-id-prefix`: what the ids of transactions begin with. No
    /// two processes may have the same.
    pub transaction_id_prefix: Option<String>,
    /// `template.close-timeout` **(5 s)**.
    pub close_timeout: Duration,
    /// `kafka-runtime.template.reply-topic`: where the answers of requests come.
    pub reply_topic: Option<String>,
    /// `kafka-runtime.template.reply-timeout` **(5 s)**: how long a request waits for its answer.
    pub reply_timeout: Duration,
}

/// A topic that is to exist: an element of `kafka-runtime.topics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; the broker's default where it is not said.
    pub partitions: Option<i32>,
    /// Its replication factor; the broker's default where it is not said.
    pub replication: Option<i16>,
    /// Its settings by Kafka's names, with which it is created.
    pub config: BTreeMap<String, String>,
}
