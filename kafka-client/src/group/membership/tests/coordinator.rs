//! A coordinator as Kafka's is, as far as members can tell: it holds joins until all are there, syncs until the
//! leader has assigned, and forgets who is silent for a session timeout. It can be away; another one then goes on with what
//! was written down: the last generation that was complete.

use std::collections::BTreeMap;

use super::*;
use ResponseError as E;

/// Whom an answer is for: the member's number and its attempt.
pub(super) type Caller = (usize, u64);

/// What comes back.
#[derive(Debug)]
pub(super) enum Answer {
    Join(Caller, Result<JoinAnswer>),
    Sync(Caller, Result<Bytes>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Preparing { until: Instant },
    Completing,
    Stable,
}

#[derive(Debug, Clone)]
struct Member {
    protocols: Vec<(Assignor, Bytes)>,
    joining: Option<Caller>,
    syncing: Option<Caller>,
    expires: Instant,
    assignment: Bytes,
}

/// A generation as it is written down.
#[derive(Debug, Clone)]
struct Written {
    state: State,
    generation: i32,
    leader: String,
    assignor: Assignor,
    members: BTreeMap<String, Member>,
}

/// Whether there is a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Away,
    /// It reads what was written down.
    Loading,
    There,
}

#[derive(Debug)]
pub(super) struct Coordinator {
    state: State,
    generation: i32,
    leader: String,
    assignor: Assignor,
    members: BTreeMap<String, Member>,
    written: Option<Written>,
    /// Until when it is away, and until when it reads.
    away: Option<(Instant, Instant)>,
    ids: u32,
    given_out: Vec<String>,
    session: Duration,
    rebalance: Duration,
}

