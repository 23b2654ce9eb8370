//! Brokers are killed, one after the other, while we produce: what the Java client then reads is each record once, and
//! of each transaction all or nothing (Apache Kafka's; embedded ones die where a test says so). And a group's coordinator is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::admin::NewTopic;
use kafka_client::config::ProducerConfig;
use kafka_client::consumer::GroupMetadata;
use kafka_client::group::CommittedOffset;
use kafka_client::producer::{Outgoing, Remedy, TransactionError, TransactionalProducer};
use kafka_runtime::container::EventKind;
use kafka_runtime::prelude::*;
use tests::{Cluster, Nodes, Peer, Probe, eventually, unique};

/// One test at a time: each kills brokers.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn record<'a>(topic: &str, partition: i32, value: &'a str) -> Outgoing<'a> {
    Outgoing {
        topic: topic.into(),
        partition: Some(partition),
        timestamp: None,
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

fn offset(partition: TopicPartition, offset: i64) -> Vec<(TopicPartition, CommittedOffset)> {
    vec![(partition, CommittedOffset { offset, leader_epoch: -1, metadata: String::new() })]
}

async fn replicated(cluster: &Cluster, topics: &[&str]) {
    let new = |name: &&str| NewTopic {
        name: (*name).to_owned(),
        partitions: Some(3),
        replication: Some(3),
        config: BTreeMap::new(),
    };
    let topics: Vec<_> = topics.iter().map(new).collect();
    for (topic, created) in cluster.admin().create_topics(&topics, Duration::from_secs(30)).await.unwrap() {
        created.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }
}

/// Kills one broker after the other until it is `done`; the next one when all replicas have caught up, so that no two
/// are missing at once.
async fn trouble(nodes: &Nodes, cluster: &Cluster, topic: &str, done: &AtomicBool) {
    let mut killed = 0;
    for node in (1..=nodes.count).cycle() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if done.load(Ordering::Relaxed) {
            break;
        }
        nodes.restart(node, Duration::from_millis(200)).await;
        killed += 1;
        nodes.in_sync(cluster, &[topic]).await;
    }
    assert!(killed > 0, "it was over before a broker died");
}

