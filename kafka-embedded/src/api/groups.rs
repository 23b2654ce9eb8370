//! Looking at groups and deleting them: DescribeGroups, ListGroups, DeleteGroups, OffsetDelete.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{NONE, check_coordinator, text};
use crate::faults::allowed;
use crate::group::protocol::{CONSUMER, subscription};
use crate::group::{Classic, Group, MemberId, Members, State};
use crate::server::connection::Context;

const CLASSIC: &str = "classic";

pub(crate) async fn describe(context: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let described = match check_coordinator(context, &id) {
            Ok(()) => context.cluster.groups.run(&id, |group, _| match &group.members {
                Members::Classic(classic) => describe_one(classic),
                Members::Consumer(_) => {
                    unknown(context, &format!("Group {} is not a classic group.", id.as_str()))
                }
            }),
            Err(error) => Some(DescribedGroup::default().with_error_code(error.code())),
        };
        let missing = || unknown(context, &format!("Group {} not found.", id.as_str()));
        described.unwrap_or_else(missing).with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn unknown(context: &Context, message: &str) -> DescribedGroup {
    let dead = DescribedGroup::default().with_group_state(StrBytes::from_static_str(State::Dead.name()));
    if context.version < 6 {
        return dead;
    }
    dead.with_error_code(ResponseError::GroupIdNotFound.code()).with_error_message(text(message))
}

fn describe_one(classic: &Classic) -> DescribedGroup {
    // Before it is stable, what the members said is not settled and not shown.
    let protocol = classic.protocol().filter(|_| classic.state() == State::Stable);
    let members = classic.members().iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(id.clone())
            .with_group_instance_id(member.instance_id.clone())
            .with_client_id(member.client_id.clone())
            .with_client_host(member.client_host.clone())
            .with_member_metadata(protocol.map(|name| member.metadata(name)).unwrap_or_default())
            .with_member_assignment(protocol.map(|_| member.assignment.clone()).unwrap_or_default())
    });
    DescribedGroup::default()
        .with_error_code(NONE)
        .with_group_state(StrBytes::from_static_str(classic.state().name()))
        .with_protocol_type(classic.protocol_type().cloned().unwrap_or_default())
        .with_protocol_data(protocol.cloned().unwrap_or_default())
        .with_members(members.collect())
}

/// The groups that this broker coordinates.
pub(crate) async fn list(context: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let ids = context.cluster.groups.ids();
    let own = ids.into_iter().filter(|id| check_coordinator(context, id).is_ok());
    let listed = own.filter_map(|id| {
        let facts = |group: &mut Group, _| {
            let (name, protocol_type) = match &group.members {
                Members::Classic(classic) => (CLASSIC, classic.protocol_type().cloned()),
                Members::Consumer(_) => (CONSUMER, Some(StrBytes::from_static_str(CONSUMER))),
            };
            (group.state_name(), name, protocol_type)
        };
        let (state, name, protocol_type) = context.cluster.groups.run(&id, facts)?;
        if !wanted(&request.states_filter, state) || !wanted(&request.types_filter, name) {
            return None;
        }
        let group = ListedGroup::default()
            .with_group_id(GroupId(id))
            .with_protocol_type(protocol_type.unwrap_or_default())
            .with_group_state(StrBytes::from_static_str(state))
            .with_group_type(StrBytes::from_static_str(name));
        Some(group)
    });
    ListGroupsResponse::default().with_error_code(NONE).with_groups(listed.collect())
}

pub(crate) async fn delete(context: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = check_coordinator(context, &id).and_then(|()| context.cluster.groups.delete(&id));
        let error = deleted.map_or_else(|error| error.code(), |()| NONE);
        DeletableGroupResult::default().with_group_id(id).with_error_code(error)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

pub(crate) async fn delete_offsets(context: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let deleted = check_coordinator(context, &request.group_id).and_then(|()| {
        let delete = |group: &mut Group, _| {
            let subscribed = deletable(group)?;
            Ok(delete_unsubscribed(context, group, &request, &subscribed))
        };
        context.cluster.groups.run(&request.group_id, delete).unwrap_or(Err(ResponseError::GroupIdNotFound))
    });
    match deleted {
        Ok(topics) => OffsetDeleteResponse::default().with_error_code(NONE).with_topics(topics),
        Err(error) => OffsetDeleteResponse::default().with_error_code(error.code()),
    }
}

/// The topics whose offsets are in use and cannot be deleted.
fn deletable(group: &Group) -> Result<BTreeSet<TopicName>, ResponseError> {
    let classic = match &group.members {
        Members::Classic(classic) => classic,
        Members::Consumer(group) => return Ok(group.subscribed()),
    };
    match classic.state() {
        State::Dead => Err(ResponseError::GroupIdNotFound),
        State::Empty => Ok(BTreeSet::new()),
        _ if classic.protocol_type().is_some_and(|name| &**name == CONSUMER) => Ok(subscribed(classic)),
        _ => Err(ResponseError::NonEmptyGroup),
    }
}

fn subscribed(classic: &Classic) -> BTreeSet<TopicName> {
    let Some(protocol) = classic.protocol() else { return BTreeSet::new() };
    let topics = |member: &MemberId| {
        let metadata =
            classic.members().get(member).map(|member| member.metadata(protocol)).unwrap_or_default();
        subscription(metadata).map(|said| said.topics).unwrap_or_default().into_iter().map(TopicName)
    };
    classic.members().keys().flat_map(topics).collect()
}

fn delete_unsubscribed(
    context: &Context,
    group: &mut Group,
    request: &OffsetDeleteRequest,
    subscribed: &BTreeSet<TopicName>,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut delete = |topic: &TopicName, index: i32| {
        if let Err(error) = allowed(context, topic, index) {
            return error.code();
        }
        let known =
            context.cluster.topics.by_name(topic).is_some_and(|topic| topic.partition(index).is_some());
        if !known {
            return ResponseError::UnknownTopicOrPartition.code();
        }
        if subscribed.contains(topic) {
            return ResponseError::GroupSubscribedToTopic.code();
        }
        group.offsets.remove(topic, index);
        NONE
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(delete(&topic.name, partition.partition_index))
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    topics.collect()
}
