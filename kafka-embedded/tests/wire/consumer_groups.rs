//! KIP-848 over the wire.

use std::time::Duration;

use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use tokio::time::sleep;

use crate::peer::{Peer, text, topic};

const GROUP: &str = "billing";

fn group() -> GroupId {
    GroupId(text(GROUP))
}

async fn started() -> (EmbeddedKafka, Peer) {
    let kafka = EmbeddedKafka::builder()
        .brokers(3)
        .topic("orders", 4)
        .consumer_heartbeat_interval(Duration::from_secs(2))
        .consumer_session_timeout(Duration::from_secs(6))
        .in_memory();
    let kafka = kafka.start().await.unwrap();
    let peer = Peer::coordinator(&kafka, GROUP).await;
    (kafka, peer)
}

fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    beat(member, 0)
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic("orders")]))
        .with_topic_partitions(Some(Vec::new()))
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_member_epoch(epoch)
}

fn told(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().flat_map(|topic| topic.partitions.clone()).collect())
}

async fn ask(peer: &mut Peer, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    peer.call(1, request).await
}

async fn accepted(
    peer: &mut Peer,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = ask(peer, request).await;
    assert_eq!((response.error_code, &response.error_message), (0, &None));
    response
}

async fn commit(peer: &mut Peer, version: i16, member: &str, epoch: i32, offset: i64) -> i16 {
    let part = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let part = OffsetCommitRequestTopic::default().with_name(topic("orders")).with_partitions(vec![part]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![part]);
    peer.call(version, &request).await.topics[0].partitions[0].error_code
}

/// The group's error, or the offset.
async fn committed(peer: &mut Peer, member: Option<&str>, epoch: i32) -> (i16, i64) {
    let topics =
        OffsetFetchRequestTopics::default().with_name(topic("orders")).with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_member_id(member.map(text))
        .with_member_epoch(epoch)
        .with_topics(Some(vec![topics]));
    let answer = peer.call(9, &OffsetFetchRequest::default().with_groups(vec![asked])).await.groups.remove(0);
    let offset = answer.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
    (answer.error_code, offset)
}

