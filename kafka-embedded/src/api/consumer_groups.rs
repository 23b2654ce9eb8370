//! KIP-848: ConsumerGroupHeartbeat and ConsumerGroupDescribe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response as described;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{NONE, check_coordinator, text};
use crate::group::consumer::{
    Assignor, Beat, Beaten, ConsumerGroup, LEAVE, LEAVE_FOR_A_WHILE, Member, Partitions, Pattern, Refusal,
    Terms,
};
use crate::group::{Group, MemberId};
use crate::server::connection::Context;
use crate::topics::owned;

/// From here on members choose their ids (KIP-1082).
const OWN_IDS: i16 = 1;
/// What ConsumerGroupDescribe says where nobody asked which operations are allowed.
const NOT_ASKED: i32 = i32::MIN;

pub(crate) async fn heartbeat(
    context: &Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let beaten = read(context, &request).and_then(|beat| beat_once(context, &request.group_id, &beat));
    match beaten {
        Ok(beaten) => accepted(context.cluster.consumer_terms(&request.group_id), beaten),
        Err(Refusal { error, message }) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(error.code())
            .with_error_message(text(message)),
    }
}

fn accepted(terms: Terms, beaten: Beaten) -> ConsumerGroupHeartbeatResponse {
    let interval = terms.heartbeat_interval.as_millis();
    let response = ConsumerGroupHeartbeatResponse::default()
        .with_error_code(NONE)
        .with_member_id(Some(beaten.member_id))
        .with_member_epoch(beaten.epoch);
    if beaten.epoch < 0 {
        return response;
    }
    let assignment = beaten.assignment.map(|partitions| {
        let topics = by_topic(&partitions)
            .into_iter()
            .map(|(id, partitions)| TopicPartitions::default().with_topic_id(id).with_partitions(partitions));
        Assignment::default().with_topic_partitions(topics.collect())
    });
    response
        .with_heartbeat_interval_ms(i32::try_from(interval).unwrap_or(i32::MAX))
        .with_assignment(assignment)
}

fn by_topic(partitions: &Partitions) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics
}

/// The request in memory of its own, checked as far as it can be without the group.
fn read(context: &Context, request: &ConsumerGroupHeartbeatRequest) -> Result<Beat, Refusal> {
    check(context, request)?;
    let pattern = match &request.subscribed_topic_regex {
        None => None,
        Some(none) if none.is_empty() => Some(None),
        Some(pattern) => Some(Some(Pattern::new(owned(pattern))?)),
    };
    let member_id = match request.member_id.is_empty() {
        true => StrBytes::from_string(context.cluster.new_uuid().to_string()),
        false => owned(&request.member_id),
    };
    let topics =
        |names: &Vec<TopicName>| names.iter().map(|name| TopicName(owned(name))).collect::<BTreeSet<_>>();
    let partitions = request.topic_partitions.as_ref().map(|topics| {
        let each = topics.iter();
        each.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition))).collect()
    });
    Ok(Beat {
        member_id,
        epoch: request.member_epoch,
        instance_id: request.instance_id.as_ref().map(owned),
        rack: request.rack_id.as_ref().map(owned),
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms).ok().map(Duration::from_millis),
        topics: request.subscribed_topic_names.as_ref().map(topics),
        pattern,
        assignor: assignor(request)?,
        owned: partitions,
        client_id: context.client_id.as_ref().map(owned).unwrap_or_default(),
        client_host: context.peer.clone(),
    })
}

