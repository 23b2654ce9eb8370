//! The cluster that rows run on: one for all rows of a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_embedded::{Builder, EmbeddedKafka};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    ListOffsetsRequest, MetadataRequest,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::asked::{group_id, text, topic_name};
use crate::said;
use crate::wire::Wire;

/// How long what a cluster does in the background (leaders, coordinators) may take.
const PATIENCE: Duration = Duration::from_secs(50);

struct Cluster {
    brokers: BTreeMap<i32, String>,
    embedded: Option<EmbeddedKafka>,
}

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
/// The embedded one that waits for nothing as long as Kafka's defaults say.
static IMPATIENT: OnceCell<Cluster> = OnceCell::const_new();

impl Cluster {
    async fn start(builder: Builder) -> Self {
        let (bootstrap, embedded) = match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
            Ok(servers) => (servers, None),
            Err(_) => {
                let embedded = builder.start().await.expect("embedded broker");
                (embedded.bootstrap_servers(), Some(embedded))
            }
        };
        let first = bootstrap.split(',').next().expect("a bootstrap server");
        let all = MetadataRequest::default().with_topics(Some(Vec::new()));
        let known = Wire::connect(first).await.ask(4, &all).await;
        let address = |host: &str, port: i32| format!("{host}:{port}");
        let brokers = known.brokers.iter().map(|node| (node.node_id.0, address(&node.host, node.port)));
        Self { brokers: brokers.collect(), embedded }
    }
}

/// The cluster, as one run of a row sees it.
#[derive(Clone, Copy)]
pub(crate) struct Kafka {
    cluster: &'static Cluster,
    /// The version in turn of the row's API.
    pub(crate) version: i16,
}

/// A topic of the row's own.
#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    /// By partition.
    pub(crate) leaders: Vec<i32>,
}

impl Topic {
    /// Two partitions that one broker leads: of four on three brokers there are such.
    pub(crate) fn on_one_broker(&self) -> (usize, usize) {
        let pairs = (0..self.leaders.len())
            .flat_map(|one| (one + 1..self.leaders.len()).map(move |other| (one, other)));
        let found = pairs.into_iter().find(|(one, other)| self.leaders[*one] == self.leaders[*other]);
        found.expect("more partitions than brokers")
    }

    /// One that does not exist.
    pub(crate) fn unknown(kafka: Kafka) -> Self {
        Self { name: kafka.name("unknown"), id: Uuid::from_u128(0xbad), leaders: Vec::new() }
    }
}

impl Kafka {
    pub(crate) async fn connect(version: i16) -> Self {
        let start = || Cluster::start(EmbeddedKafka::builder().brokers(3));
        Self { cluster: CLUSTER.get_or_init(start).await, version }
    }

    /// A cluster that looks after old records and unused ids within seconds; `None` where it is an Apache Kafka that
    /// does not.
    pub(crate) async fn impatient(version: i16) -> Option<Self> {
        let start = || {
            let builder = EmbeddedKafka::builder().retention_check_interval(Duration::from_millis(500));
            Cluster::start(builder.transactional_id_expiration(Duration::from_secs(3)))
        };
        let kafka = Self { cluster: IMPATIENT.get_or_init(start).await, version };
        let waits = match kafka.is_apache() {
            true => kafka.broker_config("log.retention.check.interval.ms").await,
            false => 0,
        };
        (waits < 5_000).then_some(kafka)
    }

