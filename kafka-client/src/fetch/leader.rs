//! Questions to a partition's leader: where an offset is (ListOffsets), and whether a position is in its log
//! (OffsetForLeaderEpoch, KIP-320). One request for all partitions of a broker.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName as WireName,
};

use super::request::{grouped, isolation_code, wire_name};
use super::reset::Target;
use super::slot::Position;
use crate::config::IsolationLevel;
use crate::error::Result;
use crate::ids::{TopicName, TopicPartition};
use crate::net::{Pool, Purpose};

/// An offset to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sought {
    pub(crate) partition: TopicPartition,
    pub(crate) leader_epoch: i32,
    pub(crate) target: Target,
}

/// A position to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubted {
    pub(crate) partition: TopicPartition,
    pub(crate) leader_epoch: i32,
    /// Leader epoch of the last record that was read.
    pub(crate) read_epoch: i32,
}

/// What a leader says of a partition.
pub(crate) type Told = (TopicPartition, Result<Position, ResponseError>);

/// The first version of ListOffsets that takes the reader's leader epoch.
const LIST_WITH_EPOCH: i16 = 4;
/// The first that takes an isolation level.
const LIST_WITH_ISOLATION: i16 = 2;
/// The first that takes a deadline of the broker's own.
const LIST_WITH_TIMEOUT: i16 = 10;
/// The first version of OffsetForLeaderEpoch that takes who asks.
const EPOCH_WITH_REPLICA: i16 = 3;

/// Asks `broker` for offsets. An offset of -1 is "none" (no record as late as that).
pub(crate) async fn list_offsets(
    pool: &Pool,
    broker: i32,
    sought: &[Sought],
    isolation: IsolationLevel,
    deadline: Duration,
) -> Result<Vec<Told>> {
    let connection = pool.broker(broker, Purpose::Control).await?;
    let answer = connection
        .call::<ListOffsetsRequest>(deadline, |version| list_request(sought, isolation, deadline, version))
        .await?;
    let topics = answer.body.topics.into_iter().map(|topic| (topic.name, topic.partitions));
    Ok(flattened(topics, |data: ListOffsetsPartitionResponse| {
        let position = Position { offset: data.offset, leader_epoch: data.leader_epoch };
        (data.partition_index, data.error_code, position)
    }))
}

/// Asks `broker` where the leader epochs of positions end in its log; -1 where it knows nothing of them.
pub(crate) async fn epoch_ends(
    pool: &Pool,
    broker: i32,
    doubted: &[Doubted],
    deadline: Duration,
) -> Result<Vec<Told>> {
    let connection = pool.broker(broker, Purpose::Control).await?;
    let answer = connection
        .call::<OffsetForLeaderEpochRequest>(deadline, |version| epoch_request(doubted, version))
        .await?;
    let topics = answer.body.topics.into_iter().map(|topic| (topic.topic, topic.partitions));
    Ok(flattened(topics, |data| {
        let position = Position { offset: data.end_offset, leader_epoch: data.leader_epoch };
        (data.partition, data.error_code, position)
    }))
}

fn flattened<D>(
    topics: impl Iterator<Item = (WireName, Vec<D>)>,
    read: impl Fn(D) -> (i32, i16, Position),
) -> Vec<Told> {
    let mut told = Vec::new();
    for (name, partitions) in topics {
        let topic = TopicName::new(&name);
        told.extend(partitions.into_iter().map(|data| {
            let (partition, code, position) = read(data);
            (TopicPartition { topic, partition }, code.err().map_or(Ok(position), Err))
        }));
    }
    told
}

fn list_request(
    sought: &[Sought],
    isolation: IsolationLevel,
    deadline: Duration,
    version: i16,
) -> ListOffsetsRequest {
    let partitions = sought.iter().map(|sought| {
        let mut entry = ListOffsetsPartition::default();
        entry.partition_index = sought.partition.partition;
        if version >= LIST_WITH_EPOCH {
            entry.current_leader_epoch = sought.leader_epoch;
        }
        entry.timestamp = match sought.target {
            Target::Latest => -1,
            Target::Earliest => -2,
            Target::Timestamp(millis) => millis,
        };
        (sought.partition.topic, entry)
    });
    let mut request = ListOffsetsRequest::default();
    request.replica_id = BrokerId(-1);
    if version >= LIST_WITH_ISOLATION {
        request.isolation_level = isolation_code(isolation);
    }
    if version >= LIST_WITH_TIMEOUT {
        request.timeout_ms = i32::try_from(deadline.as_millis()).unwrap_or(i32::MAX);
    }
    let topic = |(name, partitions)| {
        let mut topic = ListOffsetsTopic::default();
        topic.name = wire_name(name);
        topic.partitions = partitions;
        topic
    };
    request.topics = grouped(partitions).into_iter().map(topic).collect();
    request
}

fn epoch_request(doubted: &[Doubted], version: i16) -> OffsetForLeaderEpochRequest {
    let partitions = doubted.iter().map(|doubted| {
        let mut entry = OffsetForLeaderPartition::default();
        entry.partition = doubted.partition.partition;
        entry.current_leader_epoch = doubted.leader_epoch;
        entry.leader_epoch = doubted.read_epoch;
        (doubted.partition.topic, entry)
    });
    let mut request = OffsetForLeaderEpochRequest::default();
    if version >= EPOCH_WITH_REPLICA {
        request.replica_id = BrokerId(-1);
    }
    let topic = |(name, partitions)| {
        let mut topic = OffsetForLeaderTopic::default();
        topic.topic = wire_name(name);
        topic.partitions = partitions;
        topic
    };
    request.topics = grouped(partitions).into_iter().map(topic).collect();
    request
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::Encodable;

    use super::*;

    #[test]
    fn every_version_can_be_encoded() {
        let partition = TopicPartition::new("orders", 3);
        let sought = [Sought { partition, leader_epoch: 4, target: Target::Timestamp(7) }];
        for version in 1..=10 {
            let request =
                list_request(&sought, IsolationLevel::ReadCommitted, Duration::from_secs(30), version);
            assert_eq!(request.topics[0].partitions[0].timestamp, 7);
            request.encode(&mut BytesMut::new(), version).unwrap();
        }
        let doubted = [Doubted { partition, leader_epoch: 4, read_epoch: 3 }];
        for version in 2..=4 {
            epoch_request(&doubted, version).encode(&mut BytesMut::new(), version).unwrap();
        }
    }
}
