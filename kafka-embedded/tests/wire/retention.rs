//! What becomes of old records, and what the topic configs that concern records do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::Codec;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::seams::Clock;
use kafka_embedded::{CompactError, EmbeddedKafka};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use tokio::time::Instant;

use crate::peer::{Peer, fetch, fetch_request, headers, plain, produce, records, text, topic};

/// A wall clock that is set.
#[derive(Debug, Clone, Default)]
struct Wall(Arc<AtomicI64>);

impl Clock for Wall {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall_millis(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn broker() -> (EmbeddedKafka, Peer, Wall) {
    let wall = Wall::default();
    let builder = EmbeddedKafka::builder().clock(Arc::new(wall.clone())).connections_max_idle(Duration::MAX);
    let kafka = builder.in_memory().start().await.unwrap();
    let peer = Peer::connect(&kafka, 1).await;
    (kafka, peer, wall)
}

async fn create(peer: &mut Peer, name: &str, configs: &[(&str, &str)]) -> i16 {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let wanted = CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    peer.call(5, &CreateTopicsRequest::default().with_topics(vec![wanted])).await.topics[0].error_code
}

fn keyed(pairs: &[(&str, Option<&str>)], timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(256);
    for (key, value) in pairs {
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        builder.append(RecordToWrite { timestamp, key, value, headers: &[] });
    }
    builder.build(Compression::None, ProducerStamp::NONE).unwrap()
}

fn values(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn retention_bytes_holds_at_every_append() {
    let (_kafka, mut peer, _) = broker().await;
    create(&mut peer, "small", &[("retention.bytes", "1000")]).await;
    for _ in 0..50 {
        assert_eq!(produce(&mut peer, "small", 0, plain(&[&"x".repeat(200)])).await.error_code, 0);
    }
    let gone = fetch(&mut peer, &fetch_request("small", 0, 0)).await;
    assert_eq!(gone.error_code, ResponseError::OffsetOutOfRange.code());
    let answer = produce(&mut peer, "small", 0, plain(&["last"])).await;
    let kept = fetch(&mut peer, &fetch_request("small", 0, answer.log_start_offset)).await;
    assert_eq!((kept.error_code, kept.high_watermark), (0, 51));
    let bytes = kept.records.unwrap().len();
    assert!((1000..1300).contains(&bytes), "{bytes}: one batch more than the limit at most");
}

#[tokio::test(start_paused = true)]
async fn retention_ms_holds_at_every_check() {
    let (kafka, mut peer, wall) = broker().await;
    create(&mut peer, "short", &[("retention.ms", "5000")]).await;
    produce(&mut peer, "short", 0, keyed(&[("a", Some("old"))], 1_000)).await;
    produce(&mut peer, "short", 0, keyed(&[("a", Some("new"))], 4_000)).await;
    wall.0.store(6_001, Ordering::Relaxed);
    assert_eq!(records(&fetch(&mut peer, &fetch_request("short", 0, 0)).await).len(), 2);
    tokio::time::sleep(Duration::from_secs(301)).await;
    let late = fetch(&mut peer, &fetch_request("short", 0, 0)).await;
    assert_eq!(late.error_code, ResponseError::OffsetOutOfRange.code());
    let found = fetch(&mut peer, &fetch_request("short", 0, 1)).await;
    assert_eq!((records(&found), found.log_start_offset), (values(&[(1, "new")]), 1));
    wall.0.store(60_000, Ordering::Relaxed);
    kafka.enforce_retention();
    assert_eq!(fetch(&mut peer, &fetch_request("short", 0, 2)).await.log_start_offset, 2);
}

#[tokio::test(start_paused = true)]
async fn without_retention_ms_records_stay_for_a_week_whatever_their_timestamps_say() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (_kafka, mut peer, wall) = broker().await;
    create(&mut peer, "plain", &[]).await;
    wall.0.store(1_700_000_000_000, Ordering::Relaxed);
    produce(&mut peer, "plain", 0, plain(&["of 1970"])).await;
    tokio::time::sleep(DAY * 6).await;
    assert_eq!(records(&fetch(&mut peer, &fetch_request("plain", 0, 0)).await).len(), 1);
    tokio::time::sleep(DAY + Duration::from_secs(400)).await;
    assert_eq!(fetch(&mut peer, &fetch_request("plain", 0, 1)).await.log_start_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn compaction_leaves_gaps() {
    let (kafka, mut peer, wall) = broker().await;
    let configs = [("cleanup.policy", "compact"), ("delete.retention.ms", "1000")];
    assert_eq!(create(&mut peer, "table", &configs).await, 0);
    let keyless = produce(&mut peer, "table", 0, plain(&["no key"])).await;
    assert_eq!(keyless.error_code, ResponseError::InvalidRecord.code());
    produce(&mut peer, "table", 0, keyed(&[("a", Some("1")), ("b", Some("1"))], 0)).await;
    produce(&mut peer, "table", 0, keyed(&[("a", Some("2"))], 0)).await;
    produce(&mut peer, "table", 0, keyed(&[("b", None), ("c", Some("1"))], 0)).await;
    produce(&mut peer, "table", 0, keyed(&[("a", Some("3"))], 0)).await;
    kafka.compact("table").unwrap();
    let found = fetch(&mut peer, &fetch_request("table", 0, 0)).await;
    let offsets: Vec<_> = headers(&found).iter().map(|head| (head.base_offset, head.last_offset)).collect();
    assert_eq!(offsets, [(2, 2), (3, 4), (5, 5)], "batches keep what they covered");
    assert_eq!((found.log_start_offset, found.high_watermark), (0, 6));
    wall.0.store(1_000, Ordering::Relaxed);
    kafka.compact("table").unwrap();
    let found = fetch(&mut peer, &fetch_request("table", 0, 0)).await;
    assert_eq!(records(&found), values(&[(2, "2"), (4, "1"), (5, "3")]), "the tombstone is gone");

    create(&mut peer, "plain", &[]).await;
    let not_compacted = CompactError::NotCompacted { topic: "plain".to_owned() };
    assert_eq!(kafka.compact("plain"), Err(not_compacted));
    assert!(matches!(kafka.compact("none"), Err(CompactError::UnknownTopic { .. })));
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_only_where_the_policy_deletes() {
    let (_kafka, mut peer, _) = broker().await;
    create(&mut peer, "table", &[("cleanup.policy", "compact")]).await;
    create(&mut peer, "both", &[("cleanup.policy", "compact,delete")]).await;
    let mut delete = async |name: &str, offset: i64| {
        produce(&mut peer, name, 0, keyed(&[("a", Some("1")), ("b", Some("1"))], 0)).await;
        let part = DeleteRecordsPartition::default().with_offset(offset);
        let asked = DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![part]);
        let answer = peer.call(2, &DeleteRecordsRequest::default().with_topics(vec![asked])).await;
        let part = &answer.topics[0].partitions[0];
        (part.error_code, part.low_watermark)
    };
    assert_eq!(delete("table", 1).await, (ResponseError::PolicyViolation.code(), -1));
    assert_eq!(delete("both", 1).await, (0, 1));
    assert_eq!(delete("both", -1).await, (0, 4));
    assert_eq!(delete("both", 99).await, (ResponseError::OffsetOutOfRange.code(), -1));
}

#[tokio::test(start_paused = true)]
async fn a_topics_own_codec_replaces_the_producers() {
    let (_kafka, mut peer, _) = broker().await;
    create(&mut peer, "packed", &[("compression.type", "gzip")]).await;
    create(&mut peer, "open", &[("compression.type", "uncompressed")]).await;
    let mut builder = BatchBuilder::new(256);
    builder.append(RecordToWrite { timestamp: 1, key: None, value: Some(b"value"), headers: &[] });
    let snappy = builder.build(Compression::Snappy, ProducerStamp::NONE).unwrap();
    for (name, codec) in [("packed", Codec::Gzip), ("open", Codec::None)] {
        produce(&mut peer, name, 0, snappy.clone()).await;
        let found = fetch(&mut peer, &fetch_request(name, 0, 0)).await;
        assert_eq!((headers(&found)[0].codec, records(&found)), (codec, values(&[(0, "value")])));
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_kafka_refuses_are_refused() {
    let (_kafka, mut peer, _) = broker().await;
    let invalid = ResponseError::InvalidConfig.code();
    let refused = [
        ("cleanup.policy", "shred"),
        ("retention.ms", "-2"),
        ("segment.bytes", "1000"),
        ("min.insync.replicas", "0"),
        ("max.message.bytes", "-1"),
        ("compression.type", "rar"),
        ("message.timestamp.type", "Never"),
    ];
    for (name, value) in refused {
        assert_eq!(create(&mut peer, "odd", &[(name, value)]).await, invalid, "{name}={value}");
    }
}
