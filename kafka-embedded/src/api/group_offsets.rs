//! OffsetCommit and OffsetFetch.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{NONE, check_coordinator};
use crate::faults::allowed;
use crate::group::{Committed, Committing, Group, Members};
use crate::server::connection::Context;
use crate::topics::owned;

/// `offset.metadata.max.bytes`
const MAX_METADATA: usize = 4096;

pub(crate) async fn commit(context: &Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let store = |group: &mut Group, now| {
        let who = Committing {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_ref(),
            generation: request.generation_id_or_member_epoch,
            knows_epochs: context.version >= 9,
        };
        group.validate_commit(now, &who)?;
        Ok(commit_all(context, group, &request))
    };
    let groups = &context.cluster.groups;
    let missing =
        if context.version >= 9 { ResponseError::GroupIdNotFound } else { ResponseError::IllegalGeneration };
    let stored = match check_coordinator(context, &request.group_id) {
        Err(error) => Err(error),
        // Offsets without membership make a group of their own.
        Ok(()) if request.generation_id_or_member_epoch < 0 => {
            groups.run_or_create(&request.group_id, &context.cluster.settings, store)
        }
        Ok(()) => groups.run(&request.group_id, store).unwrap_or(Err(missing)),
    };
    let topics = stored.unwrap_or_else(|error| respond(&request, |_, _| error.code()));
    OffsetCommitResponse::default().with_topics(topics)
}

fn commit_all(
    context: &Context,
    group: &mut Group,
    request: &OffsetCommitRequest,
) -> Vec<OffsetCommitResponseTopic> {
    respond(request, |name, partition| {
        if let Err(error) = allowed(context, name, partition.partition_index) {
            return error.code();
        }
        let known = context.cluster.topics.by_name(name);
        let metadata = partition.committed_metadata.as_ref();
        if known.is_none_or(|topic| topic.partition(partition.partition_index).is_none()) {
            return ResponseError::UnknownTopicOrPartition.code();
        }
        if metadata.is_some_and(|text| text.len() > MAX_METADATA) {
            return ResponseError::OffsetMetadataTooLarge.code();
        }
        let committed = Committed {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: metadata.map(owned).unwrap_or_default(),
        };
        group.offsets.commit(name, partition.partition_index, committed);
        NONE
    })
}

fn respond(
    request: &OffsetCommitRequest,
    mut code: impl FnMut(&TopicName, &OffsetCommitRequestPartition) -> i16,
) -> Vec<OffsetCommitResponseTopic> {
    let topic = |topic: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&topic.name, partition))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    };
    request.topics.iter().map(topic).collect()
}

pub(crate) async fn fetch(context: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version >= 8 {
        let groups = request.groups.into_iter().map(|group| fetch_group(context, group));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
    });
    match read(context, &request.group_id, (None, -1), topics) {
        Ok(topics) => OffsetFetchResponse::default().with_topics(topics.into_iter().map(old_topic).collect()),
        Err(error) => OffsetFetchResponse::default().with_error_code(error.code()),
    }
}

fn fetch_group(context: &Context, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let topics = group.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
    });
    let found = read(context, &group.group_id, (group.member_id.as_ref(), group.member_epoch), topics);
    let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
    match found {
        Ok(topics) => response.with_topics(topics.into_iter().map(new_topic).collect()),
        Err(error) => response.with_error_code(error.code()),
    }
}

type Found = (TopicName, Vec<(i32, Option<Committed>)>);

/// The offsets of these topics, or all. Without transactions none is ever unstable.
fn read(
    context: &Context,
    group: &StrBytes,
    (member, epoch): (Option<&StrBytes>, i32),
    topics: Option<Vec<(TopicName, Vec<i32>)>>,
) -> Result<Vec<Found>, ResponseError> {
    check_coordinator(context, group)?;
    let asked = topics.clone();
    let allowed = context.cluster.groups.run(group, |group, _| match &group.members {
        Members::Classic(_) => Ok(()),
        Members::Consumer(group) => group.validate_fetch(member, epoch),
    });
    allowed.unwrap_or(Ok(()))?;
    let found = context.cluster.groups.run(group, |group, _| match topics {
        None => {
            let all = group.offsets.all().iter();
            all.map(|(name, partitions)| {
                let known = partitions.iter().map(|(index, committed)| (*index, Some(committed.clone())));
                (name.clone(), known.collect())
            })
            .collect()
        }
        Some(topics) => {
            let one = |(name, indexes): (TopicName, Vec<i32>)| {
                let known = indexes.iter().map(|index| (*index, group.offsets.get(&name, *index).cloned()));
                let known = known.collect();
                (name, known)
            };
            topics.into_iter().map(one).collect()
        }
    });
    let nothing = |(name, indexes): (TopicName, Vec<i32>)| {
        (name, indexes.into_iter().map(|index| (index, None)).collect::<Vec<_>>())
    };
    Ok(found.unwrap_or_else(|| asked.unwrap_or_default().into_iter().map(nothing).collect()))
}

/// What stands for no offset.
fn or_none(committed: Option<Committed>) -> Committed {
    committed.unwrap_or(Committed { offset: -1, leader_epoch: -1, metadata: StrBytes::default() })
}

fn old_topic((name, partitions): Found) -> OffsetFetchResponseTopic {
    let partitions = partitions.into_iter().map(|(index, committed)| {
        let committed = or_none(committed);
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata))
    });
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
}

fn new_topic((name, partitions): Found) -> OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|(index, committed)| {
        let committed = or_none(committed);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata))
    });
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
}
