//! Rebalances: who is waited for and how long, the next generation, and what time does to members.

use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::super::member::{Member, MemberId};
use super::{Answer, Classic, Joined, JoinedMember, State};

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

impl Classic {
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

    pub(super) fn complete_if_all_joined(&mut self, now: Instant) {
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
}
