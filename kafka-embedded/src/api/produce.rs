//! Produce: one batch per partition, checked, stamped and appended.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_client::records::Codec;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};

use super::{NONE, check_leader, find_partition, find_topic, text};
use crate::cluster::Node;
use crate::configs::TopicConfigs;
use crate::log::{Produced, Refusal};
use crate::producers::{Stamp, Verdict, Written};
use crate::server::connection::Context;
use crate::server::dispatch::{Closed, Reply};
use crate::server::response::Response;
use crate::topics::Topic;

/// Produce requests name topics by id from this version on.
const BY_ID: i16 = 13;

/// The answer; none is sent to a request with acks 0.
pub(crate) struct Acknowledged(Option<ProduceResponse>);

impl Reply for Acknowledged {
    fn write(&self, into: &mut Response, version: i16) -> Result<bool, Closed> {
        match &self.0 {
            Some(response) => response.write(into, version),
            None => Ok(false),
        }
    }
}

/// An error, and what to say about it.
struct Refused(ResponseError, Option<String>);

impl From<ResponseError> for Refused {
    fn from(error: ResponseError) -> Self {
        Self(error, None)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Corrupt => Self(ResponseError::CorruptMessage, None),
            Refusal::InvalidRecord(reason) => Self(ResponseError::InvalidRecord, Some(reason)),
        }
    }
}

/// What all partitions of a request share.
#[derive(Debug, Clone, Copy)]
struct Terms {
    acks: i16,
    /// Whether it names a transactional id.
    transactional: bool,
}

pub(crate) async fn produce(context: &Context, request: ProduceRequest) -> Acknowledged {
    let terms = Terms { acks: request.acks, transactional: request.transactional_id.is_some() };
    let topics = request.topic_data.into_iter().map(|data| one_topic(context, data, terms));
    let response = ProduceResponse::default().with_responses(topics.collect());
    let endpoints = endpoints(context, &response);
    Acknowledged((terms.acks != 0).then(|| response.with_node_endpoints(endpoints)))
}

/// KIP-951: where the leaders are that the answer names.
fn endpoints(context: &Context, response: &ProduceResponse) -> Vec<NodeEndpoint> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let leaders: BTreeSet<i32> = partitions.map(|part| part.current_leader.leader_id.0).collect();
    let nodes = leaders.into_iter().filter_map(|id| context.cluster.node(id));
    let endpoint = |node: &Node| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(node.id))
            .with_host(node.host.clone())
            .with_port(i32::from(node.port))
    };
    nodes.map(endpoint).collect()
}

fn one_topic(context: &Context, data: TopicProduceData, terms: Terms) -> TopicProduceResponse {
    let topic = find_topic(context, &data.name, data.topic_id, context.version >= BY_ID);
    let partitions = data.partition_data.into_iter().map(|partition| {
        let index = partition.index;
        let written = match &topic {
            _ if !(-1..=1).contains(&terms.acks) => Err(ResponseError::InvalidRequiredAcks.into()),
            Ok(topic) => append(context, topic, partition, terms),
            Err(error) => Err(Refused(*error, None)),
        };
        answer(context, topic.as_deref().ok(), index, written)
    });
    let partitions = partitions.collect();
    let response = TopicProduceResponse::default().with_partition_responses(partitions);
    if context.version >= BY_ID {
        response.with_topic_id(data.topic_id)
    } else {
        response.with_name(data.name)
    }
}

/// Where the batch went, and the log's start.
fn append(
    context: &Context,
    topic: &Topic,
    data: PartitionProduceData,
    terms: Terms,
) -> Result<(Written, i64), Refused> {
    let partition = find_partition(context, topic, data.index)?;
    let mut batch = checked(context, &topic.configs, data.records, terms)?;
    let stamp = Stamp::of(&batch.header);
    let append_time = if topic.configs.log_append_time { context.cluster.clock.wall_millis() } else { -1 };
    if append_time >= 0 {
        batch.stamp_append_time(append_time)?;
    }
    let mut state = partition.lock();
    check_leader(context, &state, -1)?;
    if let Some(stamp) = stamp {
        match state.producers.check(stamp) {
            Verdict::Append => {}
            Verdict::Duplicate(written) => return Ok((written, state.log.start())),
            Verdict::OutOfOrder => return Err(ResponseError::OutOfOrderSequenceNumber.into()),
            Verdict::Fenced => return Err(ResponseError::InvalidProducerEpoch.into()),
        }
    }
    let epoch = state.leader_epoch;
    let written = Written { base_offset: state.log.append(batch, epoch), append_time };
    if let Some(stamp) = stamp {
        state.producers.written(stamp, written);
    }
    state.changed();
    Ok((written, state.log.start()))
}

fn checked(
    context: &Context,
    configs: &TopicConfigs,
    records: Option<Bytes>,
    terms: Terms,
) -> Result<Produced, Refused> {
    let records = records.unwrap_or_default();
    if records.len() > configs.max_message_bytes {
        return Err(ResponseError::MessageTooLarge.into());
    }
    let batch = Produced::parse(&records)?;
    let header = &batch.header;
    if header.codec == Codec::Zstd && context.version < 7 {
        return Err(ResponseError::UnsupportedCompressionType.into());
    }
    if header.is_transactional {
        // No transaction is ever open, and a request that names none may not even ask.
        return Err(match terms.transactional {
            true => ResponseError::InvalidTxnState.into(),
            false => ResponseError::TransactionalIdAuthorizationFailed.into(),
        });
    }
    let ahead = header.max_timestamp.saturating_sub(context.cluster.clock.wall_millis());
    let in_time =
        (configs.timestamp_before_max.saturating_neg()..=configs.timestamp_after_max).contains(&ahead);
    if !configs.log_append_time && header.max_timestamp >= 0 && !in_time {
        let reason =
            "the timestamp is outside message.timestamp.before.max.ms or message.timestamp.after.max.ms";
        return Err(Refused(ResponseError::InvalidTimestamp, Some(reason.to_owned())));
    }
    Ok(batch)
}

fn answer(
    context: &Context,
    topic: Option<&Topic>,
    index: i32,
    written: Result<(Written, i64), Refused>,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match written {
        Ok((written, log_start)) => response
            .with_error_code(NONE)
            .with_base_offset(written.base_offset)
            .with_log_append_time_ms(written.append_time)
            .with_log_start_offset(log_start),
        Err(Refused(error, reason)) => {
            let mut response =
                response.with_error_code(error.code()).with_base_offset(-1).with_log_append_time_ms(-1);
            if let (Some(reason), 8..) = (reason, context.version) {
                response.error_message = text(reason);
            }
            let leader = topic.and_then(|topic| topic.partition(index)).map(|partition| partition.lock());
            if let (ResponseError::NotLeaderOrFollower, Some(state), 10..) = (error, leader, context.version)
            {
                response.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(state.leader))
                    .with_leader_epoch(state.leader_epoch);
            }
            response
        }
    }
}