#[tokio::test(start_paused = true)]
async fn members_are_told_what_they_have() {
    let (kafka, mut peer) = started().await;
    let first = accepted(&mut peer, &join("one")).await;
    assert_eq!((first.member_epoch, first.heartbeat_interval_ms), (1, 2000));
    assert_eq!(told(&first), Some(vec![0, 1, 2, 3]));
    assert_eq!(told(&accepted(&mut peer, &join("two")).await), Some(vec![]));
    let less = accepted(&mut peer, &beat("one", 1)).await;
    assert_eq!((less.member_epoch, told(&less)), (1, Some(vec![0, 1])));
    let id = less.assignment.unwrap().topic_partitions[0].topic_id;
    let owned = TopicPartitions::default().with_topic_id(id).with_partitions(vec![0, 1]);
    let less = accepted(&mut peer, &beat("one", 1).with_topic_partitions(Some(vec![owned]))).await;
    assert_eq!((less.member_epoch, told(&less)), (2, None));
    assert_eq!(told(&accepted(&mut peer, &beat("two", 2)).await), Some(vec![2, 3]));
    // The first one is silent.
    sleep(Duration::from_secs(4)).await;
    accepted(&mut peer, &beat("two", 2)).await;
    sleep(Duration::from_secs(2)).await;
    let all = accepted(&mut peer, &beat("two", 2)).await;
    assert_eq!((all.member_epoch, told(&all)), (3, Some(vec![0, 1, 2, 3])));
    assert_eq!(ask(&mut peer, &beat("one", 2)).await.error_code, E::UnknownMemberId.code());
    let left = accepted(&mut peer, &beat("two", -1)).await;
    assert_eq!((left.member_epoch, left.heartbeat_interval_ms), (-1, 0));
    drop(kafka);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_in_kafkas_words() {
    let (kafka, mut peer) = started().await;
    let mut elsewhere = Peer::connect(&kafka, 1).await;
    let mut other = Peer::connect(&kafka, 2).await;
    let wrong = [ask(&mut elsewhere, &join("one")).await, ask(&mut other, &join("one")).await];
    assert!(wrong.iter().any(|response| response.error_code == E::NotCoordinator.code()));
    peer.call(1, &beat("one", -1)).await;
    let mut refused = async |request: ConsumerGroupHeartbeatRequest, code: E, message: &str| {
        let response = ask(&mut peer, &request).await;
        assert_eq!((response.error_code, response.error_message.as_deref()), (code.code(), Some(message)));
    };
    refused(join(""), E::InvalidRequest, "MemberId can't be empty.").await;
    refused(join("one").with_group_id(GroupId(text(""))), E::InvalidRequest, "GroupId can't be empty.").await;
    let late = join("one").with_rebalance_timeout_ms(-1);
    refused(late, E::InvalidRequest, "RebalanceTimeoutMs must be provided in first request.").await;
    let owning = join("one").with_topic_partitions(None);
    refused(owning, E::InvalidRequest, "TopicPartitions must be empty when (re-)joining.").await;
    refused(beat("one", -2), E::InvalidRequest, "InstanceId can't be null.").await;
    let assignor = join("one").with_server_assignor(Some(text("sticky")));
    let words = "ServerAssignor sticky is not supported. Supported assignors: uniform, range.";
    refused(assignor, E::UnsupportedAssignor, words).await;
    let words = "Member nobody is not a member of group billing.";
    refused(beat("nobody", 7).with_group_id(group()), E::UnknownMemberId, words).await;
    drop(kafka);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_the_members_of_this_epoch() {
    let (kafka, mut peer) = started().await;
    assert_eq!(commit(&mut peer, 9, "", -1, 3).await, 0);
    accepted(&mut peer, &join("one")).await;
    assert_eq!(commit(&mut peer, 9, "one", 1, 5).await, 0);
    assert_eq!(commit(&mut peer, 9, "one", 0, 6).await, E::StaleMemberEpoch.code());
    assert_eq!(commit(&mut peer, 8, "one", 1, 6).await, E::UnsupportedVersion.code());
    assert_eq!(commit(&mut peer, 9, "two", 1, 6).await, E::UnknownMemberId.code());
    assert_eq!(commit(&mut peer, 9, "", -1, 6).await, E::UnknownMemberId.code());
    assert_eq!(committed(&mut peer, Some("one"), 1).await, (0, 5));
    assert_eq!(committed(&mut peer, None, -1).await, (0, 5));
    assert_eq!(committed(&mut peer, Some("one"), 2).await.0, E::StaleMemberEpoch.code());
    assert_eq!(committed(&mut peer, Some("two"), 1).await.0, E::UnknownMemberId.code());
    drop(kafka);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_listed_described_and_deleted_by_its_type() {
    let (kafka, mut peer) = started().await;
    accepted(&mut peer, &join("one").with_rack_id(Some(text("r")))).await;
    let listed = |kind: &str| ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
    assert_eq!(peer.call(5, &listed("classic")).await.groups.len(), 0);
    let group_listed = peer.call(5, &listed("consumer")).await.groups.remove(0);
    assert_eq!((&*group_listed.group_state, &*group_listed.group_type), ("Stable", "consumer"));
    assert_eq!(&*group_listed.protocol_type, "consumer");

    let ids = vec![group(), GroupId(text(GROUP))];
    let described = peer.call(1, &ConsumerGroupDescribeRequest::default().with_group_ids(ids)).await;
    let one = &described.groups[0];
    assert_eq!((one.error_code, &*one.group_state, &*one.assignor_name), (0, "Stable", "uniform"));
    assert_eq!((one.group_epoch, one.assignment_epoch, one.members.len()), (1, 1, 1));
    let member = &one.members[0];
    assert_eq!((&*member.member_id, member.member_epoch, member.member_type), ("one", 1, 1));
    assert_eq!((member.rack_id.as_deref(), &*member.client_id), (Some("r"), "peer"));
    assert_eq!(member.subscribed_topic_names, [topic("orders")]);
    assert_eq!(member.assignment, member.target_assignment);
    assert_eq!(&*member.assignment.topic_partitions[0].topic_name, &*topic("orders"));

    let classic = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let unknown = peer.call(6, &classic).await.groups.remove(0);
    assert_eq!((unknown.error_code, &*unknown.group_state), (E::GroupIdNotFound.code(), "Dead"));
    assert_eq!(unknown.error_message.as_deref(), Some("Group billing is not a classic group."));
    let unknown = peer.call(5, &classic).await.groups.remove(0);
    assert_eq!((unknown.error_code, &*unknown.group_state), (0, "Dead"));

    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(peer.call(2, &delete).await.results[0].error_code, E::NonEmptyGroup.code());
    accepted(&mut peer, &beat("one", -1)).await;
    assert_eq!(peer.call(2, &delete).await.results[0].error_code, 0);
    assert_eq!(ask(&mut peer, &beat("one", 1)).await.error_code, E::GroupIdNotFound.code());
    drop(kafka);
}

#[tokio::test(start_paused = true)]
async fn an_empty_group_becomes_what_the_next_member_speaks() {
    let (kafka, mut peer) = started().await;
    accepted(&mut peer, &join("one")).await;
    assert_eq!(commit(&mut peer, 9, "one", 1, 5).await, 0);
    accepted(&mut peer, &beat("one", -1)).await;
    let classic = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![Default::default()]);
    let asked = peer.call(9, &classic).await;
    assert_eq!(asked.error_code, E::MemberIdRequired.code());
    // An id was given out, and nobody is in the group: it is anyone's.
    let again = accepted(&mut peer, &join("two")).await;
    assert_eq!((again.member_epoch, committed(&mut peer, None, -1).await), (1, (0, 5)));
    let stranger = HeartbeatRequest::default().with_group_id(group()).with_member_id(asked.member_id);
    assert_eq!(peer.call(4, &stranger).await.error_code, E::UnknownMemberId.code());
    drop(kafka);
}
