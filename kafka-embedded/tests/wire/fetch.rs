use std::time::Duration;

use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, OffsetForLeaderEpochRequest,
};
use tokio::time::{Instant, sleep};

use crate::peer::{Peer, fetch, fetch_request, fetch_topic, plain, produce, records, topic};

async fn started() -> (EmbeddedKafka, Peer) {
    let kafka = EmbeddedKafka::builder().topic("orders", 4).in_memory().start().await.unwrap();
    let peer = Peer::connect(&kafka, 1).await;
    (kafka, peer)
}

fn waiting(millis: i32, min_bytes: i32) -> FetchRequest {
    fetch_request("orders", 0, 0).with_max_wait_ms(millis).with_min_bytes(min_bytes)
}

#[tokio::test(start_paused = true)]
async fn an_empty_fetch_waits_as_long_as_it_says() {
    let (_kafka, mut peer) = started().await;
    let begin = Instant::now();
    assert!(records(&fetch(&mut peer, &waiting(5000, 1)).await).is_empty());
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
    assert!(records(&fetch(&mut peer, &waiting(5000, 0)).await).is_empty());
    assert!(records(&fetch(&mut peer, &waiting(0, 1)).await).is_empty());
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_is_answered_when_enough_has_come() {
    let (kafka, mut peer) = started().await;
    let mut producer = Peer::connect(&kafka, 1).await;
    let batch = plain(&["0123456789"]);
    let two = i32::try_from(2 * batch.len()).unwrap();
    let begin = Instant::now();
    peer.send(12, &waiting(60_000, two)).await;
    sleep(Duration::from_secs(3)).await;
    produce(&mut producer, "orders", 0, batch.clone()).await;
    produce(&mut producer, "orders", 1, batch.clone()).await;
    sleep(Duration::from_secs(4)).await;
    produce(&mut producer, "orders", 0, batch).await;
    let answer = peer.receive::<FetchRequest>(12, 0).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(7));
    assert_eq!(records(&answer.responses[0].partitions[0]).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_hears_that_its_topic_is_gone() {
    let (kafka, mut peer) = started().await;
    let begin = Instant::now();
    peer.send(12, &waiting(60_000, 1)).await;
    sleep(Duration::from_secs(1)).await;
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("orders")]);
    Peer::connect(&kafka, 1).await.call(5, &delete).await;
    let answer = peer.receive::<FetchRequest>(12, 0).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(code, ResponseError::UnknownTopicOrPartition.code());
}

