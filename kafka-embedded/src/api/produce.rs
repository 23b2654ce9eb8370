//! Produce: one batch per partition, checked, stamped and appended.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_client::records::{BatchHeader, Codec};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::transactions::run;
use super::{NONE, check_leader, find_partition, find_topic, missing, text};
use crate::cluster::Node;
use crate::configs::TopicConfigs;
use crate::log::{Produced, Refusal};
use crate::producers::{Admission, Stamp, Written};
use crate::server::connection::Context;
use crate::server::dispatch::{Closed, Reply};
use crate::server::response::Response;
use crate::topics::{Partition, Topic, owned};
use crate::transaction::{Participant, Protocol};

/// Produce requests name topics by id from this version on.
const BY_ID: i16 = 13;
/// From this version on writing adds the partition to the transaction (KIP-890).
const ADDS: i16 = 12;
/// From this version on clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 11;

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
struct Terms<'r> {
    acks: i16,
    transactional_id: Option<&'r StrBytes>,
}

pub(crate) async fn produce(context: &Context, request: ProduceRequest) -> Acknowledged {
    let transactional_id = request.transactional_id.map(|id| id.0);
    let terms = Terms { acks: request.acks, transactional_id: transactional_id.as_ref() };
    let refused = refuse_all(&request.topic_data, terms);
    let topics = request.topic_data.into_iter().map(|data| one_topic(context, data, terms, refused));
    let response = ProduceResponse::default().with_responses(topics.collect());
    let endpoints = endpoints(context, &response);
    Acknowledged((terms.acks != 0).then(|| response.with_node_endpoints(endpoints)))
}

/// What is wrong with the whole request.
fn refuse_all(topics: &[TopicProduceData], terms: Terms<'_>) -> Option<ResponseError> {
    let partitions = || topics.iter().flat_map(|topic| &topic.partition_data);
    let is_transactional = |data: &PartitionProduceData| {
        let header = data.records.as_ref().map(|records| BatchHeader::parse(records));
        matches!(header, Some(Ok(Some(header))) if header.is_transactional)
    };
    if terms.transactional_id.is_none() && partitions().any(is_transactional) {
        return Some(ResponseError::TransactionalIdAuthorizationFailed);
    }
    (!(-1..=1).contains(&terms.acks)).then_some(ResponseError::InvalidRequiredAcks)
}

/// KIP-951: where the leaders are that the answer names.
fn endpoints(context: &Context, response: &ProduceResponse) -> Vec<NodeEndpoint> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let leaders: BTreeSet<i32> = partitions.map(|part| part.current_leader.leader_id.0).collect();
    let nodes = leaders.into_iter().filter_map(|id| context.cluster.live_node(id));
    let endpoint = |node: &Node| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(node.id))
            .with_host(node.host.clone())
            .with_port(i32::from(node.port))
            .with_rack(node.rack.clone())
    };
    nodes.map(endpoint).collect()
}

