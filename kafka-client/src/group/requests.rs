//! The requests of a membership: what the state machine says as messages, and what was answered in its words.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ApiVersionsRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::membership::{JoinAnswer, Joined, JoinedMember, Role};
use super::{Coordinator, Identity};
use crate::config::{Assignor, GroupConfig};
use crate::error::{Error, Result};
use crate::net::{COORDINATION_DEADLINE, Connection, Pool, Purpose, Retry};

/// Its name in errors.
pub(super) const SYNC_GROUP: &str = "SyncGroup";
/// The only kind of group whose members read topics.
const PROTOCOL_TYPE: &str = "consumer";
/// What a round may take longer than the coordinator waits for members.
const ROUND_LAPSE: Duration = Duration::from_secs(5);
/// While a round is waited for, its coordinator is asked for a sign of life, so often and with this patience: together no
/// longer than a heartbeat's.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_DEADLINE: Duration = Duration::from_millis(4500);
/// From here on several members can leave with one request, and static ones at all (KIP-345).
const MANY_LEAVE: i16 = 3;

/// One member's requests to its coordinator. What fails is told to the coordinator's cache.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    pub(super) pool: Arc<Pool>,
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) group: Arc<GroupConfig>,
}

impl Requests {
    pub(super) async fn join(
        &self,
        member_id: String,
        protocols: Vec<(Assignor, Bytes)>,
        reason: &'static str,
    ) -> Result<JoinAnswer> {
        let protocols = protocols.into_iter().map(|(assignor, subscription)| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(subscription)
        });
        let request = JoinGroupRequest::default()
            .with_group_id(self.coordinator.group_id())
            .with_session_timeout_ms(millis(self.group.session_timeout))
            .with_rebalance_timeout_ms(millis(self.group.rebalance_timeout))
            .with_member_id(StrBytes::from_string(member_id))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(protocols.collect())
            .with_reason(Some(StrBytes::from_static_str(reason)));
        let answer = async {
            let connection = self.coordinator.connection(Purpose::Join).await?;
            let call = connection.call::<JoinGroupRequest>(self.round_deadline(), |_| request);
            let answer = self.while_it_lives("JoinGroup", call).await?.body;
            match ResponseError::try_from_code(answer.error_code) {
                None => Ok(JoinAnswer::Accepted(accepted(answer))),
                Some(ResponseError::MemberIdRequired) => {
                    Ok(JoinAnswer::IdRequired(answer.member_id.to_string()))
                }
                Some(code) => Err(self.refused("JoinGroup", code)),
            }
        };
        answer.await.inspect_err(|error| self.coordinator.heed(error))
    }

    /// With when it was sent.
    pub(super) async fn sync(
        &self,
        stamp: Identity,
        assignor: Assignor,
        assignments: Vec<(String, Bytes)>,
    ) -> (Instant, Result<Bytes>) {
        let assignments = assignments.into_iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member))
                .with_assignment(assignment)
        });
        let request = self.sync_request(&stamp, assignor).with_assignments(assignments.collect());
        let mut sent = self.now();
        let answer = async {
            let connection = self.coordinator.connection(Purpose::Join).await?;
            sent = self.now();
            let call = connection.call::<SyncGroupRequest>(self.round_deadline(), |_| request);
            self.synced(assignor, self.while_it_lives(SYNC_GROUP, call).await?.body)
        };
        let answer = answer.await.inspect_err(|error| self.coordinator.heed(error));
        (sent, answer)
    }

    fn sync_request(&self, stamp: &Identity, assignor: Assignor) -> SyncGroupRequest {
        SyncGroupRequest::default()
            .with_group_id(self.coordinator.group_id())
            .with_generation_id(stamp.generation)
            .with_member_id(StrBytes::from_string(stamp.member_id.clone()))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(Some(StrBytes::from_static_str(assignor.name())))
    }

    fn synced(&self, assignor: Assignor, answer: SyncGroupResponse) -> Result<Bytes> {
        let other = answer.protocol_name.as_ref().is_some_and(|name| **name != *assignor.name());
        match ResponseError::try_from_code(answer.error_code) {
            None if other => Err(self.refused(SYNC_GROUP, ResponseError::InconsistentGroupProtocol)),
            None => Ok(answer.assignment),
            Some(code) => Err(self.refused(SYNC_GROUP, code)),
        }
    }

    /// With when it was sent.
    pub(super) async fn beat(&self, stamp: &Identity) -> (Instant, Result<()>) {
        self.over_a_connection("Heartbeat", self.beat_deadline(), async |connection| {
            self.beat_over(&connection, stamp).await
        })
        .await
    }

    /// What the member has in a generation that the group may have left long ago. With when that was asked.
    ///
    /// Neither request tells alone: a coordinator that still reads the group's log answers any heartbeat with success, and
    /// an older one SyncGroup with REBALANCE_IN_PROGRESS. Otherwise, in a generation that is complete, SyncGroup is answered
    /// at once with what the member was given in it.
    pub(super) async fn ask(&self, stamp: &Identity, assignor: Assignor) -> (Instant, Result<Bytes>) {
        let asked = async |connection: Arc<Connection>| {
            self.beat_over(&connection, stamp).await?;
            let deadline = self.beat_deadline();
            let request = self.sync_request(stamp, assignor);
            let answer = connection.call::<SyncGroupRequest>(deadline, |_| request).await?;
            match self.synced(assignor, answer.body) {
                // If it does rebalance, the next heartbeat is told.
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    Err(self.refused(SYNC_GROUP, ResponseError::CoordinatorLoadInProgress))
                }
                told => told,
            }
        };
        self.over_a_connection("Heartbeat", self.beat_deadline(), asked).await
    }

    async fn beat_over(&self, connection: &Connection, stamp: &Identity) -> Result<()> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.coordinator.group_id())
            .with_generation_id(stamp.generation)
            .with_member_id(StrBytes::from_string(stamp.member_id.clone()))
            .with_group_instance_id(self.instance_id());
        let answer = connection.call::<HeartbeatRequest>(self.beat_deadline(), |_| request).await?;
        ResponseError::try_from_code(answer.body.error_code)
            .map_or(Ok(()), |code| Err(self.refused("Heartbeat", code)))
    }

    fn beat_deadline(&self) -> Duration {
        COORDINATION_DEADLINE.min(self.group.session_timeout)
    }

    /// What is asked of the coordinator; with when that was sent. Finding it and connecting may take half of the deadline that
    /// the answer has. The call is not cut short from outside: one that nobody waits for cannot tell that its connection is
    /// half open, and the next one would take the same.
    pub(super) async fn over_a_connection<T>(
        &self,
        api: &'static str,
        deadline: Duration,
        ask: impl AsyncFnOnce(Arc<Connection>) -> Result<T>,
    ) -> (Instant, Result<T>) {
        let mut sent = self.now();
        let answer = async {
            let after = deadline / 2;
            let found = tokio::time::timeout(after, self.coordinator.connection(Purpose::Group)).await;
            let connection = found.unwrap_or_else(|_| {
                let broker = format!("the coordinator of {}", self.coordinator.at());
                Err(Error::Timeout { api, broker, after })
            })?;
            sent = self.now();
            ask(connection).await
        };
        let answer = answer.await.inspect_err(|error| self.coordinator.heed(error));
        (sent, answer)
    }

    /// Leaves; tries again for as long as a request may take.
    pub(super) async fn goodbye(&self, member_id: &str) -> Result<()> {
        let cluster = self.pool.cluster();
        let mut retry = Retry::within(cluster, cluster.config().request_timeout);
        loop {
            let error = match self.goodbye_once(member_id).await {
                // Whom the coordinator does not know is not there any more.
                Ok(None | Some(ResponseError::UnknownMemberId)) => return Ok(()),
                Ok(Some(code)) => self.refused("LeaveGroup", code),
                Err(error) => error,
            };
            self.coordinator.heed(&error);
            retry.after(error).await?;
        }
    }

    async fn goodbye_once(&self, member_id: &str) -> Result<Option<ResponseError>> {
        let id = StrBytes::from_string(member_id.to_owned());
        let request = |version: i16| {
            let request = LeaveGroupRequest::default().with_group_id(self.coordinator.group_id());
            if version < MANY_LEAVE {
                return request.with_member_id(id);
            }
            let member = MemberIdentity::default()
                .with_member_id(id)
                .with_group_instance_id(self.instance_id())
                .with_reason(Some(StrBytes::from_static_str("the member closes")));
            request.with_members(vec![member])
        };
        let connection = self.coordinator.connection(Purpose::Group).await?;
        let answer = connection.call::<LeaveGroupRequest>(COORDINATION_DEADLINE, request).await?.body;
        let codes = answer.members.iter().map(|member| member.error_code);
        Ok([answer.error_code].into_iter().chain(codes).find_map(ResponseError::try_from_code))
    }

    /// Waits for a round as long as its coordinator answers other questions. A coordinator holds a round until all
    /// members are there, for minutes if it must; from the outside a half-open connection looks the same.
    async fn while_it_lives<T>(
        &self,
        api: &'static str,
        round: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            answer = round => answer,
            broker = self.it_falls_silent() => {
                Err(Error::Timeout { api, broker, after: PROBE_EVERY + PROBE_DEADLINE })
            }
        }
    }

    /// Ends when the coordinator leaves a question without an answer; whether that is a good one does not matter.
    async fn it_falls_silent(&self) -> String {
        loop {
            tokio::time::sleep(PROBE_EVERY).await;
            let probe = async {
                let connection = self.coordinator.connection(Purpose::Control).await?;
                connection.call::<ApiVersionsRequest>(PROBE_DEADLINE, sign_of_life).await
            };
            match tokio::time::timeout(PROBE_DEADLINE, probe).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if !error.is_retriable() => {}
                Ok(Err(_)) | Err(_) => return format!("the coordinator of {}", self.coordinator.at()),
            }
        }
    }

    fn round_deadline(&self) -> Duration {
        self.group.rebalance_timeout.saturating_add(ROUND_LAPSE)
    }

    pub(super) fn instance_id(&self) -> Option<StrBytes> {
        self.group.instance_id.clone().map(StrBytes::from_string)
    }

    pub(super) fn refused(&self, api: &'static str, code: ResponseError) -> Error {
        Error::Broker { api, code, at: self.coordinator.at() }
    }

    pub(super) fn now(&self) -> Instant {
        self.pool.cluster().seams().clock.now()
    }
}

/// The cheapest question that there is.
fn sign_of_life(version: i16) -> ApiVersionsRequest {
    match version {
        3.. => ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("kafka-client-rust"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION"))),
        _ => ApiVersionsRequest::default(),
    }
}

fn accepted(answer: JoinGroupResponse) -> Joined {
    let identity = Identity { member_id: answer.member_id.to_string(), generation: answer.generation_id };
    let assignor = answer.protocol_name.map(|name| name.to_string()).unwrap_or_default();
    let members = answer.members.into_iter().map(|member| JoinedMember {
        id: member.member_id.to_string(),
        instance_id: member.group_instance_id.map(|id| id.to_string()),
        subscription: member.metadata,
    });
    let role = match answer.leader == answer.member_id {
        true => Role::Leader { members: members.collect(), skip_assignment: answer.skip_assignment },
        false => Role::Follower,
    };
    Joined { identity, assignor, role }
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