/// Consume-transform-produce in small, its position in the group's committed offset alone.
async fn pipeline(cluster: &Cluster, producer: &TransactionalProducer, topic: &str, group: &str, last: i64) {
    let source = TopicPartition::new(format!("{topic}-in").as_str(), 0);
    loop {
        let committed = loop {
            match cluster.admin().committed(group, &[source]).await {
                Ok(found) => break found[0].1.as_ref().map_or(0, |found| found.offset),
                Err(error) => eprintln!("the position is not known yet: {error}"),
            }
        };
        if committed >= last {
            return;
        }
        for at in committed..last {
            let step = async {
                let transaction = producer.begin().await?;
                for copy in 0..5 {
                    let value = format!("{at}-{copy}");
                    let partition = i32::try_from((at + copy) % 3).unwrap();
                    // What fails shows in the commit.
                    let _ = transaction.enqueue(record(topic, partition, &value)).await;
                }
                transaction.send_offsets(offset(source, at + 1), GroupMetadata::nobody(group)).await?;
                transaction.commit().await
            };
            if let Err(error) = step.await {
                eprintln!("step {at}: {error}");
                assert_ne!(error.remedy(), Remedy::NewProducer, "{error}");
                // Whether it was committed is not asked of the error, but of the group.
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_input_has_one_result_though_brokers_die() {
    let Some(nodes) = Nodes::at_least(3) else { return };
    let _turn = TURN.lock().await;
    let cluster = Cluster::start().await;
    let topic = unique("survivor");
    replicated(&cluster, &[&topic, &format!("{topic}-in")]).await;
    let config = ProducerConfig {
        delivery_timeout: Duration::from_secs(40),
        request_timeout: Duration::from_secs(5),
        ..ProducerConfig::default()
    };
    let (group, id) = (unique("survivor"), unique("survivor"));
    let producer = cluster.client().transactional_producer(config, &id).unwrap();
    let done = AtomicBool::new(false);
    let steps = 50;
    let work = async {
        pipeline(&cluster, &producer, &topic, &group, steps).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, trouble(&nodes, &cluster, &topic, &done));
    let count = usize::try_from(steps * 5).unwrap();
    let Some(values) = Peer::values(cluster.bootstrap(), &topic, count).await else { return };
    let mut seen: Vec<String> = values.into_values().flatten().collect();
    seen.sort();
    let mut expected: Vec<String> =
        (0..steps).flat_map(|at| (0..5).map(move |copy| format!("{at}-{copy}"))).collect();
    expected.sort();
    assert_eq!(seen, expected);
    // A second one with the same id takes over at once.
    let heir = cluster.client().transactional_producer(ProducerConfig::default(), &id).unwrap();
    heir.prepare().await.unwrap();
    assert!(matches!(producer.begin().await.map(|_| ()), Ok(()) | Err(TransactionError::Fenced { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_once_and_in_order() {
    let Some(nodes) = Nodes::at_least(3) else { return };
    let _turn = TURN.lock().await;
    let cluster = Cluster::start().await;
    let topic = unique("acknowledged");
    replicated(&cluster, &[&topic]).await;
    let config = ProducerConfig { request_timeout: Duration::from_secs(5), ..ProducerConfig::default() };
    let producer = cluster.client().producer(config).unwrap();
    let done = AtomicBool::new(false);
    let mut deliveries = Vec::new();
    let work = async {
        for n in 0..20_000u32 {
            let value = n.to_string();
            let partition = i32::try_from(n % 3).unwrap();
            deliveries.push(producer.enqueue(record(&topic, partition, &value)).await.unwrap());
            if n % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, trouble(&nodes, &cluster, &topic, &done));
    let mut acknowledged = 0;
    for delivery in deliveries {
        acknowledged += usize::from(delivery.await.is_ok());
    }
    assert_eq!(acknowledged, 20_000, "all within the delivery timeout");
    let Some(values) = Peer::values(cluster.bootstrap(), &topic, acknowledged).await else { return };
    for (partition, values) in values {
        let numbers: Vec<u32> = values.iter().map(|value| value.parse().unwrap()).collect();
        let first = u32::try_from(partition).unwrap();
        assert!(
            numbers.iter().copied().eq((first..20_000).step_by(3)),
            "partition {partition}: lost, doubled or out of order"
        );
    }
}

/// The shortest that Apache Kafka takes, and shorter than it takes to miss a broker.
const SESSION: Duration = Duration::from_secs(6);
const LIMIT: Duration = Duration::from_secs(60);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-group")]
async fn keeper(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

async fn round(app: &RunningApp, topic: &str, value: &str) {
    for partition in 0..3 {
        app.template().send_record(Record::to(topic).partition(partition).text(value)).await.unwrap();
    }
}

fn has_seen(probe: &Probe, value: &str) -> usize {
    let seen: BTreeSet<i32> =
        probe.seen().into_iter().filter(|one| one.value == value).map(|one| one.partition).collect();
    seen.len()
}

async fn is_handled(probe: &Probe, value: &str) {
    eventually(value, LIMIT, || async { has_seen(probe, value) == 3 }).await;
}

/// Takes a group's coordinator away for longer than its members' sessions. On the embedded broker, where all else goes on
/// meanwhile: who cannot say that it is there handles nothing.
async fn without_coordinator(
    cluster: &Cluster,
    nodes: Option<&Nodes>,
    app: &RunningApp,
    topic: &str,
    probe: &Probe,
) {
    let group = format!("{topic}-group");
    if let Some(embedded) = cluster.embedded() {
        let broker = embedded.coordinator(&group).unwrap();
        embedded.faults().lose_coordinator(&group);
        tokio::time::sleep(SESSION + Duration::from_secs(1)).await;
        round(app, topic, "meanwhile").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(has_seen(probe, "meanwhile"), 0, "handled without a session");
        embedded.move_coordinator(&group, broker).unwrap();
        return is_handled(probe, "meanwhile").await;
    }
    let nodes = nodes.unwrap();
    nodes.in_sync(cluster, &[topic]).await;
    let coordinator = cluster.coordinator(&group).await.unwrap().node_id.0;
    nodes.restart(usize::try_from(coordinator).unwrap(), 2 * SESSION).await;
}

/// The listener `keeper` at work, on nodes that may be killed.
struct Kept {
    cluster: Cluster,
    nodes: Option<Nodes>,
    topic: String,
    probe: Probe,
    app: RunningApp,
}

/// How many brokers of Apache Kafka have each partition.
#[derive(Clone, Copy)]
enum Replicas {
    Three,
    /// What its leader has been sent can be read at once, whoever else has died.
    One,
}

impl Kept {
    async fn start(protocol: &str, replicas: Replicas) -> Option<Self> {
        let cluster = Cluster::start().await;
        let nodes = if cluster.is_apache() { Some(Nodes::at_least(3)?) } else { None };
        let topic = unique("keeper");
        match replicas {
            Replicas::Three if cluster.is_apache() => replicated(&cluster, &[&topic]).await,
            Replicas::Three | Replicas::One => cluster.create(&topic, 3, &[]).await,
        }
        let probe = Probe::default();
        let yaml = cluster.yaml(&format!("    properties: {{{protocol}}}\nsuite: {{topic: {topic}}}\n"));
        let app = App::from_yaml(&yaml).unwrap().only(["keeper"]).state(probe.clone()).start().await.unwrap();
        round(&app, &topic, "before").await;
        is_handled(&probe, "before").await;
        Some(Self { cluster, nodes, topic, probe, app })
    }
}

async fn a_coordinator_is_away(protocol: &str) {
    let _turn = TURN.lock().await;
    let Some(kept) = Kept::start(protocol, Replicas::Three).await else { return };
    let Kept { cluster, nodes, topic, probe, app } = kept;
    app.commit_now().await;
    let group = format!("{topic}-group");
    let generation = cluster.generation(&group).await.unwrap();
    without_coordinator(&cluster, nodes.as_ref(), &app, &topic, &probe).await;
    round(&app, &topic, "after").await;
    is_handled(&probe, "after").await;
    assert_eq!(cluster.generation(&group).await, Some(generation), "there was a rebalance for nothing");
    app.stop().await.unwrap();
    let seen: Vec<_> = probe.seen().into_iter().map(|one| (one.partition, one.offset)).collect();
    let once: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!(seen.len(), once.len(), "what was committed comes again: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_away_for_a_session_is_found_again() {
    a_coordinator_is_away("session.timeout.ms: 6000, heartbeat.interval.ms: 300").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_the_consumer_protocol() {
    a_coordinator_is_away("group.protocol: consumer").await;
}

/// The process of a group's coordinator dies, and the cluster has not missed it yet when the session of a member has passed: that
/// is no reason not to handle what other brokers lead.
async fn a_coordinator_dies(protocol: &str) {
    let _turn = TURN.lock().await;
    let Some(kept) = Kept::start(protocol, Replicas::One).await else { return };
    let Kept { cluster, nodes, topic, probe, app } = kept;
    let mut events = app.listeners().events();
    let coordinator = cluster.coordinator(&format!("{topic}-group")).await.unwrap().node_id.0;
    let described = cluster.admin().describe_topics(&[&*topic]).await.unwrap();
    let partitions = &described[&topic.as_str().into()].partitions;
    let others = |number: &i32| partitions[usize::try_from(*number).unwrap()].leader != Some(coordinator);
    let living = (0..3).find(others).expect("one that another broker leads");
    let goes_on = async {
        tokio::time::sleep(SESSION + Duration::from_secs(1)).await;
        let record = Record::to(&topic).partition(living).text("meanwhile");
        app.template().send_record(record).await.unwrap();
        eventually("it is handled", Duration::from_secs(1), || async { has_seen(&probe, "meanwhile") == 1 })
            .await;
    };
    match (cluster.embedded(), &nodes) {
        (Some(embedded), _) => {
            embedded.kill_broker(coordinator).await.unwrap();
            goes_on.await;
            embedded.start_broker(coordinator).await.unwrap();
        }
        (None, Some(nodes)) => {
            nodes.in_sync(&cluster, &[]).await;
            tokio::join!(nodes.restart(usize::try_from(coordinator).unwrap(), 2 * SESSION), goes_on);
        }
        (None, None) => unreachable!("looked at above"),
    }
    round(&app, &topic, "after").await;
    is_handled(&probe, "after").await;
    if !cluster.is_apache() {
        let lost = async {
            while let Some(event) = events.next().await {
                assert!(!matches!(event.kind, EventKind::Lost(_)), "{event:?}");
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(100), lost).await;
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_coordinator_has_died_handles_what_others_lead() {
    a_coordinator_dies("session.timeout.ms: 6000, heartbeat.interval.ms: 300").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_the_consumer_protocol_when_it_has_died() {
    a_coordinator_dies("group.protocol: consumer").await;
}
