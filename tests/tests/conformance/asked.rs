//! Requests in few words.

use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, GroupId, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::kafka::Topic;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

/// The timestamp of a batch's first record.
const FIRST_TIME: i64 = 1000;

/// One record for each value in one batch, the first at timestamp 1000, each later by 10.
pub(crate) fn batch(values: &[&str], stamp: ProducerStamp, compression: Compression) -> Bytes {
    batch_at(FIRST_TIME, values, stamp, compression)
}

/// The same from another time on.
pub(crate) fn batch_at(time: i64, values: &[&str], stamp: ProducerStamp, compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(256);
    for (timestamp, value) in (time..).step_by(10).zip(values) {
        builder.append(RecordToWrite { timestamp, key: None, value: Some(value.as_bytes()), headers: &[] });
    }
    builder.build(compression, stamp).unwrap()
}

pub(crate) fn plain(values: &[&str]) -> Bytes {
    batch(values, ProducerStamp::NONE, Compression::None)
}

/// From here on Produce and Fetch name topics by id.
const BY_ID: i16 = 13;

/// Records for one partition, by name or id as the version has it; acks all.
pub(crate) fn produce(version: i16, topic: &Topic, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let data = TopicProduceData::default().with_partition_data(vec![data]);
    let data = match version {
        BY_ID.. => data.with_topic_id(topic.id),
        _ => data.with_name(topic_name(&topic.name)),
    };
    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data])
}

/// A partition's part of a fetch: from `offset`, a megabyte at most.
pub(crate) fn part(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

/// A fetch of these parts of one topic, without a session, that does not wait.
pub(crate) fn fetch(version: i16, topic: &Topic, parts: Vec<FetchPartition>) -> FetchRequest {
    let named = FetchTopic::default().with_partitions(parts);
    let named = match version {
        BY_ID.. => named.with_topic_id(topic.id),
        _ => named.with_topic(topic_name(&topic.name)),
    };
    FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![named])
}
