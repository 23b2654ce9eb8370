//! What each request leads to: one file per family, each handler `(context, request) -> answer`.

pub(crate) mod broker_configs;
pub(crate) mod config_resources;
pub(crate) mod configs;
pub(crate) mod consumer_groups;
pub(crate) mod coordinator;
pub(crate) mod fetch;
pub(crate) mod group_offsets;
pub(crate) mod groups;
pub(crate) mod leaders;
pub(crate) mod membership;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod producers;
pub(crate) mod topic_partitions;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod txn_offsets;
pub(crate) mod versions;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::faults::allowed;
use crate::server::connection::Context;
use crate::topics::{Partition, PartitionState, Topic};

/// No error.
pub(crate) const NONE: i16 = 0;

/// A result's error code.
pub(crate) fn code(result: Result<(), ResponseError>) -> i16 {
    result.map_or_else(|error| error.code(), |()| NONE)
}

/// An error's message as the protocol carries it.
pub(crate) fn text(message: impl Into<String>) -> Option<StrBytes> {
    Some(StrBytes::from_string(message.into()))
}

/// The topic that a request names, by id where its version does so.
pub(crate) fn find_topic(
    context: &Context,
    name: &TopicName,
    id: Uuid,
    by_id: bool,
) -> Result<Arc<Topic>, ResponseError> {
    if by_id {
        return context.cluster.topics.by_id(id).ok_or(ResponseError::UnknownTopicId);
    }
    context.cluster.topics.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// The error of a partition whose topic is not there: that of a fault, if one refuses it. It may be asked for of topics that
/// are yet to come.
pub(crate) fn missing(context: &Context, name: &str, index: i32, error: ResponseError) -> ResponseError {
    allowed(context, name, index).err().unwrap_or(error)
}

/// Partition `index` of `topic`, unless a fault refuses it.
pub(crate) fn find_partition<'t>(
    context: &Context,
    topic: &'t Topic,
    index: i32,
) -> Result<&'t Arc<Partition>, ResponseError> {
    allowed(context, &topic.name, index)?;
    topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Whether this broker may serve the partition, and the client knows its leader's epoch (-1: does not say).
pub(crate) fn check_leader(
    context: &Context,
    state: &PartitionState,
    epoch: i32,
) -> Result<(), ResponseError> {
    check_replica(context, state, epoch)?;
    if state.replicas.leader() == context.node { Ok(()) } else { Err(ResponseError::NotLeaderOrFollower) }
}

/// Whether this broker holds the partition, and the client knows its leader's epoch (-1: does not say).
pub(crate) fn check_replica(
    context: &Context,
    state: &PartitionState,
    epoch: i32,
) -> Result<(), ResponseError> {
    if state.deleted {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if !state.replicas.all().contains(&context.node) {
        return Err(ResponseError::NotLeaderOrFollower);
    }
    if epoch >= 0 && epoch < state.replicas.epoch() {
        return Err(ResponseError::FencedLeaderEpoch);
    }
    if epoch > state.replicas.epoch() {
        return Err(ResponseError::UnknownLeaderEpoch);
    }
    Ok(())
}

/// Whether this broker coordinates `group`, which a member must name.
pub(crate) fn check_members_group(context: &Context, group: &str) -> Result<(), ResponseError> {
    if group.is_empty() { Err(ResponseError::InvalidGroupId) } else { check_coordinator(context, group) }
}

/// Whether this broker coordinates `group`.
pub(crate) fn check_coordinator(context: &Context, group: &str) -> Result<(), ResponseError> {
    match context.cluster.coordinator(group) {
        Some(node) if node.id == context.node => Ok(()),
        _ => Err(ResponseError::NotCoordinator),
    }
}
