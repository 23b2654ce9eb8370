//! JoinGroup: new members, known ones, and static ones that come back under a new id.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::super::member::{Joining, Member, MemberId};
use super::{Answer, Classic, Joined, NotJoined, State, Token};

/// How long a new member is waited with that cannot send heartbeats yet.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

/// The answer where there is one at once.
type Outcome = Option<Result<Joined, NotJoined>>;

impl Classic {
    /// JoinGroup, answered for `token` now or once the rebalance ends.
    pub(crate) fn join(&mut self, now: Instant, request: &Joining, token: Token) {
        if let Some(answer) = self.try_join(now, request, token) {
            self.answer(token, Answer::Join(answer));
        }
    }

    fn try_join(&mut self, now: Instant, request: &Joining, token: Token) -> Outcome {
        let refuse =
            |error, member_id: &MemberId| Some(Err(NotJoined { error, member_id: member_id.clone() }));
        if self.state == State::Dead {
            return refuse(ResponseError::CoordinatorNotAvailable, &request.member_id);
        }
        if !self.has_room_for(&request.member_id) {
            self.remove(&request.member_id);
            return refuse(ResponseError::GroupMaxSizeReached, &MemberId::default());
        }
        if !self.supports(request) {
            return refuse(ResponseError::InconsistentGroupProtocol, &request.member_id);
        }
        if request.member_id.is_empty() {
            return self.join_new(now, request, token);
        }
        if self.pending.remove(&request.member_id).is_some() {
            self.add(now, &request.member_id, request, token);
            return None;
        }
        match self.validate(&request.member_id, request.instance_id.as_ref()) {
            Ok(()) => self.join_known(now, request, token),
            Err(error) => refuse(error, &request.member_id),
        }
    }

    /// Whether the group may have one member more, if this is not one already.
    fn has_room_for(&self, id: &MemberId) -> bool {
        let waits = |member: &Member| member.awaiting_join.is_some();
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                self.members.get(id).is_some_and(waits)
                    || self.members.values().filter(|member| waits(member)).count() < self.max_size
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(id) || self.members.len() < self.max_size
            }
        }
    }

    /// Whether the members would still have a protocol in common.
    fn supports(&self, request: &Joining) -> bool {
        if self.members.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let common = |name: &StrBytes| {
            let others = self.members.iter().filter(|(id, _)| **id != request.member_id);
            others.map(|(_, member)| member).all(|member| member.supports(name))
        };
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request.protocols.iter().any(|(name, _)| common(name))
    }

    fn join_new(&mut self, now: Instant, request: &Joining, token: Token) -> Outcome {
        let id = &request.fresh_id;
        match &request.instance_id {
            Some(instance) => match self.static_ids.get(instance).cloned() {
                Some(old) => return self.replace_static(now, &old, request, token),
                None => self.add(now, id, request, token),
            },
            None if request.needs_member_id => {
                self.pending.insert(id.clone(), now + request.session_timeout);
                let error = ResponseError::MemberIdRequired;
                return Some(Err(NotJoined { error, member_id: id.clone() }));
            }
            None => self.add(now, id, request, token),
        }
        None
    }

    fn join_known(&mut self, now: Instant, request: &Joining, token: Token) -> Outcome {
        let id = &request.member_id;
        let same = self.members.get(id).is_some_and(|member| member.protocols == request.protocols);
        let is_leader = self.leader.as_ref() == Some(id);
        match self.state {
            // The answer to its first request may have been lost: the same again.
            State::CompletingRebalance if same => return Some(Ok(self.joined(id))),
            State::Stable if same && !is_leader => return Some(Ok(self.joined(id))),
            State::Empty | State::Dead => {
                let error = ResponseError::UnknownMemberId;
                return Some(Err(NotJoined { error, member_id: id.clone() }));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {}
        }
        self.update(id, request, token);
        self.rebalance_or_complete(now);
        None
    }

    fn add(&mut self, now: Instant, id: &MemberId, request: &Joining, token: Token) {
        let member = Member {
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
            deadline: now + NEW_MEMBER_TIMEOUT,
        };
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance) = &request.instance_id {
            self.static_ids.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        self.leader.get_or_insert_with(|| id.clone());
        self.new_member_came = true;
        self.rebalance_or_complete(now);
    }

    fn update(&mut self, id: &MemberId, request: &Joining, token: Token) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.update(request);
        let earlier = member.awaiting_join.replace(token);
        self.refuse_join(earlier, ResponseError::RebalanceInProgress);
    }

    /// A static member has come back without its id: it gets a new one, and whoever still uses the old is fenced.
    fn replace_static(&mut self, now: Instant, old: &MemberId, request: &Joining, token: Token) -> Outcome {
        let id = &request.fresh_id;
        let leader_before = self.leader.clone().unwrap_or_default();
        self.rename(old, id);
        if let Some(member) = self.members.get_mut(id) {
            let waiting = (member.awaiting_join.take(), member.awaiting_sync.take());
            member.heard(now);
            self.refuse_join(waiting.0, ResponseError::FencedInstanceId);
            self.refuse_sync(waiting.1, ResponseError::FencedInstanceId);
        }
        self.update(id, request, token);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                // Nothing changes for the others: no rebalance.
                if let Some(member) = self.members.get_mut(id) {
                    member.awaiting_join = None;
                }
                let mut joined = self.joined(id);
                if request.may_skip_assignment {
                    joined.skip_assignment = self.leader.as_ref() == Some(id);
                } else {
                    // It must not take itself for the leader: it would assign anew.
                    joined.leader = leader_before;
                    joined.members.clear();
                }
                Some(Ok(joined))
            }
            State::Stable | State::CompletingRebalance => {
                self.rebalance(now);
                None
            }
            _ => {
                self.rebalance_or_complete(now);
                None
            }
        }
    }

    /// Gives member `old` the id `new`, in its place.
    fn rename(&mut self, old: &MemberId, new: &MemberId) {
        let Some((at, _, member)) = self.members.shift_remove_full(old) else { return };
        if let Some(instance) = &member.instance_id {
            self.static_ids.insert(instance.clone(), new.clone());
        }
        self.members.shift_insert(at, new.clone(), member);
        if self.unsynced.remove(old) {
            self.unsynced.insert(new.clone());
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
    }
}
