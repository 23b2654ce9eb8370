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
pub(crate) const MAX_METADATA: usize = 4096;

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
        let groups =
            request.groups.into_iter().map(|group| fetch_group(context, group, request.require_stable));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
    });
    match read(context, &request.group_id, (None, -1), topics, request.require_stable) {
        Ok(topics) => OffsetFetchResponse::default().with_topics(topics.into_iter().map(old_topic).collect()),
        Err(error) => OffsetFetchResponse::default().with_error_code(error.code()),
    }
}

fn fetch_group(context: &Context, group: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
    let topics = group.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
    });
    let who = (group.member_id.as_ref(), group.member_epoch);
    let found = read(context, &group.group_id, who, topics, stable);
    let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
    match found {
        Ok(topics) => response.with_topics(topics.into_iter().map(new_topic).collect()),
        Err(error) => response.with_error_code(error.code()),
    }
}

/// What a group has committed for a partition.
enum Known {
    Nothing,
    Offset(Committed),
    /// A transaction is about to commit another (KIP-447).
    Unstable,
    /// A fault was asked for.
    Refused(ResponseError),
}

type Found = (TopicName, Vec<(i32, Known)>);

/// The offsets of these topics, or all.
fn read(
    context: &Context,
    group: &StrBytes,
    (member, epoch): (Option<&StrBytes>, i32),
    topics: Option<Vec<(TopicName, Vec<i32>)>>,
    stable: bool,
) -> Result<Vec<Found>, ResponseError> {
    check_coordinator(context, group)?;
    let asked = topics.clone();
    let found = context.cluster.groups.run(group, |group, _| {
        if let Members::Consumer(group) = &group.members {
            group.validate_fetch(member, epoch)?;
        }
        let wanted = topics.unwrap_or_else(|| all_partitions(group));
        let known = |(name, indexes): (TopicName, Vec<i32>)| {
            let one = |index| match allowed(context, &name, index) {
                Ok(()) => (index, known(group, &name, index, stable)),
                Err(error) => (index, Known::Refused(error)),
            };
            let known = indexes.into_iter().map(one).collect();
            (name, known)
        };
        Ok(wanted.into_iter().map(known).collect())
    });
    let nothing = |(name, indexes): (TopicName, Vec<i32>)| {
        let one = |index| allowed(context, &name, index).map_or_else(Known::Refused, |()| Known::Nothing);
        let known = indexes.into_iter().map(|index| (index, one(index))).collect::<Vec<_>>();
        (name, known)
    };
    found.unwrap_or_else(|| Ok(asked.unwrap_or_default().into_iter().map(nothing).collect()))
}

fn all_partitions(group: &Group) -> Vec<(TopicName, Vec<i32>)> {
    let mut topics: Vec<(TopicName, Vec<i32>)> = Vec::new();
    for (name, partition, _) in group.offsets.all() {
        match topics.last_mut() {
            Some((last, partitions)) if last == name => partitions.push(partition),
            _ => topics.push((name.clone(), vec![partition])),
        }
    }
    topics
}

fn known(group: &Group, name: &TopicName, index: i32, stable: bool) -> Known {
    match group.offsets.get(name, index) {
        _ if stable && group.offsets.is_unstable(name, index) => Known::Unstable,
        Some(committed) => Known::Offset(committed.clone()),
        None => Known::Nothing,
    }
}

/// The error that stands with an offset, and what stands for none.
fn or_none(known: Known) -> (i16, Committed) {
    let none = || Committed { offset: -1, leader_epoch: -1, metadata: StrBytes::default() };
    match known {
        Known::Nothing => (NONE, none()),
        Known::Offset(committed) => (NONE, committed),
        Known::Unstable => (ResponseError::UnstableOffsetCommit.code(), none()),
        Known::Refused(error) => (error.code(), none()),
    }
}

fn old_topic((name, partitions): Found) -> OffsetFetchResponseTopic {
    let partitions = partitions.into_iter().map(|(index, committed)| {
        let (error, committed) = or_none(committed);
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_error_code(error)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata))
    });
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
}

fn new_topic((name, partitions): Found) -> OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|(index, committed)| {
        let (error, committed) = or_none(committed);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_error_code(error)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(committed.metadata))
    });
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
}