/// Kafka's checks, in its order and words.
fn check(context: &Context, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::new(ResponseError::InvalidRequest, message));
    let blank = |text: &StrBytes| text.trim().is_empty();
    let named = context.version >= OWN_IDS || request.member_epoch > 0 || request.member_epoch < 0;
    if named && blank(&request.member_id) {
        return refuse("MemberId can't be empty.");
    }
    if blank(&request.group_id) {
        return refuse("GroupId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(blank) {
        return refuse("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(blank) {
        return refuse("RackId can't be empty.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            refuse("RebalanceTimeoutMs must be provided in first request.")
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            refuse("TopicPartitions must be empty when (re-)joining.")
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            refuse("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
        }
        LEAVE_FOR_A_WHILE if request.instance_id.is_none() => refuse("InstanceId can't be null."),
        ..LEAVE_FOR_A_WHILE => refuse("MemberEpoch is invalid."),
        _ => Ok(()),
    }
}

fn assignor(request: &ConsumerGroupHeartbeatRequest) -> Result<Option<Assignor>, Refusal> {
    let Some(name) = &request.server_assignor else { return Ok(None) };
    let found = Assignor::ALL.into_iter().find(|assignor| assignor.name() == name.as_str());
    found.map(Some).ok_or_else(|| {
        let known = Assignor::ALL.map(Assignor::name).join(", ");
        let message =
            format!("ServerAssignor {} is not supported. Supported assignors: {known}.", name.as_str());
        Refusal::new(ResponseError::UnsupportedAssignor, message)
    })
}

fn beat_once(context: &Context, id: &StrBytes, beat: &Beat) -> Result<Beaten, Refusal> {
    check_coordinator(context, id).map_err(|error| Refusal::new(error, error.to_string()))?;
    let (cluster, settings) = (&context.cluster, &context.cluster.settings);
    let terms = cluster.consumer_terms(id);
    let not_found =
        || Refusal::new(ResponseError::GroupIdNotFound, format!("Consumer group {} not found.", id.as_str()));
    let other = || {
        let message = format!("Group {} is not a consumer group.", id.as_str());
        Refusal::new(ResponseError::GroupIdNotFound, message)
    };
    let stay = |group: &mut Group, now| {
        let group = group.consumer().ok_or_else(other)?;
        match beat.epoch {
            LEAVE | LEAVE_FOR_A_WHILE => group.leave(beat),
            _ => {
                group.keep_to(terms);
                group.heartbeat(now, &cluster.topics, beat)
            }
        }
    };
    let join = |group: &mut Group, now| {
        let group = group.for_consumer_join(now, id, terms, &cluster.topics)?;
        group.keep_to(terms);
        group.heartbeat(now, &cluster.topics, beat)
    };
    match beat.epoch {
        0 => cluster.groups.run_or_create(id, settings, join),
        _ => cluster.groups.run(id, stay).unwrap_or_else(|| Err(not_found())),
    }
}

pub(crate) async fn describe(
    context: &Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let groups = request.group_ids.into_iter().map(|id| {
        let other = || {
            Refusal::new(
                ResponseError::GroupIdNotFound,
                format!("Group {} is not a consumer group.", id.as_str()),
            )
        };
        let found = match check_coordinator(context, &id) {
            Err(error) => Err(Refusal::new(error, error.to_string())),
            Ok(()) => context
                .cluster
                .groups
                .run(&id, |group, _| {
                    group.consumer().map(|group| describe_one(context, group)).ok_or_else(other)
                })
                .unwrap_or_else(|| {
                    Err(Refusal::new(
                        ResponseError::GroupIdNotFound,
                        format!("Group {} not found.", id.as_str()),
                    ))
                }),
        };
        let group = found.unwrap_or_else(|refusal| {
            described::DescribedGroup::default()
                .with_error_code(refusal.error.code())
                .with_error_message(text(refusal.message))
        });
        group.with_group_id(id).with_authorized_operations(NOT_ASKED)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn describe_one(context: &Context, group: &ConsumerGroup) -> described::DescribedGroup {
    let members = group.members().iter().map(|(id, member)| describe_member(context, group, id, member));
    described::DescribedGroup::default()
        .with_error_code(NONE)
        .with_group_state(StrBytes::from_static_str(group.state_name()))
        .with_group_epoch(group.epoch())
        .with_assignment_epoch(group.assignment_epoch())
        .with_assignor_name(StrBytes::from_static_str(group.preferred_assignor().name()))
        .with_members(members.collect())
}

fn describe_member(
    context: &Context,
    group: &ConsumerGroup,
    id: &MemberId,
    member: &Member,
) -> described::Member {
    let named = |partitions: &Partitions| {
        let topics = by_topic(partitions).into_iter().filter_map(|(topic, partitions)| {
            let name = context.cluster.topics.by_id(topic)?.name.clone();
            let topic = described::TopicPartitions::default().with_topic_id(topic);
            Some(topic.with_topic_name(name).with_partitions(partitions))
        });
        described::Assignment::default().with_topic_partitions(topics.collect())
    };
    let nothing = Partitions::new();
    let described = described::Member::default()
        .with_member_id(id.clone())
        .with_instance_id(member.instance_id.clone())
        .with_rack_id(member.rack.clone())
        .with_member_epoch(member.epoch)
        .with_client_id(member.client_id.clone())
        .with_client_host(member.client_host.clone())
        .with_subscribed_topic_names(member.topics.iter().cloned().collect())
        .with_subscribed_topic_regex(member.pattern.as_ref().map(|pattern| pattern.text.clone()))
        .with_assignment(named(&member.assigned))
        .with_target_assignment(named(group.target(id).unwrap_or(&nothing)));
    match context.version {
        0 => described,
        _ => described.with_member_type(i8::from(member.guest.is_none())),
    }
}
