//! Fetch answers, taken apart: by partition, and each part by the headers of its batches.

use bytes::Bytes;
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::{ResponseError, error::ParseResponseErrorCode};

use super::aborted::Aborted;
use super::request::BY_ID;
use super::slot::Position;
use crate::config::IsolationLevel;
use crate::ids::{TopicName, TopicPartition};
use crate::records::{Batches, RecordError};

/// What an answer says of one partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: TopicPartition,
    pub(crate) code: Option<ResponseError>,
    /// The follower to read from instead (KIP-392).
    pub(crate) preferred: Option<i32>,
    /// High watermark, or last stable offset under `read_committed`.
    pub(crate) end_offset: i64,
    pub(crate) aborted: Option<Aborted>,
    pub(crate) records: Bytes,
}

/// The partitions of an answer. Those of a topic that `name_of` does not know are left out.
pub(crate) fn parts(
    response: FetchResponse,
    version: i16,
    isolation: IsolationLevel,
    name_of: impl Fn(u128) -> Option<TopicName>,
) -> Vec<Part> {
    let mut parts = Vec::with_capacity(response.responses.iter().map(|topic| topic.partitions.len()).sum());
    for topic in response.responses {
        let name = if version >= BY_ID {
            name_of(topic.topic_id.as_u128())
        } else {
            Some(TopicName::new(&topic.topic))
        };
        let Some(name) = name else { continue };
        parts.extend(topic.partitions.into_iter().map(|data| part(name, data, isolation)));
    }
    parts
}

fn part(topic: TopicName, data: PartitionData, isolation: IsolationLevel) -> Part {
    let (end_offset, aborted) = match isolation {
        IsolationLevel::ReadUncommitted => (data.high_watermark, None),
        IsolationLevel::ReadCommitted => {
            let listed = data.aborted_transactions.unwrap_or_default();
            let listed =
                listed.into_iter().map(|transaction| (transaction.producer_id.0, transaction.first_offset));
            (data.last_stable_offset, Some(Aborted::new(listed)))
        }
    };
    Part {
        partition: TopicPartition { topic, partition: data.partition_index },
        code: data.error_code.err(),
        preferred: (data.preferred_read_replica.0 >= 0).then_some(data.preferred_read_replica.0),
        end_offset,
        aborted,
        records: data.records.unwrap_or_default(),
    }
}

/// What the headers of a partition's batches say.
#[derive(Debug)]
pub(crate) struct Extent {
    /// The position behind the last whole batch.
    pub(crate) next: Position,
    /// Why the batch there cannot even be delimited.
    pub(crate) broken: Option<RecordError>,
}

/// Goes over the batches without opening them.
pub(crate) fn extent(records: &Bytes, from: Position) -> Extent {
    let mut batches = Batches::new(records.clone(), false);
    let mut next = from;
    loop {
        match batches.peek_header() {
            Ok(Some(header)) => {
                next = Position { offset: header.next_offset(), leader_epoch: header.leader_epoch };
                batches.skip_batch();
            }
            Ok(None) => return Extent { next, broken: None },
            Err(error) => return Extent { next, broken: Some(error) },
        }
    }
}