fn one_topic(
    context: &Context,
    data: TopicProduceData,
    terms: Terms<'_>,
    refused: Option<ResponseError>,
) -> TopicProduceResponse {
    let topic = find_topic(context, &data.name, data.topic_id, context.version >= BY_ID);
    let partitions = data.partition_data.into_iter().map(|partition| {
        let index = partition.index;
        let written = match (refused, &topic) {
            (Some(error), _) => Err(error.into()),
            (None, Ok(topic)) => append(context, topic, partition, terms),
            (None, Err(error)) => Err(missing(context, &data.name, index, *error).into()),
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

/// Where a batch went, and the log's start.
type Place = (Written, i64);

fn append(
    context: &Context,
    topic: &Topic,
    data: PartitionProduceData,
    terms: Terms<'_>,
) -> Result<Place, Refused> {
    let partition = find_partition(context, topic, data.index)?;
    let mut batch = checked(context, &topic.configs, data.records)?;
    let append_time = if topic.configs.log_append_time { context.cluster.clock.wall_millis() } else { -1 };
    if append_time >= 0 {
        batch.stamp_append_time(append_time)?;
    }
    let write = |batch: Produced, admission| {
        let mut state = partition.lock();
        check_leader(context, &state, -1)?;
        let in_sync = state.replicas.in_sync().len();
        let shrunk = in_sync < state.replicas.all().len();
        if terms.acks == -1 && shrunk && in_sync < topic.configs.min_in_sync {
            return Err(ResponseError::NotEnoughReplicas);
        }
        let written = state.append(&topic.configs, batch, append_time, admission)?;
        Ok((written, state.log.start()))
    };
    let stamp = Stamp::of(&batch.header).filter(|_| batch.header.is_transactional);
    match (stamp, terms.transactional_id) {
        (Some(stamp), Some(id)) if !is_open(context, partition, stamp)? => {
            let place = Participant::Partition(TopicName(owned(&topic.name)), data.index);
            Ok(write_admitted(context, id, stamp, place, |admission| write(batch, admission))?)
        }
        _ => Ok(write(batch, Admission::Plain)?),
    }
}

/// Whether a transaction of the producer is open in the partition.
fn is_open(context: &Context, partition: &Partition, stamp: Stamp) -> Result<bool, ResponseError> {
    let state = partition.lock();
    check_leader(context, &state, -1)?;
    Ok(state.producers.is_open(stamp.by()))
}

/// The first batch of a transaction in a partition (KIP-890): its coordinator is asked, or told from version 12 on, and
/// cannot end the transaction before the batch is in.
fn write_admitted(
    context: &Context,
    id: &str,
    stamp: Stamp,
    place: Participant,
    write: impl FnOnce(Admission) -> Result<Place, ResponseError>,
) -> Result<Place, ResponseError> {
    let protocol = if context.version >= ADDS { Protocol::Two } else { Protocol::One };
    let mut admitted = false;
    let written = run(context, id, |transaction, now| {
        let admission = match protocol {
            Protocol::One => {
                transaction.verify(stamp.by(), &place)?;
                Admission::Verified
            }
            Protocol::Two => {
                transaction.add(stamp.by(), [place], now)?;
                Admission::Added
            }
        };
        admitted = true;
        write(admission)
    });
    written.map_err(|error| match error {
        _ if admitted => error,
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if context.version < KNOWS_ABORTABLE => {
            ResponseError::InvalidTxnState
        }
        // An error that old clients retry.
        ResponseError::ConcurrentTransactions if protocol == Protocol::One => {
            ResponseError::NotEnoughReplicas
        }
        other => other,
    })
}

fn checked(context: &Context, configs: &TopicConfigs, records: Option<Bytes>) -> Result<Produced, Refused> {
    let records = records.unwrap_or_default();
    if records.len() > configs.max_message_bytes {
        return Err(ResponseError::MessageTooLarge.into());
    }
    let batch = Produced::parse(&records)?;
    let header = &batch.header;
    if header.codec == Codec::Zstd && context.version < 7 {
        return Err(ResponseError::UnsupportedCompressionType.into());
    }
    let ahead = header.max_timestamp.saturating_sub(context.cluster.clock.wall_millis());
    let in_time =
        (configs.timestamp_before_max.saturating_neg()..=configs.timestamp_after_max).contains(&ahead);
    if !configs.log_append_time && header.max_timestamp >= 0 && !in_time {
        let reason =
            "the timestamp is outside message.timestamp.before.max.ms or message.timestamp.after.max.ms";
        return Err(Refused(ResponseError::InvalidTimestamp, Some(reason.to_owned())));
    }
    if configs.compacts && !batch.has_keys()? {
        let reason = "Compacted topic cannot accept message without key".to_owned();
        return Err(Refused(ResponseError::InvalidRecord, Some(reason)));
    }
    let Some(codec) = configs.codec else { return Ok(batch) };
    let batch = batch.recompress(codec)?;
    if batch.size() > configs.max_message_bytes {
        return Err(ResponseError::MessageTooLarge.into());
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
                    .with_leader_id(BrokerId(state.replicas.leader()))
                    .with_leader_epoch(state.replicas.epoch());
            }
            response
        }
    }
}
