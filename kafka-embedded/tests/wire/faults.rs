//! Faults on request, each effect and each way of narrowing.

use std::time::Duration;

use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, GroupId, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, ProduceRequest,
};
use tokio::time::{Instant, timeout};

use crate::peer::{
    Peer, fetch, fetch_request, fetch_topic, plain, produce, produce_request, records, text, topic,
};

const LONG: Duration = Duration::from_secs(500);

async fn started() -> (EmbeddedKafka, Peer) {
    let builder = EmbeddedKafka::builder().topic("orders", 2).topic("invoices", 1);
    let kafka = builder.in_memory().start().await.unwrap();
    let peer = Peer::connect(&kafka, 1).await;
    (kafka, peer)
}

fn commit(group: &str, topics: &[&str]) -> OffsetCommitRequest {
    let topics = topics.iter().map(|name| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition])
    });
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(topics.collect())
}

async fn commit_codes(peer: &mut Peer, group: &str, topics: &[&str]) -> Vec<i16> {
    let answer = peer.call(8, &commit(group, topics)).await;
    answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
}

#[tokio::test(start_paused = true)]
async fn the_third_commit_finds_another_coordinator() {
    let (kafka, mut peer) = started().await;
    let fault = kafka.faults().on(Api::OffsetCommit).nth(3).answer(ErrorCode::NotCoordinator);
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.extend(commit_codes(&mut peer, "billing", &["orders"]).await);
    }
    assert_eq!(codes, [0, 0, ErrorCode::NotCoordinator.code(), 0]);
    assert_eq!((fault.seen(), fault.strikes()), (4, 1));
    fault.remove();
    commit_codes(&mut peer, "billing", &["orders"]).await;
    assert_eq!(fault.seen(), 4, "it is over");
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_narrowed_to_group_broker_client_topic_and_partition() {
    let (kafka, mut peer) = started().await;
    let faults = kafka.faults();
    let error = ErrorCode::CoordinatorLoadInProgress;
    let others = [
        faults.on(Api::OffsetCommit).group("shipping").answer(error),
        faults.on(Api::OffsetCommit).broker(2).answer(error),
        faults.on(Api::OffsetCommit).client("someone").answer(error),
        faults.on(Api::OffsetCommit).topic("payments").answer(error),
        faults.on(Api::OffsetCommit).topic("orders").partition(1).answer(error),
        faults.on(Api::OffsetCommit).transactional_id("tx").answer(error),
        faults.on(Api::Fetch).answer(error),
    ];
    let meant = faults.on(Api::Heartbeat).or(Api::OffsetCommit).group("billing").broker(1);
    let meant = meant.client("peer").topic("orders").partition(0).answer(error);
    // Its own topic is refused; the other one is committed.
    assert_eq!(commit_codes(&mut peer, "billing", &["orders", "invoices"]).await, [error.code(), 0]);
    assert_eq!(meant.strikes(), 1);
    assert!(others.iter().all(|other| other.seen() == 0), "{others:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_request_with_many_topics_one_may_be_refused() {
    let (kafka, mut peer) = started().await;
    let error = ErrorCode::NotLeaderOrFollower;
    let mut request = produce_request("orders", 0, plain(&["a"]));
    request.topic_data.extend(produce_request("invoices", 0, plain(&["b"])).topic_data);
    kafka.faults().on(Api::Produce).topic("orders").once().answer(error);
    let answer = peer.call(9, &request).await;
    let codes: Vec<i16> =
        answer.responses.iter().map(|topic| topic.partition_responses[0].error_code).collect();
    assert_eq!(codes, [error.code(), 0]);
    let written = fetch(&mut peer, &fetch_request("invoices", 0, 0)).await;
    assert_eq!(records(&written), [(0, "b".to_owned())]);
    assert!(fetch(&mut peer, &fetch_request("orders", 0, 0)).await.records.unwrap_or_default().is_empty());

    kafka.faults().on(Api::Metadata).topic("orders").answer(ErrorCode::LeaderNotAvailable);
    let named = |name| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let asked = MetadataRequest::default().with_topics(Some(vec![named("orders"), named("invoices")]));
    let answer = peer.call(12, &asked).await;
    let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::LeaderNotAvailable.code(), 0]);
    assert_eq!(answer.brokers.len(), 1, "a client must be able to go on");
}

