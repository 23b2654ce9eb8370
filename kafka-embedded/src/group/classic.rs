//! The classic group protocol as a pure state machine: requests and the time go in, answers come out.
//!
//! ```text
//!            join                all joined, or the time is up             the leader's sync
//!  Empty ──────────▶ PreparingRebalance ──────────▶ CompletingRebalance ──────────▶ Stable
//!    ▲                   ▲       │ nobody left            │ join, leave, expiry      │
//!    └───────────────────┼───────┘                        ▼                          ▼
//!                        └───────────────────────────────────────────────────────────┘
//! ```
//! Requests that cannot be answered at once leave a [`Token`]; the answer for it comes out later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::member::{Member, MemberId};

/// Stands for a request that waits.
pub(crate) type Token = u64;

/// A group's state, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
}

impl State {
    /// As DescribeGroups spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinedMember {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) metadata: Bytes,
}

/// A JoinGroup's success.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joined {
    pub(crate) member_id: MemberId,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(crate) leader: MemberId,
    /// Everyone, for the leader; nobody, for the others.
    pub(crate) members: Vec<JoinedMember>,
    pub(crate) skip_assignment: bool,
}

/// A JoinGroup's failure, with the member id that goes with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NotJoined {
    pub(crate) error: ResponseError,
    pub(crate) member_id: MemberId,
}

/// A SyncGroup's success.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(crate) assignment: Bytes,
}

/// What a waiting request is answered with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Join(Result<Joined, NotJoined>),
    Sync(Result<Synced, ResponseError>),
}

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

/// When the join phase ends though not all have joined.
#[derive(Debug, Clone, Copy)]
pub(super) enum JoinPhase {
    /// The group was empty: others may come, so it waits on while they do (KIP-134).
    Initial {
        until: Instant,
        remaining: Duration,
    },
    Until(Instant),
}

impl JoinPhase {
    fn ends_at(self) -> Instant {
        match self {
            Self::Initial { until, .. } | Self::Until(until) => until,
        }
    }
}

/// A classic group.
#[derive(Debug)]
pub(crate) struct Classic {
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<StrBytes>,
    pub(super) protocol: Option<StrBytes>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: IndexMap<MemberId, Member>,
    /// Ids that were given out and have not joined yet, with when they are forgotten.
    pub(super) pending: BTreeMap<MemberId, Instant>,
    pub(super) static_ids: HashMap<StrBytes, MemberId>,
    pub(super) phase: Option<JoinPhase>,
    /// Members that must still send SyncGroup, and until when.
    pub(super) unsynced: BTreeSet<MemberId>,
    sync_until: Option<Instant>,
    pub(super) new_member_came: bool,
    initial_delay: Duration,
    answers: Vec<(Token, Answer)>,
}

