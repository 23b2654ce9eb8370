//! Batches that cannot be read: not a value that cannot be decoded, but bytes that are no records.

use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{MetadataRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_runtime::container::{HealthStatus, PartitionPhase};
use tests::{Wire, eventually};

use super::*;

/// Where the checksum of a batch stands, and from where on it counts.
const CHECKSUM: usize = 17;
const COVERED: usize = 21;

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A good record, one with a header whose name is not UTF-8, and a good one: a batch with a true checksum.
fn half_readable() -> Bytes {
    const NAME: &str = "a name";
    let mut builder = BatchBuilder::new(256);
    for (value, headers) in [("good", &[][..]), ("bad", &[(NAME, None)][..]), ("lost", &[][..])] {
        builder.append(RecordToWrite { timestamp: 0, key: None, value: Some(value.as_bytes()), headers });
    }
    let mut batch = builder.build(Compression::None, ProducerStamp::NONE).unwrap().to_vec();
    let at = batch.windows(NAME.len()).position(|found| found == NAME.as_bytes()).unwrap();
    batch[at] = 0xff;
    let checksum = crc32c(&batch[COVERED..]);
    batch[CHECKSUM..COVERED].copy_from_slice(&checksum.to_be_bytes());
    batch.into()
}

/// Produces the batch as it is; its first offset.
async fn produce(stage: &Stage, partition: i32, batch: Bytes) -> i64 {
    let name = || TopicName(StrBytes::from_string(stage.topic.clone()));
    let topic = MetadataRequestTopic::default().with_name(Some(name()));
    let asked = MetadataRequest::default().with_topics(Some(vec![topic]));
    let bootstrap = stage.cluster.bootstrap().split(',').next().unwrap();
    let known = Wire::connect(bootstrap).await.ask(9, &asked).await;
    let found = known.topics[0].partitions.iter().find(|found| found.partition_index == partition).unwrap();
    let leader = known.brokers.iter().find(|broker| broker.node_id == found.leader_id).unwrap();
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let data = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
    let mut wire = Wire::connect(&format!("{}:{}", leader.host.as_str(), leader.port)).await;
    let answer = wire.ask(9, &request).await.responses.remove(0).partition_responses.remove(0);
    assert_eq!(answer.error_code, 0, "{answer:?}");
    answer.base_offset
}

async fn stops_its_partition_until_a_seek(settings: &str) {
    let stage = Stage::new().await;
    let more = format!("  listeners: {{steered: {{{settings}, on-exhausted: dead-letter}}}}\n");
    let app = stage.app(&["steered"], &more).await;
    let mut events = app.listeners().events();
    assert_eq!(produce(&stage, 1, half_readable()).await, 0);
    stage.send(&app, "behind", 1).await;
    let stopped = |kind| match kind {
        EventKind::PartitionStopped { partition, cause } => Some((partition, cause)),
        _ => None,
    };
    let (partition, cause) = event(&mut events, stopped).await;
    assert_eq!(partition, stage.partition(1));
    assert!(cause.contains("at offset 1: ") && cause.contains("a header name that is not UTF-8"), "{cause}");
    // The record before it, and other partitions; nothing behind it.
    stage.probe.at_least(3, LIMIT).await;
    assert_eq!(stage.probe.offsets(), [(0, vec![0]), (1, vec![0]), (2, vec![0])].into());
    let status = || app.status()[0].partitions[1].clone();
    eventually("it rests at the bad record", LIMIT, || async {
        status().committed == Some(1) && status().phase == PartitionPhase::Stopped
    })
    .await;
    assert_eq!(app.health().status, HealthStatus::Down);

    let steered = app.listeners().get("steered").unwrap();
    steered.resume_partition(partition).await.unwrap();
    assert_eq!(event(&mut events, stopped).await, (partition, cause), "it is read again, and is no better");
    // Within the batch nothing is found behind it: what stands before a record has to be read.
    steered.seek(partition, StartAt::Offset(2)).await.unwrap();
    assert_eq!(event(&mut events, stopped).await.0, partition);
    steered.seek(partition, StartAt::Offset(3)).await.unwrap();
    stage.probe.at_least(4, LIMIT).await;
    assert_eq!(stage.probe.offsets()[&1], [0, 3]);
    eventually("it goes on", LIMIT, || async { app.health().status == HealthStatus::Up }).await;
    let counts = status().counts;
    assert_eq!((counts.dead_lettered, counts.skipped), (0, 0), "{counts:?}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_read_stops_its_partition_until_a_seek() {
    stops_its_partition_until_a_seek("ordering: partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_read_stops_its_partition_until_a_seek_side_by_side() {
    stops_its_partition_until_a_seek("ordering: key, concurrency: 4").await;
}
