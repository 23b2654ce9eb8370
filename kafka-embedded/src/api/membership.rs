//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{NONE, check_members_group};
use crate::group::{Answer, Group, Joined, Joining, NotJoined, Synced, Syncing};
use crate::server::connection::Context;
use crate::topics::owned;

pub(crate) async fn join(context: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let joined = match check_join(context, &request) {
        Ok(()) => wait_to_join(context, &request).await,
        Err(error) => Err(NotJoined { error, member_id }),
    };
    match joined {
        Ok(joined) => join_response(context, joined),
        Err(NotJoined { error, member_id }) => {
            let response = JoinGroupResponse::default()
                .with_error_code(error.code())
                .with_generation_id(-1)
                .with_member_id(member_id);
            // The name may be null from version 7 on only.
            if context.version >= 7 {
                response
            } else {
                response.with_protocol_name(Some(StrBytes::default()))
            }
        }
    }
}

fn check_join(context: &Context, request: &JoinGroupRequest) -> Result<(), ResponseError> {
    check_members_group(context, &request.group_id)?;
    if !context.cluster.settings.session_timeout.contains(&millis(request.session_timeout_ms)) {
        return Err(ResponseError::InvalidSessionTimeout);
    }
    Ok(())
}

async fn wait_to_join(context: &Context, request: &JoinGroupRequest) -> Result<Joined, NotJoined> {
    let joining = joining(context, request);
    let groups = &context.cluster.groups;
    let settings = &context.cluster.settings;
    let unknown =
        || NotJoined { error: ResponseError::UnknownMemberId, member_id: joining.member_id.clone() };
    let start = |group: &mut Group, now| {
        let (token, answer) = group.wait();
        group.join(now, &context.cluster.topics, &joining, token);
        answer
    };
    let answer = if joining.member_id.is_empty() {
        groups.run_or_create(&request.group_id, settings, start)
    } else {
        groups.run(&request.group_id, start).ok_or_else(unknown)?
    };
    match answer.await {
        Ok(Answer::Join(answer)) => answer,
        _ => Err(unknown()),
    }
}

/// The request in memory of its own: a member lives longer than its frame.
fn joining(context: &Context, request: &JoinGroupRequest) -> Joining {
    let client_id = context.client_id.as_ref().map(owned).unwrap_or_default();
    let instance_id = request.group_instance_id.as_ref().map(owned);
    let name = instance_id.as_ref().unwrap_or(&client_id);
    let session_timeout = millis(request.session_timeout_ms);
    Joining {
        member_id: owned(&request.member_id),
        fresh_id: StrBytes::from_string(format!("{}-{}", &**name, context.cluster.new_uuid())),
        instance_id,
        client_host: context.peer.clone(),
        session_timeout,
        rebalance_timeout: match request.rebalance_timeout_ms {
            // Version 0 has none.
            ..0 => session_timeout,
            timeout => millis(timeout),
        },
        protocol_type: owned(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (owned(&protocol.name), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        needs_member_id: context.version >= 4,
        may_skip_assignment: context.version >= 9,
        client_id,
    }
}

fn millis(count: i32) -> Duration {
    Duration::from_millis(count.max(0).unsigned_abs().into())
}

fn join_response(context: &Context, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        let instance_id = if context.version >= 5 { member.instance_id } else { None };
        JoinGroupResponseMember::default()
            .with_member_id(member.id)
            .with_group_instance_id(instance_id)
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_error_code(NONE)
        .with_generation_id(joined.generation)
        .with_protocol_type(if context.version >= 7 { joined.protocol_type } else { None })
        .with_protocol_name(Some(joined.protocol.unwrap_or_default()))
        .with_leader(joined.leader)
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(joined.member_id)
        .with_members(members.collect())
}

pub(crate) async fn sync(context: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    match wait_to_sync(context, request).await {
        Ok(synced) => {
            let response =
                SyncGroupResponse::default().with_error_code(NONE).with_assignment(synced.assignment);
            if context.version < 5 {
                return response;
            }
            response.with_protocol_type(synced.protocol_type).with_protocol_name(synced.protocol)
        }
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

async fn wait_to_sync(context: &Context, request: SyncGroupRequest) -> Result<Synced, ResponseError> {
    check_members_group(context, &request.group_id)?;
    if context.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    let assignments = request.assignments.iter();
    let syncing = Syncing {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: assignments
            .map(|part| (part.member_id.clone(), Bytes::copy_from_slice(&part.assignment)))
            .collect(),
    };
    let answer = context.cluster.groups.run(&request.group_id, |group, now| {
        let (token, answer) = group.wait();
        group.sync(now, &syncing, token);
        answer
    });
    match answer.ok_or(ResponseError::UnknownMemberId)?.await {
        Ok(Answer::Sync(answer)) => answer,
        _ => Err(ResponseError::UnknownMemberId),
    }
}

pub(crate) async fn heartbeat(context: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let beat = || {
        check_members_group(context, &request.group_id)?;
        let (id, instance) = (&request.member_id, request.group_instance_id.as_ref());
        let beat = context
            .cluster
            .groups
            .run(&request.group_id, |group, now| group.heartbeat(now, id, instance, request.generation_id));
        beat.unwrap_or(Err(ResponseError::UnknownMemberId))
    };
    HeartbeatResponse::default().with_error_code(code(beat()))
}

fn code(result: Result<(), ResponseError>) -> i16 {
    result.map_or_else(|error| error.code(), |()| NONE)
}

pub(crate) async fn leave(context: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    if let Err(error) = check_members_group(context, &request.group_id) {
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = if context.version >= 3 {
        request.members
    } else {
        vec![MemberIdentity::default().with_member_id(request.member_id)]
    };
    let leaving: Vec<_> =
        members.iter().map(|one| (&one.member_id, one.group_instance_id.as_ref())).collect();
    let left = context.cluster.groups.run(&request.group_id, |group, now| group.leave(now, &leaving));
    let left = left.unwrap_or_else(|| vec![Err(ResponseError::UnknownMemberId); members.len()]);
    if context.version < 3 {
        let error = left.into_iter().next().map_or(NONE, code);
        return LeaveGroupResponse::default().with_error_code(error);
    }
    let members = members.into_iter().zip(left).map(|(member, left)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code(left))
    });
    LeaveGroupResponse::default().with_error_code(NONE).with_members(members.collect())
}
