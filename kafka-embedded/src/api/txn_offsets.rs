//! TxnOffsetCommit: offsets that a transaction commits with what it wrote (KIP-447).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TopicName, TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::group_offsets::MAX_METADATA;
use super::transactions::{offsets_of, run};
use super::{check_members_group, code};
use crate::faults::allowed;
use crate::group::{Committed, Committing, Group};
use crate::server::connection::Context;
use crate::topics::owned;
use crate::transaction::Identity;

/// From this version on committing adds the group's offsets to the transaction.
const ADDS: i16 = 5;
/// From this version on clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 4;

pub(crate) async fn commit(context: &Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let anything_good = request.topics.iter().any(|topic| {
        topic
            .partitions
            .iter()
            .any(|partition| check(context, &topic.name, partition.partition_index).is_ok())
    });
    let stored = if anything_good { store(context, &request) } else { Ok(()) };
    let topics = respond(&request, |topic, partition| {
        let too_large =
            if is_too_large(partition) { Err(ResponseError::OffsetMetadataTooLarge) } else { Ok(()) };
        code(check(context, topic, partition.partition_index).and(stored).and(too_large))
    });
    TxnOffsetCommitResponse::default().with_topics(topics)
}

/// Whether offsets of this partition can be committed: it exists, and no fault refuses it.
fn check(context: &Context, name: &TopicName, index: i32) -> Result<(), ResponseError> {
    allowed(context, name, index)?;
    let known = context.cluster.topics.by_name(name).is_some_and(|topic| topic.partition(index).is_some());
    if known { Ok(()) } else { Err(ResponseError::UnknownTopicOrPartition) }
}

fn is_too_large(partition: &TxnOffsetCommitRequestPartition) -> bool {
    partition.committed_metadata.as_ref().is_some_and(|text| text.len() > MAX_METADATA)
}

/// Stores what can be stored as soon as the transaction commits.
fn store(context: &Context, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
    check_members_group(context, &request.group_id)?;
    let by = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    let participant = offsets_of(&request.group_id);
    let mut admitted = false;
    // The coordinator is told or asked, and cannot end the transaction before the offsets are in.
    let stored = run(context, &request.transactional_id, |transaction, now| {
        if context.version >= ADDS {
            transaction.add(by, [participant], now)?;
        } else {
            transaction.verify(by, &participant)?;
        }
        admitted = true;
        in_group(context, request, |group| commit_all(context, group, request))
    });
    stored.map_err(|error| if admitted { error } else { as_group_coordinator(context, error) })
}

/// The transaction coordinator's error in the words of the group's coordinator.
fn as_group_coordinator(context: &Context, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::TransactionAbortable if context.version < KNOWS_ABORTABLE => {
            ResponseError::InvalidTxnState
        }
        other => other,
    }
}

fn in_group(
    context: &Context,
    request: &TxnOffsetCommitRequest,
    commit: impl FnOnce(&mut Group),
) -> Result<(), ResponseError> {
    let change = |group: &mut Group, _| {
        group.validate_txn_commit(&Committing {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_ref(),
            generation: request.generation_id,
            knows_epochs: true,
        })?;
        commit(group);
        Ok(())
    };
    let groups = &context.cluster.groups;
    // Offsets without membership make a group of their own.
    if request.generation_id < 0 {
        return groups.run_or_create(&request.group_id, &context.cluster.settings, change);
    }
    groups.run(&request.group_id, change).unwrap_or(Err(ResponseError::IllegalGeneration))
}

fn commit_all(context: &Context, group: &mut Group, request: &TxnOffsetCommitRequest) {
    for topic in &request.topics {
        for partition in &topic.partitions {
            let index = partition.partition_index;
            if is_too_large(partition) || check(context, &topic.name, index).is_err() {
                continue;
            }
            let committed = Committed {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref().map(owned).unwrap_or_default(),
            };
            group.offsets.commit_later(request.producer_id.0, &topic.name, index, committed);
        }
    }
}

fn respond(
    request: &TxnOffsetCommitRequest,
    code: impl Fn(&TopicName, &TxnOffsetCommitRequestPartition) -> i16,
) -> Vec<TxnOffsetCommitResponseTopic> {
    let of_topic = |topic: &TxnOffsetCommitRequestTopic| {
        let partitions = topic.partitions.iter().map(|partition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&topic.name, partition))
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    };
    request.topics.iter().map(of_topic).collect()
}
