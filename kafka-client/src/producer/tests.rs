//! The whole producer against scripted brokers, in paused time.

use std::sync::Mutex;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, ProducerId, TopicName as WireTopic,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::*;
use crate::client::{Client, Io};
use crate::net::fake::{Asked, Fake, Reply, config as client_config, negotiating};
use crate::records::Batches;

const SECOND: Duration = Duration::from_secs(1);

/// What the brokers have, and what they do wrong next.
struct Brokers {
    /// Leader of each partition of `orders`.
    leaders: Vec<i32>,
    /// Values by partition, as they were written.
    logs: Vec<Vec<Vec<u8>>>,
    /// The error code of the next produce requests, for all partitions.
    failures: Vec<i16>,
    /// What becomes of the next produce requests, after they were written.
    accidents: Vec<Reply>,
    requests: Vec<(i16, usize)>,
    /// Whether an answer names the new leader (KIP-951).
    tells_leaders: bool,
    /// Whether metadata is answered with an error.
    metadata_fails: bool,
}

impl Brokers {
    fn metadata(&self, asked: &Asked) -> Reply {
        if self.metadata_fails {
            return Reply::Close;
        }
        let request: MetadataRequest = asked.read();
        let broker = |id: i32| {
            let host = StrBytes::from_string(format!("host-{id}"));
            MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host).with_port(9092)
        };
        let partitions = self.leaders.iter().zip(0..).map(|(leader, index)| {
            MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(*leader))
        });
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
            let name = topic.name.unwrap();
            let known = MetadataResponseTopic::default().with_name(Some(name.clone()));
            match name.as_str() {
                "orders" => known.with_partitions(partitions.clone().collect()),
                "secret" => known.with_error_code(ResponseError::TopicAuthorizationFailed.code()),
                _ => known.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
            }
        });
        let response = MetadataResponse::default().with_topics(topics.collect());
        asked.answer(&response.with_brokers(vec![broker(1), broker(2)]))
    }

    fn produce(&mut self, asked: &Asked) -> Reply {
        let me = asked.peer.trim_start_matches("host-").trim_end_matches(":9092").parse::<i32>().unwrap();
        let request: ProduceRequest = asked.read();
        let failure = if self.failures.is_empty() { 0 } else { self.failures.remove(0) };
        let mut batches = 0;
        let topics = request.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                batches += 1;
                let answer = PartitionProduceResponse::default().with_index(data.index);
                let index = usize::try_from(data.index).unwrap();
                let code = match self.leaders[index] == me {
                    true => failure,
                    false => ResponseError::NotLeaderOrFollower.code(),
                };
                if code != 0 {
                    let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(self.leaders[index]));
                    let answer = if self.tells_leaders { answer.with_current_leader(leader) } else { answer };
                    return answer.with_error_code(code).with_base_offset(-1);
                }
                let log = &mut self.logs[index];
                let offset = i64::try_from(log.len()).unwrap();
                let batch = Batches::new(data.records.clone().unwrap(), true).next_batch().unwrap().unwrap();
                log.extend(batch.records().map(|record| record.unwrap().value.unwrap().to_vec()));
                answer.with_base_offset(offset)
            });
            TopicProduceResponse::default()
                .with_name(WireTopic(topic.name.0.clone()))
                .with_partition_responses(partitions.collect())
        });
        let response = ProduceResponse::default().with_responses(topics.collect());
        self.requests.push((request.acks, batches));
        match (self.accidents.is_empty(), request.acks) {
            (false, _) => self.accidents.remove(0),
            (true, 0) => Reply::Silence,
            (true, _) => asked.answer(&response),
        }
    }
}

struct World {
    brokers: Arc<Mutex<Brokers>>,
    fake: Arc<Fake>,
    producer: Producer,
}

