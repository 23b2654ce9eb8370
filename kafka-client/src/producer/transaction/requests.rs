//! What a transactional producer asks coordinators, one attempt each.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::machine::{End, Protocol};
use crate::consumer::{GroupMetadata, Offsets};
use crate::error::{At, Error, Result};
use crate::group::Coordinator;
use crate::ids::{TopicName, TopicPartition};
use crate::net::{Connection, Purpose};
use crate::producer::sequences::Identity;
use crate::wire;

/// From here on InitProducerId takes the epoch that the producer has, and raises it (KIP-360, Kafka 2.5).
const RAISES_EPOCHS: i16 = 3;
/// From here on TxnOffsetCommit says who in the group commits (KIP-447, Kafka 2.5).
const NAMES_MEMBERS: i16 = 3;

/// Who asks, and how transactions work on this cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    pub(super) protocol: Protocol,
}

/// A new epoch: of whoever has the transactional id, who is fenced by that, or of the producer that has `held` until
/// now. Whatever transaction is open is aborted.
pub(super) async fn init(
    coordinator: &Coordinator,
    deadline: Duration,
    timeout: Duration,
    held: Option<Identity>,
) -> Result<Identity> {
    let connection = connect(coordinator).await?;
    if held.is_some() && connection.version::<InitProducerIdRequest>()? < RAISES_EPOCHS {
        return Err(Error::Config(
            "a batch of it failed, and brokers before Kafka 2.5 cannot raise its epoch: make another producer".into(),
        ));
    }
    let request = |_| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(coordinator.transactional_id()))
            .with_transaction_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
        match held {
            Some(held) => request.with_producer_id(ProducerId(held.id)).with_producer_epoch(held.epoch),
            None => request,
        }
    };
    let answer = connection.call::<InitProducerIdRequest>(deadline, request).await?.body;
    refused("InitProducerId", answer.error_code, coordinator)?;
    Ok(Identity { id: answer.producer_id.0, epoch: answer.producer_epoch })
}

/// Tells the coordinator of partitions.
pub(super) async fn add_partitions(
    coordinator: &Coordinator,
    deadline: Duration,
    stamp: Stamp,
    partitions: &[TopicPartition],
) -> Result<()> {
    let mut topics = BTreeMap::<TopicName, Vec<i32>>::new();
    for partition in partitions {
        topics.entry(partition.topic).or_default().push(partition.partition);
    }
    let topics = topics.into_iter().map(|(topic, numbers)| {
        AddPartitionsToTxnTopic::default().with_name(wire_name(topic)).with_partitions(numbers)
    });
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(coordinator.transactional_id())
        .with_v3_and_below_producer_id(ProducerId(stamp.identity.id))
        .with_v3_and_below_producer_epoch(stamp.identity.epoch)
        .with_v3_and_below_topics(topics.collect());
    let connection = connect(coordinator).await?;
    let answer = connection.call::<AddPartitionsToTxnRequest>(deadline, |_| request).await?.body;
    let results = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| {
        let name = TopicName::new(topic.name.as_str());
        let codes = topic.results_by_partition.iter();
        codes.map(move |result| {
            (TopicPartition::new(name, result.partition_index), result.partition_error_code)
        })
    });
    first_error("AddPartitionsToTxn", results, |code| code == ResponseError::OperationNotAttempted)
}

/// Tells the coordinator of a group whose offsets will be part of the transaction.
pub(super) async fn add_group(
    coordinator: &Coordinator,
    deadline: Duration,
    stamp: Stamp,
    group: &Coordinator,
) -> Result<()> {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(coordinator.transactional_id())
        .with_producer_id(ProducerId(stamp.identity.id))
        .with_producer_epoch(stamp.identity.epoch)
        .with_group_id(group.group_id());
    let connection = connect(coordinator).await?;
    let answer = connection.call::<AddOffsetsToTxnRequest>(deadline, |_| request).await?.body;
    refused("AddOffsetsToTxn", answer.error_code, coordinator)
}

