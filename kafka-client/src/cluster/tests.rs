use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, BrokerId, MetadataRequest, MetadataResponse, TopicName as WireTopic};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::*;
use crate::error::Error;
use crate::net::fake::{Asked, Fake, Reply, config, negotiating};

const SECOND: Duration = Duration::from_secs(1);

/// A topic of the fake cluster: id, and leader and epoch of each partition.
type Topic = (u128, Vec<(i32, i32)>);

/// The fake cluster's truth; topics in `creatable` come into being when asked for with permission.
#[derive(Default)]
struct Truth {
    topics: BTreeMap<&'static str, Topic>,
    creatable: Vec<&'static str>,
    asked: Vec<(Option<Vec<String>>, bool)>,
}

fn wire_topic(name: &str, topic: Option<&Topic>) -> MetadataResponseTopic {
    let wire =
        MetadataResponseTopic::default().with_name(Some(WireTopic(StrBytes::from_string(name.to_owned()))));
    let Some((id, partitions)) = topic else { return wire.with_error_code(3) };
    let partitions = partitions.iter().zip(0..).map(|((leader, epoch), index)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(*leader))
            .with_leader_epoch(*epoch)
            .with_replica_nodes(vec![BrokerId(*leader)])
    });
    wire.with_topic_id(id.to_be_bytes().to_vec().try_into().unwrap()).with_partitions(partitions.collect())
}

fn answer(asked: &Asked, truth: &mut Truth) -> Reply {
    let request: MetadataRequest = asked.read();
    let name = |topic: &kafka_protocol::messages::metadata_request::MetadataRequestTopic| {
        topic.name.as_ref().unwrap().to_string()
    };
    let names: Option<Vec<String>> = request.topics.as_ref().map(|topics| topics.iter().map(name).collect());
    truth.asked.push((names.clone(), request.allow_auto_topic_creation));
    if request.allow_auto_topic_creation {
        for name in truth.creatable.clone() {
            truth.topics.entry(name).or_insert((77, vec![(1, 0)]));
        }
    }
    let topics = match names {
        None => truth.topics.iter().map(|(name, topic)| wire_topic(name, Some(topic))).collect(),
        Some(names) => names.iter().map(|name| wire_topic(name, truth.topics.get(name.as_str()))).collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(1))
        .with_host(StrBytes::from_static_str("one"))
        .with_port(9092);
    asked.answer(
        &MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_topics(topics)
            .with_controller_id(BrokerId(1)),
    )
}

struct World {
    fake: Arc<Fake>,
    truth: Arc<Mutex<Truth>>,
    cluster: Arc<Cluster>,
}

