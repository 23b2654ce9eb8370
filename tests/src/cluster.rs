//! The cluster that a test runs against.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_client::admin::{Admin, NewTopic};
use kafka_client::config::{ClientConfig, ProducerConfig};
use kafka_client::{Client, TopicName};
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::messages::find_coordinator_response::Coordinator as FoundCoordinator;
use kafka_protocol::protocol::StrBytes;

use crate::peer::{Peer, PeerKind};
use crate::wire::Wire;

/// Apache Kafka where `KAFKA_BOOTSTRAP_SERVERS` names it, an embedded cluster of three brokers of the test's own elsewhere.
pub struct Cluster {
    bootstrap: String,
    client: Client,
    embedded: Option<EmbeddedKafka>,
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until `condition` holds; fails after `limit`, saying what was waited for.
pub async fn eventually<F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let deadline = tokio::time::Instant::now() + limit;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Cluster {
    /// The cluster for this test. `RUST_LOG` shows what happens in it.
    pub async fn start() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let (bootstrap, embedded) = match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
            Ok(servers) => (servers, None),
            Err(_) => {
                let embedded = EmbeddedKafka::builder()
                    .brokers(3)
                    // As scripts/with-kafka sets Apache Kafka's.
                    .consumer_session_timeout(Duration::from_secs(6))
                    .consumer_heartbeat_interval(Duration::from_millis(300));
                let embedded = embedded.start().await.expect("embedded broker");
                (embedded.bootstrap_servers().to_owned(), Some(embedded))
            }
        };
        let client = Client::new(Self::config(&bootstrap)).expect("client");
        Self { bootstrap, client, embedded }
    }

    fn config(bootstrap: &str) -> ClientConfig {
        ClientConfig {
            bootstrap_servers: bootstrap.split(',').map(str::to_owned).collect(),
            client_id: "suite".into(),
            ..ClientConfig::default()
        }
    }

    /// Whether this is Apache Kafka.
    pub fn is_apache(&self) -> bool {
        self.embedded.is_none()
    }

    /// Whether it has transactions; says so loudly if not.
    pub async fn has_transactions(&self) -> bool {
        let config = ProducerConfig { max_block: Duration::from_secs(30), ..ProducerConfig::default() };
        let producer = self.client.transactional_producer(config, &unique("probe")).expect("producer");
        match producer.prepare().await {
            Ok(()) => true,
            Err(error) => {
                assert!(!self.is_apache(), "{error}");
                eprintln!("NOT RUN on the embedded broker, which has no transactions yet: {error}");
                false
            }
        }
    }

    /// `host:port,...`
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A client of ours.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Administration.
    pub fn admin(&self) -> Admin {
        self.client.admin()
    }

    /// A new topic, led and ready, whose name begins with `prefix`.
    pub async fn topic(&self, prefix: &str, partitions: i32) -> String {
        self.topic_with(prefix, partitions, &[]).await
    }

    /// The same with configuration.
    pub async fn topic_with(&self, prefix: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = unique(prefix);
        self.create(&name, partitions, config).await;
        name
    }

    /// Creates the topic `name` and waits until each partition has a leader.
    pub async fn create(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication: Some(if self.is_apache() { 1 } else { -1 }),
            config: config
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        };
        let created = self.admin().create_topics(&[topic], Duration::from_secs(30)).await.expect("create");
        for (topic, result) in created {
            result.unwrap_or_else(|error| panic!("{topic}: {error}"));
        }
        let wanted = usize::try_from(partitions).expect("partitions");
        eventually(&format!("{name} has leaders"), Duration::from_secs(30), || async {
            let described = self.admin().describe_topics(&[name]).await.expect("describe");
            described.get(&TopicName::new(name)).is_some_and(|topic| {
                topic.partitions.len() == wanted
                    && topic.partitions.iter().all(|found| found.leader.is_some())
            })
        })
        .await;
    }

    /// The coordinator of a group, as the first broker tells of it; `None` while there is none.
    pub async fn coordinator(&self, group: &str) -> Option<FoundCoordinator> {
        let first = self.bootstrap.split(',').next().expect("a broker");
        let key = StrBytes::from_string(group.to_owned());
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![key]);
        let mut found = Wire::connect(first).await.ask(4, &find).await.coordinators;
        found.pop().filter(|found| found.error_code == 0)
    }

    /// The embedded cluster, for what only a test's own broker can do; `None` on Apache Kafka.
    pub fn embedded(&self) -> Option<&EmbeddedKafka> {
        self.embedded.as_ref()
    }

    /// Makes broker `node` lead a partition. On Apache Kafka the Java client does it, for partition 0 only; `false`
    /// where it cannot run.
    pub async fn move_leader(&self, topic: &str, partition: i32, node: i32) -> bool {
        match &self.embedded {
            Some(embedded) => {
                embedded.move_leader(topic, partition, node).map(|()| true).expect("a new leader")
            }
            None => {
                assert_eq!(partition, 0, "the Java peer moves partition 0");
                let node = node.to_string();
                Peer::run(PeerKind::Java, "elect", &self.bootstrap, &[topic, &node]).await.is_some()
            }
        }
    }

    /// An `application.yml` for this cluster, with `more` behind it.
    pub fn yaml(&self, more: &str) -> String {
        self.yaml_at(&self.bootstrap, more)
    }

    /// The same by other ways to it, such as proxies.
    pub fn yaml_at(&self, servers: &str, more: &str) -> String {
        format!(
            "spring:\n  application: {{name: suite}}\n  kafka:\n    bootstrap-servers: {servers}\n    consumer: {{auto-offset-reset: earliest}}\n{more}"
        )
    }
}
