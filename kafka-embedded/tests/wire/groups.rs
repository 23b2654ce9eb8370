use std::time::Duration;

use bytes::Bytes;
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep};

use crate::peer::{Peer, text, topic};

const GROUP: &str = "billing";

async fn started() -> EmbeddedKafka {
    EmbeddedKafka::builder().brokers(3).topic("orders", 4).in_memory().start().await.unwrap()
}

fn group() -> GroupId {
    GroupId(text(GROUP))
}

fn join(member: &StrBytes) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from("m"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member.clone())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// A member with its connection.
struct Member {
    peer: Peer,
    id: StrBytes,
    generation: i32,
}

impl Member {
    /// Asks for an id, and then joins with it, without waiting for the answer.
    async fn start(kafka: &EmbeddedKafka) -> Self {
        let mut peer = Peer::coordinator(kafka, GROUP).await;
        let refused = peer.call(9, &join(&text(""))).await;
        assert_eq!(refused.error_code, ResponseError::MemberIdRequired.code());
        let id = refused.member_id;
        peer.send(9, &join(&id)).await;
        Self { peer, id, generation: -1 }
    }

    async fn joined(&mut self) -> JoinGroupResponse {
        let joined = self.peer.receive::<JoinGroupRequest>(9, 0).await;
        assert_eq!((joined.error_code, &joined.member_id), (0, &self.id));
        self.generation = joined.generation_id;
        joined
    }

