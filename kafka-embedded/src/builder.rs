//! What can be chosen about an embedded cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::seams::{Clock, Rng, SystemClock, VirtualClock};
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::cluster::{Cluster, Node, Observer, Settings};
use crate::group::consumer::Terms;
use crate::running::EmbeddedKafka;
use crate::server::connection::RequestSeen;
use crate::topics::check_name;
use crate::transport::InMemoryTransport;

/// Why a cluster did not start, or something could not be done to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listen address is not `host:port`, or its host has no address.
    #[error("cannot listen on '{address}': {reason}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The port could not be opened.
    #[error("cannot listen on '{address}': {source}")]
    Bind {
        /// The address of the broker that failed.
        address: String,
        /// The system's words.
        source: io::Error,
    },
    /// An option that cannot work.
    #[error("{0}")]
    Option(String),
    /// The broker's thread could not be started.
    #[error("cannot start the broker's thread: {0}")]
    Thread(io::Error),
    /// There is no broker with this id.
    #[error("there is no broker {0}")]
    NoBroker(i32),
    /// There is no such partition.
    #[error("there is no partition {topic}-{partition}")]
    NoPartition {
        /// Its topic.
        topic: String,
        /// Its index.
        partition: i32,
    },
    /// A broker cannot lead a partition: it does not hold it, does not live, or lacks records.
    #[error("broker {broker} cannot lead {topic}-{partition}: {reason}")]
    CannotLead {
        /// The broker.
        broker: i32,
        /// The partition's topic.
        topic: String,
        /// Its index.
        partition: i32,
        /// As ElectLeaders would say it.
        reason: ResponseError,
    },
}

/// Partitions that a topic may have from the start. Each takes some hundred bytes, a typing error may take all memory.
const MAX_PARTITIONS: usize = 100_000;

/// A cluster that is not started yet. Made by [`EmbeddedKafka::builder`].
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct Builder {
    brokers: u16,
    listen: String,
    topics: Vec<(String, usize)>,
    racks: Vec<String>,
    settings: Settings,
    clock: Option<Arc<dyn Clock>>,
    seed: Option<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            brokers: 1,
            listen: "127.0.0.1:0".to_owned(),
            topics: Vec::new(),
            racks: Vec::new(),
            settings: Settings {
                default_partitions: 1,
                auto_create_topics: true,
                initial_rebalance_delay: Duration::ZERO,
                session_timeout: Duration::from_secs(1)..=Duration::from_secs(1800),
                retention_check_interval: Duration::from_secs(5 * 60),
                group_max_size: usize::MAX,
                consumer_groups: Terms {
                    session_timeout: Duration::from_secs(45),
                    heartbeat_interval: Duration::from_secs(1),
                    max_size: usize::MAX,
                },
                transactional_id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
                observer: None,
                broker_session_timeout: Duration::from_secs(9),
                connections_max_idle: Duration::from_secs(600),
                rack_aware_reads: false,
            },
            clock: None,
            seed: None,
        }
    }
}

impl Builder {
    /// How many brokers, with the ids 1, 2, ... **(default: 1)**
    pub fn brokers(mut self, count: u16) -> Self {
        self.brokers = count;
        self
    }

    /// `host:port` of the first broker (`[::1]:9092` for IPv6); the others take the ports after it, or free ones for
    /// port 0. The host is also what clients are told to connect to; where it stands for all addresses, `127.0.0.1` is.
    /// **(default: `127.0.0.1:0`)**
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// A topic that exists from the start, with 1 to 100,000 partitions. Leaders go round the brokers.
    pub fn topic(mut self, name: impl Into<String>, partitions: usize) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// Partitions of a topic that is created without a number: Kafka's `num.partitions`. **(default: 1)**
    pub fn default_partitions(mut self, count: u16) -> Self {
        self.settings.default_partitions = i32::from(count);
        self
    }

    /// Whether asking for an unknown topic creates it: Kafka's `auto.create.topics.enable`. **(default: true)**
    pub fn auto_create_topics(mut self, yes: bool) -> Self {
        self.settings.auto_create_topics = yes;
        self
    }

