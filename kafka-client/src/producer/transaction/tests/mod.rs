//! Transactions against a scripted coordinator, in paused time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::api_versions_response::FinalizedFeatureKey;
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, EndTxnRequest, EndTxnResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::*;
use crate::client::{Client, Io};
use crate::group::CommittedOffset;
use crate::ids::TopicPartition;
use crate::net::fake::{Asked, Fake, Reply, config as client_config};
use crate::records::Batches;
use crate::wire;

const SECOND: Duration = Duration::from_secs(1);

/// One broker that is leader and coordinator of everything.
#[derive(Default)]
struct Broker {
    feature: i16,
    /// InitProducerId's highest version.
    init: i16,
    epoch: i16,
    members: BTreeSet<i32>,
    /// Values of the open transaction, and those that were committed.
    open: Vec<Vec<u8>>,
    committed: Vec<Vec<u8>>,
    offsets: Vec<(i64, i32, String)>,
    ends: Vec<bool>,
    /// The next codes of an API.
    codes: Vec<(i16, i16)>,
    /// APIs whose next request is not answered (but done).
    lost: Vec<i16>,
}

type Shared = Arc<Mutex<Broker>>;

impl Broker {
    fn code<R: Request>(&mut self) -> i16 {
        let found = self.codes.iter().position(|(key, _)| *key == R::KEY);
        found.map_or(0, |at| self.codes.remove(at).1)
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let reply = match asked.api_key {
            key if key == ApiVersionsRequest::KEY => self.versions(asked),
            key if key == MetadataRequest::KEY => metadata(asked),
            key if key == FindCoordinatorRequest::KEY => {
                let request: FindCoordinatorRequest = asked.read();
                let found = request
                    .coordinator_keys
                    .into_iter()
                    .map(|key| Found::default().with_key(key).with_node_id(BrokerId(1)));
                asked.answer(&FindCoordinatorResponse::default().with_coordinators(found.collect()))
            }
            key if key == InitProducerIdRequest::KEY => self.init(asked),
            key if key == AddPartitionsToTxnRequest::KEY => self.add(asked),
            key if key == AddOffsetsToTxnRequest::KEY => {
                let code = self.code::<AddOffsetsToTxnRequest>();
                asked.answer(&AddOffsetsToTxnResponse::default().with_error_code(code))
            }
            key if key == TxnOffsetCommitRequest::KEY => self.commit(asked),
            key if key == EndTxnRequest::KEY => self.end(asked),
            _ => self.produce(asked),
        };
        match self.lost.iter().position(|key| *key == asked.api_key) {
            Some(at) => {
                self.lost.remove(at);
                Reply::Close
            }
            None => reply,
        }
    }