/// Gives offsets to the group's coordinator, to be valid when the transaction is committed.
pub(super) async fn commit_offsets(
    coordinator: &Coordinator,
    deadline: Duration,
    stamp: Stamp,
    group: &Coordinator,
    member: &GroupMetadata,
    offsets: &Offsets,
) -> Result<()> {
    let mut topics = BTreeMap::<TopicName, Vec<TxnOffsetCommitRequestPartition>>::new();
    for (partition, offset) in offsets {
        let entry = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch)
            .with_committed_metadata(Some(StrBytes::from_string(offset.metadata.clone())));
        topics.entry(partition.topic).or_default().push(entry);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        TxnOffsetCommitRequestTopic::default().with_name(wire_name(topic)).with_partitions(partitions)
    });
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(coordinator.transactional_id())
        .with_group_id(group.group_id())
        .with_producer_id(ProducerId(stamp.identity.id))
        .with_producer_epoch(stamp.identity.epoch)
        .with_topics(topics.collect());
    let build = |version: i16| match version >= NAMES_MEMBERS {
        true => request
            .with_generation_id(member.generation)
            .with_member_id(StrBytes::from_string(member.member_id.clone()))
            .with_group_instance_id(member.instance_id.clone().map(StrBytes::from_string)),
        false => request,
    };
    let connection = connect(group).await?;
    let highest = stamp.protocol.highest::<TxnOffsetCommitRequest>();
    let answer = connection.call_up_to::<TxnOffsetCommitRequest>(highest, deadline, build).await?.body;
    let results = answer.topics.iter().flat_map(|topic| {
        let name = TopicName::new(topic.name.as_str());
        let codes = topic.partitions.iter();
        codes.map(move |result| (TopicPartition::new(name, result.partition_index), result.error_code))
    });
    first_error("TxnOffsetCommit", results, |_| false)
}

/// Ends the transaction; the producer's next epoch, where the end raised it.
pub(super) async fn end(
    coordinator: &Coordinator,
    deadline: Duration,
    stamp: Stamp,
    end: End,
) -> Result<Option<Identity>> {
    let request = EndTxnRequest::default()
        .with_transactional_id(coordinator.transactional_id())
        .with_producer_id(ProducerId(stamp.identity.id))
        .with_producer_epoch(stamp.identity.epoch)
        .with_committed(end == End::Commit);
    let connection = connect(coordinator).await?;
    let highest = stamp.protocol.highest::<EndTxnRequest>();
    let answer = connection.call_up_to::<EndTxnRequest>(highest, deadline, |_| request).await?.body;
    refused("EndTxn", answer.error_code, coordinator)?;
    let fresh = Identity { id: answer.producer_id.0, epoch: answer.producer_epoch };
    Ok((fresh.id >= 0 && fresh.epoch >= 0).then_some(fresh))
}

/// How transactions work on this cluster at the moment.
pub(super) async fn protocol(coordinator: &Coordinator) -> Result<Protocol> {
    let connection = connect(coordinator).await?;
    Ok(match connection.transaction_version() >= wire::KIP_890_FEATURE {
        true => Protocol::Implicit,
        false => Protocol::Registered,
    })
}

/// Refuses a coordinator that would take offsets from whoever was a member once.
pub(super) async fn checks_members(group: &Coordinator) -> Result<()> {
    match connect(group).await?.version::<TxnOffsetCommitRequest>()? >= NAMES_MEMBERS {
        true => Ok(()),
        false => Err(Error::Config(
            "brokers before Kafka 2.5 do not check who commits offsets in a transaction (KIP-447): exactly once needs 2.5"
                .into(),
        )),
    }
}

async fn connect(coordinator: &Coordinator) -> Result<std::sync::Arc<Connection>> {
    coordinator.connection(Purpose::Commit).await
}

fn wire_name(topic: TopicName) -> kafka_protocol::messages::TopicName {
    kafka_protocol::messages::TopicName(StrBytes::from_static_str(topic.as_str()))
}

fn refused(api: &'static str, code: i16, coordinator: &Coordinator) -> Result<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(Error::Broker { api, code, at: coordinator.at() }),
    }
}

/// The error that says most: not one that only follows from another's, nor one that passes where another does not.
fn first_error(
    api: &'static str,
    results: impl Iterator<Item = (TopicPartition, i16)>,
    follows: impl Fn(ResponseError) -> bool,
) -> Result<()> {
    let errors =
        results.filter_map(|(partition, code)| Some((partition, ResponseError::try_from_code(code)?)));
    match errors.min_by_key(|(_, code)| (follows(*code), code.is_retriable())) {
        None => Ok(()),
        Some((partition, code)) => Err(Error::Broker { api, code, at: At::Partition(partition) }),
    }
}
