//! Groups: the pure machine of each behind a lock, the requests that wait for it, and one task for all their timers.
//!
//! ```text
//! api::membership ─────▶ Groups::run ──▶ Classic (pure) ──answers──▶ whoever waits
//! api::consumer_groups ─▶     │    └───▶ ConsumerGroup (pure)
//!                             ▲
//!          run_timers ── expire
//! ```
//!
//! A group is of the type of its members. One without members becomes what the next one asks for; a classic one of
//! consumers becomes one of KIP-848 with the first member that speaks it, and classic again with the last. Its offsets
//! stay.

mod classic;
pub(crate) mod configs;
pub(crate) mod consumer;
mod member;
mod offsets;
pub(crate) mod protocol;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cluster::Settings;
pub(crate) use classic::{Answer, Classic, Joined, NotJoined, State, Synced, Syncing, Token};
use consumer::{Catalog, ConsumerGroup, Refusal, Terms};
pub(crate) use member::{Joining, MemberId};
pub(crate) use offsets::{Committed, Offsets};

use crate::alarm::Alarm;

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) members: Members,
    pub(crate) offsets: Offsets,
    waiting: HashMap<Token, oneshot::Sender<Answer>>,
    next_token: Token,
    /// `group.initial.rebalance.delay.ms` and `group.max.size`, for when it is classic again.
    classic_terms: (Duration, usize),
    /// Without a coordinator there is nobody to count its members' time.
    is_coordinated: bool,
}

/// Who is in a group, and by which protocol.
#[derive(Debug)]
pub(crate) enum Members {
    Classic(Classic),
    Consumer(ConsumerGroup),
}

/// On whose behalf offsets are committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committing<'a> {
    pub(crate) member_id: &'a MemberId,
    pub(crate) instance_id: Option<&'a StrBytes>,
    /// Generation of a classic group, epoch of a member of KIP-848; below 0 for somebody who is no member.
    pub(crate) generation: i32,
    /// Whether the request can carry an epoch: OffsetCommit from version 9 on, and every TxnOffsetCommit.
    pub(crate) knows_epochs: bool,
}

impl Group {
    fn new(settings: &Settings) -> Self {
        Self {
            members: Members::Classic(Classic::of(settings)),
            offsets: Offsets::default(),
            waiting: HashMap::new(),
            next_token: 0,
            classic_terms: (settings.initial_rebalance_delay, settings.group_max_size),
            is_coordinated: true,
        }
    }