/// A session names its partitions once; faults find them in it.
#[tokio::test(start_paused = true)]
async fn a_fetch_session_is_struck_by_what_it_holds() {
    let (kafka, mut peer) = started().await;
    let first = FetchRequest::default()
        .with_session_epoch(0)
        .with_max_bytes(1 << 20)
        .with_topics(vec![fetch_topic("orders", &[(0, 0), (1, 0)])]);
    let session = peer.call(12, &first).await.session_id;
    assert_ne!(session, 0);
    let error = ErrorCode::KafkaStorageError;
    let fault = kafka.faults().on(Api::Fetch).topic("orders").partition(1).once().answer(error);
    let next = |epoch| {
        FetchRequest::default().with_max_bytes(1 << 20).with_session_id(session).with_session_epoch(epoch)
    };
    let answer = peer.call(12, &next(1)).await;
    let partitions = &answer.responses[0].partitions;
    assert_eq!(partitions.len(), 1);
    assert_eq!((partitions[0].partition_index, partitions[0].error_code), (1, error.code()));
    assert_eq!(fault.strikes(), 1);
    fault.remove();
    assert_eq!(peer.call(12, &next(2)).await.error_code, 0);
    kafka.faults().on(Api::Fetch).once().answer(ErrorCode::FetchSessionIdNotFound);
    assert_eq!(peer.call(12, &next(3)).await.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[tokio::test(start_paused = true)]
async fn a_request_can_be_late_and_so_can_an_answer() {
    let (kafka, mut peer) = started().await;
    let mut other = Peer::connect(&kafka, 1).await;
    kafka.faults().on(Api::Produce).nth(1).delay(Duration::from_secs(7));
    kafka.faults().on(Api::Produce).nth(2).delay_answer(Duration::from_secs(7));
    for written_at_once in [false, true] {
        let began = Instant::now();
        let before = end(&mut other).await;
        peer.send(9, &produce_request("orders", 0, plain(&["a"]))).await;
        assert!(timeout(Duration::from_secs(6), peer.frame()).await.is_err());
        assert_eq!(end(&mut other).await > before, written_at_once);
        assert!(peer.frame().await.is_some());
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }
}

/// The end of partition 0 of `orders`.
async fn end(peer: &mut Peer) -> i64 {
    fetch(peer, &fetch_request("orders", 0, 0)).await.high_watermark
}

#[tokio::test(start_paused = true)]
async fn what_is_held_goes_on_when_released() {
    let (kafka, mut peer) = started().await;
    let mut other = Peer::connect(&kafka, 1).await;
    for (held, ends) in [
        (kafka.faults().on(Api::Produce).once().hold(), [0, 1]),
        (kafka.faults().on(Api::Produce).nth(2).hold_answer(), [2, 2]),
    ] {
        peer.send(9, &produce_request("orders", 0, plain(&["a"]))).await;
        held.struck(1).await;
        assert!(timeout(LONG, peer.frame()).await.is_err());
        assert_eq!(end(&mut other).await, ends[0]);
        held.release();
        assert!(peer.frame().await.is_some());
        assert_eq!(end(&mut other).await, ends[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_never_answered() {
    let (kafka, mut other) = started().await;
    for (fault, handled) in [
        (kafka.faults().on(Api::Produce).nth(1).drop_request(), 0),
        (kafka.faults().on(Api::Produce).nth(2).drop_answer(), 1),
    ] {
        let mut peer = Peer::connect(&kafka, 1).await;
        peer.send(9, &produce_request("orders", 0, plain(&["a"]))).await;
        peer.send(0, &ApiVersionsRequest::default()).await;
        assert!(timeout(Duration::from_secs(500), peer.frame()).await.is_err(), "nor is what follows");
        assert_eq!((fault.strikes(), end(&mut other).await), (1, handled));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_closed_before_after_or_in_the_midst() {
    let (kafka, mut other) = started().await;
    let faults = kafka.faults();
    faults.on(Api::Produce).nth(1).close();
    faults.on(Api::Produce).nth(2).close_after();
    faults.on(Api::Produce).nth(3).cut_answer(9);
    faults.on(Api::Produce).nth(4).cut_answer(usize::MAX);
    for handled in [0, 1, 2, 3] {
        let mut peer = Peer::connect(&kafka, 1).await;
        peer.send(9, &produce_request("orders", 0, plain(&["a"]))).await;
        assert_eq!(peer.frame().await, None, "no whole answer");
        assert_eq!(end(&mut other).await, handled);
    }
    faults.on(Api::ApiVersions).cut_answer(9);
    let mut peer = Peer::connect(&kafka, 1).await;
    peer.send(0, &ApiVersionsRequest::default()).await;
    assert_eq!(peer.rest().await.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_come_byte_by_byte() {
    let (kafka, mut peer) = started().await;
    produce(&mut peer, "orders", 0, plain(&["a", "b"])).await;
    let fault = kafka.faults().on_any().byte_by_byte();
    let fetched = fetch(&mut peer, &fetch_request("orders", 0, 0)).await;
    assert_eq!(records(&fetched).len(), 2);
    assert_eq!(fault.strikes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_client_is_told_and_not_read() {
    let (kafka, mut peer) = started().await;
    kafka.faults().on(Api::ListOffsets).once().throttle(Duration::from_secs(3));
    let began = Instant::now();
    let answer = peer.call(5, &ListOffsetsRequest::default()).await;
    assert_eq!((answer.throttle_time_ms, began.elapsed()), (3000, Duration::ZERO));
    assert_eq!(peer.call(5, &ListOffsetsRequest::default()).await.throttle_time_ms, 0);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgement_an_error_ends_the_connection() {
    let (kafka, mut peer) = started().await;
    kafka.faults().on(Api::Produce).answer(ErrorCode::NotLeaderOrFollower);
    let request: ProduceRequest = produce_request("orders", 0, plain(&["a"])).with_acks(0);
    peer.send(9, &request).await;
    assert_eq!(peer.frame().await, None);
}

#[tokio::test(start_paused = true)]
async fn effects_of_several_faults_add_up() {
    let (kafka, mut peer) = started().await;
    let faults = kafka.faults();
    faults.on(Api::FindCoordinator).delay(Duration::from_secs(1));
    faults.on(Api::FindCoordinator).group("g").answer(ErrorCode::CoordinatorNotAvailable);
    faults.on(Api::FindCoordinator).answer(ErrorCode::CoordinatorLoadInProgress);
    faults.on(Api::FindCoordinator).delay_answer(Duration::from_secs(1));
    let began = Instant::now();
    let answer = peer.call(3, &FindCoordinatorRequest::default().with_key(text("g"))).await;
    assert_eq!(answer.error_code, ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    faults.clear();
    assert_eq!(peer.call(3, &FindCoordinatorRequest::default().with_key(text("g"))).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn every_api_that_is_offered_can_go_wrong() {
    let (kafka, mut peer) = started().await;
    let offered = peer.call(0, &ApiVersionsRequest::default()).await;
    let offered: Vec<i16> = offered.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!(kafka.faults().apis().into_iter().map(|api| api as i16).collect::<Vec<_>>(), offered);
}