    fn versions(&self, asked: &Asked) -> Reply {
        let apis = (0..100i16).filter_map(|key| wire::supported(key).map(|range| (key, range)));
        let apis = apis.map(|(key, range)| {
            let max = if key == InitProducerIdRequest::KEY { range.max.min(self.init) } else { range.max };
            ApiVersion::default().with_api_key(key).with_min_version(range.min).with_max_version(max)
        });
        let feature = FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str("transaction.version"))
            .with_max_version_level(self.feature);
        asked.answer(
            &ApiVersionsResponse::default()
                .with_api_keys(apis.collect())
                .with_finalized_features_epoch(1)
                .with_finalized_features(vec![feature]),
        )
    }

    fn init(&mut self, asked: &Asked) -> Reply {
        let request: InitProducerIdRequest = asked.read();
        let code = self.code::<InitProducerIdRequest>();
        let held = request.producer_id.0 >= 0;
        let fenced = held && request.producer_epoch != self.epoch;
        let code = if fenced && code == 0 { E::ProducerFenced.code() } else { code };
        if code == 0 {
            self.epoch += 1;
            self.open.clear();
        }
        asked.answer(
            &InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(ProducerId(7))
                .with_producer_epoch(self.epoch),
        )
    }

    fn add(&mut self, asked: &Asked) -> Reply {
        let request: AddPartitionsToTxnRequest = asked.read();
        let code = self.code::<AddPartitionsToTxnRequest>();
        let topics = request.v3_and_below_topics.into_iter().map(|topic| {
            let results = topic.partitions.into_iter().map(|partition| {
                if code == 0 {
                    self.members.insert(partition);
                }
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(partition)
                    .with_partition_error_code(code)
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name)
                .with_results_by_partition(results.collect())
        });
        let topics = topics.collect();
        asked.answer(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics))
    }

    fn commit(&mut self, asked: &Asked) -> Reply {
        let request: TxnOffsetCommitRequest = asked.read();
        assert_eq!(asked.version >= 5, self.feature >= 2);
        let code = self.code::<TxnOffsetCommitRequest>();
        let (generation, member) = (request.generation_id, request.member_id.to_string());
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                self.offsets.push((partition.committed_offset, generation, member.clone()));
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions.collect())
        });
        let topics = topics.collect();
        asked.answer(&TxnOffsetCommitResponse::default().with_topics(topics))
    }

    fn end(&mut self, asked: &Asked) -> Reply {
        let request: EndTxnRequest = asked.read();
        assert_eq!(asked.version >= 5, self.feature >= 2);
        let mut code = self.code::<EndTxnRequest>();
        let repeated = self.feature >= 2 && request.producer_epoch == self.epoch - 1;
        if code == 0 && request.producer_epoch != self.epoch && !repeated {
            code = E::ProducerFenced.code();
        }
        if code == 0 && !repeated {
            self.ends.push(request.committed);
            let values = std::mem::take(&mut self.open);
            if request.committed {
                self.committed.extend(values);
            }
            self.members.clear();
            self.epoch += i16::from(self.feature >= 2);
        }
        let response = EndTxnResponse::default().with_error_code(code);
        asked.answer(&match self.feature >= 2 && code == 0 {
            true => response.with_producer_id(ProducerId(7)).with_producer_epoch(self.epoch),
            false => response,
        })
    }

    fn produce(&mut self, asked: &Asked) -> Reply {
        let request: ProduceRequest = asked.read();
        assert_eq!(asked.version >= 12, self.feature >= 2);
        assert_eq!(request.transactional_id.unwrap().as_str(), "id");
        let code = self.code::<ProduceRequest>();
        let topics = request.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                let mut code = code;
                let batch = Batches::new(data.records.clone().unwrap(), true).next_batch().unwrap().unwrap();
                assert!(batch.header().is_transactional);
                assert!(self.feature >= 2 || self.members.contains(&data.index), "it was not added");
                if code == 0 && batch.header().producer_epoch != self.epoch {
                    code = E::InvalidProducerEpoch.code();
                }
                if code == 0 {
                    self.open.extend(batch.records().map(|record| record.unwrap().value.unwrap().to_vec()));
                }
                PartitionProduceResponse::default().with_index(data.index).with_error_code(code)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions.collect())
        });
        let topics = topics.collect();
        asked.answer(&ProduceResponse::default().with_responses(topics))
    }
}

fn metadata(asked: &Asked) -> Reply {
    let request: MetadataRequest = asked.read();
    let partition =
        |index| MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(1));
    let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
        MetadataResponseTopic::default()
            .with_name(topic.name)
            .with_partitions((0..3).map(partition).collect())
    });
    let host = StrBytes::from_static_str("host-1");
    let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_host(host).with_port(9092);
    asked.answer(&MetadataResponse::default().with_topics(topics.collect()).with_brokers(vec![broker]))
}

struct World {
    broker: Shared,
    fake: Arc<Fake>,
    producer: TransactionalProducer,
}

impl World {
    fn codes(&self, codes: &[(i16, E)]) {
        self.broker.lock().unwrap().codes = codes.iter().map(|(key, code)| (*key, code.code())).collect();
    }

    fn committed(&self) -> Vec<String> {
        let committed = self.broker.lock().unwrap().committed.clone();
        committed.into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
    }

    fn ends(&self) -> Vec<bool> {
        self.broker.lock().unwrap().ends.clone()
    }
}

fn world_with(broker: Broker) -> World {
    let broker = Arc::new(Mutex::new(broker));
    let script = Arc::clone(&broker);
    let fake = Fake::new(move |asked| script.lock().unwrap().answer(asked));
    let client = Client::with_seams(client_config(&["host-1:9092"]), fake.seams(), Io::Current).unwrap();
    let config =
        ProducerConfig { max_block: 10 * SECOND, delivery_timeout: 60 * SECOND, ..ProducerConfig::default() };
    World { broker, producer: client.transactional_producer(config, "id").unwrap(), fake }
}

fn world(feature: i16) -> World {
    world_with(Broker { feature, init: 4, ..Broker::default() })
}

