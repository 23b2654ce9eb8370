use std::sync::Arc;

use bytes::Bytes;
use kafka_client::records::TimestampType;
use kafka_client::records::encode::ProducerStamp;
use kafka_client::seams::Clock;
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use tokio::time::Instant;

use crate::peer::{
    Peer, batch, fetch, fetch_request, headers, plain, produce, produce_request, records, text, topic,
};

async fn one_broker() -> (EmbeddedKafka, Peer) {
    let kafka = EmbeddedKafka::builder().topic("orders", 2).in_memory().start().await.unwrap();
    let peer = Peer::connect(&kafka, 1).await;
    (kafka, peer)
}

#[tokio::test(start_paused = true)]
async fn what_is_produced_is_fetched() {
    let (_kafka, mut peer) = one_broker().await;
    assert_eq!(produce(&mut peer, "orders", 1, plain(&["a", "b"])).await.base_offset, 0);
    let answer = produce(&mut peer, "orders", 1, plain(&["c"])).await;
    assert_eq!((answer.error_code, answer.base_offset, answer.log_append_time_ms), (0, 2, -1));
    let found = fetch(&mut peer, &fetch_request("orders", 1, 1)).await;
    let all = [(0, "a"), (1, "b"), (2, "c")].map(|(offset, value)| (offset, value.to_owned()));
    assert_eq!(records(&found), all, "the batch that holds the offset comes whole");
    assert_eq!((found.high_watermark, found.log_start_offset), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn large_batches_come_back_byte_for_byte() {
    let (_kafka, mut peer) = one_broker().await;
    let long = "x".repeat(300_000);
    let sent = plain(&[&long, "short"]);
    produce(&mut peer, "orders", 0, sent.clone()).await;
    produce(&mut peer, "orders", 0, plain(&["after"])).await;
    let found = fetch(&mut peer, &fetch_request("orders", 0, 0)).await;
    assert_eq!(found.records.as_ref().unwrap()[21..sent.len()], sent[21..]);
    assert_eq!(records(&found).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_acks_there_is_no_answer() {
    let (_kafka, mut peer) = one_broker().await;
    peer.send(9, &produce_request("orders", 0, plain(&["quiet"])).with_acks(0)).await;
    let found = fetch(&mut peer, &fetch_request("orders", 0, 0)).await;
    assert_eq!(records(&found), [(0, "quiet".to_owned())]);
    let strange = peer.call(9, &produce_request("orders", 0, plain(&["x"])).with_acks(2)).await;
    let code = strange.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ResponseError::InvalidRequiredAcks.code());
}

#[tokio::test(start_paused = true)]
async fn bad_batches_are_refused_and_the_connection_goes_on() {
    let (_kafka, mut peer) = one_broker().await;
    let good = plain(&["good"]);
    let mut broken = good.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let cases = [
        (Bytes::from(broken), ResponseError::CorruptMessage),
        (Bytes::new(), ResponseError::InvalidRecord),
        (Bytes::from([&good[..], &good].concat()), ResponseError::InvalidRecord),
        (plain(&[&"x".repeat(2 << 20)]), ResponseError::MessageTooLarge),
    ];
    for (records, error) in cases {
        let answer = produce(&mut peer, "orders", 0, records).await;
        assert_eq!((answer.error_code, answer.base_offset), (error.code(), -1));
    }
    let transactional = ProducerStamp { producer_id: 1, epoch: 0, base_sequence: 0, transactional: true };
    let answer = produce(&mut peer, "orders", 0, batch(&["x"], transactional)).await;
    assert_eq!(answer.error_code, ResponseError::TransactionalIdAuthorizationFailed.code());
    let unknown = produce(&mut peer, "orders", 7, good.clone()).await;
    assert_eq!(unknown.error_code, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(produce(&mut peer, "orders", 0, good).await.base_offset, 0);
}

#[tokio::test(start_paused = true)]
async fn repeated_batches_are_answered_again_and_gaps_refused() {
    let (_kafka, mut peer) = one_broker().await;
    let given = peer.call(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    let next = peer.call(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    assert_ne!(given.producer_id, next.producer_id);
    let stamp = |epoch, base_sequence| {
        let producer_id = given.producer_id.0;
        batch(&["a", "b"], ProducerStamp { producer_id, epoch, base_sequence, transactional: false })
    };
    assert_eq!(produce(&mut peer, "orders", 0, stamp(0, 0)).await.base_offset, 0);
    assert_eq!(produce(&mut peer, "orders", 0, stamp(0, 2)).await.base_offset, 2);
    let again = produce(&mut peer, "orders", 0, stamp(0, 0)).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0), "as the first time");
    let gap = produce(&mut peer, "orders", 0, stamp(0, 6)).await;
    assert_eq!(gap.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    assert_eq!(produce(&mut peer, "orders", 0, stamp(1, 0)).await.base_offset, 4, "a new epoch");
    let fenced = produce(&mut peer, "orders", 0, stamp(0, 4)).await;
    assert_eq!(fenced.error_code, ResponseError::InvalidProducerEpoch.code());
    assert_eq!(records(&fetch(&mut peer, &fetch_request("orders", 0, 0)).await).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_takes_batches_and_tells_who_it_is() {
    let kafka = EmbeddedKafka::builder().brokers(3).topic("orders", 3).in_memory().start().await.unwrap();
    let mut leaders = Vec::new();
    for broker in 1..=3 {
        let mut peer = Peer::connect(&kafka, broker).await;
        let answer = peer.call(10, &produce_request("orders", 0, plain(&["x"]))).await;
        let part = &answer.responses[0].partition_responses[0];
        if part.error_code == 0 {
            leaders.push(broker);
            continue;
        }
        assert_eq!(part.error_code, ResponseError::NotLeaderOrFollower.code());
        assert_eq!(part.current_leader.leader_id.0, 1);
        let endpoint = &answer.node_endpoints[0];
        let address = format!("{}:{}", &*endpoint.host, endpoint.port);
        assert!(kafka.bootstrap_servers().starts_with(&address));
    }
    assert_eq!(leaders, [1]);
}

#[tokio::test(start_paused = true)]
async fn topics_are_named_by_id_in_the_newest_version() {
    let (_kafka, mut peer) = one_broker().await;
    let asked = MetadataRequestTopic::default().with_name(Some(topic("orders")));
    let metadata = peer.call(12, &MetadataRequest::default().with_topics(Some(vec![asked]))).await;
    let mut request = produce_request("", 0, plain(&["x"]));
    request.topic_data[0].topic_id = metadata.topics[0].topic_id;
    let answer = peer.call(13, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
    request.topic_data[0].topic_id = uuid::Uuid::from_u128(7);
    let answer = peer.call(13, &request).await;
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ResponseError::UnknownTopicId.code());
}

/// A wall clock that stands.
#[derive(Debug)]
struct Standing(i64);

impl Clock for Standing {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall_millis(&self) -> i64 {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn timestamps_are_the_brokers_where_the_topic_says_so_and_bounded_elsewhere() {
    const DAY: i64 = 86_400_000;
    let builder = EmbeddedKafka::builder().clock(Arc::new(Standing(DAY)));
    let kafka = builder.topic("plain", 1).in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let config =
        |name, value| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
    let stamped = CreatableTopic::default()
        .with_name(topic("stamped"))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![
            config("message.timestamp.type", "LogAppendTime"),
            config("max.message.bytes", "100"),
        ]);
    let created = peer.call(5, &CreateTopicsRequest::default().with_topics(vec![stamped])).await;
    assert_eq!(created.topics[0].error_code, 0);

    let answer = produce(&mut peer, "stamped", 0, plain(&["x"])).await;
    assert_eq!(answer.log_append_time_ms, DAY);
    let found = fetch(&mut peer, &fetch_request("stamped", 0, 0)).await;
    assert_eq!(records(&found), [(0, "x".to_owned())], "the checksum was renewed");
    assert_eq!(headers(&found)[0].timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(headers(&found)[0].max_timestamp, DAY);
    let long = produce(&mut peer, "stamped", 0, plain(&[&"x".repeat(100)])).await;
    assert_eq!(long.error_code, ResponseError::MessageTooLarge.code());

    let kafka = EmbeddedKafka::builder().clock(Arc::new(Standing(-DAY))).topic("plain", 1).in_memory();
    let kafka = kafka.start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let future = produce(&mut peer, "plain", 0, plain(&["a day ahead"])).await;
    assert_eq!(future.error_code, ResponseError::InvalidTimestamp.code());
}

#[tokio::test(start_paused = true)]
async fn offsets_are_listed_by_place_and_by_time() {
    let (_kafka, mut peer) = one_broker().await;
    produce(&mut peer, "orders", 0, plain(&["a", "b"])).await;
    let mut at = async |timestamp| {
        let partition =
            ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(topic("orders")).with_partitions(vec![partition]);
        let answer = peer.call(7, &ListOffsetsRequest::default().with_topics(vec![asked])).await;
        let part = &answer.topics[0].partitions[0];
        assert_eq!(part.error_code, 0);
        (part.offset, part.timestamp)
    };
    assert_eq!(at(-1).await, (2, -1));
    assert_eq!(at(-2).await, (0, -1));
    assert_eq!(at(-3).await, (0, 1000));
    assert_eq!(at(1000).await, (0, 1000));
    assert_eq!(at(1001).await, (-1, -1));
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_requests() {
    let (_kafka, mut peer) = one_broker().await;
    for _ in 0..50 {
        peer.send(9, &produce_request("orders", 0, plain(&["x"]))).await;
    }
    for offset in 0..50 {
        let answer = peer.receive::<ProduceRequest>(9, 49 - offset).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, i64::from(offset));
    }
}
