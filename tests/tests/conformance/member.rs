//! Members of classic groups, driven request by request.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::asked::{group_id, text};
use crate::kafka::{Kafka, until};
use crate::said;
use crate::wire::Wire;

/// Versions in which members live where a row does not say otherwise.
const JOIN: i16 = 9;
const SYNC: i16 = 5;
const BEAT: i16 = 4;
const LEAVE: i16 = 5;

/// A request to join with one protocol, `range`.
pub(crate) fn join(version: i16, group: &str, member: &str) -> JoinGroupRequest {
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_session_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(protocols(&[("range", "mine")]));
    if version >= 1 { request.with_rebalance_timeout_ms(60_000) } else { request }
}

/// Protocols with a subscription to nothing each, whose user data is the second word. (Apache Kafka reads the
/// subscriptions of consumers; garbage in them leaves the join unanswered.)
pub(crate) fn protocols(names: &[(&str, &str)]) -> Vec<JoinGroupRequestProtocol> {
    let protocol = |(name, user_data): &(&str, &str)| {
        JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(subscription(&[], user_data))
    };
    names.iter().map(protocol).collect()
}

/// A consumer's subscription, version 0.
pub(crate) fn subscription(topics: &[&str], user_data: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(i32::try_from(topics.len()).unwrap());
    for topic in topics {
        bytes.put_i16(i16::try_from(topic.len()).unwrap());
        bytes.put_slice(topic.as_bytes());
    }
    bytes.put_i32(i32::try_from(user_data.len()).unwrap());
    bytes.put_slice(user_data.as_bytes());
    bytes.freeze()
}

/// A member with a connection to its coordinator.
pub(crate) struct Member {
    pub(crate) wire: Wire,
    pub(crate) group: String,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) id: StrBytes,
    pub(crate) generation: i32,
}

impl Member {
    /// One that has not joined.
    pub(crate) async fn new(kafka: Kafka, group: &str) -> Self {
        let wire = kafka.coordinator(group).await;
        Self { wire, group: group.to_owned(), instance: None, id: StrBytes::default(), generation: -1 }
    }

    /// A static one that has not joined.
    pub(crate) async fn fixed(kafka: Kafka, group: &str, instance: &str) -> Self {
        Self { instance: Some(text(instance)), ..Self::new(kafka, group).await }
    }

    /// The only member of a new group, stable, with the assignment `all`.
    pub(crate) async fn alone(kafka: Kafka) -> Self {
        let mut member = Self::new(kafka, &kafka.name("group")).await;
        member.join().await;
        member.sync(&[(member.id.clone(), "all")]).await;
        member
    }

    pub(crate) fn join_request(&self) -> JoinGroupRequest {
        join(JOIN, &self.group, &self.id).with_group_instance_id(self.instance.clone())
    }

    /// Asks to join without waiting; a dynamic member gets its id first.
    pub(crate) async fn begin_join(&mut self) {
        if self.id.is_empty() && self.instance.is_none() {
            self.id = self.wire.ask(JOIN, &self.join_request()).await.member_id;
        }
        let request = self.join_request();
        self.wire.send(JOIN, &request).await;
    }

    /// The answer to [`Self::begin_join`].
    pub(crate) async fn joined(&mut self) -> JoinGroupResponse {
        let joined = self.wire.receive::<JoinGroupRequest>(JOIN).await;
        assert_eq!(said::error(joined.error_code), "NONE");
        self.id = joined.member_id.clone();
        self.generation = joined.generation_id;
        joined
    }

    pub(crate) async fn join(&mut self) -> JoinGroupResponse {
        self.begin_join().await;
        self.joined().await
    }

    pub(crate) fn sync_request(&self, assignments: &[(StrBytes, &str)]) -> SyncGroupRequest {
        let assignment = |(member, part): &(StrBytes, &str)| {
            let part = Bytes::copy_from_slice(part.as_bytes());
            SyncGroupRequestAssignment::default().with_member_id(member.clone()).with_assignment(part)
        };
        SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_generation_id(self.generation)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assignments.iter().map(assignment).collect())
    }

    pub(crate) async fn sync(&mut self, assignments: &[(StrBytes, &str)]) -> SyncGroupResponse {
        let request = self.sync_request(assignments);
        self.wire.ask(SYNC, &request).await
    }

    pub(crate) fn beat_request(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_generation_id(self.generation)
    }

    pub(crate) async fn beat(&mut self) -> String {
        let request = self.beat_request();
        said::error(self.wire.ask(BEAT, &request).await.error_code)
    }

    pub(crate) async fn leave(&mut self) {
        let who = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(&self.group)).with_members(vec![who]);
        self.wire.ask(LEAVE, &request).await;
    }

    /// Heartbeats until this is the answer.
    pub(crate) async fn beats_until(&mut self, answer: &str) {
        until(answer, async || (self.beat().await == answer).then_some(())).await;
    }
}

/// Two stable members of a new group; the first leads.
pub(crate) async fn two(kafka: Kafka) -> (Member, Member) {
    let mut one = Member::alone(kafka).await;
    let mut two = Member::new(kafka, &one.group).await;
    two.begin_join().await;
    one.begin_join().await;
    one.joined().await;
    two.joined().await;
    one.sync(&[(one.id.clone(), "for one"), (two.id.clone(), "for two")]).await;
    two.sync(&[]).await;
    (one, two)
}
