//! A fault in a topic that does not exist (yet): it wins over UNKNOWN_TOPIC_OR_PARTITION, in every API. And one in the
//! markers of a transaction.

use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    CreatePartitionsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeProducersRequest, ElectLeadersRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
    OffsetForLeaderEpochRequest, ProducerId, TopicName, WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::Request;

use crate::peer::{Peer, fetch, fetch_request, fetch_topic, headers, plain, produce_request, text, topic};

const ERROR: ErrorCode = ErrorCode::TopicAuthorizationFailed;
const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPartition;
/// Neither is there.
const NAMES: [&str; 2] = ["later", "never"];

struct Bench {
    kafka: EmbeddedKafka,
    peer: Peer,
}

impl Bench {
    async fn new() -> Self {
        let kafka = EmbeddedKafka::builder().topic("orders", 1).auto_create_topics(false);
        let kafka = kafka.in_memory().start().await.unwrap();
        let peer = Peer::connect(&kafka, 1).await;
        Self { kafka, peer }
    }

    /// Of a request about both topics, a fault in `later` refuses that one alone.
    async fn refuses<R: Request>(
        &mut self,
        version: i16,
        request: R,
        codes: impl Fn(&R::Response) -> Vec<i16>,
    ) {
        let api = Api::try_from(R::KEY).unwrap();
        let fault = self.kafka.faults().on(api).topic("later").answer(ERROR);
        let answer = self.peer.call(version, &request).await;
        assert_eq!(codes(&answer), [ERROR.code(), UNKNOWN.code()], "{api:?}");
        assert_eq!(fault.strikes(), 1, "{api:?}");
        fault.remove();
    }
}

fn names() -> [TopicName; 2] {
    NAMES.map(topic)
}

