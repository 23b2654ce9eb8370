//! What members say to each other through the coordinator: subscriptions and assignments, as bytes of Kafka's
//! `ConsumerProtocol`, versions 0 to 3.
//!
//! ```text
//!   member ── subscription ──▶ JoinGroup ──▶ leader ── assignment ──▶ SyncGroup ──▶ member
//! ```
//!
//! Versions above 3 are read as 3 and what follows is ignored. kafka-go marks a subscription as version 1 and leaves
//! its owned partitions out; that is read too, since a leader that fails of it takes the whole group down.

use std::cmp::Ordering;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName as WireTopic,
};
use kafka_protocol::protocol::StrBytes;

use crate::ids::{TopicName, TopicPartition};
use crate::wire::{self, DecodeError, EncodeError};

/// The version that is written.
pub(super) const VERSION: i16 = 3;

/// What a member tells the leader of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberSubscription {
    pub(super) topics: Vec<TopicName>,
    /// What its assignor wants to be told again.
    pub(super) user_data: Option<Bytes>,
    /// What it holds and would like to keep (KIP-429).
    pub(super) owned: Vec<TopicPartition>,
    /// The generation that it holds them from (KIP-792).
    pub(super) generation: Option<i32>,
    /// KIP-881.
    pub(super) rack: Option<String>,
}

/// What the leader tells a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberAssignment {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) user_data: Option<Bytes>,
}

/// Java's order of strings: by UTF-16 units. It differs from Rust's above U+D7FF.
pub(super) fn java_order(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

impl MemberSubscription {
    pub(super) fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut topics = self.topics.clone();
        topics.sort_by(|one, other| java_order(one.as_str(), other.as_str()));
        let mut owned = self.owned.clone();
        owned.sort_by(|one, other| {
            java_order(one.topic.as_str(), other.topic.as_str()).then(one.partition.cmp(&other.partition))
        });
        let owned = by_topic(&owned).into_iter().map(|(topic, partitions)| {
            OwnedTopic::default().with_topic(wire_name(topic)).with_partitions(partitions)
        });
        // What the version lacks is left out.
        let message = ConsumerProtocolSubscription::default()
            .with_topics(topics.into_iter().map(|topic| StrBytes::from_static_str(topic.as_str())).collect())
            .with_user_data(self.user_data.clone())
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation.unwrap_or(-1))
            .with_rack_id(self.rack.clone().map(StrBytes::from_string));
        versioned(version, |into| wire::encode(&message, version, into))
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let (version, body) = split_version(bytes, "subscription")?;
        let read = wire::decode_part::<ConsumerProtocolSubscription>(&mut body.clone(), version);
        let message = match read {
            Err(_) if version == 1 => without_owned(body)?,
            other => other?,
        };
        let owned = message.owned_partitions.iter().flat_map(|owned| {
            let topic = TopicName::new(&owned.topic);
            owned.partitions.iter().map(move |partition| TopicPartition { topic, partition: *partition })
        });
        Ok(Self {
            topics: message.topics.iter().map(|topic| TopicName::new(topic)).collect(),
            owned: owned.collect(),
            user_data: message.user_data,
            generation: Some(message.generation_id).filter(|generation| *generation >= 0),
            rack: message.rack_id.map(|rack| rack.to_string()).filter(|rack| !rack.is_empty()),
        })
    }
}

/// kafka-go's version 1: nothing at all after the user data.
fn without_owned(mut body: Bytes) -> Result<ConsumerProtocolSubscription, DecodeError> {
    let message = wire::decode_part(&mut body, 0)?;
    match body.has_remaining() {
        false => Ok(message),
        true => Err(DecodeError("subscription v1: its owned partitions cannot be read".into())),
    }
}

impl MemberAssignment {
    pub(super) fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let assigned = by_topic(&self.partitions).into_iter().map(|(topic, partitions)| {
            AssignedTopic::default().with_topic(wire_name(topic)).with_partitions(partitions)
        });
        let message = ConsumerProtocolAssignment::default()
            .with_assigned_partitions(assigned.collect())
            .with_user_data(self.user_data.clone());
        versioned(version, |into| wire::encode(&message, version, into))
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let (version, mut body) = split_version(bytes, "assignment")?;
        let message = wire::decode_part::<ConsumerProtocolAssignment>(&mut body, version)?;
        let partitions = message.assigned_partitions.iter().flat_map(|assigned| {
            let topic = TopicName::new(&assigned.topic);
            assigned.partitions.iter().map(move |partition| TopicPartition { topic, partition: *partition })
        });
        Ok(Self { partitions: partitions.collect(), user_data: message.user_data })
    }
}

/// Partitions grouped by topic, topics in the order of their first appearance.
pub(super) fn by_topic(partitions: &[TopicPartition]) -> Vec<(TopicName, Vec<i32>)> {
    let mut places = std::collections::HashMap::new();
    let mut grouped: Vec<(TopicName, Vec<i32>)> = Vec::new();
    for partition in partitions {
        let place = *places.entry(partition.topic).or_insert_with(|| {
            grouped.push((partition.topic, Vec::new()));
            grouped.len() - 1
        });
        if let Some((_, numbers)) = grouped.get_mut(place) {
            numbers.push(partition.partition);
        }
    }
    grouped
}

/// A name as messages have it; interned text needs no copy.
pub(super) fn wire_name(topic: TopicName) -> WireTopic {
    WireTopic(StrBytes::from_static_str(topic.as_str()))
}

fn versioned(
    version: i16,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<Bytes, EncodeError> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    body(&mut bytes)?;
    Ok(bytes.freeze())
}

fn split_version(mut bytes: Bytes, what: &str) -> Result<(i16, Bytes), DecodeError> {
    match bytes.try_get_i16() {
        Ok(version @ 0..) => Ok((version.min(VERSION), bytes)),
        Ok(version) => Err(DecodeError(format!("{what}: there is no version {version}"))),
        Err(_) => Err(DecodeError(format!("{what}: {} bytes are too few", bytes.len()))),
    }
}

#[cfg(test)]
mod tests;