    fn sync(&self, assignments: &[(&StrBytes, &'static str)]) -> SyncGroupRequest {
        let part = |(id, part): &(&StrBytes, &'static str)| {
            SyncGroupRequestAssignment::default()
                .with_member_id((*id).clone())
                .with_assignment(Bytes::from(*part))
        };
        SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id(self.generation)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assignments.iter().map(part).collect())
    }

    async fn heartbeat(&mut self) -> i16 {
        let beat = HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id(self.generation);
        self.peer.call(4, &beat).await.error_code
    }

    async fn commit(&mut self, partition: i32, offset: i64) -> i16 {
        let request = commit(&self.id, self.generation, partition, offset);
        self.peer.call(8, &request).await.topics[0].partitions[0].error_code
    }
}

fn commit(member: &StrBytes, generation: i32, partition: i32, offset: i64) -> OffsetCommitRequest {
    let part = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(3)
        .with_committed_metadata(Some(text("note")));
    let part = OffsetCommitRequestTopic::default().with_name(topic("orders")).with_partitions(vec![part]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(member.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![part])
}

/// Two stable members; the first leads.
async fn two(kafka: &EmbeddedKafka) -> (Member, Member) {
    let mut one = Member::start(kafka).await;
    one.joined().await;
    let mut two = Member::start(kafka).await;
    assert_eq!(one.heartbeat().await, ResponseError::RebalanceInProgress.code());
    one.peer.send(9, &join(&one.id)).await;
    let (leader, follower) = (one.joined().await, two.joined().await);
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!((&leader.leader, &follower.leader), (&one.id, &one.id));
    two.peer.send(5, &two.sync(&[])).await;
    let sync = one.sync(&[(&one.id, "for one"), (&two.id, "for two")]);
    assert_eq!(one.peer.call(5, &sync).await.assignment, "for one");
    let synced = two.peer.receive::<SyncGroupRequest>(5, 0).await;
    assert_eq!((&synced.assignment[..], synced.protocol_name), (&b"for two"[..], Some(text("range"))));
    (one, two)
}

#[tokio::test(start_paused = true)]
async fn members_rebalance_when_one_leaves() {
    let kafka = started().await;
    let (mut one, mut two) = two(&kafka).await;
    let begin = Instant::now();
    let leaver = MemberIdentity::default().with_member_id(one.id.clone()).with_group_instance_id(None);
    let leave =
        LeaveGroupRequest::default().with_group_id(group()).with_members(vec![leaver.clone(), leaver]);
    let left = one.peer.call(4, &leave).await;
    let codes: Vec<i16> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(codes, [0, ResponseError::UnknownMemberId.code()]);
    assert_eq!(two.heartbeat().await, ResponseError::RebalanceInProgress.code());
    two.peer.send(9, &join(&two.id)).await;
    assert_eq!(two.joined().await.leader, two.id);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_expired_after_its_session_timeout() {
    let kafka = started().await;
    let (mut one, mut two) = two(&kafka).await;
    for _ in 0..9 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(one.heartbeat().await, 0);
    }
    sleep(Duration::from_millis(999)).await;
    assert_eq!(one.heartbeat().await, 0);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(one.heartbeat().await, ResponseError::RebalanceInProgress.code());
    assert_eq!(two.heartbeat().await, ResponseError::UnknownMemberId.code());
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_waits_for_a_living_member_until_its_timeout() {
    let kafka = started().await;
    let (mut one, mut two) = two(&kafka).await;
    let begin = Instant::now();
    one.peer.send(9, &join(&one.id)).await;
    for _ in 0..20 {
        sleep(Duration::from_secs(2)).await;
        assert_eq!(two.heartbeat().await, ResponseError::RebalanceInProgress.code());
        assert_eq!(two.commit(0, 7).await, 0, "what was handled can still be committed");
    }
    two.peer.send(9, &join(&two.id)).await;
    assert_eq!(one.joined().await.members.len(), 2);
    assert_eq!(begin.elapsed(), Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_keeps_its_place_over_a_restart() {
    let kafka = started().await;
    let mut peer = Peer::coordinator(&kafka, GROUP).await;
    let static_join = |member: &StrBytes| join(member).with_group_instance_id(Some(text("pod-1")));
    let first = peer.call(9, &static_join(&text(""))).await;
    assert_eq!((first.error_code, first.members.len()), (0, 1));
    let mut one = Member { peer, id: first.member_id, generation: first.generation_id };
    let sync = one.sync(&[(&one.id, "all")]).with_group_instance_id(Some(text("pod-1")));
    assert_eq!(one.peer.call(5, &sync).await.assignment, "all");

    let again = one.peer.call(9, &static_join(&text(""))).await;
    assert_eq!((again.error_code, again.generation_id, again.skip_assignment), (0, one.generation, true));
    assert_ne!(again.member_id, one.id);
    let fenced = one.peer.call(9, &static_join(&one.id)).await;
    assert_eq!(fenced.error_code, ResponseError::FencedInstanceId.code());
    let by_instance = MemberIdentity::default().with_group_instance_id(Some(text("pod-1")));
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![by_instance]);
    assert_eq!(one.peer.call(4, &leave).await.members[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn requests_are_checked() {
    let kafka = started().await;
    let mut peer = Peer::coordinator(&kafka, GROUP).await;
    let mut code = async |request: JoinGroupRequest| peer.call(9, &request).await.error_code;
    let nobody = text("");
    assert_eq!(
        code(join(&nobody).with_session_timeout_ms(1)).await,
        ResponseError::InvalidSessionTimeout.code()
    );
    assert_eq!(
        code(join(&nobody).with_group_id(GroupId(nobody.clone()))).await,
        ResponseError::InvalidGroupId.code()
    );
    assert_eq!(
        code(join(&nobody).with_protocols(vec![])).await,
        ResponseError::InconsistentGroupProtocol.code()
    );
    assert_eq!(code(join(&text("who"))).await, ResponseError::UnknownMemberId.code());
    let mut refused = 0;
    for broker in 1..=3 {
        let answer = Peer::connect(&kafka, broker).await.call(9, &join(&nobody)).await;
        refused += usize::from(answer.error_code == ResponseError::NotCoordinator.code());
    }
    assert_eq!(refused, 2, "one broker coordinates the group");
}

fn offsets(partitions: Option<Vec<i32>>) -> OffsetFetchRequest {
    let topics = partitions.map(|indexes| {
        vec![OffsetFetchRequestTopics::default().with_name(topic("orders")).with_partition_indexes(indexes)]
    });
    let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(topics);
    OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true)
}

#[tokio::test(start_paused = true)]
async fn offsets_are_kept_for_members_of_the_generation() {
    let kafka = started().await;
    let (mut one, mut two) = two(&kafka).await;
    assert_eq!(one.commit(2, 42).await, 0);
    assert_eq!(two.commit(9, 1).await, ResponseError::UnknownTopicOrPartition.code());
    two.generation -= 1;
    assert_eq!(two.commit(2, 41).await, ResponseError::IllegalGeneration.code());
    let found = one.peer.call(8, &offsets(Some(vec![2, 3]))).await;
    let parts = &found.groups[0].topics[0].partitions;
    let committed = (parts[0].committed_offset, parts[0].committed_leader_epoch, parts[0].metadata.clone());
    assert_eq!(committed, (42, 3, Some(text("note"))));
    assert_eq!((parts[1].committed_offset, parts[1].error_code), (-1, 0));
    let all = one.peer.call(8, &offsets(None)).await;
    assert_eq!(all.groups[0].topics[0].partitions.len(), 1);
    // Somebody without membership may not, while there are members.
    let outsider = commit(&text(""), -1, 0, 1);
    let refused = one.peer.call(8, &outsider).await;
    assert_eq!(refused.topics[0].partitions[0].error_code, ResponseError::UnknownMemberId.code());
}

#[tokio::test(start_paused = true)]
async fn groups_are_described_listed_and_deleted() {
    let kafka = started().await;
    let (mut one, two) = two(&kafka).await;
    one.commit(0, 5).await;
    let describe = DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("none"))]);
    let described = one.peer.call(6, &describe).await;
    let named = |id: GroupId| described.groups.iter().find(|group| group.group_id == id).unwrap();
    let ours = named(group());
    assert_eq!((&*ours.group_state, &*ours.protocol_data, ours.members.len()), ("Stable", "range", 2));
    let member = ours.members.iter().find(|member| member.member_id == two.id).unwrap();
    assert_eq!((&member.member_assignment[..], &*member.client_id), (&b"for two"[..], "peer"));
    assert_ne!(named(GroupId(text("none"))).error_code, 0);

    let list = ListGroupsRequest::default().with_states_filter(vec![text("stable")]);
    let listed = one.peer.call(5, &list).await;
    assert_eq!((listed.groups.len(), &*listed.groups[0].group_type), (1, "classic"));
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(one.peer.call(2, &delete).await.results[0].error_code, ResponseError::NonEmptyGroup.code());
    for id in [one.id.clone(), two.id.clone()] {
        let member = MemberIdentity::default().with_member_id(id).with_group_instance_id(None);
        one.peer
            .call(4, &LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]))
            .await;
    }
    let part = OffsetDeleteRequestTopic::default()
        .with_name(topic("orders"))
        .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
    let forget = OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![part]);
    assert_eq!(one.peer.call(0, &forget).await.topics[0].partitions[0].error_code, 0);
    assert!(one.peer.call(8, &offsets(None)).await.groups[0].topics.is_empty());
    assert_eq!(one.peer.call(2, &delete).await.results[0].error_code, 0);
    assert_eq!(one.peer.call(2, &delete).await.results[0].error_code, ResponseError::GroupIdNotFound.code());
}