impl Coordinator {
    pub(super) fn new(session: Duration, rebalance: Duration) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            leader: String::new(),
            assignor: Assignor::Range,
            members: BTreeMap::new(),
            written: None,
            away: None,
            ids: 0,
            given_out: Vec::new(),
            session,
            rebalance,
        }
    }

    pub(super) fn presence(&self, now: Instant) -> Presence {
        match self.away {
            Some((back, _)) if now < back => Presence::Away,
            Some((_, ready)) if now < ready => Presence::Loading,
            _ => Presence::There,
        }
    }

    /// It is away until `back`, and another one then reads until `ready`. Whoever waits is told that the connection broke.
    pub(super) fn go_away(&mut self, back: Instant, ready: Instant) -> Vec<Answer> {
        let mut answers = Vec::new();
        for member in self.members.values_mut() {
            let joining = member.joining.take().map(|caller| Answer::Join(caller, Err(disconnected())));
            let syncing = member.syncing.take().map(|caller| Answer::Sync(caller, Err(disconnected())));
            answers.extend(joining.into_iter().chain(syncing));
        }
        self.away = Some((back, ready));
        self.given_out.clear();
        let fresh = Written {
            state: State::Empty,
            generation: 0,
            leader: String::new(),
            assignor: Assignor::Range,
            members: BTreeMap::new(),
        };
        let Written { state, generation, leader, assignor, members } = self.written.clone().unwrap_or(fresh);
        (self.state, self.generation, self.leader) = (state, generation, leader);
        (self.assignor, self.members) = (assignor, members);
        for member in self.members.values_mut() {
            member.expires = ready + self.session;
        }
        answers
    }

    fn write_down(&mut self) {
        self.written = Some(Written {
            state: self.state,
            generation: self.generation,
            leader: self.leader.clone(),
            assignor: self.assignor,
            members: self.members.clone(),
        });
    }

    /// What a member has in the group's generation: a heartbeat, and SyncGroup.
    pub(super) fn ask(&mut self, now: Instant, stamp: &Identity) -> Result<Bytes> {
        self.beat(now, stamp)?;
        match (self.state, self.members.get(&stamp.member_id)) {
            (State::Stable, Some(member)) => Ok(member.assignment.clone()),
            _ => Err(refused(E::CoordinatorLoadInProgress)),
        }
    }

    pub(super) fn join(
        &mut self,
        now: Instant,
        caller: Caller,
        id: &str,
        protocols: Vec<(Assignor, Bytes)>,
    ) -> Vec<Answer> {
        if id.is_empty() {
            self.ids += 1;
            // Ids do not sort like members came.
            let id = format!("{}-{}", self.ids * 7 % 10, self.ids);
            self.given_out.push(id.clone());
            return vec![Answer::Join(caller, Ok(JoinAnswer::IdRequired(id)))];
        }
        let given = self.given_out.iter().position(|given| given == id);
        if !self.members.contains_key(id) && given.is_none() {
            return vec![Answer::Join(caller, Err(refused(E::UnknownMemberId)))];
        }
        if let Some(given) = given {
            self.given_out.remove(given);
        }
        let expires = now + self.session;
        let fresh =
            Member { protocols: Vec::new(), joining: None, syncing: None, expires, assignment: Bytes::new() };
        let member = self.members.entry(id.into()).or_insert(fresh);
        let same = member.protocols == protocols;
        member.protocols = protocols;
        let unchanged =
            same && (self.state == State::Completing || self.state == State::Stable && self.leader != id);
        if unchanged {
            member.expires = expires;
            return vec![Answer::Join(caller, Ok(self.place(id)))];
        }
        member.joining = Some(caller);
        let mut answers = self.prepare(now);
        answers.extend(self.complete_if_all_are_there(now));
        answers
    }

    pub(super) fn sync(
        &mut self,
        now: Instant,
        caller: Caller,
        stamp: &Identity,
        assignments: Vec<(String, Bytes)>,
    ) -> Vec<Answer> {
        if let Err(error) = self.check(stamp) {
            return vec![Answer::Sync(caller, Err(error))];
        }
        let expires = now + self.session;
        let is_leader = self.leader == stamp.member_id;
        let Some(member) = self.members.get_mut(&stamp.member_id) else { return Vec::new() };
        match self.state {
            State::Empty | State::Preparing { .. } => {
                vec![Answer::Sync(caller, Err(refused(E::RebalanceInProgress)))]
            }
            State::Stable => {
                member.expires = expires;
                vec![Answer::Sync(caller, Ok(member.assignment.clone()))]
            }
            State::Completing => {
                member.syncing = Some(caller);
                if !is_leader {
                    return Vec::new();
                }
                let mut assignments: BTreeMap<_, _> = assignments.into_iter().collect();
                self.state = State::Stable;
                let mut answers = Vec::new();
                for (id, member) in &mut self.members {
                    member.assignment = assignments.remove(id).unwrap_or_default();
                    if let Some(caller) = member.syncing.take() {
                        member.expires = expires;
                        answers.push(Answer::Sync(caller, Ok(member.assignment.clone())));
                    }
                }
                self.write_down();
                answers
            }
        }
    }

    pub(super) fn beat(&mut self, now: Instant, stamp: &Identity) -> Result<()> {
        self.check(stamp)?;
        if let Some(member) = self.members.get_mut(&stamp.member_id) {
            member.expires = now + self.session;
        }
        match self.state {
            State::Preparing { .. } => Err(refused(E::RebalanceInProgress)),
            _ => Ok(()),
        }
    }

    pub(super) fn leave(&mut self, now: Instant, id: &str) -> Vec<Answer> {
        let mut answers = self.remove(id);
        answers.extend(self.prepare(now));
        answers.extend(self.complete_if_all_are_there(now));
        answers
    }

    /// What time brings: sessions that end, joins that are not waited for any more.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Answer> {
        let silent: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none() && member.expires <= now)
            .map(|(id, _)| id.clone())
            .collect();
        let mut answers: Vec<_> = silent.iter().flat_map(|id| self.leave(now, id)).collect();
        if matches!(self.state, State::Preparing { until } if until <= now) {
            let missing = self.members.iter().filter(|(_, member)| member.joining.is_none());
            let missing: Vec<_> = missing.map(|(id, _)| id.clone()).collect();
            answers.extend(missing.iter().flat_map(|id| self.remove(id)));
            answers.extend(self.complete_if_all_are_there(now));
        }
        answers
    }

    /// When time brings something.
    pub(super) fn due(&self) -> Option<Instant> {
        let sessions =
            self.members.values().filter(|member| member.joining.is_none()).map(|member| member.expires);
        let rebalance = match self.state {
            State::Preparing { until } => Some(until),
            _ => None,
        };
        sessions.chain(rebalance).min()
    }

    pub(super) fn is_stable_with(&self, members: usize) -> bool {
        self.state == State::Stable && self.members.len() == members
    }

    fn check(&self, stamp: &Identity) -> Result<()> {
        match self.members.contains_key(&stamp.member_id) {
            false => Err(refused(E::UnknownMemberId)),
            true if stamp.generation != self.generation => Err(refused(E::IllegalGeneration)),
            true => Ok(()),
        }
    }

    fn prepare(&mut self, now: Instant) -> Vec<Answer> {
        if !matches!(self.state, State::Preparing { .. }) {
            self.state = State::Preparing { until: now + self.rebalance };
        }
        let waiting = self.members.values_mut().filter_map(|member| member.syncing.take());
        waiting.map(|caller| Answer::Sync(caller, Err(refused(E::RebalanceInProgress)))).collect()
    }

    fn remove(&mut self, id: &str) -> Vec<Answer> {
        let Some(member) = self.members.remove(id) else { return Vec::new() };
        let joining = member.joining.map(|caller| Answer::Join(caller, Err(refused(E::UnknownMemberId))));
        let syncing = member.syncing.map(|caller| Answer::Sync(caller, Err(refused(E::UnknownMemberId))));
        joining.into_iter().chain(syncing).collect()
    }

    fn complete_if_all_are_there(&mut self, now: Instant) -> Vec<Answer> {
        if !matches!(self.state, State::Preparing { .. })
            || self.members.values().any(|member| member.joining.is_none())
        {
            return Vec::new();
        }
        self.generation += 1;
        let Some((first, member)) = self.members.first_key_value() else {
            self.state = State::Empty;
            self.write_down();
            return Vec::new();
        };
        if !self.members.contains_key(&self.leader) {
            self.leader.clone_from(first);
        }
        self.assignor = member.protocols[0].0;
        self.state = State::Completing;
        let callers: Vec<_> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| {
                member.expires = now + self.session;
                Some((id.clone(), member.joining.take()?))
            })
            .collect();
        callers.into_iter().map(|(id, caller)| Answer::Join(caller, Ok(self.place(&id)))).collect()
    }

    fn place(&self, id: &str) -> JoinAnswer {
        let identity = Identity { member_id: id.into(), generation: self.generation };
        let chosen = |member: &Member| {
            member
                .protocols
                .iter()
                .find(|(assignor, _)| *assignor == self.assignor)
                .map(|(_, bytes)| bytes.clone())
        };
        let members = self.members.iter().map(|(id, member)| JoinedMember {
            id: id.clone(),
            instance_id: None,
            subscription: chosen(member).unwrap_or_default(),
        });
        let role = match self.leader == id {
            true => Role::Leader { members: members.collect(), skip_assignment: false },
            false => Role::Follower,
        };
        JoinAnswer::Accepted(Joined { identity, assignor: self.assignor.name().into(), role })
    }
}
