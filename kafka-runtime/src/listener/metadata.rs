//! Where a record comes from.

use std::time::{Duration, SystemTime};

use kafka_client::TopicName;
use kafka_client::records::TimestampType;

use super::Delivery;

/// Where a record comes from, and which try this is. `Copy`: it owns nothing and counts nothing.
///
/// In a batch listener the argument describes the first record; topic and partition hold for all of them, and
/// [`Batch::items`](super::Batch::items) has each record's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    pub(super) topic: TopicName,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) timestamp_type: TimestampType,
    pub(super) leader_epoch: i32,
    pub(super) attempt: u32,
    pub(super) listener: &'static str,
}

impl Metadata {
    /// The metadata of a record that was never on a wire, to call a handler in a test of its own: first attempt, no
    /// timestamp, no listener.
    #[must_use]
    pub fn at(topic: &str, partition: i32, offset: i64) -> Self {
        Self {
            topic: TopicName::new(topic),
            partition,
            offset,
            timestamp: -1,
            timestamp_type: TimestampType::None,
            leader_epoch: -1,
            attempt: 1,
            listener: "",
        }
    }

    #[inline]
    pub(super) fn of(delivery: &Delivery<'_>) -> Self {
        let header = delivery.batch.batch().header();
        Self {
            topic: delivery.partition.topic,
            partition: delivery.partition.partition,
            offset: delivery.record.offset,
            timestamp: delivery.record.timestamp,
            timestamp_type: header.timestamp_type,
            leader_epoch: header.leader_epoch,
            attempt: delivery.attempt,
            listener: delivery.listener,
        }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        self.topic.as_str()
    }

    /// The partition's number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The record's offset in its partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// When the record was made or appended, see [`Metadata::timestamp_type`]; `None` where the record has no time.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        let millis = u64::try_from(self.timestamp).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }

    /// The timestamp as the record has it: milliseconds since 1970, -1 for none.
    #[must_use]
    pub fn timestamp_millis(&self) -> i64 {
        self.timestamp
    }

    /// Who set the timestamp: the producer, or the broker.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// The epoch of the leader that appended the record; `None` where the broker does not say.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<i32> {
        (self.leader_epoch >= 0).then_some(self.leader_epoch)
    }

    /// 1 at the first try of this record, 2 at the second.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The listener's id.
    #[must_use]
    pub fn listener(&self) -> &'static str {
        self.listener
    }
}