impl Classic {
    /// An empty group; the first rebalance waits `initial_delay` for further members.
    pub(crate) fn new(initial_delay: Duration) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: IndexMap::new(),
            pending: BTreeMap::new(),
            static_ids: HashMap::new(),
            phase: None,
            unsynced: BTreeSet::new(),
            sync_until: None,
            new_member_came: false,
            initial_delay,
            answers: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }
    pub(crate) fn protocol_type(&self) -> Option<&StrBytes> {
        self.protocol_type.as_ref()
    }
    pub(crate) fn protocol(&self) -> Option<&StrBytes> {
        self.protocol.as_ref()
    }
    pub(crate) fn members(&self) -> &IndexMap<MemberId, Member> {
        &self.members
    }

    /// The answers that became known since the last call.
    pub(crate) fn take_answers(&mut self) -> Vec<(Token, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// When [`Classic::expire`] must be called, if nothing else happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(Member::expires_at);
        let pending = self.pending.values().copied();
        members.chain(pending).chain(self.phase.map(JoinPhase::ends_at)).chain(self.sync_until).min()
    }

    /// Lets the time pass: members that were silent for too long go, phases that lasted too long end.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.pending.retain(|_, until| *until > now);
        let silent: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, member)| member.expires_at().is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        let anyone = !silent.is_empty();
        for id in silent {
            self.remove(&id);
        }
        if anyone {
            self.member_gone(now);
        } else {
            self.complete_if_all_joined(now);
        }
        if self.phase.is_some_and(|phase| phase.ends_at() <= now) {
            self.end_join_phase(now);
        }
        if self.sync_until.is_some_and(|until| until <= now) {
            for id in std::mem::take(&mut self.unsynced) {
                self.remove(&id);
            }
            self.sync_until = None;
            self.rebalance(now);
        }
    }

    /// Ends the group: whoever waits must find the coordinator anew.
    pub(crate) fn kill(&mut self) {
        self.state = State::Dead;
    }

    /// A request of member `id`: whether it is one, and not fenced by another with its instance id.
    pub(super) fn validate(&self, id: &MemberId, instance: Option<&StrBytes>) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if let Some(instance) = instance {
            match self.static_ids.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(known) if known != id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    fn validate_generation(
        &self,
        id: &MemberId,
        instance: Option<&StrBytes>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.validate(id, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

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

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        id: &MemberId,
        instance: Option<&StrBytes>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.validate_generation(id, instance, generation)?;
        if self.state == State::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        if let Some(member) = self.members.get_mut(id) {
            member.heard(now);
        }
        match self.state {
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// LeaveGroup for one member, named by its id, or by its instance id alone (then `id` is empty).
    /// Once all of a request have left, [`Classic::member_gone`] must follow.
    pub(crate) fn leave(&mut self, id: &MemberId, instance: Option<&StrBytes>) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if id.is_empty() {
            let known = instance.and_then(|instance| self.static_ids.get(instance)).cloned();
            self.remove(&known.ok_or(ResponseError::UnknownMemberId)?);
            return Ok(());
        }
        if self.pending.remove(id).is_some() {
            return Ok(());
        }
        self.validate(id, instance)?;
        self.remove(id);
        Ok(())
    }

    /// Whether a member may commit offsets, or somebody who is none (a generation below 0).
    pub(crate) fn validate_commit(
        &mut self,
        now: Instant,
        id: &MemberId,
        instance: Option<&StrBytes>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        match self.state {
            State::Dead => return Err(ResponseError::CoordinatorNotAvailable),
            State::Empty if generation < 0 => return Ok(()),
            _ => {}
        }
        if generation < 0 && id.is_empty() && instance.is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.validate_generation(id, instance, generation)?;
        if self.state == State::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(id) {
            member.heard(now);
        }
        Ok(())
    }

    /// Takes a member out; what it waits for is refused.
    fn remove(&mut self, id: &MemberId) {
        let Some(member) = self.members.shift_remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.static_ids.remove(instance);
        }
        self.unsynced.remove(id);
        self.refuse_join(member.awaiting_join, ResponseError::UnknownMemberId);
        self.refuse_sync(member.awaiting_sync, ResponseError::UnknownMemberId);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// One or more members have gone.
    pub(crate) fn member_gone(&mut self, now: Instant) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.rebalance(now),
            State::PreparingRebalance => self.complete_if_all_joined(now),
            State::Empty | State::Dead => {}
        }
    }

    pub(super) fn rebalance_or_complete(&mut self, now: Instant) {
        match self.state {
            State::PreparingRebalance => self.complete_if_all_joined(now),
            _ => self.rebalance(now),
        }
    }

    /// Begins a rebalance.
    pub(super) fn rebalance(&mut self, now: Instant) {
        for at in 0..self.members.len() {
            let Some((_, member)) = self.members.get_index_mut(at) else { continue };
            if self.state == State::CompletingRebalance {
                member.assignment = Bytes::new();
            }
            if let Some(waiting) = member.awaiting_sync.take() {
                member.heard(now);
                self.refuse_sync(Some(waiting), ResponseError::RebalanceInProgress);
            }
        }
        self.unsynced.clear();
        self.sync_until = None;
        let initial = self.state == State::Empty;
        self.state = State::PreparingRebalance;
        if initial && !self.initial_delay.is_zero() {
            let remaining = self.rebalance_timeout().saturating_sub(self.initial_delay);
            self.new_member_came = false;
            self.phase = Some(JoinPhase::Initial { until: now + self.initial_delay, remaining });
        } else {
            self.phase = Some(JoinPhase::Until(now + self.rebalance_timeout()));
            self.complete_if_all_joined(now);
        }
    }

    /// The longest that a member asks for.
    fn rebalance_timeout(&self) -> Duration {
        let longest = self.members.values().map(|member| member.rebalance_timeout).max();
        longest.unwrap_or_default().max(Duration::from_millis(1))
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        let all_joined =
            self.pending.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some());
        if self.state == State::PreparingRebalance
            && all_joined
            && !matches!(self.phase, Some(JoinPhase::Initial { .. }))
        {
            self.complete_join(now);
        }
    }

    /// The join phase's time is up.
    fn end_join_phase(&mut self, now: Instant) {
        match self.phase {
            Some(JoinPhase::Initial { remaining, .. }) if self.new_member_came && !remaining.is_zero() => {
                self.new_member_came = false;
                let delay = self.initial_delay.min(remaining);
                let remaining = remaining.saturating_sub(self.initial_delay);
                self.phase = Some(JoinPhase::Initial { until: now + delay, remaining });
            }
            _ => self.complete_join(now),
        }
    }

    /// Goes on with those who have joined: the next generation.
    fn complete_join(&mut self, now: Instant) {
        self.phase = None;
        let late = |member: &Member| member.awaiting_join.is_none() && member.instance_id.is_none();
        let late: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| late(member)).map(|(id, _)| id.clone()).collect();
        for id in late {
            self.remove(&id);
        }
        if self.members.is_empty() {
            self.next_generation();
            self.protocol = None;
            self.leader = None;
            self.state = State::Empty;
        } else if self.elect() {
            self.next_generation();
            self.start_generation(now);
        } else {
            // Only static members are left, and none of them has joined: the session timeouts decide.
            self.phase = Some(JoinPhase::Until(now + self.rebalance_timeout()));
        }
    }

    fn next_generation(&mut self) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
    }

    /// A leader that has joined, the present one if it has.
    fn elect(&mut self) -> bool {
        let joined =
            |id: &MemberId| self.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.keys().find(|id| joined(id)).cloned();
        let found = next.is_some();
        self.leader = next.or(self.leader.take());
        found
    }

    fn start_generation(&mut self, now: Instant) {
        self.protocol = self.select_protocol();
        self.state = State::CompletingRebalance;
        self.unsynced = self.members.keys().cloned().collect();
        self.sync_until = Some(now + self.rebalance_timeout());
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.heard(now);
            if let Some(token) = member.awaiting_join.take() {
                self.answers.push((token, Answer::Join(Ok(joined))));
            }
        }
    }

    /// The current generation, as member `id` is told of it.
    pub(super) fn joined(&self, id: &MemberId) -> Joined {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let describe = |(id, member): (&MemberId, &Member)| JoinedMember {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        let is_leader = self.leader.as_ref() == Some(id);
        Joined {
            member_id: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            members: if is_leader { self.members.iter().map(describe).collect() } else { Vec::new() },
            skip_assignment: false,
        }
    }

    /// The protocol that all support and most prefer; of equals, the one preferred by the earliest member.
    pub(super) fn select_protocol(&self) -> Option<StrBytes> {
        let common = |name: &StrBytes| self.members.values().all(|member| member.supports(name));
        let mut votes: IndexMap<&StrBytes, usize> = IndexMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    pub(super) fn answer(&mut self, token: Token, answer: Answer) {
        self.answers.push((token, answer));
    }

    pub(super) fn refuse_join(&mut self, token: Option<Token>, error: ResponseError) {
        let answer = Answer::Join(Err(NotJoined { error, member_id: MemberId::default() }));
        self.answers.extend(token.map(|token| (token, answer)));
    }

    pub(super) fn refuse_sync(&mut self, token: Option<Token>, error: ResponseError) {
        self.answers.extend(token.map(|token| (token, Answer::Sync(Err(error)))));
    }
}

#[cfg(test)]
mod tests;
