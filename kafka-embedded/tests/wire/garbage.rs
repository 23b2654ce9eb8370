//! What comes from something that is no Kafka client: the connection ends, the broker lives.

use std::time::Duration;

use kafka_client::wire::request_frame;
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, FetchRequest, MetadataRequest,
};
use proptest::prelude::*;
use tokio::time::timeout;

use crate::peer::{Peer, fetch_request, plain, produce_request, text, topic};

async fn lives(kafka: &EmbeddedKafka) {
    let answer = Peer::connect(kafka, 1).await.call(0, &ApiVersionsRequest::default()).await;
    assert_eq!(answer.error_code, 0);
}

async fn is_closed_by(kafka: &EmbeddedKafka, bytes: &[u8]) {
    let mut peer = Peer::connect(kafka, 1).await;
    peer.write(bytes).await;
    assert_eq!(peer.frame().await, None, "{bytes:?}");
    lives(kafka).await;
}

#[tokio::test(start_paused = true)]
async fn frames_that_cannot_be_end_the_connection() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    is_closed_by(&kafka, b"GET / HTTP/1.1\r\n\r\n").await;
    is_closed_by(&kafka, &u32::MAX.to_be_bytes()).await;
    is_closed_by(&kafka, &(100u32 * 1024 * 1024 + 1).to_be_bytes()).await;
    is_closed_by(&kafka, &[0; 4]).await;
    is_closed_by(&kafka, &[0, 0, 0, 3, 0, 18, 0]).await;
    is_closed_by(&kafka, &[0, 0, 0, 4, 0, 18, 0, 99]).await;
    // An API that is not known, and a version that is not served any more.
    is_closed_by(&kafka, &[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0, 0]).await;
    is_closed_by(&kafka, &[0, 0, 0, 10, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]).await;
    // An array of two thousand million topics.
    is_closed_by(&kafka, &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff]).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_never_ends_holds_nobody_up() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let mut slow = Peer::connect(&kafka, 1).await;
    slow.write(&(90u32 * 1024 * 1024).to_be_bytes()).await;
    slow.write(b"beginning").await;
    lives(&kafka).await;
    assert!(timeout(Duration::from_secs(599), slow.frame()).await.is_err(), "it may go on any time");
    assert_eq!(timeout(Duration::from_secs(2), slow.frame()).await, Ok(None), "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_frame_may_come_byte_by_byte() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let frame = request_frame(&MetadataRequest::default().with_topics(None), 12, 1, &text("slow")).unwrap();
    for byte in &frame {
        peer.write(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(peer.frame().await.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Real requests with some bytes changed are answered or end the connection, and the broker lives.
    #[test]
    fn damaged_requests_do_no_harm(
        which in 0usize..3,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let kafka = EmbeddedKafka::builder().topic("orders", 1).in_memory().start().await.unwrap();
            let name = text("damaged");
            let frame = match which {
                0 => request_frame(&produce_request("orders", 0, plain(&["a", "b"])), 9, 1, &name),
                1 => request_frame::<FetchRequest>(&fetch_request("orders", 0, 0), 12, 1, &name),
                _ => request_frame(&MetadataRequest::default().with_topics(None), 12, 1, &name),
            };
            let mut frame = frame.unwrap().to_vec();
            let body = frame.len() - 4;
            for (index, byte) in damage {
                frame[4 + index.index(body)] = byte;
            }
            let mut peer = Peer::connect(&kafka, 1).await;
            peer.write(&frame).await;
            let _ = timeout(Duration::from_secs(60), peer.frame()).await;
            lives(&kafka).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_is_let_go() {
    let kafka = EmbeddedKafka::builder().topic("orders", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let value = "x".repeat(600_000);
    crate::peer::produce(&mut peer, "orders", 0, plain(&[&value])).await;
    let mut slow = Peer::connect(&kafka, 1).await;
    // More than a pipe holds: a part of it leaves, and then nothing more for ten minutes.
    slow.send(12, &fetch_request("orders", 0, 0)).await;
    tokio::time::sleep(Duration::from_secs(1201)).await;
    assert!(slow.frame().await.is_none(), "the answer was given up");
    lives(&kafka).await;
}

#[tokio::test(start_paused = true)]
async fn large_requests_that_never_end_are_bounded_together() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let (mut waiting, mut closed) = (Vec::new(), 0);
    let part = vec![0; 30 * 1024 * 1024];
    for _ in 0..30 {
        let mut peer = Peer::connect(&kafka, 1).await;
        peer.write(&(99u32 * 1024 * 1024).to_be_bytes()).await;
        // A closed connection takes no more.
        closed += usize::from(!peer.try_write(&part).await);
        waiting.push(peer);
    }
    assert!((1..29).contains(&closed), "{closed} of {} were too much", waiting.len());
    lives(&kafka).await;
    drop(waiting);
    let mut peer = Peer::connect(&kafka, 1).await;
    peer.write(&(99u32 * 1024 * 1024).to_be_bytes()).await;
    assert!(peer.try_write(&part).await, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_connections_are_served() {
    let kafka = EmbeddedKafka::builder().brokers(2).in_memory().start().await.unwrap();
    let mut peers = Vec::new();
    for n in 0..10_000 {
        peers.push(Peer::connect(&kafka, n % 2 + 1).await);
    }
    for peer in &mut peers {
        peer.send(0, &ApiVersionsRequest::default()).await;
    }
    for peer in &mut peers {
        assert_eq!(peer.receive::<ApiVersionsRequest>(0, 0).await.error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_partitions_are_served_and_no_more_made_at_once() {
    let kafka = EmbeddedKafka::builder().topic("many", 10_000).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let all = peer.call(12, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(all.topics[0].partitions.len(), 10_000);
    assert_eq!(crate::peer::produce(&mut peer, "many", 9_999, plain(&["x"])).await.error_code, 0);
    let more = |count| {
        let wanted = CreatableTopic::default().with_name(topic("more")).with_num_partitions(count);
        CreateTopicsRequest::default().with_topics(vec![wanted.with_replication_factor(1)])
    };
    let refused = peer.call(7, &more(10_001)).await;
    assert_eq!(refused.topics[0].error_code, ResponseError::PolicyViolation.code());
    assert_eq!(peer.call(7, &more(10_000)).await.topics[0].error_code, 0);
    let growth = CreatePartitionsTopic::default().with_name(topic("more")).with_count(20_001);
    let growth = CreatePartitionsRequest::default().with_topics(vec![growth.with_assignments(None)]);
    assert_eq!(peer.call(3, &growth).await.results[0].error_code, ResponseError::PolicyViolation.code());
}
