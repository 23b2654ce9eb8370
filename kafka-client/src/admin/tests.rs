use std::sync::Mutex;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreateTopicsRequest, CreateTopicsResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::client::{Client, Io};
use crate::error::Error;
use crate::net::fake::{Asked, Fake, Reply, config, negotiating};

const SECOND: Duration = Duration::from_secs(1);

/// Who is controller and leader of `orders`, by the brokers' own knowledge and by their metadata.
struct Truth {
    controller: i32,
    leader: i32,
    told: i32,
}

fn me(asked: &Asked) -> i32 {
    asked.peer.trim_start_matches("host-").trim_end_matches(":9092").parse().unwrap()
}

fn metadata(asked: &Asked, truth: &Truth) -> Reply {
    let request: MetadataRequest = asked.read();
    let broker = |id: i32| {
        let host = StrBytes::from_string(format!("host-{id}"));
        MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host).with_port(9092)
    };
    let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
        let known = MetadataResponseTopic::default().with_name(topic.name.clone());
        match topic.name.unwrap().as_str() {
            "orders" => known.with_partitions(vec![
                MetadataResponsePartition::default().with_leader_id(BrokerId(truth.told)),
            ]),
            _ => known.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
        }
    });
    let response = MetadataResponse::default()
        .with_brokers(vec![broker(1), broker(2)])
        .with_controller_id(BrokerId(truth.told))
        .with_topics(topics.collect());
    asked.answer(&response)
}

fn create(asked: &Asked, truth: &Truth) -> Reply {
    let request: CreateTopicsRequest = asked.read();
    let topics = request.topics.iter().map(|topic| {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        match me(asked) == truth.controller {
            true => result,
            false => result.with_error_code(ResponseError::NotController.code()),
        }
    });
    asked.answer(&CreateTopicsResponse::default().with_topics(topics.collect()))
}

/// Ten records, the newest at time 500.
fn offsets(asked: &Asked, truth: &Truth) -> Reply {
    let request: ListOffsetsRequest = asked.read();
    let topic = request.topics[0].name.clone();
    let answer = ListOffsetsPartitionResponse::default();
    let answer = match (me(asked) == truth.leader, request.topics[0].partitions[0].timestamp) {
        (false, _) => answer.with_error_code(ResponseError::NotLeaderOrFollower.code()),
        (true, -2) => answer.with_offset(0),
        (true, -1) => answer.with_offset(10),
        (true, time) => answer.with_offset(if time > 500 { -1 } else { 9 }),
    };
    let topic = ListOffsetsTopicResponse::default().with_name(topic).with_partitions(vec![answer]);
    asked.answer(&ListOffsetsResponse::default().with_topics(vec![topic]))
}

fn world(truth: Truth) -> (Arc<Fake>, Arc<Mutex<Truth>>, Client) {
    let truth = Arc::new(Mutex::new(truth));
    let script = Arc::clone(&truth);
    let fake = negotiating(move |asked| {
        let mut truth = script.lock().unwrap();
        match () {
            () if asked.is::<CreateTopicsRequest>() => create(asked, &truth),
            () if asked.is::<ListOffsetsRequest>() => offsets(asked, &truth),
            () => {
                let reply = metadata(asked, &truth);
                // The next picture is right.
                truth.told = truth.leader;
                reply
            }
        }
    });
    let client = Client::with_seams(config(&["host-1:9092"]), fake.seams(), Io::Current).unwrap();
    (fake, truth, client)
}

fn new_topic(name: &str) -> NewTopic {
    NewTopic { name: name.into(), partitions: None, replication: None, config: BTreeMap::new() }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_moved_is_found() {
    let (fake, _, client) = world(Truth { controller: 2, leader: 2, told: 1 });
    let created = client.admin().create_topics(&[new_topic("a"), new_topic("b")], 10 * SECOND).await.unwrap();
    assert!(created.iter().all(|(_, result)| result.is_ok()), "{created:?}");
    assert_eq!(created.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(fake.count(ApiKey::CreateTopics), 2);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_nobody_is_is_an_error_in_time() {
    let (_, _, client) = world(Truth { controller: 9, leader: 1, told: 1 });
    let begun = tokio::time::Instant::now();
    let none = client.admin().create_topics(&[new_topic("a")], 5 * SECOND).await.unwrap_err();
    assert_eq!(none.code(), Some(ResponseError::NotController));
    assert!(begun.elapsed() <= 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moved_is_asked_again() {
    let (_, truth, client) = world(Truth { controller: 1, leader: 2, told: 1 });
    let at = |place| (TopicPartition::new("orders", 0), place);
    let asked = async |place| client.admin().list_offsets(&[at(place)]).await.unwrap().remove(0).1.unwrap();
    assert_eq!(asked(StartAt::Beginning).await, 0);
    assert_eq!(asked(StartAt::End).await, 10);
    truth.lock().unwrap().leader = 1;
    assert_eq!(asked(StartAt::Timestamp(400)).await, 9);
    assert_eq!(asked(StartAt::Timestamp(600)).await, 10, "after the newest record is the end");
    assert_eq!(asked(StartAt::Offset(77)).await, 77);
    let place = client.admin().list_offsets(&[at(StartAt::Committed)]).await;
    assert!(matches!(place, Err(Error::Config(_))), "{place:?}");
    let unknown =
        client.admin().list_offsets(&[(TopicPartition::new("nowhere", 0), StartAt::End)]).await.unwrap();
    assert_eq!(unknown[0].1.as_ref().unwrap_err().code(), Some(ResponseError::UnknownTopicOrPartition));
}

#[tokio::test(start_paused = true)]
async fn describing_creates_nothing_and_says_what_is_missing() {
    let (_, _, client) = world(Truth { controller: 1, leader: 1, told: 1 });
    let described = client.admin().describe_topics(&["orders", "nowhere"]).await.unwrap();
    assert_eq!(described[&TopicName::new("orders")].partitions[0].leader, Some(1));
    assert_eq!(described[&TopicName::new("nowhere")].error, Some(ResponseError::UnknownTopicOrPartition));
}
