//! Every version of the APIs of groups.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};

use crate::peer::text;
use crate::versions::{Bench, is, orders};

fn group() -> GroupId {
    GroupId(text("group"))
}

pub(crate) async fn every_version(bench: &mut Bench) {
    let find = |version| {
        let request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.with_coordinator_keys(vec![text("g")])
        } else {
            request.with_key(text("g"))
        }
    };
    bench
        .each::<FindCoordinatorRequest>(find, |version, answer| {
            let node = if version >= 4 { answer.coordinators[0].node_id } else { answer.node_id };
            is(answer.error_code, 0)
                .and_then(|()| if node.0 == 1 { Ok(()) } else { Err(format!("{node:?}")) })
        })
        .await;
    commits(bench).await;
    let join = |_| {
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from("m"));
        let request = JoinGroupRequest::default().with_group_id(group()).with_session_timeout_ms(10_000);
        request.with_protocol_type(text("consumer")).with_protocols(vec![protocol])
    };
    let member_id_required = ResponseError::MemberIdRequired.code();
    // Each join comes as another member: the later ones would wait for the first to come again.
    bench.peer.send(0, &join(0)).await;
    bench.peer.receive::<JoinGroupRequest>(0, 0).await;
    bench
        .each::<HeartbeatRequest>(
            |_| HeartbeatRequest::default().with_group_id(group()),
            |_, answer| is(answer.error_code, ResponseError::UnknownMemberId.code()),
        )
        .await;
    bench
        .each::<SyncGroupRequest>(
            |_| SyncGroupRequest::default().with_group_id(group()),
            |version, answer| {
                // From version 5 on the protocol must be named.
                let unnamed = ResponseError::InconsistentGroupProtocol.code();
                is(
                    answer.error_code,
                    if version >= 5 { unnamed } else { ResponseError::UnknownMemberId.code() },
                )
            },
        )
        .await;
    bench
        .each::<DescribeGroupsRequest>(
            |_| DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("none"))]),
            |version, answer| {
                let (known, unknown): (Vec<_>, Vec<_>) =
                    answer.groups.iter().partition(|one| one.group_id == group());
                let missing = if version >= 6 { ResponseError::GroupIdNotFound.code() } else { 0 };
                is(known[0].error_code, 0)?;
                is(unknown[0].error_code, missing)
            },
        )
        .await;
    bench
        .each::<JoinGroupRequest>(
            |version| {
                // Old versions would wait here; they are refused for another reason.
                let request = join(version);
                if version < 4 { request.with_session_timeout_ms(1) } else { request }
            },
            |version, answer| {
                let refused = ResponseError::InvalidSessionTimeout.code();
                is(answer.error_code, if version < 4 { refused } else { member_id_required })
            },
        )
        .await;
    let leave = |version| {
        let request = LeaveGroupRequest::default().with_group_id(group());
        let nobody = MemberIdentity::default().with_member_id(text("nobody"));
        if version >= 3 { request.with_members(vec![nobody]) } else { request.with_member_id(text("nobody")) }
    };
    bench
        .each::<LeaveGroupRequest>(leave, |version, answer| {
            let code = if version >= 3 { answer.members[0].error_code } else { answer.error_code };
            is(code, ResponseError::UnknownMemberId.code())
        })
        .await;
    bench
        .each::<ListGroupsRequest>(|_| ListGroupsRequest::default(), |_, answer| is(answer.error_code, 0))
        .await;
    let delete = |_| DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    bench
        .each::<DeleteGroupsRequest>(delete, |_, answer| {
            is(answer.results[0].error_code, ResponseError::NonEmptyGroup.code())
        })
        .await;
}

async fn commits(bench: &mut Bench) {
    let commit = |_| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        let topic = OffsetCommitRequestTopic::default().with_name(orders()).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default().with_group_id(GroupId(text("offsets")));
        request.with_generation_id_or_member_epoch(-1).with_topics(vec![topic])
    };
    bench
        .each::<OffsetCommitRequest>(commit, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
    let fetch = |version| {
        let id = GroupId(text("offsets"));
        if version < 8 {
            let topic =
                OffsetFetchRequestTopic::default().with_name(orders()).with_partition_indexes(vec![0]);
            return OffsetFetchRequest::default().with_group_id(id).with_topics(Some(vec![topic]));
        }
        let topic = OffsetFetchRequestTopics::default().with_name(orders()).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default().with_group_id(id).with_topics(Some(vec![topic]));
        OffsetFetchRequest::default().with_groups(vec![asked])
    };
    bench
        .each::<OffsetFetchRequest>(fetch, |version, answer| {
            let offset = if version < 8 {
                answer.topics[0].partitions[0].committed_offset
            } else {
                answer.groups[0].topics[0].partitions[0].committed_offset
            };
            if offset == 7 { Ok(()) } else { Err(format!("offset {offset}")) }
        })
        .await;
    let forget = |_| {
        let partition = OffsetDeleteRequestPartition::default();
        let topic = OffsetDeleteRequestTopic::default().with_name(orders()).with_partitions(vec![partition]);
        OffsetDeleteRequest::default().with_group_id(GroupId(text("offsets"))).with_topics(vec![topic])
    };
    bench
        .each::<OffsetDeleteRequest>(forget, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
}

pub(crate) async fn every_version_of_consumer_groups(bench: &mut Bench) {
    let joining = |version: i16| {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text("consumer-group")))
            .with_member_id(text(if version == 0 { "" } else { "member" }))
            .with_rebalance_timeout_ms(1000)
            .with_subscribed_topic_names(Some(vec![orders()]))
            .with_topic_partitions(Some(Vec::new()))
    };
    bench
        .each::<ConsumerGroupHeartbeatRequest>(joining, |version, answer| {
            assert_eq!(answer.member_epoch, 1 + i32::from(version));
            is(answer.error_code, 0)
        })
        .await;
    let describe =
        |_| ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text("consumer-group"))]);
    bench
        .each::<ConsumerGroupDescribeRequest>(describe, |_, answer| is(answer.groups[0].error_code, 0))
        .await;
}
