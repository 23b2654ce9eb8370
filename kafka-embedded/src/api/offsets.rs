//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use uuid::Uuid;

use super::topics::each_once;
use super::{NONE, check_leader, find_partition, find_topic, missing};
use crate::log::{Found, OutOfRange};
use crate::partition::Isolation;
use crate::server::connection::Context;
use crate::topics::Topic;

/// What stands for a timestamp.
mod special {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const MAX_TIMESTAMP: i64 = -3;
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    pub(super) const LATEST_TIERED: i64 = -5;

    /// The version of ListOffsets from which on it has a meaning.
    pub(super) fn known_from(timestamp: i64) -> i16 {
        match timestamp {
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            _ => i16::MAX,
        }
    }
}

pub(crate) async fn list(context: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = Isolation::of(request.isolation_level);
    let topics = request.topics.into_iter().map(|asked| {
        let topic = find_topic(context, &asked.name, Uuid::nil(), false);
        let (each, twice) = each_once(&asked.partitions, |partition| partition.partition_index);
        let partitions = each.into_iter().map(|partition| {
            let found = match &topic {
                _ if twice.contains(&partition.partition_index) => Err(ResponseError::InvalidRequest),
                Ok(topic) => one(context, topic, partition, isolation),
                Err(error) => Err(missing(context, &asked.name, partition.partition_index, *error)),
            };
            answer(context, partition, found)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(asked.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn one(
    context: &Context,
    topic: &Topic,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<Found>, ResponseError> {
    let state = find_partition(context, topic, asked.partition_index)?.lock();
    check_leader(context, &state, asked.current_leader_epoch)?;
    if asked.timestamp < special::EARLIEST && context.version < special::known_from(asked.timestamp) {
        return Err(ResponseError::UnsupportedVersion);
    }
    let log = &state.log;
    let bare = |offset, epoch| Some(Found { offset, timestamp: -1, leader_epoch: epoch });
    let end = state.readable_until(isolation);
    let readable = |found: &Found| found.offset < end;
    Ok(match asked.timestamp {
        special::LATEST => bare(end, state.replicas.epoch()),
        special::EARLIEST | special::EARLIEST_LOCAL => {
            bare(log.start(), log.epoch_at(log.start()).unwrap_or(state.replicas.epoch()))
        }
        special::MAX_TIMESTAMP => log.at_max_time().filter(readable),
        special::LATEST_TIERED => None,
        timestamp if timestamp >= 0 => log.at_time(timestamp).filter(readable),
        _ => return Err(ResponseError::UnsupportedVersion),
    })
}

fn answer(
    context: &Context,
    asked: &ListOffsetsPartition,
    found: Result<Option<Found>, ResponseError>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(-1)
        .with_offset(-1)
        .with_leader_epoch(-1);
    match found {
        Ok(None) => response.with_error_code(NONE),
        Ok(Some(found)) => {
            let epoch = if context.version >= 4 { found.leader_epoch } else { -1 };
            response
                .with_error_code(NONE)
                .with_timestamp(found.timestamp)
                .with_offset(found.offset)
                .with_leader_epoch(epoch)
        }
        Err(error) => response.with_error_code(error.code()),
    }
}

pub(crate) async fn for_leader_epoch(
    context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = find_topic(context, &asked.topic, Uuid::nil(), false);
        let end = |partition: &OffsetForLeaderPartition| {
            let index = partition.partition;
            let topic = topic.as_ref().map_err(|error| missing(context, &asked.topic, index, *error))?;
            let state = find_partition(context, topic, index)?.lock();
            check_leader(context, &state, partition.current_leader_epoch)?;
            Ok::<_, ResponseError>(state.log.end_of_epoch(partition.leader_epoch).unwrap_or((-1, -1)))
        };
        let partitions = asked.partitions.iter().map(|partition| {
            let response = EpochEndOffset::default().with_partition(partition.partition);
            match end(partition) {
                Ok((epoch, offset)) => {
                    response.with_error_code(NONE).with_leader_epoch(epoch).with_end_offset(offset)
                }
                Err(error) => response.with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(asked.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// What stands for the end of the log in DeleteRecords.
const TO_THE_END: i64 = -1;

pub(crate) async fn delete_records(
    context: &Context,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = find_topic(context, &asked.name, Uuid::nil(), false);
        let delete = |index: i32, offset: i64| {
            let topic = topic.as_ref().map_err(|error| missing(context, &asked.name, index, *error))?;
            let mut state = find_partition(context, topic, index)?.lock();
            check_leader(context, &state, -1)?;
            if !topic.configs.deletes {
                return Err(ResponseError::PolicyViolation);
            }
            let offset = if offset == TO_THE_END { state.log.end() } else { offset };
            state.log.delete_before(offset).map_err(|OutOfRange| ResponseError::OffsetOutOfRange)?;
            Ok::<i64, ResponseError>(state.log.start())
        };
        let partitions = asked.partitions.iter().map(|partition| {
            let (error, low) = match delete(partition.partition_index, partition.offset) {
                Ok(low) => (NONE, low),
                Err(error) => (error.code(), -1),
            };
            DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error)
                .with_low_watermark(low)
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(asked.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