fn world(config: ProducerConfig) -> World {
    let brokers = Brokers {
        leaders: vec![1, 2, 1],
        logs: vec![vec![]; 3],
        failures: vec![],
        accidents: vec![],
        requests: vec![],
        tells_leaders: false,
        metadata_fails: false,
    };
    let brokers = Arc::new(Mutex::new(brokers));
    let script = Arc::clone(&brokers);
    let fake = negotiating(move |asked| match () {
        () if asked.is::<MetadataRequest>() => script.lock().unwrap().metadata(asked),
        () if asked.is::<InitProducerIdRequest>() => asked.answer(
            &InitProducerIdResponse::default().with_producer_id(ProducerId(7)).with_producer_epoch(0),
        ),
        () => script.lock().unwrap().produce(asked),
    });
    let client = Client::with_seams(client_config(&["host-1:9092"]), fake.seams(), Io::Current).unwrap();
    World { brokers, producer: client.producer(config).unwrap(), fake }
}

fn orders<'a>(partition: Option<i32>, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        topic: "orders".into(),
        partition,
        timestamp: Some(1),
        key: None,
        value: Some(value),
        headers: &[],
    }
}

fn default() -> ProducerConfig {
    ProducerConfig { max_block: 10 * SECOND, delivery_timeout: 60 * SECOND, ..ProducerConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn records_are_batched_and_each_learns_its_offset() {
    let world = world(default());
    let mut deliveries = Vec::new();
    for number in 0..100u32 {
        deliveries.push(world.producer.enqueue(orders(Some(0), &number.to_be_bytes())).await.unwrap());
    }
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        let sent = delivery.await.unwrap();
        assert_eq!(
            (sent.partition, sent.offset, sent.timestamp),
            (TopicPartition::new("orders", 0), offset, 1)
        );
    }
    assert_eq!(world.fake.count(ApiKey::Produce), 1, "one batch");
    assert_eq!(world.fake.count(ApiKey::InitProducerId), 1);
}

#[tokio::test(start_paused = true)]
async fn one_request_takes_all_that_is_ready_for_a_broker() {
    let world = world(ProducerConfig { linger: SECOND, ..default() });
    let mut deliveries = Vec::new();
    for partition in 0..3 {
        deliveries.push(world.producer.enqueue(orders(Some(partition), b"x")).await.unwrap());
    }
    let begun = Instant::now();
    world.producer.flush(SECOND).await.unwrap();
    assert!(begun.elapsed() < SECOND / 2, "a flush does not linger");
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let mut requests = std::mem::take(&mut world.brokers.lock().unwrap().requests);
    requests.sort_unstable();
    assert_eq!(requests, [(-1, 1), (-1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_waited_for_does_not_linger() {
    let world = world(ProducerConfig { linger: 30 * SECOND, ..default() });
    world.producer.send(orders(Some(0), b"first")).await.unwrap();
    let begun = Instant::now();
    world.producer.send(orders(Some(0), b"a")).await.unwrap();
    let lingers = world.producer.enqueue(orders(Some(0), b"b")).await.unwrap();
    world.producer.send(orders(Some(0), b"c")).await.unwrap();
    assert_eq!(lingers.await.unwrap().offset, 2, "it went along");
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    let alone = world.producer.enqueue(orders(Some(0), b"d")).await.unwrap();
    alone.await.unwrap();
    assert!(begun.elapsed() >= 30 * SECOND, "nobody said that it is waited for");
}

#[tokio::test(start_paused = true)]
async fn what_is_full_grows_on_while_the_wire_is_busy() {
    let world = world(ProducerConfig { batch_size: 1_000, linger: SECOND, ..default() });
    world.producer.send(orders(Some(0), b"first")).await.unwrap();
    world.brokers.lock().unwrap().accidents = vec![Reply::Silence];
    let mut requests = Vec::new();
    for _ in 0..5 {
        for _ in 0..3 {
            let _delivery = world.producer.enqueue(orders(Some(0), &[7; 400])).await.unwrap();
        }
        tokio::time::sleep(SECOND / 100).await;
        requests.push(world.fake.count(ApiKey::Produce));
    }
    assert_eq!(requests, [2, 2, 2, 2, 2], "one that is not answered is enough");
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.fake.count(ApiKey::Produce), 3, "it does not linger for longer");
    world.producer.flush(60 * SECOND).await.unwrap();
    // What was not answered goes once more, and this broker does not look at sequences.
    let brokers = world.brokers.lock().unwrap();
    assert_eq!(brokers.logs[0].len(), 1 + 5 * 3 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_is_followed() {
    let world = world(default());
    world.producer.send(orders(Some(0), b"a")).await.unwrap();
    world.brokers.lock().unwrap().leaders[0] = 2;
    let sent = world.producer.send(orders(Some(0), b"b")).await.unwrap();
    assert_eq!(sent.offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_an_answer_names_is_followed_without_metadata() {
    let world = world(default());
    world.producer.send(orders(Some(0), b"a")).await.unwrap();
    {
        let mut brokers = world.brokers.lock().unwrap();
        (brokers.leaders[0], brokers.tells_leaders, brokers.metadata_fails) = (2, true, true);
    }
    let begun = Instant::now();
    assert_eq!(world.producer.send(orders(Some(0), b"b")).await.unwrap().offset, 1);
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_fails_passingly_is_sent_again() {
    let world = world(default());
    world.brokers.lock().unwrap().failures = vec![19, 7, 5];
    assert_eq!(world.producer.send(orders(Some(1), b"a")).await.unwrap().offset, 0);
    world.brokers.lock().unwrap().failures = vec![ResponseError::InvalidTopicException.code()];
    let refused = world.producer.send(orders(Some(1), b"b")).await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { .. }), "{refused}");
    // The model has no sequences; what a broker says to a gap is played here.
    world.brokers.lock().unwrap().failures = vec![ResponseError::OutOfOrderSequenceNumber.code()];
    assert_eq!(world.producer.send(orders(Some(1), b"c")).await.unwrap().offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_and_a_silent_broker_are_survived() {
    let world = world(default());
    world.brokers.lock().unwrap().accidents = vec![Reply::Close, Reply::Silence];
    let sent = world.producer.send(orders(Some(0), b"a")).await.unwrap();
    assert_eq!(sent.offset, 2, "this model writes what it does not answer");
    world.fake.take_down(&["host-1:9092"]);
    world.brokers.lock().unwrap().accidents = vec![Reply::Close];
    let lost = world.producer.send(orders(Some(0), b"b")).await.unwrap_err();
    let SendError::DeliveryTimeout { last, .. } = &lost else { panic!("{lost}") };
    assert!(last.contains("host-1:9092"), "{last}");
    world.fake.take_down(&[]);
    world.producer.send(orders(Some(0), b"c")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn retries_have_an_end() {
    let world = world(ProducerConfig { retries: 2, ..default() });
    world.brokers.lock().unwrap().failures = vec![7; 10];
    let spent = world.producer.send(orders(Some(0), b"a")).await.unwrap_err();
    assert!(matches!(spent, SendError::RetriesSpent { attempts: 3, .. }), "{spent}");
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_it_is_sent_once() {
    let world = world(ProducerConfig { acks: Acks::None, ..default() });
    let sent = world.producer.send(orders(Some(0), b"a")).await.unwrap();
    assert_eq!(sent.offset, -1);
    world.producer.close(SECOND).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.brokers.lock().unwrap().logs[0].len(), 1);
    assert_eq!(world.fake.count(ApiKey::InitProducerId), 0, "idempotence is off");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_said_before() {
    let world = world(default());
    let send = async |record| world.producer.enqueue(record).await.map(|_| ()).unwrap_err();
    let begun = Instant::now();
    let unknown = send(Outgoing { topic: "nowhere".into(), ..orders(None, b"x") }).await;
    assert!(matches!(unknown, SendError::UnknownTopic { .. }), "{unknown}");
    assert_eq!(begun.elapsed(), 10 * SECOND, "max.block.ms");
    let secret = send(Outgoing { topic: "secret".into(), ..orders(None, b"x") }).await;
    let SendError::Refused { source, doubtful: false, .. } = &secret else { panic!("{secret}") };
    assert_eq!(source.code(), Some(ResponseError::TopicAuthorizationFailed));
    let beyond = send(orders(Some(7), b"x")).await;
    assert!(matches!(beyond, SendError::UnknownPartition { partition: 7, count: 3, .. }), "{beyond}");
    let megabytes = vec![0; 2 << 20];
    let large = send(orders(None, &megabytes)).await;
    assert!(matches!(large, SendError::TooLarge { .. }), "{large}");
    world.fake.take_down(&["host-1:9092", "host-2:9092"]);
    let other = send(Outgoing { topic: "elsewhere".into(), ..orders(None, b"x") }).await;
    let named = matches!(other, SendError::TopicUnavailable { .. } | SendError::UnknownTopic { .. });
    assert!(named, "{other}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_added_is_found() {
    let world = world(default());
    world.producer.send(orders(Some(0), b"a")).await.unwrap();
    {
        let mut brokers = world.brokers.lock().unwrap();
        brokers.leaders.push(2);
        brokers.logs.push(vec![]);
    }
    assert_eq!(world.producer.send(orders(Some(3), b"b")).await.unwrap().offset, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_is_waited_for_and_then_an_error() {
    let tight = ProducerConfig { buffer_memory: 1000, linger: 30 * SECOND, ..default() };
    let world = world(tight);
    let value = [7; 400];
    // Nothing lingers while somebody waits for room.
    let begun = Instant::now();
    for _ in 0..10 {
        let _delivery = world.producer.enqueue(orders(Some(0), &value)).await.unwrap();
    }
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
    world.producer.flush(10 * SECOND).await.unwrap();
    world.brokers.lock().unwrap().accidents = vec![Reply::Silence];
    let (_one, _two) = (
        world.producer.enqueue(orders(Some(0), &value)).await.unwrap(),
        world.producer.enqueue(orders(Some(0), &value)).await.unwrap(),
    );
    let full = world.producer.enqueue(orders(Some(0), &value)).await.map(|_| ()).unwrap_err();
    assert!(matches!(full, SendError::BufferFull { limit: 1000, .. }), "{full}");
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_is_there_and_takes_no_more() {
    let world = world(ProducerConfig { linger: 30 * SECOND, ..default() });
    let delivery = world.producer.enqueue(orders(Some(0), b"a")).await.unwrap();
    world.producer.close(5 * SECOND).await.unwrap();
    assert_eq!(delivery.await.unwrap().offset, 0);
    let closed = world.producer.send(orders(Some(0), b"b")).await.unwrap_err();
    assert!(matches!(closed, SendError::Closed { .. }), "{closed}");
    world.producer.close(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_end_fails_as_closed() {
    let left = world(ProducerConfig { linger: 30 * SECOND, ..default() });
    left.brokers.lock().unwrap().accidents = vec![Reply::Silence];
    let delivery = left.producer.enqueue(orders(Some(0), b"a")).await.unwrap();
    let late = left.producer.close(SECOND).await.unwrap_err();
    assert!(matches!(late, SendError::FlushTimeout { batches: 1, .. }), "{late}");
    assert!(matches!(delivery.await, Err(SendError::Closed { .. })));

    let dropped = world(ProducerConfig { linger: 30 * SECOND, ..default() });
    let delivery = dropped.producer.enqueue(orders(Some(0), b"a")).await.unwrap();
    drop(dropped.producer);
    assert!(matches!(delivery.await, Err(SendError::Closed { .. })));
}

#[test]
fn impossible_settings_are_refused() {
    let six = ProducerConfig { max_in_flight: 6, ..ProducerConfig::default() };
    assert!(settle_idempotence(six.clone()).is_err());
    assert!(
        settle_idempotence(ProducerConfig { acks: Acks::Leader, ..six })
            .is_ok_and(|config| !config.idempotence)
    );
    assert!(settle_idempotence(ProducerConfig { max_in_flight: 0, ..ProducerConfig::default() }).is_err());
    assert!(
        settle_idempotence(ProducerConfig { retries: 0, ..ProducerConfig::default() })
            .is_ok_and(|config| !config.idempotence)
    );
}