#[tokio::test(start_paused = true)]
async fn one_batch_passes_whatever_the_limits_and_no_more_than_they_allow() {
    let (_kafka, mut peer) = started().await;
    let batch = plain(&[&"x".repeat(1000)]);
    for partition in [0, 0, 0, 1] {
        produce(&mut peer, "orders", partition, batch.clone()).await;
    }
    let size = i32::try_from(batch.len()).unwrap();
    let mut counts = async |max_bytes, partition_max_bytes| {
        let mut asked = fetch_topic("orders", &[(0, 0), (1, 0)]);
        for partition in &mut asked.partitions {
            partition.partition_max_bytes = partition_max_bytes;
        }
        let request = fetch_request("orders", 0, 0).with_max_bytes(max_bytes).with_topics(vec![asked]);
        let answer = peer.call(12, &request).await;
        answer.responses[0].partitions.iter().map(|part| records(part).len()).collect::<Vec<_>>()
    };
    assert_eq!(counts(1 << 20, 1 << 20).await, [3, 1]);
    assert_eq!(counts(1, 1 << 20).await, [1, 0], "the first of the answer");
    assert_eq!(counts(2 * size, 1 << 20).await, [2, 0]);
    assert_eq!(counts(1 << 20, 1).await, [1, 0]);
    assert_eq!(counts(1 << 20, size).await, [1, 1]);
    assert_eq!(counts(1 << 20, 2 * size + 1).await, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn offsets_outside_the_log_and_wrong_epochs_are_refused_at_once() {
    let (_kafka, mut peer) = started().await;
    produce(&mut peer, "orders", 0, plain(&["a", "b", "c"])).await;
    let begin = Instant::now();
    let error = |part: &kafka_protocol::messages::fetch_response::PartitionData| part.error_code;
    let mut at = fetch_request("orders", 0, 4).with_max_wait_ms(60_000).with_min_bytes(1);
    assert_eq!(error(&fetch(&mut peer, &at).await), ResponseError::OffsetOutOfRange.code());
    at.topics[0].partitions[0].fetch_offset = 0;
    at.topics[0].partitions[0].current_leader_epoch = 9;
    assert_eq!(error(&fetch(&mut peer, &at).await), ResponseError::UnknownLeaderEpoch.code());
    assert_eq!(error(&fetch(&mut peer, &fetch_request("orders", 9, 0)).await), 3);
    assert_eq!(error(&fetch(&mut peer, &fetch_request("nothing", 0, 0)).await), 3);

    let delete = DeleteRecordsPartition::default().with_offset(2);
    let delete = DeleteRecordsTopic::default().with_name(topic("orders")).with_partitions(vec![delete]);
    let deleted = peer.call(2, &DeleteRecordsRequest::default().with_topics(vec![delete])).await;
    assert_eq!(deleted.topics[0].partitions[0].low_watermark, 2);
    assert_eq!(
        error(&fetch(&mut peer, &fetch_request("orders", 0, 1)).await),
        ResponseError::OffsetOutOfRange.code()
    );
    let rest = fetch(&mut peer, &fetch_request("orders", 0, 2)).await;
    assert_eq!((rest.log_start_offset, records(&rest).len()), (2, 3), "its batch is still whole");
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_is_asked_for_ends_at_the_log() {
    let (_kafka, mut peer) = started().await;
    produce(&mut peer, "orders", 0, plain(&["a", "b"])).await;
    let mut end = async |epoch, current| {
        let asked =
            OffsetForLeaderPartition::default().with_leader_epoch(epoch).with_current_leader_epoch(current);
        let asked = OffsetForLeaderTopic::default().with_topic(topic("orders")).with_partitions(vec![asked]);
        let answer = peer.call(4, &OffsetForLeaderEpochRequest::default().with_topics(vec![asked])).await;
        let part = &answer.topics[0].partitions[0];
        (part.error_code, part.leader_epoch, part.end_offset)
    };
    assert_eq!(end(0, 0).await, (0, 0, 2));
    assert_eq!(end(3, -1).await, (0, -1, -1));
    assert_eq!(end(0, 1).await, (ResponseError::UnknownLeaderEpoch.code(), -1, -1));
}

/// Partitions with their number of records.
fn answered(answer: &FetchResponse) -> Vec<(i32, usize)> {
    let parts = answer.responses.iter().flat_map(|topic| &topic.partitions);
    parts.map(|part| (part.partition_index, records(part).len())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_session_is_told_changes_only() {
    let (kafka, mut peer) = started().await;
    let mut producer = Peer::connect(&kafka, 1).await;
    let all = fetch_topic("orders", &[(0, 0), (1, 0), (2, 0)]);
    let begin = FetchRequest::default().with_session_epoch(0).with_max_bytes(1 << 20).with_topics(vec![all]);
    let first = peer.call(12, &begin).await;
    assert_eq!(answered(&first), [(0, 0), (1, 0), (2, 0)]);
    let id = first.session_id;
    let next = |epoch| {
        FetchRequest::default()
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_max_bytes(1 << 20)
            .with_max_wait_ms(10_000)
            .with_min_bytes(1)
    };
    produce(&mut producer, "orders", 1, plain(&["x"])).await;
    assert_eq!(answered(&peer.call(12, &next(1)).await), [(1, 1)]);

    let moved = next(2).with_topics(vec![fetch_topic("orders", &[(1, 1)])]);
    peer.send(12, &moved).await;
    sleep(Duration::from_secs(1)).await;
    produce(&mut producer, "orders", 0, plain(&["y"])).await;
    assert_eq!(answered(&peer.receive::<FetchRequest>(12, 0).await), [(0, 1)]);

    let forgotten = ForgottenTopic::default().with_topic(topic("orders")).with_partitions(vec![0]);
    let without = next(3).with_forgotten_topics_data(vec![forgotten]).with_max_wait_ms(0);
    assert_eq!(answered(&peer.call(12, &without).await), []);

    let wrong = peer.call(12, &next(3)).await;
    assert_eq!(wrong.error_code, ResponseError::InvalidFetchSessionEpoch.code());
    let unknown = peer.call(12, &next(1).with_session_id(id + 1)).await;
    assert_eq!(unknown.error_code, ResponseError::FetchSessionIdNotFound.code());
    let broken_off = peer.call(12, &begin.with_session_id(id).with_session_epoch(-1)).await;
    assert_eq!((broken_off.session_id, answered(&broken_off)), (0, vec![(0, 1), (1, 1), (2, 0)]));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_it_waits_leaves_nothing_behind() {
    let (kafka, mut peer) = started().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut leaving = Vec::new();
    for _ in 0..100 {
        let mut peer = Peer::connect(&kafka, 1).await;
        peer.send(12, &waiting(i32::MAX, 1)).await;
        leaving.push(peer);
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tasks(), before + 100);
    drop(leaving);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tasks(), before);
    produce(&mut peer, "orders", 0, plain(&["x"])).await;
    assert_eq!(records(&fetch(&mut peer, &waiting(1000, 1)).await).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_while_one_waits_are_answered_after_it() {
    let (_kafka, mut peer) = started().await;
    peer.send(12, &waiting(5_000, 1)).await;
    sleep(Duration::from_secs(1)).await;
    for _ in 0..200 {
        peer.send(12, &waiting(0, 1)).await;
    }
    let begin = Instant::now();
    for back in (0..=200).rev() {
        peer.receive::<FetchRequest>(12, back).await;
    }
    assert_eq!(begin.elapsed(), Duration::from_secs(4));
}
