//! ListOffsets and OffsetForLeaderEpoch.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use uuid::Uuid;

use super::{NONE, check_leader, find_partition, find_topic};
use crate::log::{Batch, Found, Log};
use crate::server::connection::Context;
use crate::topics::Topic;

/// What stands for a timestamp.
mod special {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const MAX_TIMESTAMP: i64 = -3;
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    pub(super) const LATEST_TIERED: i64 = -5;
}

pub(crate) async fn list(context: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = find_topic(context, &asked.name, Uuid::nil(), false);
        let partitions = asked.partitions.iter().map(|partition| {
            let found = topic.as_ref().map_err(|error| *error);
            answer(context, partition, found.and_then(|topic| one(context, topic, partition)))
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
) -> Result<Option<Found>, ResponseError> {
    let state = find_partition(topic, asked.partition_index)?.lock();
    check_leader(context, &state, asked.current_leader_epoch)?;
    let log = &state.log;
    let bare = |offset, epoch| Some(Found { offset, timestamp: -1, leader_epoch: epoch });
    Ok(match asked.timestamp {
        special::LATEST => bare(log.end(), state.leader_epoch),
        special::EARLIEST | special::EARLIEST_LOCAL => {
            bare(log.start(), log.epoch_at(log.start()).unwrap_or(state.leader_epoch))
        }
        special::MAX_TIMESTAMP => by_max_time(log),
        special::LATEST_TIERED => None,
        timestamp if timestamp >= 0 => by_time(log, timestamp),
        _ => return Err(ResponseError::UnsupportedVersion),
    })
}

fn by_time(log: &Log, timestamp: i64) -> Option<Found> {
    log.batch_at_time(timestamp).map(|batch| first_in(log, batch, timestamp))
}

fn by_max_time(log: &Log) -> Option<Found> {
    log.batch_of_max_time().map(|batch| first_in(log, batch, batch.max_timestamp()))
}

fn first_in(log: &Log, batch: &Batch, timestamp: i64) -> Found {
    let _ = timestamp;
    Found {
        offset: batch.base_offset().max(log.start()),
        timestamp: batch.max_timestamp(),
        leader_epoch: batch.leader_epoch(),
    }
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