    /// How long the first rebalance of an empty group waits for more members: Kafka's
    /// `group.initial.rebalance.delay.ms`. **(default: 0; Kafka's is 3 s)**
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.initial_rebalance_delay = delay;
        self
    }

    /// Which session timeouts members may ask for: Kafka's `group.min.session.timeout.ms` and
    /// `group.max.session.timeout.ms`. **(default: 1 s to 30 min; Kafka's is 6 s to 30 min)**
    pub fn session_timeout(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.settings.session_timeout = bounds;
        self
    }

    /// After how long a connection is closed on which nothing was read or written: Kafka's `connections.max.idle.ms`. One
    /// whose request waits (a fetch, a join) is not idle. **(default: 10 min)**
    pub fn connections_max_idle(mut self, time: Duration) -> Self {
        self.settings.connections_max_idle = time;
        self
    }

    /// The racks of the brokers, of the first one first: Kafka's `broker.rack`. **(default: none)**
    pub fn racks<R: Into<String>>(mut self, racks: impl IntoIterator<Item = R>) -> Self {
        self.racks = racks.into_iter().map(Into::into).collect();
        self
    }

    /// Whether leaders send a client that names its rack to an in-sync replica there: Kafka's
    /// `replica.selector.class` as the rack-aware one (KIP-392). **(default: false)**
    pub fn rack_aware_reads(mut self, yes: bool) -> Self {
        self.settings.rack_aware_reads = yes;
        self
    }

    /// After how long the cluster gives up a broker that is [cut off](EmbeddedKafka::cut_off_broker): Kafka's
    /// `broker.session.timeout.ms`. **(default: 9 s)**
    pub fn broker_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.broker_session_timeout = timeout;
        self
    }

    /// After how much silence a member of KIP-848 is given up: Kafka's `group.consumer.session.timeout.ms`, which
    /// clients cannot choose. **(default: 45 s)**
    pub fn consumer_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.consumer_groups.session_timeout = timeout;
        self
    }

    /// How often members of KIP-848 are told to send heartbeats: Kafka's `group.consumer.heartbeat.interval.ms`. A
    /// rebalance takes some of these. **(default: 1 s; Kafka's is 5 s)**
    pub fn consumer_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.consumer_groups.heartbeat_interval = interval;
        self
    }

    /// How many members a group may have: Kafka's `group.max.size` and `group.consumer.max.size`.
    /// **(default: as many as come)**
    pub fn group_max_size(mut self, members: usize) -> Self {
        self.settings.group_max_size = members;
        self.settings.consumer_groups.max_size = members;
        self
    }

    /// How long a transactional id is remembered that is not used and has no transaction open: Kafka's
    /// `transactional.id.expiration.ms`. What its producer asks afterwards is answered INVALID_PRODUCER_ID_MAPPING.
    /// **(default: 7 days)**
    pub fn transactional_id_expiration(mut self, time: Duration) -> Self {
        self.settings.transactional_id_expiration = time;
        self
    }

    /// How often records that are older than their topic's `retention.ms` are looked for: Kafka's
    /// `log.retention.check.interval.ms`. A topic that does not set it keeps records for 7 days from when they came,
    /// whatever their timestamps say. (`retention.bytes` is kept to at every append.) **(default: 5 min)**
    pub fn retention_check_interval(mut self, interval: Duration) -> Self {
        self.settings.retention_check_interval = interval;
        self
    }

    /// The clock that LogAppendTime, timestamp checks and retention read. **(default: the system's over TCP; in memory a
    /// [`VirtualClock`], which follows tokio's)**
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The seed of topic ids and member ids. **(default: another each time over TCP, 0 in memory)**
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Calls `observer` with every request, on the broker's thread, before it is answered.
    pub fn on_request(mut self, observer: impl Fn(&RequestSeen<'_>) + Send + Sync + 'static) -> Self {
        self.settings.observer = Some(Observer(Arc::new(observer)));
        self
    }

    /// Serves over pipes in memory instead of TCP, on the caller's runtime: with a `current_thread` runtime and
    /// tokio's paused clock, time is the test's and a run repeats exactly.
    pub fn in_memory(self) -> InMemory {
        InMemory(self)
    }

    /// Starts the brokers on a thread of their own, so that a test that blocks its runtime stops none of them.
    ///
    /// # Errors
    /// An option that cannot work, or an address that cannot be listened on.
    pub async fn start(self) -> Result<EmbeddedKafka, Error> {
        self.check()?;
        let rng = self.seed.map_or_else(Rng::from_entropy, Rng::seeded);
        let listeners = crate::server::listener::bind(&self.listen, self.brokers)?;
        let nodes = in_racks(listeners.iter().map(|(node, _)| node.clone()), &self.racks);
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let cluster = Arc::new(Cluster::new(nodes, self.settings, clock, rng));
        create_topics(&cluster, &self.topics);
        EmbeddedKafka::on_thread(cluster, listeners).await
    }

    fn check(&self) -> Result<(), Error> {
        if self.brokers == 0 {
            return Err(Error::Option("a cluster needs at least one broker".to_owned()));
        }
        if self.settings.default_partitions == 0 {
            return Err(Error::Option("default_partitions must be at least 1".to_owned()));
        }
        let terms = &self.settings.consumer_groups;
        if terms.heartbeat_interval.is_zero() || terms.heartbeat_interval >= terms.session_timeout {
            return Err(Error::Option(format!(
                "consumer_heartbeat_interval ({:?}) must be above 0 and shorter than consumer_session_timeout ({:?})",
                terms.heartbeat_interval, terms.session_timeout
            )));
        }
        for (name, least) in self.least_durations() {
            if least.is_zero() {
                return Err(Error::Option(format!("{name} must be more than 0")));
            }
        }
        for (name, time) in [
            ("consumer_session_timeout", self.settings.consumer_groups.session_timeout),
            ("initial_rebalance_delay", self.settings.initial_rebalance_delay),
        ] {
            // Kafka has them as milliseconds of 32 bits.
            if i32::try_from(time.as_millis()).is_err() {
                return Err(Error::Option(format!("{name} ({time:?}) must not be more than 24 days")));
            }
        }
        if self.settings.group_max_size == 0 {
            return Err(Error::Option("group_max_size must be at least 1".to_owned()));
        }
        if self.settings.session_timeout.is_empty() {
            let (from, to) = (self.settings.session_timeout.start(), self.settings.session_timeout.end());
            return Err(Error::Option(format!("session_timeout: no timeout is in {from:?} to {to:?}")));
        }
        self.check_topics()
    }

    /// What would otherwise be over at once.
    fn least_durations(&self) -> [(&'static str, Duration); 4] {
        let settings = &self.settings;
        [
            ("retention_check_interval", settings.retention_check_interval),
            ("transactional_id_expiration", settings.transactional_id_expiration),
            ("broker_session_timeout", settings.broker_session_timeout),
            ("connections_max_idle", settings.connections_max_idle),
        ]
    }

    fn check_topics(&self) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        for (name, partitions) in &self.topics {
            check_name(name).map_err(Error::Option)?;
            if *partitions == 0 {
                return Err(Error::Option(format!("topic '{name}' needs at least one partition")));
            }
            if *partitions > MAX_PARTITIONS {
                let message = format!("topic '{name}' cannot have more than {MAX_PARTITIONS} partitions");
                return Err(Error::Option(message));
            }
            if !names.insert(name) {
                return Err(Error::Option(format!("topic '{name}' is named twice")));
            }
        }
        Ok(())
    }
}