#[tokio::test(start_paused = true)]
async fn members_that_come_together_share_the_first_generation_where_the_broker_waits() {
    let builder = EmbeddedKafka::builder().brokers(3).initial_rebalance_delay(Duration::from_secs(3));
    let kafka = builder.in_memory().start().await.unwrap();
    let (mut one, mut two) = (Member::start(&kafka).await, Member::start(&kafka).await);
    let (leader, follower) = (one.joined().await, two.joined().await);
    assert_eq!((leader.generation_id, follower.generation_id, leader.members.len()), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_member_is_expired_and_a_rebalance_forced_on_request() {
    let kafka = started().await;
    let (mut one, mut two) = two(&kafka).await;
    let rebalancing = ResponseError::RebalanceInProgress.code();
    assert_eq!((one.heartbeat().await, two.heartbeat().await), (0, 0));
    assert!(kafka.faults().force_rebalance(GROUP));
    assert_eq!((one.heartbeat().await, two.heartbeat().await), (rebalancing, rebalancing));
    assert!(kafka.faults().expire_member(GROUP, &two.id));
    assert_eq!(two.heartbeat().await, ResponseError::UnknownMemberId.code());
    one.peer.send(9, &join(&one.id)).await;
    assert_eq!(one.joined().await.members.len(), 1, "it is alone now");
    assert!(!kafka.faults().expire_member(GROUP, &two.id));
    assert!(!kafka.faults().force_rebalance("nobody's"));
    assert!(kafka.faults().expire_member(GROUP, "peer"), "by its client id");
}
