//! A fault in one topic, asked for of every API that can name several: the others are served.

use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersOf;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest, BrokerId,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, GroupId,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest, OffsetDeleteRequest,
    OffsetFetchRequest, TransactionalId, TxnOffsetCommitRequest,
};

use crate::peer::{Peer, text, topic};

const ERROR: ErrorCode = ErrorCode::TopicAuthorizationFailed;
const NAMES: [&str; 2] = ["orders", "invoices"];
const TOPIC: i8 = 2;

async fn refusing(api: Api) -> (EmbeddedKafka, Peer) {
    let kafka = EmbeddedKafka::builder().topic("orders", 2).topic("invoices", 2).in_memory().start().await;
    let kafka = kafka.unwrap();
    let _ = kafka.faults().on(api).topic("orders").answer(ERROR);
    let peer = Peer::connect(&kafka, 1).await;
    (kafka, peer)
}

/// Orders are refused, invoices get `other`.
#[track_caller]
fn refused(codes: impl IntoIterator<Item = i16>, other: i16) {
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [ERROR.code(), other]);
}

#[tokio::test(start_paused = true)]
async fn metadata_by_name_and_by_id() {
    let (kafka, mut peer) = refusing(Api::Metadata).await;
    let named = |name| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let asked = MetadataRequest::default().with_topics(Some(NAMES.map(named).to_vec()));
    let answer = peer.call(12, &asked).await;
    refused(answer.topics.iter().map(|topic| topic.error_code), 0);
    kafka.faults().clear();
    let found = peer.call(12, &asked).await.topics;
    let _ = kafka.faults().on(Api::Metadata).topic("orders").answer(ERROR);
    let by_id = |id| MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let asked = MetadataRequest::default()
        .with_topics(Some(found.iter().map(|topic| by_id(topic.topic_id)).collect()));
    refused(peer.call(12, &asked).await.topics.iter().map(|topic| topic.error_code), 0);
}

#[tokio::test(start_paused = true)]
async fn describing_topics_some_or_all() {
    let (_kafka, mut peer) = refusing(Api::DescribeTopicPartitions).await;
    let named = |name| TopicRequest::default().with_name(topic(name));
    let some = DescribeTopicPartitionsRequest::default().with_response_partition_limit(100);
    for asked in [some.clone().with_topics(NAMES.map(named).to_vec()), some] {
        let mut topics = peer.call(0, &asked).await.topics;
        topics.sort_by_key(|topic| topic.name.as_ref().map(|name| name.as_str() == "invoices"));
        refused(topics.iter().map(|topic| topic.error_code), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn creating_topics() {
    let (kafka, mut peer) = refusing(Api::CreateTopics).await;
    let _ = kafka.faults().on(Api::CreateTopics).topic("new").answer(ERROR);
    let wanted = |name| {
        CreatableTopic::default().with_name(topic(name)).with_num_partitions(1).with_replication_factor(1)
    };
    let asked = CreateTopicsRequest::default().with_topics(vec![wanted("new"), wanted("other")]);
    refused(peer.call(7, &asked).await.topics.iter().map(|topic| topic.error_code), 0);
    kafka.faults().clear();
    let again = CreateTopicsRequest::default().with_topics(vec![wanted("new")]);
    assert_eq!(peer.call(7, &again).await.topics[0].error_code, 0, "it was not created before");
}

#[tokio::test(start_paused = true)]
async fn growing_topics() {
    let (_kafka, mut peer) = refusing(Api::CreatePartitions).await;
    let wanted =
        |name| CreatePartitionsTopic::default().with_name(topic(name)).with_count(3).with_assignments(None);
    let asked = CreatePartitionsRequest::default().with_topics(NAMES.map(wanted).to_vec());
    refused(peer.call(3, &asked).await.results.iter().map(|topic| topic.error_code), 0);
}

#[tokio::test(start_paused = true)]
async fn deleting_topics_by_name_and_by_id() {
    let (kafka, mut peer) = refusing(Api::DeleteTopics).await;
    let named = |name| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let asked = MetadataRequest::default().with_topics(Some(NAMES.map(named).to_vec()));
    let found = peer.call(12, &asked).await.topics;
    let fault = kafka.faults().on(Api::DeleteTopics).topic("orders").answer(ERROR);
    let ids =
        found.iter().map(|topic| DeleteTopicState::default().with_topic_id(topic.topic_id).with_name(None));
    let asked = DeleteTopicsRequest::default().with_topics(ids.collect());
    refused(peer.call(6, &asked).await.responses.iter().map(|topic| topic.error_code), 0);
    assert_eq!(fault.strikes(), 1);
    let names = DeleteTopicsRequest::default().with_topic_names(NAMES.map(topic).to_vec());
    let gone = ErrorCode::UnknownTopicOrPartition.code();
    refused(peer.call(5, &names).await.responses.iter().map(|topic| topic.error_code), gone);
}

#[tokio::test(start_paused = true)]
async fn configs() {
    let (kafka, mut peer) = refusing(Api::DescribeConfigs).await;
    let _ =
        kafka.faults().on(Api::AlterConfigs).or(Api::IncrementalAlterConfigs).topic("orders").answer(ERROR);
    let named =
        |name| DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(name));
    let asked = DescribeConfigsRequest::default().with_resources(NAMES.map(named).to_vec());
    refused(peer.call(4, &asked).await.results.iter().map(|result| result.error_code), 0);
    let named =
        |name| AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(name));
    let asked = AlterConfigsRequest::default().with_resources(NAMES.map(named).to_vec());
    refused(peer.call(2, &asked).await.responses.iter().map(|result| result.error_code), 0);
    let named = |name| {
        incremental::AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(name))
    };
    let asked = IncrementalAlterConfigsRequest::default().with_resources(NAMES.map(named).to_vec());
    refused(peer.call(1, &asked).await.responses.iter().map(|result| result.error_code), 0);
}