/// A cluster for pipes in memory, not started yet. Made by [`Builder::in_memory`].
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct InMemory(Builder);

impl InMemory {
    /// Starts the brokers as tasks of the current tokio runtime. What connects through
    /// [`EmbeddedKafka::transport`] must run there too.
    ///
    /// # Errors
    /// An option that cannot work.
    pub async fn start(self) -> Result<EmbeddedKafka, Error> {
        let builder = self.0;
        builder.check()?;
        let rng = Rng::seeded(builder.seed.unwrap_or(0));
        let nodes = in_racks(InMemoryTransport::nodes(builder.brokers).into_iter(), &builder.racks);
        let clock = builder.clock.unwrap_or_else(|| Arc::new(VirtualClock::new()));
        let cluster = Arc::new(Cluster::new(nodes, builder.settings, clock, rng));
        create_topics(&cluster, &builder.topics);
        Ok(EmbeddedKafka::on_current_runtime(cluster))
    }
}

fn in_racks(nodes: impl Iterator<Item = Node>, racks: &[String]) -> Vec<Node> {
    let mut racks = racks.iter().map(|rack| StrBytes::from_string(rack.clone()));
    nodes.map(|node| Node { rack: racks.next(), ..node }).collect()
}

fn create_topics(cluster: &Cluster, topics: &[(String, usize)]) {
    for (name, partitions) in topics {
        cluster.ensure_topic(name, *partitions);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