fn world(topics: &[(&'static str, Topic)]) -> World {
    let truth = Truth { topics: topics.iter().cloned().collect(), ..Truth::default() };
    let truth = Arc::new(Mutex::new(truth));
    let script = Arc::clone(&truth);
    let fake = negotiating(move |asked| answer(asked, &mut script.lock().unwrap()));
    let cluster = Cluster::new(config(&["boot:9092"]), fake.seams());
    World { fake, truth, cluster }
}

impl World {
    fn set(&self, name: &'static str, topic: Topic) {
        self.truth.lock().unwrap().topics.insert(name, topic);
    }

    fn questions(&self) -> usize {
        self.fake.count(ApiKey::Metadata)
    }

    /// What the picture says of the topic's first partition.
    fn leader(&self, topic: &str) -> Option<(i32, i32)> {
        self.cluster.snapshot().leader(TopicPartition::new(topic, 0))
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_somebody_wants_to_know() {
    let world = world(&[]);
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!((world.fake.connections(), world.questions()), (0, 0));
    let picture = world.cluster.refreshed().await.unwrap();
    assert_eq!((picture.controller, picture.brokers[&1].host.as_str()), (Some(1), "one"));
}

#[tokio::test(start_paused = true)]
async fn tracked_topics_are_in_the_picture_and_renewed_by_age() {
    let world = world(&[("orders", (7, vec![(1, 5)])), ("other", (8, vec![(1, 0)]))]);
    world.cluster.track(&["orders".into()], false);
    let picture = world.cluster.refreshed().await.unwrap();
    assert_eq!(picture.leader(TopicPartition::new("orders", 0)), Some((1, 5)));
    assert_eq!(picture.topic_by_id(7), Some("orders".into()));
    assert_eq!(picture.topics.len(), 1, "only what was asked for");
    let before = world.questions();
    world.set("orders", (7, vec![(1, 5), (1, 0)]));
    tokio::time::sleep(305 * SECOND).await;
    assert_eq!(
        world.cluster.snapshot().topics[&TopicName::new("orders")].partitions.len(),
        2,
        "growth is noticed"
    );
    assert_eq!(world.questions(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn demands_coalesce_and_keep_their_distance() {
    let world = world(&[]);
    let begun = Instant::now();
    world.cluster.refreshed().await.unwrap();
    world.cluster.refreshed().await.unwrap();
    assert!(begun.elapsed() < SECOND / 20, "the first two are at once");
    for _ in 0..1000 {
        world.cluster.refresh();
    }
    let (one, two) = tokio::join!(world.cluster.refreshed(), world.cluster.refreshed());
    assert!(one.is_ok() && two.is_ok());
    assert!(begun.elapsed() >= SECOND / 20);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(world.questions(), 3);
    tokio::time::sleep(2 * SECOND).await;
    let again = Instant::now();
    world.cluster.refreshed().await.unwrap();
    world.cluster.refreshed().await.unwrap();
    assert!(again.elapsed() < SECOND / 20, "as at the start, after a quiet time");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_later_is_found_soon() {
    let world = world(&[]);
    world.cluster.track(&["late".into()], false);
    let picture = world.cluster.refreshed().await.unwrap();
    assert_eq!(picture.topics[&TopicName::new("late")].error, Some(ResponseError::UnknownTopicOrPartition));
    tokio::time::sleep(60 * SECOND).await;
    assert!(world.questions() < 80, "{} questions in a minute", world.questions());
    let mut pictures = world.cluster.watch();
    world.set("late", (9, vec![(1, 0)]));
    let found = |picture: &Arc<ClusterMetadata>| picture.leader(TopicPartition::new("late", 0)).is_some();
    let seen = tokio::time::timeout(2 * SECOND, pictures.wait_for(found)).await.unwrap();
    drop(seen.unwrap());
    let before = world.questions();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.questions(), before, "nothing is missing any more");
}

#[tokio::test(start_paused = true)]
async fn only_permission_creates_topics() {
    let world = world(&[("there", (1, vec![(1, 0)]))]);
    world.truth.lock().unwrap().creatable = vec!["wish"];
    world.cluster.track(&["wish".into(), "there".into()], false);
    world.cluster.refreshed().await.unwrap();
    assert_eq!(world.leader("wish"), None);
    world.cluster.track(&["wish".into(), "there".into()], true);
    world.cluster.refreshed().await.unwrap();
    assert_eq!(world.leader("wish"), Some((1, 0)));
    let asked = std::mem::take(&mut world.truth.lock().unwrap().asked);
    assert!(
        asked.iter().all(|(names, create)| !create || names == &Some(vec!["wish".to_owned()])),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_lags_behind_takes_nobody_back() {
    let world = world(&[("orders", (7, vec![(2, 9), (1, 1)]))]);
    world.cluster.track(&["orders".into()], false);
    world.cluster.refreshed().await.unwrap();
    world.set("orders", (7, vec![(1, 8)]));
    world.cluster.refreshed().await.unwrap();
    assert_eq!(world.leader("orders"), Some((2, 9)), "an older epoch");
    assert_eq!(
        world.cluster.snapshot().topics[&TopicName::new("orders")].partitions.len(),
        2,
        "fewer partitions"
    );
    world.set("orders", (7, vec![(1, 10), (1, 1)]));
    world.cluster.refreshed().await.unwrap();
    assert_eq!(world.leader("orders"), Some((1, 10)), "a newer epoch");
    world.set("orders", (8, vec![(3, 0)]));
    world.cluster.refreshed().await.unwrap();
    assert_eq!(world.leader("orders"), Some((3, 0)), "another topic of the same name");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_and_ends_by_itself() {
    let world = world(&[("orders", (7, vec![(1, 0)]))]);
    world.fake.take_down(&["boot:9092", "one:9092"]);
    world.cluster.track(&["orders".into()], false);
    let outcome = world.cluster.refreshed().await;
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
    tokio::time::sleep(60 * SECOND).await;
    let attempts = world.fake.connections();
    assert!((20..200).contains(&attempts), "{attempts} attempts in a minute");
    world.fake.take_down(&[]);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(world.leader("orders"), Some((1, 0)));
}

#[tokio::test(start_paused = true)]
async fn all_topics_are_seen_while_the_guard_lives() {
    let world = world(&[("a", (1, vec![(1, 0)])), ("b", (2, vec![(1, 0)]))]);
    let guard = world.cluster.track_all();
    assert_eq!(world.cluster.refreshed().await.unwrap().topics.len(), 2);
    drop(guard);
    assert_eq!(world.cluster.refreshed().await.unwrap().topics.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_is_dropped() {
    let world = world(&[("a", (1, vec![(1, 0)])), ("b", (2, vec![(1, 0)]))]);
    world.cluster.track(&["a".into()], false);
    world.cluster.track_while_used("a".into(), false);
    world.cluster.track_while_used("b".into(), false);
    assert_eq!(world.cluster.refreshed().await.unwrap().topics.len(), 2);
    tokio::time::sleep(700 * SECOND).await;
    assert_eq!(world.cluster.snapshot().topics.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let world = world(&[]);
    world.cluster.refreshed().await.unwrap();
    let known = Arc::downgrade(world.cluster.known());
    drop(world.cluster);
    tokio::time::sleep(SECOND).await;
    assert!(known.upgrade().is_none());
}
