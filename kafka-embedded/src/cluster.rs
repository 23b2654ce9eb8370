//! The state that all brokers of the process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use kafka_client::seams::{Clock, Rng};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::fetch::Sessions;
use crate::brokers::Brokers;
use crate::configs::TopicConfigs;
use crate::coordinators::Coordinators;
use crate::faults::Registry;
use crate::group::Groups;
use crate::group::configs;
use crate::group::consumer::Terms;
use crate::named_configs::NamedConfigs;
use crate::replicas::Replicas;
use crate::server::connection::RequestSeen;
use crate::server::frames::Incoming;
use crate::topics::{Partition, Topic, Topics};
use crate::transaction::Transactions;

/// One broker as clients see it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: StrBytes,
    pub(crate) port: u16,
    pub(crate) rack: Option<StrBytes>,
}

impl Node {
    /// `host:port`, an IPv6 address in brackets.
    pub(crate) fn address(&self) -> String {
        let (host, port) = (&*self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// What the builder decides.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) default_partitions: i32,
    pub(crate) auto_create_topics: bool,
    pub(crate) initial_rebalance_delay: Duration,
    pub(crate) session_timeout: std::ops::RangeInclusive<Duration>,
    /// `log.retention.check.interval.ms`
    pub(crate) retention_check_interval: Duration,
    /// `group.max.size`
    pub(crate) group_max_size: usize,
    /// `group.consumer.*`
    pub(crate) consumer_groups: Terms,
    /// `transactional.id.expiration.ms`
    pub(crate) transactional_id_expiration: Duration,
    pub(crate) observer: Option<Observer>,
    /// After how long a broker that is cut off is given up.
    pub(crate) broker_session_timeout: Duration,
    /// `connections.max.idle.ms`
    pub(crate) connections_max_idle: Duration,
    /// Whether clients are sent to a replica in their rack (KIP-392).
    pub(crate) rack_aware_reads: bool,
}

/// Who is told of every request.
#[derive(Clone)]
pub(crate) struct Observer(pub(crate) Arc<dyn Fn(&RequestSeen<'_>) + Send + Sync>);

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) id: StrBytes,
    /// All that belong to it, live or not.
    pub(crate) nodes: Vec<Node>,
    pub(crate) brokers: Brokers,
    pub(crate) coordinators: Coordinators,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Rng,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) group_configs: NamedConfigs,
    pub(crate) broker_configs: NamedConfigs,
    pub(crate) transactions: Transactions,
    pub(crate) sessions: Sessions,
    pub(crate) faults: Registry,
    pub(crate) incoming: Incoming,
    next_producer_id: AtomicI64,
    next_leader: AtomicU32,
}

impl Cluster {
    pub(crate) fn new(nodes: Vec<Node>, settings: Settings, clock: Arc<dyn Clock>, rng: Rng) -> Self {
        let id = StrBytes::from_string(format!("embedded-{:013x}", rng.next_u64() >> 12));
        let ids: Vec<i32> = nodes.iter().map(|node| node.id).collect();
        Self {
            id,
            brokers: Brokers::new(ids.iter().copied()),
            coordinators: Coordinators::new(&ids),
            nodes,
            settings,
            clock,
            rng,
            topics: Topics::default(),
            groups: Groups::default(),
            group_configs: NamedConfigs::default(),
            broker_configs: NamedConfigs::default(),
            transactions: Transactions::default(),
            sessions: Sessions::default(),
            faults: Registry::default(),
            incoming: Incoming::default(),
            next_producer_id: AtomicI64::new(0),
            next_leader: AtomicU32::new(0),
        }
    }

    /// The node with this id.
    pub(crate) fn node(&self, id: i32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// What a group of KIP-848 keeps to.
    pub(crate) fn consumer_terms(&self, group: &str) -> Terms {
        let terms = self.settings.consumer_groups;
        // What was set was checked.
        configs::apply(&self.group_configs.set_on(group), terms).unwrap_or(terms)
    }

    /// A producer id that nobody had.
    pub(crate) fn new_producer_id(&self) -> i64 {
        self.next_producer_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A UUID of version 4.
    pub(crate) fn new_uuid(&self) -> Uuid {
        const VERSION: (u128, u128) = (0xF << 76, 0x4 << 76);
        const VARIANT: (u128, u128) = (0x3 << 62, 0x2 << 62);
        let chance = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        Uuid::from_u128(chance & !VERSION.0 & !VARIANT.0 | VERSION.1 | VARIANT.1)
    }

    /// The brokers that the cluster counts on.
    pub(crate) fn live_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| self.brokers.is_live(node.id))
    }

    /// The node with this id, if the cluster counts on it.
    pub(crate) fn live_node(&self, id: i32) -> Option<&Node> {
        self.node(id).filter(|node| self.brokers.is_live(node.id))
    }

    /// The broker that coordinates `key` (a group or a transactional id).
    pub(crate) fn coordinator(&self, key: &str) -> Option<&Node> {
        self.live_node(self.coordinators.of(key, |id| self.brokers.is_live(id))?)
    }

    /// Lets time pass for all that has deadlines, for ever.
    pub(crate) async fn run_timers(&self) {
        tokio::join!(self.groups.run_timers(), self.run_transaction_timers(), self.run_housekeeping());
    }

    /// Replicas of `count` new partitions: leaders go round the brokers, from one topic to the next.
    pub(crate) fn spread(&self, count: usize, replication: usize) -> Vec<Vec<i32>> {
        let first = self.next_leader.fetch_add(u32::try_from(count).unwrap_or(0), Ordering::Relaxed) as usize;
        let ring = |at: usize| self.nodes.get(at % self.nodes.len().max(1)).map_or(-1, |node| node.id);
        (0..count)
            .map(|partition| {
                let mut nodes: Vec<i32> =
                    (0..replication).map(|replica| ring(first + partition + replica)).collect();
                // Those that live come first, in their order: they lead.
                nodes.sort_by_key(|id| !self.brokers.is_live(*id));
                nodes
            })
            .collect()
    }

    /// Replicas of a topic that does not say how many: three, or what there is.
    pub(crate) fn default_replication(&self) -> usize {
        self.nodes.len().min(3)
    }

    /// A topic that is not in the cluster yet.
    pub(crate) fn new_topic(&self, name: &str, replicas: Vec<Vec<i32>>, configs: TopicConfigs) -> Topic {
        Topic {
            name: TopicName(StrBytes::from_string(name.to_owned())),
            id: self.new_uuid(),
            configs: Arc::new(configs),
            partitions: replicas.into_iter().map(|nodes| self.new_partition(nodes)).collect(),
        }
    }

    /// An empty partition on these brokers.
    pub(crate) fn new_partition(&self, nodes: Vec<i32>) -> Arc<Partition> {
        Arc::new(Partition::new(Replicas::new(nodes, |id| self.brokers.is_live(id))))
    }

    /// Creates a topic with default configs; the present one where there is one.
    pub(crate) fn ensure_topic(&self, name: &str, partitions: usize) -> Arc<Topic> {
        let replicas = self.spread(partitions, self.default_replication());
        let topic = self.new_topic(name, replicas, TopicConfigs::default());
        self.topics.insert(topic).unwrap_or_else(|present| present)
    }
}

/// Java's hash of a string, its bits.
pub(crate) fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}