    /// A numeric setting of the first broker.
    async fn broker_config(self, name: &str) -> i64 {
        let id = self.brokers()[0];
        let resource = DescribeConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(text(&id.to_string()))
            .with_configuration_keys(Some(vec![text(name)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let found = self.broker(id).await.ask(4, &request).await.results.remove(0).configs;
        let value = found.first().and_then(|config| config.value.clone()).expect("a setting");
        value.parse().expect("a number")
    }

    /// The same, asked in another version.
    pub(crate) fn at(self, version: i16) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn is_apache(self) -> bool {
        self.cluster.embedded.is_none()
    }

    /// A name that no other row and no other run uses.
    pub(crate) fn name(self, prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The brokers' ids, ascending.
    pub(crate) fn brokers(self) -> Vec<i32> {
        self.cluster.brokers.keys().copied().collect()
    }

    /// The embedded cluster, if it is one.
    pub(crate) fn embedded(self) -> Option<&'static EmbeddedKafka> {
        self.cluster.embedded.as_ref()
    }

    /// `host:port` of broker `id`.
    pub(crate) fn address(self, id: i32) -> &'static str {
        self.cluster.brokers.get(&id).unwrap_or_else(|| panic!("there is no broker {id}"))
    }

    /// A connection to broker `id`.
    pub(crate) async fn broker(self, id: i32) -> Wire {
        Wire::connect(self.address(id)).await
    }

    /// A connection to some broker.
    pub(crate) async fn any(self) -> Wire {
        self.broker(self.brokers()[0]).await
    }

    /// A connection to the leader of a partition.
    pub(crate) async fn leader(self, topic: &Topic, partition: usize) -> Wire {
        self.broker(topic.leaders[partition]).await
    }

    /// A connection to a broker that does not lead partition 0.
    pub(crate) async fn follower(self, topic: &Topic) -> Wire {
        let other = self.brokers().into_iter().find(|id| *id != topic.leaders[0]);
        self.broker(other.expect("the suite wants three brokers")).await
    }

    /// A new topic with one replica of each partition, led and ready.
    pub(crate) async fn topic(self, partitions: i32) -> Topic {
        self.topic_with(partitions, &[]).await
    }

    /// The same with configs. Records are kept whatever their time, unless these say otherwise.
    pub(crate) async fn topic_with(self, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let name = self.name("topic");
        let own = configs.iter().any(|(name, _)| *name == "retention.ms");
        let kept = if own { &[][..] } else { &[("retention.ms", "-1")] };
        self.create_with(&name, partitions, 1, &[kept, configs].concat()).await
    }

    /// A new topic of this name with so many replicas.
    pub(crate) async fn create(self, name: &str, partitions: i32, replicas: i16) -> Topic {
        self.create_with(name, partitions, replicas, &[]).await
    }

    /// A new topic of one partition with replicas on these brokers, the first of which leads.
    pub(crate) async fn placed(self, brokers: &[i32], configs: &[(&str, &str)]) -> Topic {
        let brokers = brokers.iter().copied().map(BrokerId).collect();
        let assignment =
            CreatableReplicaAssignment::default().with_partition_index(0).with_broker_ids(brokers);
        let topic = CreatableTopic::default()
            .with_name(topic_name(&self.name("placed")))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![assignment]);
        self.created(topic, 1, configs).await
    }

    async fn create_with(
        self,
        name: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> Topic {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas);
        self.created(topic, usize::try_from(partitions).unwrap(), configs).await
    }

    async fn created(self, topic: CreatableTopic, partitions: usize, configs: &[(&str, &str)]) -> Topic {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let name = topic.name.to_string();
        let topic = topic.with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
        let created = self.any().await.ask(5, &request).await;
        assert_eq!(said::error(created.topics[0].error_code), "NONE", "{name}");
        self.ready(&name, partitions).await
    }

    /// Waits until every broker knows the topic, and its leaders lead.
    pub(crate) async fn ready(self, name: &str, partitions: usize) -> Topic {
        let mut found = None;
        for id in self.brokers() {
            let mut wire = self.broker(id).await;
            let known = until(name, async || {
                let topic = describe(&mut wire, name).await;
                let led = topic.partitions.iter().filter(|part| part.leader_id.0 >= 0).count();
                (led == partitions).then_some(topic)
            });
            found = Some(known.await);
        }
        let mut found = found.expect("a cluster has brokers");
        found.partitions.sort_by_key(|part| part.partition_index);
        let leaders = found.partitions.iter().map(|part| part.leader_id.0).collect();
        let topic = Topic { name: name.to_owned(), id: found.topic_id, leaders };
        for (index, leader) in (0..).zip(&topic.leaders) {
            let mut wire = self.broker(*leader).await;
            until("a leader that leads", async || leads(&mut wire, &topic, index).await.then_some(())).await;
        }
        topic
    }

    /// A connection to the coordinator of a group, ready to serve it.
    pub(crate) async fn coordinator(self, group: &str) -> Wire {
        self.broker(self.coordinator_id(group).await).await
    }

    /// A connection to a broker that does not coordinate a group.
    pub(crate) async fn not_coordinator(self, group: &str) -> Wire {
        let coordinator = self.coordinator_id(group).await;
        let other = self.brokers().into_iter().find(|id| *id != coordinator);
        self.broker(other.expect("the suite wants three brokers")).await
    }

    async fn coordinator_id(self, group: &str) -> i32 {
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        let describe = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        until("a coordinator", async || {
            let found = self.any().await.ask(4, &find).await.coordinators.remove(0);
            if found.error_code != 0 {
                return None;
            }
            let mut wire = self.broker(found.node_id.0).await;
            let served = wire.ask(5, &describe).await.groups[0].error_code == 0;
            served.then_some(found.node_id.0)
        })
        .await
    }
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask).await
}

/// The same for what may take longer.
pub(crate) async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = async {
        loop {
            match ask().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(patience, found).await.unwrap_or_else(|_| panic!("{what}: not within {patience:?}"))
}

/// A topic as a broker knows it now.
async fn describe(wire: &mut Wire, name: &str) -> MetadataResponseTopic {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let request = request.with_allow_auto_topic_creation(false);
    wire.ask(12, &request).await.topics.remove(0)
}

/// Whether the broker knows that it leads a partition: a follower answers fetches, too.
pub(crate) async fn leads(wire: &mut Wire, topic: &Topic, index: i32) -> bool {
    let part = ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1);
    let asked = ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(vec![part]);
    let answer = wire.ask(4, &ListOffsetsRequest::default().with_topics(vec![asked])).await;
    answer.topics[0].partitions[0].error_code == 0
}
