//! SyncGroup: the leader's assignment, and those who wait for it.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::super::member::MemberId;
use super::{Answer, Classic, State, Synced, Token};

/// What a SyncGroup request asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Syncing {
    pub(crate) member_id: MemberId,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(crate) assignments: HashMap<MemberId, Bytes>,
}

impl Classic {
    /// SyncGroup, answered for `token` now or once the leader has assigned.
    pub(crate) fn sync(&mut self, now: Instant, request: &Syncing, token: Token) {
        if let Some(answer) = self.try_sync(now, request, token) {
            self.answer(token, Answer::Sync(answer));
        }
    }

    fn try_sync(
        &mut self,
        now: Instant,
        request: &Syncing,
        token: Token,
    ) -> Option<Result<Synced, ResponseError>> {
        if let Err(error) = self.validate_sync(request) {
            return Some(Err(error));
        }
        match self.state {
            State::PreparingRebalance => Some(Err(ResponseError::RebalanceInProgress)),
            State::Empty | State::Dead => Some(Err(ResponseError::UnknownMemberId)),
            State::Stable => {
                self.synced(&request.member_id);
                let member = self.members.get_mut(&request.member_id)?;
                member.heard(now);
                let assignment = member.assignment.clone();
                Some(Ok(self.assigned(assignment)))
            }
            State::CompletingRebalance => {
                self.synced(&request.member_id);
                if let Some(member) = self.members.get_mut(&request.member_id) {
                    let earlier = member.awaiting_sync.replace(token);
                    self.refuse_sync(earlier, ResponseError::RebalanceInProgress);
                }
                if self.leader.as_ref() == Some(&request.member_id) {
                    self.assign(now, &request.assignments);
                }
                None
            }
        }
    }

    fn validate_sync(&self, request: &Syncing) -> Result<(), ResponseError> {
        self.validate_generation(&request.member_id, request.instance_id.as_ref(), request.generation)?;
        let fits = |asked: &Option<StrBytes>, ours: &Option<StrBytes>| asked.is_none() || asked == ours;
        if fits(&request.protocol_type, &self.protocol_type) && fits(&request.protocol, &self.protocol) {
            return Ok(());
        }
        Err(ResponseError::InconsistentGroupProtocol)
    }

    /// The member has sent its SyncGroup.
    fn synced(&mut self, id: &MemberId) {
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            self.sync_until = None;
        }
    }

    fn assigned(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }

    /// The leader's assignment: everyone who waits gets its part.
    fn assign(&mut self, now: Instant, assignments: &HashMap<MemberId, Bytes>) {
        self.state = State::Stable;
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for (id, member) in &mut self.members {
            member.assignment = assignments.get(id).cloned().unwrap_or_default();
            let Some(token) = member.awaiting_sync.take() else { continue };
            member.heard(now);
            let synced = Synced {
                protocol_type: protocol_type.clone(),
                protocol: protocol.clone(),
                assignment: member.assignment.clone(),
            };
            self.answers.push((token, Answer::Sync(Ok(synced))));
        }
    }
}
