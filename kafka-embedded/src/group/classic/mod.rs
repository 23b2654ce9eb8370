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

mod join;
#[cfg(test)]
mod property_tests;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::member::{Member, MemberId};
use super::protocol::CONSUMER;
use crate::cluster::Settings;
use rebalance::JoinPhase;

pub(crate) use sync::Syncing;

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

/// A classic group.
#[derive(Debug)]
pub(crate) struct Classic {
    state: State,
    generation: i32,
    protocol_type: Option<StrBytes>,
    protocol: Option<StrBytes>,
    leader: Option<MemberId>,
    members: IndexMap<MemberId, Member>,
    /// Ids that were given out and have not joined yet, with when they are forgotten.
    pending: BTreeMap<MemberId, Instant>,
    static_ids: HashMap<StrBytes, MemberId>,
    phase: Option<JoinPhase>,
    /// Members that must still send SyncGroup, and until when.
    unsynced: BTreeSet<MemberId>,
    sync_until: Option<Instant>,
    new_member_came: bool,
    initial_delay: Duration,
    max_size: usize,
    answers: Vec<(Token, Answer)>,
}

impl Classic {
    /// An empty group of a broker with these settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self::new(settings.initial_rebalance_delay, settings.group_max_size)
    }

    /// An empty group; the first rebalance waits `initial_delay` for further members, of which it takes `max_size`.
    pub(crate) fn new(initial_delay: Duration, max_size: usize) -> Self {
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
            max_size,
            answers: Vec::new(),
        }
    }

    /// A group that goes on with members that had another coordinator's assignment: they join anew.
    pub(crate) fn resumed(
        initial_delay: Duration,
        max_size: usize,
        generation: i32,
        members: Vec<(MemberId, Member)>,
        now: Instant,
    ) -> Self {
        let mut group = Self::new(initial_delay, max_size);
        group.generation = generation;
        group.protocol_type = Some(StrBytes::from_static_str(CONSUMER));
        group.state = State::Stable;
        group.leader = members.first().map(|(id, _)| id.clone());
        for (id, member) in members {
            if let Some(instance) = &member.instance_id {
                group.static_ids.insert(instance.clone(), id.clone());
            }
            group.members.insert(id, member);
        }
        group.protocol = group.select_protocol();
        group.rebalance(now);
        group
    }

    /// Sends away whoever waits: the group is about to be another one.
    pub(crate) fn interrupt(&mut self) {
        for at in 0..self.members.len() {
            let Some((_, member)) = self.members.get_index_mut(at) else { continue };
            let waiting = (member.awaiting_join.take(), member.awaiting_sync.take());
            self.refuse_join(waiting.0, ResponseError::RebalanceInProgress);
            self.refuse_sync(waiting.1, ResponseError::RebalanceInProgress);
        }
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation
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

    /// Ends the group: whoever waits must find the coordinator anew.
    pub(crate) fn kill(&mut self) {
        self.state = State::Dead;
    }

    /// A request of member `id`: whether it is one, and not fenced by another with its instance id.
    fn validate(&self, id: &MemberId, instance: Option<&StrBytes>) -> Result<(), ResponseError> {
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

    /// Whether a transaction may commit offsets (KIP-447): for a member, or for somebody who is none.
    pub(crate) fn validate_txn_commit(
        &self,
        id: &MemberId,
        instance: Option<&StrBytes>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        match self.state {
            State::Dead => Err(ResponseError::CoordinatorNotAvailable),
            State::Empty if generation < 0 => Ok(()),
            _ if generation < 0 && id.is_empty() && instance.is_none() => Ok(()),
            _ => self.validate_generation(id, instance, generation),
        }
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

    /// The group has another coordinator now: whoever waits must find it, and ask again there.
    pub(crate) fn refuse_waiting(&mut self) {
        let take = |member: &mut Member| (member.awaiting_join.take(), member.awaiting_sync.take());
        let waiting: Vec<_> = self.members.values_mut().map(take).collect();
        for (join, sync) in waiting {
            self.refuse_join(join, ResponseError::NotCoordinator);
            self.refuse_sync(sync, ResponseError::NotCoordinator);
        }
    }

    /// All members have been heard of just now.
    pub(crate) fn begin_sessions(&mut self, now: Instant) {
        self.members.values_mut().for_each(|member| member.heard(now));
    }

    fn answer(&mut self, token: Token, answer: Answer) {
        self.answers.push((token, answer));
    }

    fn refuse_join(&mut self, token: Option<Token>, error: ResponseError) {
        let answer = Answer::Join(Err(NotJoined { error, member_id: MemberId::default() }));
        self.answers.extend(token.map(|token| (token, answer)));
    }

    fn refuse_sync(&mut self, token: Option<Token>, error: ResponseError) {
        self.answers.extend(token.map(|token| (token, Answer::Sync(Err(error)))));
    }
}
