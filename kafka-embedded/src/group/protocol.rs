//! What consumers of the classic protocol write into their metadata and assignments: the coordinator of a group in
//! which both kinds of members are reads and writes it too.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_client::wire::{decode_part, encode};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use std::collections::BTreeMap;

/// What consumers call their protocol type.
pub(crate) const CONSUMER: &str = "consumer";
/// A later version is read as this one, with the rest ignored.
const HIGHEST: i16 = 3;

/// A consumer's subscription, if it is one.
pub(crate) fn subscription(mut metadata: Bytes) -> Option<ConsumerProtocolSubscription> {
    let version = metadata.try_get_i16().ok()?;
    decode_part(&mut metadata, version.clamp(0, HIGHEST)).ok()
}

/// The version in which a consumer writes, and wants to be written to.
pub(super) fn version(mut metadata: Bytes) -> i16 {
    metadata.try_get_i16().unwrap_or(0).clamp(0, HIGHEST)
}

/// The partitions of an assignment; none where it is no consumer's.
pub(super) fn assigned(mut assignment: Bytes) -> Vec<(TopicName, Vec<i32>)> {
    let Ok(version) = assignment.try_get_i16() else { return Vec::new() };
    let assignment: Option<ConsumerProtocolAssignment> =
        decode_part(&mut assignment, version.clamp(0, HIGHEST)).ok();
    let topics = assignment.map(|assignment| assignment.assigned_partitions).unwrap_or_default();
    topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect()
}

/// These partitions as a consumer reads them.
pub(super) fn assignment(topics: BTreeMap<TopicName, Vec<i32>>, version: i16) -> Bytes {
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| TopicPartition::default().with_topic(name).with_partitions(partitions));
    let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect());
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    match encode(&assignment, version, &mut bytes) {
        Ok(()) => bytes.freeze(),
        // Nothing in it can be too long: it came in over the wire.
        Err(_) => Bytes::new(),
    }
}