#[tokio::test(start_paused = true)]
async fn partitions_of_topics_that_are_not_there() {
    let mut bench = Bench::new().await;
    let mut request = produce_request("later", 0, plain(&["a"]));
    request.topic_data.extend(produce_request("never", 0, plain(&["a"])).topic_data);
    bench
        .refuses(9, request, |answer| {
            answer.responses.iter().map(|topic| topic.partition_responses[0].error_code).collect()
        })
        .await;
    let request = fetch_request("later", 0, 0);
    let request = request.with_topics(NAMES.map(|name| fetch_topic(name, &[(0, 0)])).to_vec());
    bench
        .refuses(12, request, |answer| {
            answer.responses.iter().map(|topic| topic.partitions[0].error_code).collect()
        })
        .await;
    let topics = names().map(|name| {
        let partitions = vec![ListOffsetsPartition::default().with_timestamp(-1)];
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
    });
    bench
        .refuses(7, ListOffsetsRequest::default().with_topics(topics.to_vec()), |answer| {
            answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
        })
        .await;
    let topics = names().map(|name| {
        let partitions = vec![OffsetForLeaderPartition::default()];
        OffsetForLeaderTopic::default().with_topic(name).with_partitions(partitions)
    });
    bench
        .refuses(4, OffsetForLeaderEpochRequest::default().with_topics(topics.to_vec()), |answer| {
            answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
        })
        .await;
    let topics = names().map(|name| {
        let partitions = vec![DeleteRecordsPartition::default()];
        DeleteRecordsTopic::default().with_name(name).with_partitions(partitions)
    });
    bench
        .refuses(2, DeleteRecordsRequest::default().with_topics(topics.to_vec()), |answer| {
            answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
        })
        .await;
    let topics = names().map(|name| TopicRequest::default().with_name(name).with_partition_indexes(vec![0]));
    bench
        .refuses(0, DescribeProducersRequest::default().with_topics(topics.to_vec()), |answer| {
            answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
        })
        .await;
    let topics = names().map(|name| TopicPartitions::default().with_topic(name).with_partitions(vec![0]));
    let request = ElectLeadersRequest::default().with_topic_partitions(Some(topics.to_vec()));
    bench
        .refuses(2, request, |answer| {
            let results = answer.replica_election_results.iter();
            results.map(|topic| topic.partition_result[0].error_code).collect()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_not_there() {
    let mut bench = Bench::new().await;
    let named = names().map(|name| MetadataRequestTopic::default().with_name(Some(name)));
    bench
        .refuses(12, MetadataRequest::default().with_topics(Some(named.to_vec())), |answer| {
            answer.topics.iter().map(|topic| topic.error_code).collect()
        })
        .await;
    let request = DeleteTopicsRequest::default().with_topic_names(names().to_vec());
    bench.refuses(5, request, |answer| answer.responses.iter().map(|topic| topic.error_code).collect()).await;
    let grown = names()
        .map(|name| CreatePartitionsTopic::default().with_name(name).with_count(3).with_assignments(None));
    bench
        .refuses(3, CreatePartitionsRequest::default().with_topics(grown.to_vec()), |answer| {
            answer.results.iter().map(|topic| topic.error_code).collect()
        })
        .await;
    let resources = NAMES
        .map(|name| DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text(name)));
    bench
        .refuses(4, DescribeConfigsRequest::default().with_resources(resources.to_vec()), |answer| {
            answer.results.iter().map(|result| result.error_code).collect()
        })
        .await;
}

/// A topic id that nobody has is that of a topic without a name.
#[tokio::test(start_paused = true)]
async fn partitions_of_ids_that_are_not_there() {
    let Bench { kafka, mut peer } = Bench::new().await;
    let id = uuid::Uuid::from_u128(0xbad);
    let ask = |partition| {
        let asked = fetch_topic("", &[(partition, 0)]).with_topic(TopicName::default()).with_topic_id(id);
        fetch_request("", 0, 0).with_topics(vec![asked])
    };
    let fault = kafka.faults().on(Api::Fetch).partition(1).answer(ERROR);
    let other = kafka.faults().on(Api::Fetch).topic("orders").answer(ErrorCode::KafkaStorageError);
    let mut codes = Vec::new();
    for partition in [0, 1] {
        let answer = peer.call::<FetchRequest>(13, &ask(partition)).await;
        codes.push(answer.responses[0].partitions[0].error_code);
    }
    assert_eq!(codes, [ErrorCode::UnknownTopicId.code(), ERROR.code()]);
    assert_eq!((fault.strikes(), other.seen()), (1, 0));
}

fn marker(names: &[&str]) -> WriteTxnMarkersRequest {
    let topic = |name: &&str| {
        WritableTxnMarkerTopic::default().with_name(topic(name)).with_partition_indexes(vec![0])
    };
    let marker = WritableTxnMarker::default()
        .with_producer_id(ProducerId(7))
        .with_topics(names.iter().map(topic).collect());
    WriteTxnMarkersRequest::default().with_markers(vec![marker])
}

fn marker_codes(answer: &kafka_protocol::messages::WriteTxnMarkersResponse) -> Vec<i16> {
    answer.markers[0].topics.iter().map(|topic| topic.partitions[0].error_code).collect()
}

#[tokio::test(start_paused = true)]
async fn markers_that_are_refused_are_not_written() {
    let mut bench = Bench::new().await;
    bench.refuses(1, marker(&NAMES), marker_codes).await;

    let kafka = EmbeddedKafka::builder().topic("orders", 1).topic("invoices", 1).in_memory();
    let kafka = kafka.start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let fault = kafka.faults().on(Api::WriteTxnMarkers).topic("orders").once();
    let fault = fault.answer(ErrorCode::NotLeaderOrFollower);
    let asked = marker(&["orders", "invoices"]);
    assert_eq!(marker_codes(&peer.call(1, &asked).await), [ErrorCode::NotLeaderOrFollower.code(), 0]);
    assert_eq!(fault.strikes(), 1);
    let mut written = Vec::new();
    for name in ["orders", "invoices"] {
        let data = fetch(&mut peer, &fetch_request(name, 0, 0)).await;
        written.push(headers(&data).iter().filter(|header| header.is_control).count());
    }
    assert_eq!(written, [0, 1]);
    assert_eq!(marker_codes(&peer.call(1, &asked).await), [0, 0], "it was once");
}