    /// As ListGroups and DescribeGroups spell it.
    pub(crate) fn state_name(&self) -> &'static str {
        match &self.members {
            Members::Classic(classic) => classic.state().name(),
            Members::Consumer(group) => group.state_name(),
        }
    }

    /// Whether nobody is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.members {
            Members::Classic(classic) => classic.state() == State::Empty,
            Members::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether these offsets may be committed.
    pub(crate) fn validate_commit(
        &mut self,
        now: Instant,
        who: &Committing<'_>,
    ) -> Result<(), ResponseError> {
        match &mut self.members {
            Members::Classic(classic) => {
                classic.validate_commit(now, who.member_id, who.instance_id, who.generation)
            }
            Members::Consumer(group) => {
                if !who.knows_epochs && group.wants_epochs_of(who.member_id) {
                    return Err(ResponseError::UnsupportedVersion);
                }
                group.validate_commit(who.member_id, who.generation)
            }
        }
    }

    /// Whether a transaction may commit these offsets (KIP-447); who names no member need not be one.
    pub(crate) fn validate_txn_commit(&self, who: &Committing<'_>) -> Result<(), ResponseError> {
        let is_nobody = who.generation < 0 && who.member_id.is_empty() && who.instance_id.is_none();
        match &self.members {
            Members::Classic(classic) => {
                classic.validate_txn_commit(who.member_id, who.instance_id, who.generation)
            }
            Members::Consumer(_) if is_nobody => Ok(()),
            Members::Consumer(group) => {
                group.validate_commit(who.member_id, who.generation).map_err(|error| match error {
                    ResponseError::StaleMemberEpoch => ResponseError::IllegalGeneration,
                    other => other,
                })
            }
        }
    }

    /// JoinGroup, answered for `token` now or once the rebalance ends.
    pub(crate) fn join(&mut self, now: Instant, catalog: &impl Catalog, request: &Joining, token: Token) {
        match &mut self.members {
            Members::Consumer(group) if !group.is_empty() => {
                let joined = group.join_classic(now, catalog, request);
                return self.answer(token, Answer::Join(joined));
            }
            Members::Consumer(_) => {
                let (delay, max_size) = self.classic_terms;
                self.members = Members::Classic(Classic::new(delay, max_size));
            }
            Members::Classic(_) => {}
        }
        if let Some(classic) = self.classic() {
            classic.join(now, request, token);
        }
    }

    /// SyncGroup, answered for `token` now or once the leader has assigned.
    pub(crate) fn sync(&mut self, now: Instant, request: &Syncing, token: Token) {
        match &mut self.members {
            Members::Classic(classic) => classic.sync(now, request, token),
            Members::Consumer(group) => {
                let synced = group.sync_classic(now, request);
                self.answer(token, Answer::Sync(synced));
            }
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
        match &mut self.members {
            Members::Classic(classic) => classic.heartbeat(now, id, instance, generation),
            Members::Consumer(group) => group.heartbeat_classic(now, id, instance, generation),
        }
    }

    /// LeaveGroup, one outcome each.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        members: &[(&MemberId, Option<&StrBytes>)],
    ) -> Vec<Result<(), ResponseError>> {
        let members = members.iter();
        match &mut self.members {
            Members::Consumer(group) => {
                members.map(|(id, instance)| group.leave_classic(id, *instance)).collect()
            }
            Members::Classic(classic) => {
                let left: Vec<_> = members.map(|(id, instance)| classic.leave(id, *instance)).collect();
                if left.iter().any(Result::is_ok) {
                    classic.member_gone(now);
                }
                left
            }
        }
    }

    /// The group as one of KIP-848, for whoever joins: a classic one becomes one, if it has no members or consumers.
    pub(crate) fn for_consumer_join(
        &mut self,
        now: Instant,
        id: &StrBytes,
        terms: Terms,
        catalog: &impl Catalog,
    ) -> Result<&mut ConsumerGroup, Refusal> {
        if let Members::Classic(classic) = &mut self.members {
            let own_id = crate::topics::owned(id);
            let group = if classic.state() == State::Empty {
                ConsumerGroup::new(own_id, terms)
            } else {
                check_upgrade(id, classic, terms.max_size)?;
                classic.interrupt();
                ConsumerGroup::of_classic(own_id, terms, classic, catalog, now)
            };
            self.deliver();
            self.members = Members::Consumer(group);
        }
        let missing = || Refusal::new(ResponseError::GroupIdNotFound, "");
        self.consumer().ok_or_else(missing)
    }

    /// When the last member that spoke KIP-848 has gone, the others go on as a classic group.
    fn settle(&mut self, now: Instant) {
        if let Members::Consumer(group) = &self.members
            && group.is_classic_again()
        {
            let (delay, max_size) = self.classic_terms;
            let (generation, members) = (group.classic_generation(), group.classic_members());
            self.members = Members::Classic(Classic::resumed(delay, max_size, generation, members, now));
        }
    }

    fn answer(&mut self, token: Token, answer: Answer) {
        if let Some(sender) = self.waiting.remove(&token) {
            // A client that has gone does not want it any more.
            let _ = sender.send(answer);
        }
    }

    pub(crate) fn classic(&mut self) -> Option<&mut Classic> {
        match &mut self.members {
            Members::Classic(classic) => Some(classic),
            Members::Consumer(_) => None,
        }
    }

    pub(crate) fn consumer(&mut self) -> Option<&mut ConsumerGroup> {
        match &mut self.members {
            Members::Classic(_) => None,
            Members::Consumer(group) => Some(group),
        }
    }

    /// Takes out a member as if its session had ended: that of this id, instance id or client id, the first of several.
    /// Whether there was one.
    pub(crate) fn expire_member(&mut self, now: Instant, name: &str) -> bool {
        let named = |id: &MemberId, instance: &Option<StrBytes>, client: &StrBytes| {
            &**id == name || instance.as_deref() == Some(name) || &**client == name
        };
        match &mut self.members {
            Members::Classic(classic) => {
                let mut members = classic.members().iter();
                let found = members.find(|(id, known)| named(id, &known.instance_id, &known.client_id));
                let id = found.map(|(id, _)| id.clone());
                let left = id.is_some_and(|id| classic.leave(&id, None).is_ok());
                if left {
                    classic.member_gone(now);
                }
                left
            }
            Members::Consumer(group) => {
                let mut members = group.members().iter();
                let found = members.find(|(id, known)| named(id, &known.instance_id, &known.client_id));
                let id = found.map(|(id, _)| id.clone());
                id.inspect(|id| group.fence(id)).is_some()
            }
        }
    }

    /// As if a member had gone, but nobody has.
    pub(crate) fn force_rebalance(&mut self, now: Instant) {
        match &mut self.members {
            Members::Classic(classic) => classic.member_gone(now),
            Members::Consumer(group) => group.assign_anew(),
        }
    }

    /// It has another coordinator, which counts its members' sessions anew, as Kafka's does when it has loaded a group; or none for
    /// now.
    fn moved(&mut self, now: Instant, is_coordinated: bool) {
        self.is_coordinated = is_coordinated;
        match &mut self.members {
            Members::Classic(classic) => {
                classic.refuse_waiting();
                classic.begin_sessions(now);
            }
            Members::Consumer(group) => group.begin_sessions(now),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.members {
            _ if !self.is_coordinated => None,
            Members::Classic(classic) => classic.next_deadline(),
            Members::Consumer(group) => group.next_deadline(),
        }
    }

    fn expire(&mut self, now: Instant) {
        match &mut self.members {
            Members::Classic(classic) => classic.expire(now),
            Members::Consumer(group) => group.expire(now),
        }
    }

    /// A token for a request that may have to wait, and where its answer will come.
    pub(crate) fn wait(&mut self) -> (Token, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        self.next_token += 1;
        self.waiting.insert(self.next_token, sender);
        (self.next_token, receiver)
    }

    fn deliver(&mut self) {
        let Some(classic) = self.classic() else { return };
        for (token, answer) in classic.take_answers() {
            self.answer(token, answer);
        }
    }
}

