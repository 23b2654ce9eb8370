//! Every version that the broker offers, of every API, is answered in its own layout.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use kafka_client::wire::{decode, decode_part};
use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DeleteRecordsRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::Request;

use crate::peer::{Peer, plain, produce_request, text, topic};

/// One broker, a topic with a record, and what is offered.
pub(crate) struct Bench {
    kafka: EmbeddedKafka,
    pub(crate) peer: Peer,
    offered: ApiVersionsResponse,
    pub(crate) covered: Vec<i16>,
}

impl Bench {
    async fn new() -> Self {
        let kafka = EmbeddedKafka::builder().topic("orders", 2).in_memory().start().await.unwrap();
        let mut peer = Peer::connect(&kafka, 1).await;
        let offered = peer.call(0, &ApiVersionsRequest::default()).await;
        Self { kafka, peer, offered, covered: Vec::new() }
    }

    /// Calls each offered version of `R` with what `request` makes for it; `check` looks at the answers.
    pub(crate) async fn each<R: Request<Response: Debug>>(
        &mut self,
        request: impl Fn(i16) -> R,
        check: impl Fn(i16, R::Response) -> Result<(), String>,
    ) {
        let offered = self.offered.api_keys.iter().find(|api| api.api_key == R::KEY).expect("offered");
        // Produce is offered from 0 for librdkafka's sake and served from 3.
        for version in offered.min_version.max(R::VERSIONS.min)..=offered.max_version {
            let answer = self.peer.call(version, &request(version)).await;
            let name = std::any::type_name::<R>();
            self.refused_by_a_fault::<R>(version, &request(version), name).await;
            check(version, answer).unwrap_or_else(|problem| panic!("{name} v{version}: {problem}"));
        }
        self.covered.push(R::KEY);
    }

    /// A fault finds the place of the error, and that of the throttle time, in every version of every answer.
    async fn refused_by_a_fault<R: Request<Response: Debug>>(
        &mut self,
        version: i16,
        request: &R,
        name: &str,
    ) {
        let api = Api::try_from(R::KEY).unwrap();
        let refused = self.kafka.faults().on(api).answer(ErrorCode::Unknown(4711));
        let throttled = self.kafka.faults().on(api).throttle(Duration::from_millis(7));
        let answer = format!("{:?}", self.peer.call(version, request).await);
        assert_eq!((refused.strikes(), throttled.strikes()), (1, 1), "{name} v{version}");
        assert!(answer.contains("error_code: 4711"), "{name} v{version}: {answer}");
        if version >= throttled_from(api) {
            assert!(answer.contains("throttle_time_ms: 7,"), "{name} v{version}: {answer}");
        }
        self.kafka.faults().clear();
    }
}

/// The first version whose answers say for how long the client is throttled.
fn throttled_from(api: Api) -> i16 {
    match api {
        // It has the field, but a fault does not look for it behind the versions.
        Api::ApiVersions => i16::MAX,
        // It has no such field.
        Api::WriteTxnMarkers => i16::MAX,
        Api::Metadata | Api::OffsetCommit | Api::OffsetFetch => 3,
        Api::ListOffsets | Api::JoinGroup => 2,
        Api::FindCoordinator
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::SyncGroup
        | Api::DescribeGroups
        | Api::ListGroups => 1,
        _ => 0,
    }
}

pub(crate) fn is(code: i16, expected: i16) -> Result<(), String> {
    if code == expected { Ok(()) } else { Err(format!("error {code} instead of {expected}")) }
}

pub(crate) fn orders() -> TopicName {
    topic("orders")
}

#[tokio::test(start_paused = true)]
async fn every_offered_version_is_answered() {
    let mut bench = everything().await;
    let offered: Vec<i16> = bench.offered.api_keys.iter().map(|api| api.api_key).collect();
    bench.covered.sort_unstable();
    assert_eq!(bench.covered, offered, "every API has a case here, and they are offered in order");
}

async fn everything() -> Bench {
    let mut bench = Bench::new().await;
    data(&mut bench).await;
    crate::versions_groups::every_version(&mut bench).await;
    crate::versions_topics::every_version(&mut bench).await;
    crate::versions_groups::every_version_of_consumer_groups(&mut bench).await;
    crate::transactions::every_version(&mut bench).await;
    bench
}

/// A sensible request of every version of every API, as it goes over the wire.
pub(crate) async fn frames() -> Vec<Bytes> {
    everything().await.peer.sent
}

async fn data(bench: &mut Bench) {
    let unknown_id = ResponseError::UnknownTopicId.code();
    let produce = |version| {
        let mut request = produce_request("orders", 0, plain(&["x"]));
        if version >= 13 {
            request.topic_data[0].name = TopicName::default();
        }
        request
    };
    bench
        .each::<ProduceRequest>(produce, |version, answer| {
            let expected = if version >= 13 { unknown_id } else { 0 };
            is(answer.responses[0].partition_responses[0].error_code, expected)
        })
        .await;
    let fetch = |version| {
        let topic = crate::peer::fetch_topic("orders", &[(0, 0)]);
        let topic = if version >= 13 { topic.with_topic(TopicName::default()) } else { topic };
        FetchRequest::default().with_max_bytes(1000).with_topics(vec![topic])
    };
    bench
        .each::<FetchRequest>(fetch, |version, answer| {
            is(answer.responses[0].partitions[0].error_code, if version >= 13 { unknown_id } else { 0 })
        })
        .await;
    let list = |version| {
        let partition = ListOffsetsPartition::default().with_timestamp(if version % 2 == 0 { -1 } else { 5 });
        let topic = ListOffsetsTopic::default().with_name(orders()).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    };
    bench
        .each::<ListOffsetsRequest>(list, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
    let epoch = |_| {
        let partition = OffsetForLeaderPartition::default();
        let topic = OffsetForLeaderTopic::default().with_topic(orders()).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    bench
        .each::<OffsetForLeaderEpochRequest>(epoch, |_, answer| {
            is(answer.topics[0].partitions[0].error_code, 0)
        })
        .await;
    let delete = |_| {
        let partition = DeleteRecordsPartition::default().with_offset(1);
        let topic = DeleteRecordsTopic::default().with_name(orders()).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    };
    bench
        .each::<DeleteRecordsRequest>(delete, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
    let init = |_| InitProducerIdRequest::default().with_transactional_id(None);
    bench.each::<InitProducerIdRequest>(init, |_, answer| is(answer.error_code, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_of_api_versions_that_is_not_known_is_answered_in_version_0() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    // Key 18, version 99, correlation 7, and what this broker cannot know.
    peer.write(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]).await;
    let mut frame = peer.frame().await.unwrap();
    let header: ResponseHeader = decode_part(&mut frame, 0).unwrap();
    let answer: ApiVersionsResponse = decode(frame, 0).unwrap();
    assert_eq!((header.correlation_id, answer.error_code), (7, ResponseError::UnsupportedVersion.code()));
    let versions: Vec<_> =
        answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(versions, [(18, 0, 4)]);
    // The connection goes on with a version that both know.
    assert_eq!(peer.call(0, &ApiVersionsRequest::default()).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_must_have_a_decent_name() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let named = |name: &str| {
        ApiVersionsRequest::default()
            .with_client_software_name(text(name))
            .with_client_software_version(text("1"))
    };
    let invalid = ResponseError::InvalidRequest.code();
    assert_eq!(peer.call(3, &named("lib-rd.kafka")).await.error_code, 0);
    assert_eq!(peer.call(3, &named("-x")).await.error_code, invalid);
    assert_eq!(peer.call(3, &named("a b")).await.error_code, invalid);
}