#[tokio::test(start_paused = true)]
async fn elections_of_some_and_of_all() {
    let (_kafka, mut peer) = refusing(Api::ElectLeaders).await;
    let named = |name| TopicPartitions::default().with_topic(topic(name)).with_partitions(vec![0]);
    let asked = ElectLeadersRequest::default().with_topic_partitions(Some(NAMES.map(named).to_vec()));
    let answer = peer.call(2, &asked).await;
    let codes = answer.replica_election_results.iter().map(|topic| topic.partition_result[0].error_code);
    refused(codes, ErrorCode::ElectionNotNeeded.code());
    let answer = peer.call(2, &ElectLeadersRequest::default().with_topic_partitions(None)).await;
    let told: Vec<&str> = answer.replica_election_results.iter().map(|topic| topic.topic.as_str()).collect();
    assert_eq!((answer.error_code, told), (0, vec!["orders"]), "of all, those with an error are told of");
}

#[tokio::test(start_paused = true)]
async fn reassignments() {
    let (_kafka, mut peer) = refusing(Api::AlterPartitionReassignments).await;
    let part = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(1)]));
    let named =
        |name| ReassignableTopic::default().with_name(topic(name)).with_partitions(vec![part.clone()]);
    let asked = AlterPartitionReassignmentsRequest::default().with_topics(NAMES.map(named).to_vec());
    let answer = peer.call(0, &asked).await;
    refused(answer.responses.iter().map(|topic| topic.partitions[0].error_code), 0);
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_group() {
    let (kafka, mut peer) = refusing(Api::OffsetFetch).await;
    let _ = kafka.faults().on(Api::OffsetDelete).topic("orders").answer(ERROR);
    let named =
        |name| OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g")));
    let group = group.with_topics(Some(NAMES.map(named).to_vec()));
    let answer = peer.call(8, &OffsetFetchRequest::default().with_groups(vec![group])).await;
    refused(answer.groups[0].topics.iter().map(|topic| topic.partitions[0].error_code), 0);
    // A group that is not there has one error for all, whatever topic is meant.
    let named = |name| {
        let partition = OffsetDeleteRequestPartition::default();
        OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition])
    };
    let asked = OffsetDeleteRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_topics(NAMES.map(named).to_vec());
    assert_eq!(peer.call(0, &asked).await.error_code, ErrorCode::GroupIdNotFound.code());
    commit_outside(&mut peer, "g").await;
    let answer = peer.call(0, &asked).await;
    assert_eq!(answer.error_code, 0);
    refused(answer.topics.iter().map(|topic| topic.partitions[0].error_code), 0);
}

async fn commit_outside(peer: &mut Peer, group: &str) {
    use kafka_protocol::messages::OffsetCommitRequest;
    use kafka_protocol::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let named =
        OffsetCommitRequestTopic::default().with_name(topic("invoices")).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default().with_group_id(GroupId(text(group))).with_topics(vec![named]);
    assert_eq!(peer.call(8, &commit).await.topics[0].partitions[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn transactions() {
    let (kafka, mut peer) = refusing(Api::AddPartitionsToTxn).await;
    let _ = kafka.faults().on(Api::TxnOffsetCommit).or(Api::DescribeProducers).topic("orders").answer(ERROR);
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("t"))))
        .with_producer_id(kafka_protocol::messages::ProducerId(-1))
        .with_producer_epoch(-1)
        .with_transaction_timeout_ms(60_000);
    let producer = peer.call(4, &init).await;
    let named = |name| AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(vec![0]);
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text("t")))
        .with_v3_and_below_producer_id(producer.producer_id)
        .with_v3_and_below_producer_epoch(producer.producer_epoch)
        .with_v3_and_below_topics(NAMES.map(named).to_vec());
    let answer = peer.call(3, &add).await;
    let codes = answer.results_by_topic_v3_and_below.iter();
    // All or none, as Kafka has it.
    let codes = codes.map(|topic| topic.results_by_partition[0].partition_error_code);
    refused(codes, ErrorCode::OperationNotAttempted.code());
    let named = |name| {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(1);
        TxnOffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition])
    };
    let commit = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text("t")))
        .with_group_id(GroupId(text("g")))
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch)
        .with_generation_id(-1)
        .with_topics(NAMES.map(named).to_vec());
    let answer = peer.call(5, &commit).await;
    refused(answer.topics.iter().map(|topic| topic.partitions[0].error_code), 0);
    let named = |name| ProducersOf::default().with_name(topic(name)).with_partition_indexes(vec![0]);
    let asked = DescribeProducersRequest::default().with_topics(NAMES.map(named).to_vec());
    refused(peer.call(0, &asked).await.topics.iter().map(|topic| topic.partitions[0].error_code), 0);
}