fn check_upgrade(id: &StrBytes, classic: &Classic, max_size: usize) -> Result<(), Refusal> {
    let why = if classic.protocol_type().is_none_or(|kind| **kind != *protocol::CONSUMER) {
        "the group does not use the consumer embedded protocol"
    } else if classic.members().len() > max_size {
        "the group exceeds the consumer group maximum size"
    } else {
        return Ok(());
    };
    let message = format!("Cannot upgrade classic group {} to consumer group because {why}.", id.as_str());
    Err(Refusal::new(ResponseError::GroupIdNotFound, message))
}

type Cell = Arc<Mutex<Group>>;

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    cells: Mutex<BTreeMap<StrBytes, Cell>>,
    alarm: Alarm,
}

impl Groups {
    fn cells(&self) -> std::sync::MutexGuard<'_, BTreeMap<StrBytes, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on the group, if there is one, and delivers what it answers.
    pub(crate) fn run<T>(&self, id: &str, change: impl FnOnce(&mut Group, Instant) -> T) -> Option<T> {
        let cell = self.cells().get(id.as_bytes()).cloned()?;
        Some(self.run_cell(&cell, change))
    }

    /// Runs `change` on the group, made now if there is none.
    pub(crate) fn run_or_create<T>(
        &self,
        id: &StrBytes,
        settings: &Settings,
        change: impl FnOnce(&mut Group, Instant) -> T,
    ) -> T {
        let cell = {
            let mut cells = self.cells();
            match cells.get(id.as_bytes()) {
                Some(cell) => Arc::clone(cell),
                None => {
                    let group = Group::new(settings);
                    let cell = Arc::new(Mutex::new(group));
                    cells.insert(crate::topics::owned(id), Arc::clone(&cell));
                    cell
                }
            }
        };
        self.run_cell(&cell, change)
    }

    fn run_cell<T>(&self, cell: &Cell, change: impl FnOnce(&mut Group, Instant) -> T) -> T {
        let (result, next) = {
            let mut group = cell.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let result = change(&mut group, now);
            group.settle(now);
            group.deliver();
            (result, group.next_deadline())
        };
        self.alarm.arm(next);
        result
    }

    /// Forgets all offsets of a topic that is gone.
    pub(crate) fn forget_topic(&self, topic: &TopicName) {
        for (_, cell) in self.all() {
            self.run_cell(&cell, |group, _| group.offsets.remove_topic(topic));
        }
    }

    /// Deletes a group that has no members.
    pub(crate) fn delete(&self, id: &StrBytes) -> Result<(), ResponseError> {
        let mut cells = self.cells();
        let cell = cells.get(id).cloned().ok_or(ResponseError::GroupIdNotFound)?;
        let mut group = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if !group.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        if let Some(classic) = group.classic() {
            classic.kill();
        }
        cells.remove(id);
        Ok(())
    }

    /// The group has another coordinator, or none for now: whoever waits in it is told.
    pub(crate) fn moved(&self, id: &str, is_coordinated: bool) {
        self.run(id, |group, now| group.moved(now, is_coordinated));
    }

    /// The groups' ids, sorted.
    pub(crate) fn ids(&self) -> Vec<StrBytes> {
        self.cells().keys().cloned().collect()
    }

    fn all(&self) -> Vec<(StrBytes, Cell)> {
        self.cells().iter().map(|(id, cell)| (id.clone(), Arc::clone(cell))).collect()
    }

    /// Lets the groups' time pass, for ever.
    pub(crate) async fn run_timers(&self) {
        self.alarm.run(|| self.expire()).await;
    }

    /// Expires what is due; the next deadline of all.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let expire = |cell: &Cell| {
            let mut group = cell.lock().unwrap_or_else(PoisonError::into_inner);
            if group.next_deadline().is_some_and(|at| at <= now) {
                group.expire(now);
                group.settle(now);
                group.deliver();
            }
            group.next_deadline()
        };
        self.all().iter().filter_map(|(_, cell)| expire(cell)).min()
    }
}