fn record(partition: i32, value: &str) -> Outgoing<'_> {
    Outgoing {
        topic: "orders".into(),
        partition: Some(partition),
        timestamp: Some(1),
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

fn offsets(offset: i64) -> Offsets {
    let committed = CommittedOffset { offset, leader_epoch: -1, metadata: String::new() };
    vec![(TopicPartition::new("in", 0), committed)]
}

fn member() -> GroupMetadata {
    GroupMetadata { group_id: "g".into(), generation: 5, member_id: "m".into(), instance_id: None }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_there_and_what_is_aborted_is_not() {
    for feature in [0, 2] {
        let world = world(feature);
        for round in 0..3 {
            let transaction = world.producer.begin().await.unwrap();
            for partition in 0..3 {
                let value = format!("c{round}");
                drop(transaction.enqueue(record(partition, &value)).await.unwrap());
            }
            transaction.send_offsets(offsets(round), member()).await.unwrap();
            transaction.commit().await.unwrap();
            let transaction = world.producer.begin().await.unwrap();
            transaction.send(record(0, "aborted")).await.unwrap();
            transaction.abort().await.unwrap();
        }
        assert_eq!(world.committed(), ["c0", "c0", "c0", "c1", "c1", "c1", "c2", "c2", "c2"]);
        assert_eq!(world.ends(), [true, false, true, false, true, false]);
        let offsets = world.broker.lock().unwrap().offsets.clone();
        assert_eq!(offsets, (0..3).map(|round| (round, 5, "m".to_owned())).collect::<Vec<_>>());
        let (added, groups) =
            (world.fake.count(ApiKey::AddPartitionsToTxn), world.fake.count(ApiKey::AddOffsetsToTxn));
        assert_eq!((added > 0, groups > 0), (feature < 2, feature < 2));
        assert_eq!(world.fake.count(ApiKey::InitProducerId), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_transaction_is_told_to_nobody() {
    let world = world(0);
    world.producer.begin().await.unwrap().commit().await.unwrap();
    world.producer.begin().await.unwrap().abort().await.unwrap();
    assert_eq!(world.fake.count(ApiKey::EndTxn), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_transaction_is_aborted_before_the_next() {
    let world = world(2);
    let transaction = world.producer.begin().await.unwrap();
    let open = world.producer.begin().await.map(|_| ()).unwrap_err();
    assert!(matches!(open, TransactionError::AlreadyOpen { .. }), "{open}");
    transaction.send(record(0, "dropped")).await.unwrap();
    let never = transaction.enqueue(record(1, "never")).await.unwrap();
    drop(transaction);
    let transaction = world.producer.begin().await.unwrap();
    let why = never.await.unwrap_err();
    assert!(matches!(&why, SendError::NoTransaction { .. }), "{why}");
    transaction.send(record(0, "kept")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((world.committed(), world.ends()), (vec!["kept".to_owned()], vec![false, true]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_written_dooms_the_transaction_alone() {
    for feature in [0, 2] {
        let world = world(feature);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "one")).await.unwrap();
        world.codes(&[(ProduceRequest::KEY, E::InvalidRecord)]);
        let ignored = transaction.enqueue(record(0, "two")).await.unwrap();
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, TransactionError::Unwritten { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::Again);
        assert!(ignored.await.is_err());

        let transaction = world.producer.begin().await.unwrap();
        world.codes(&[(ProduceRequest::KEY, E::InvalidRecord)]);
        transaction.send(record(0, "two")).await.unwrap_err();
        let refused = transaction.send(record(1, "three")).await.unwrap_err();
        assert!(refused.to_string().contains("was not written"), "{refused}");
        drop(transaction);

        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "four")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!((world.committed(), world.ends()), (vec!["four".to_owned()], vec![false, false, true]));
        // Without KIP-890, the client asks for the next epoch after each gap.
        assert_eq!(world.fake.count(ApiKey::InitProducerId), if feature >= 2 { 1 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn before_kafka_2_5_a_gap_is_the_end() {
    let world = world_with(Broker { init: 2, ..Broker::default() });
    let transaction = world.producer.begin().await.unwrap();
    world.codes(&[(ProduceRequest::KEY, E::InvalidRecord)]);
    transaction.send(record(0, "one")).await.unwrap_err();
    transaction.abort().await.unwrap();
    let end = world.producer.begin().await.unwrap_err();
    assert!(matches!(end, TransactionError::Fatal { .. }), "{end}");
    assert_eq!(end.remedy(), Remedy::NewProducer);
}

#[tokio::test(start_paused = true)]
async fn who_is_fenced_is_told_so_everywhere() {
    for feature in [0, 2] {
        let world = world(feature);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "zombie")).await.unwrap();
        // Somebody else.
        world.broker.lock().unwrap().epoch += 5;
        let late = transaction.send(record(0, "late")).await.unwrap_err();
        assert!(matches!(&late, SendError::Refused { .. }), "{late}");
        let fenced = transaction.commit().await.unwrap_err();
        assert!(fenced.is_fenced(), "{fenced}");
        let again = world.producer.begin().await.unwrap_err();
        assert!(again.is_fenced(), "{again}");
        assert_eq!(again.remedy(), Remedy::NewProducer);
        assert_eq!(world.committed(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let world = world(0);
    let transaction = world.producer.begin().await.unwrap();
    let again = [
        (AddPartitionsToTxnRequest::KEY, E::ConcurrentTransactions),
        (AddPartitionsToTxnRequest::KEY, E::NotCoordinator),
        (ProduceRequest::KEY, E::NotLeaderOrFollower),
        (AddOffsetsToTxnRequest::KEY, E::CoordinatorLoadInProgress),
        (TxnOffsetCommitRequest::KEY, E::NotCoordinator),
        (EndTxnRequest::KEY, E::CoordinatorNotAvailable),
        (EndTxnRequest::KEY, E::ConcurrentTransactions),
    ];
    world.codes(&again);
    transaction.send(record(0, "one")).await.unwrap();
    transaction.send_offsets(offsets(1), member()).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.committed(), ["one"]);
    assert_eq!(world.fake.count(ApiKey::FindCoordinator), 2 + 3, "they were looked for again");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_end_is_asked_for_again() {
    for feature in [0, 2] {
        let world = world(feature);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "one")).await.unwrap();
        world.broker.lock().unwrap().lost = vec![EndTxnRequest::KEY];
        transaction.commit().await.unwrap();
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "two")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(world.committed(), ["one", "two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_said_and_settled_by_the_next() {
    let world = world(0);
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(0, "one")).await.unwrap();
    world.codes(&[(EndTxnRequest::KEY, E::CoordinatorLoadInProgress); 100]);
    let unknown = transaction.commit().await.unwrap_err();
    assert!(matches!(unknown, TransactionError::OutcomeUnknown { .. }), "{unknown}");
    assert_eq!(unknown.remedy(), Remedy::Look);
    world.codes(&[]);
    let transaction = world.producer.begin().await.unwrap();
    assert_eq!(world.fake.count(ApiKey::InitProducerId), 2);
    transaction.send(record(0, "two")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.committed(), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_its_place_cannot_commit() {
    for code in [E::IllegalGeneration, E::UnknownMemberId, E::FencedInstanceId, E::TransactionAbortable] {
        let world = world(2);
        let transaction = world.producer.begin().await.unwrap();
        transaction.send(record(0, "one")).await.unwrap();
        world.codes(&[(TxnOffsetCommitRequest::KEY, code)]);
        let refused = transaction.send_offsets(offsets(1), member()).await.unwrap_err();
        assert!(matches!(refused, TransactionError::Refused { .. }), "{refused}");
        let same = transaction.commit().await.unwrap_err();
        assert_eq!(same.to_string(), refused.to_string());
        assert_eq!(world.ends(), [false]);
        world.producer.begin().await.unwrap().commit().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_may_not_do_is_said_at_once() {
    let world = world(0);
    world.codes(&[(InitProducerIdRequest::KEY, E::TransactionalIdAuthorizationFailed)]);
    let refused = world.producer.prepare().await.unwrap_err();
    assert!(matches!(refused, TransactionError::Fatal { .. }), "{refused}");

    let world = self::world(0);
    let transaction = world.producer.begin().await.unwrap();
    world.codes(&[(AddPartitionsToTxnRequest::KEY, E::TopicAuthorizationFailed)]);
    let refused = transaction.send(record(0, "one")).await.unwrap_err();
    assert!(matches!(&refused, SendError::NoTransaction { .. }), "{refused}");
    assert!(refused.to_string().to_lowercase().contains("authorization"), "{refused}");
    transaction.abort().await.unwrap();
    assert_eq!(world.ends(), Vec::<bool>::new(), "the coordinator knows of nothing");
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(1, "two")).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closed_producer_commits_nothing() {
    let world = world(0);
    let transaction = world.producer.begin().await.unwrap();
    transaction.send(record(0, "one")).await.unwrap();
    world.producer.close(SECOND).await.unwrap();
    let closed = transaction.commit().await.unwrap_err();
    assert!(matches!(closed, TransactionError::Closed { .. }), "{closed}");
    assert_eq!(world.committed(), Vec::<String>::new());
}
