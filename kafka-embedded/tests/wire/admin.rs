use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest, MetadataResponse,
};

use crate::peer::{Peer, text, topic};

async fn started() -> (EmbeddedKafka, Peer) {
    let kafka = EmbeddedKafka::builder().brokers(3).default_partitions(2).in_memory().start().await.unwrap();
    let peer = Peer::connect(&kafka, 2).await;
    (kafka, peer)
}

fn wanted(name: &str, partitions: i32, replication: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replication)
}

async fn create(peer: &mut Peer, topics: Vec<CreatableTopic>) -> Vec<i16> {
    let answer = peer.call(7, &CreateTopicsRequest::default().with_topics(topics)).await;
    answer.topics.iter().map(|topic| topic.error_code).collect()
}

async fn metadata(peer: &mut Peer, name: &str, create: bool) -> MetadataResponse {
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(create);
    peer.call(12, &request).await
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_with_kafkas_codes() {
    let (_kafka, mut peer) = started().await;
    let config = CreatableTopicConfig::default().with_name(text("no.such")).with_value(Some(text("1")));
    let placed = |nodes: &[i32]| {
        let nodes = nodes.iter().copied().map(BrokerId).collect();
        wanted("placed", -1, -1)
            .with_assignments(vec![CreatableReplicaAssignment::default().with_broker_ids(nodes)])
    };
    let mut code = async |topic| create(&mut peer, vec![topic]).await[0];
    assert_eq!(code(wanted("orders", 4, 2)).await, 0);
    assert_eq!(code(wanted("orders", 4, 2)).await, ResponseError::TopicAlreadyExists.code());
    assert_eq!(code(wanted("or ders", 4, 2)).await, ResponseError::InvalidTopicException.code());
    assert_eq!(code(wanted("a", 0, 2)).await, ResponseError::InvalidPartitions.code());
    assert_eq!(code(wanted("a", 1, 4)).await, ResponseError::InvalidReplicationFactor.code());
    assert_eq!(code(wanted("a", 1, 0)).await, ResponseError::InvalidReplicationFactor.code());
    assert_eq!(code(wanted("a", 1, 1).with_configs(vec![config])).await, ResponseError::InvalidConfig.code());
    assert_eq!(code(placed(&[9])).await, ResponseError::InvalidReplicaAssignment.code());
    assert_eq!(code(placed(&[3, 1])).await, 0);
    let twice = create(&mut peer, vec![wanted("b", 1, 1), wanted("b", 1, 1)]).await;
    assert_eq!(twice, [ResponseError::InvalidRequest.code()]);
    let only_checked =
        CreateTopicsRequest::default().with_topics(vec![wanted("c", -1, -1)]).with_validate_only(true);
    let checked = peer.call(7, &only_checked).await;
    assert_eq!((checked.topics[0].error_code, checked.topics[0].num_partitions), (0, 2));
    let unknown = metadata(&mut peer, "c", false).await;
    assert_eq!(unknown.topics[0].error_code, ResponseError::UnknownTopicOrPartition.code());
    let replicas = &metadata(&mut peer, "placed", false).await.topics[0].partitions[0].replica_nodes;
    assert_eq!(*replicas, [BrokerId(3), BrokerId(1)]);
}

#[tokio::test(start_paused = true)]
async fn leaders_go_round_the_brokers() {
    let (_kafka, mut peer) = started().await;
    create(&mut peer, vec![wanted("orders", 6, 2)]).await;
    let answer = metadata(&mut peer, "orders", false).await;
    assert_eq!(answer.brokers.len(), 3);
    let mut leaders: Vec<i32> = answer.topics[0].partitions.iter().map(|part| part.leader_id.0).collect();
    leaders.sort_unstable();
    assert_eq!(leaders, [1, 1, 2, 2, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn unknown_topics_are_created_on_first_use_where_both_sides_want_it() {
    let (_kafka, mut peer) = started().await;
    let made = metadata(&mut peer, "fresh", true).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 2));
    let bad = metadata(&mut peer, "no/good", true).await;
    assert_eq!(bad.topics[0].error_code, ResponseError::InvalidTopicException.code());
    let strict = EmbeddedKafka::builder().auto_create_topics(false).in_memory().start().await.unwrap();
    let refused = metadata(&mut Peer::connect(&strict, 1).await, "fresh", true).await;
    assert_eq!(refused.topics[0].error_code, ResponseError::UnknownTopicOrPartition.code());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_made_again_has_another_id() {
    let (_kafka, mut peer) = started().await;
    let mut id = async || metadata(&mut peer, "orders", true).await.topics[0].topic_id;
    let first = id().await;
    assert_eq!(id().await, first);
    let by_id = DeleteTopicState::default().with_topic_id(first);
    let delete = DeleteTopicsRequest::default().with_topics(vec![by_id]);
    let deleted = peer.call(6, &delete).await;
    assert_eq!((deleted.responses[0].error_code, &deleted.responses[0].name), (0, &Some(topic("orders"))));
    let again = peer.call(6, &delete).await;
    assert_eq!(again.responses[0].error_code, ResponseError::UnknownTopicId.code());
    let asked = MetadataRequestTopic::default().with_topic_id(first).with_name(None);
    let gone = peer.call(12, &MetadataRequest::default().with_topics(Some(vec![asked]))).await;
    assert_eq!(gone.topics[0].error_code, ResponseError::UnknownTopicId.code());
    assert_ne!(metadata(&mut peer, "orders", true).await.topics[0].topic_id, first);
}

#[tokio::test(start_paused = true)]
async fn partitions_are_added_never_taken() {
    let (_kafka, mut peer) = started().await;
    create(&mut peer, vec![wanted("orders", 2, 1)]).await;
    let mut grow = async |name: &str, count| {
        let wanted =
            CreatePartitionsTopic::default().with_name(topic(name)).with_count(count).with_assignments(None);
        let answer = peer
            .call(3, &CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(5000))
            .await;
        answer.results[0].error_code
    };
    assert_eq!(grow("orders", 2).await, ResponseError::InvalidPartitions.code());
    assert_eq!(grow("orders", 1).await, ResponseError::InvalidPartitions.code());
    assert_eq!(grow("nothing", 1).await, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(grow("orders", 5).await, 0);
    assert_eq!(metadata(&mut peer, "orders", false).await.topics[0].partitions.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn topic_configs_are_kept_and_checked() {
    let (_kafka, mut peer) = started().await;
    create(&mut peer, vec![wanted("orders", 1, 1)]).await;
    let change = |name: &str, operation, value: &str| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation)
            .with_value(Some(text(value)))
    };
    let mut alter = async |change| {
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("orders"))
            .with_configs(vec![change]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        peer.call(1, &request).await.responses[0].error_code
    };
    assert_eq!(alter(change("retention.ms", 0, "1000")).await, 0);
    assert_eq!(alter(change("cleanup.policy", 2, "compact")).await, 0);
    assert_eq!(alter(change("retention.ms", 0, "soon")).await, ResponseError::InvalidConfig.code());
    assert_eq!(alter(change("retention.ms", 2, "5")).await, ResponseError::InvalidConfig.code());
    assert_eq!(alter(change("segment.ms", 0, "7")).await, 0);
    assert_eq!(alter(change("segment.ms", 1, "")).await, 0);
    let keys = ["retention.ms", "cleanup.policy", "segment.ms"].map(text).to_vec();
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("orders"))
        .with_configuration_keys(Some(keys));
    let described = peer.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).await;
    let mut found: Vec<_> = described.results[0]
        .configs
        .iter()
        .map(|config| {
            (config.name.to_string(), config.value.as_deref().unwrap().to_owned(), config.config_source)
        })
        .collect();
    found.sort();
    let expected = [
        ("cleanup.policy", "delete,compact", 1),
        ("retention.ms", "1000", 1),
        ("segment.ms", "604800000", 5),
    ];
    assert_eq!(found, expected.map(|(name, value, source)| (name.to_owned(), value.to_owned(), source)));
}

#[tokio::test(start_paused = true)]
async fn the_cluster_is_described() {
    let (_kafka, mut peer) = started().await;
    let described = peer.call(1, &DescribeClusterRequest::default()).await;
    assert_eq!((described.brokers.len(), described.controller_id), (3, BrokerId(1)));
    let controllers = peer.call(1, &DescribeClusterRequest::default().with_endpoint_type(2)).await;
    assert_eq!(controllers.error_code, ResponseError::MismatchedEndpointType.code());
}
