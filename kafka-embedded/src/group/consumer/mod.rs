//! The consumer group protocol (KIP-848) as a pure state machine: heartbeats, the topics and the time go in, answers
//! come out. Members are told what they have; nobody leads.
//!
//! ```text
//!   heartbeat ─▶ beat: who is it, is its epoch right, what has changed?
//!                  │ a subscription or a topic did: the group's epoch grows
//!                  ▼
//!                target: who should have what, by an assignor; its epoch is the group's
//!                  ▼
//!                reconcile: the member's next step towards that
//!
//!           ┌────────────────────────── gave back ◀──────────────┐
//!           ▼                                                    │
//!        Stable ── something is to be given back ──▶ Unrevoked ──┘ (fenced after its rebalance timeout)
//!           │  ▲
//!           │  └── all released ─────────┐
//!           └── others still have it ──▶ Unreleased
//! ```
//! A partition has an owner from the moment it is told to a member until that member shows that it gave it back, left
//! or was fenced; it is never told to another meanwhile.
//!
//! Members of the classic protocol can be among the others (`guests`), while a fleet goes from one protocol to the
//! other (`convert`).

mod assignor;
mod beat;
mod convert;
mod guests;
mod member;
#[cfg(test)]
mod property_tests;
mod reconcile;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::member::MemberId;
pub(crate) use assignor::Assignor;
pub(crate) use beat::{Beat, Beaten, LEAVE, LEAVE_FOR_A_WHILE, Pattern};
pub(crate) use member::Member;

/// Partitions by topic id.
pub(crate) type Partitions = BTreeSet<(Uuid, i32)>;

/// Id and number of partitions of a topic.
pub(crate) type Facts = (Uuid, i32);

/// The cluster's topics, as far as groups are concerned.
pub(crate) trait Catalog {
    /// Another number whenever a topic came, went or grew.
    fn version(&self) -> u64;
    /// A topic, if there is one of that name.
    fn facts(&self, name: &TopicName) -> Option<Facts>;
    /// The names of all topics.
    fn names(&self) -> Vec<TopicName>;
}

/// What the broker decides for the groups of this protocol, and can decide for each by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// `group.consumer.session.timeout.ms`
    pub(crate) session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`
    pub(crate) heartbeat_interval: Duration,
    /// `group.consumer.max.size`
    pub(crate) max_size: usize,
}

/// A refusal, with Kafka's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ResponseError,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

/// A group of members that speak KIP-848.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    id: StrBytes,
    terms: Terms,
    /// Grows with every change that asks for another assignment.
    epoch: i32,
    /// The group's epoch when the targets were made.
    assignment_epoch: i32,
    members: IndexMap<MemberId, Member>,
    static_ids: HashMap<StrBytes, MemberId>,
    targets: BTreeMap<MemberId, Partitions>,
    /// Who has a partition, or has not shown yet that it gave it back.
    owners: BTreeMap<(Uuid, i32), MemberId>,
    /// The subscribed topics as of the last look at the catalog.
    topics: BTreeMap<TopicName, Facts>,
    /// The catalog's version at that time.
    seen: Option<u64>,
}

impl ConsumerGroup {
    pub(crate) fn new(id: StrBytes, terms: Terms) -> Self {
        Self {
            id,
            terms,
            epoch: 0,
            assignment_epoch: 0,
            members: IndexMap::new(),
            static_ids: HashMap::new(),
            targets: BTreeMap::new(),
            owners: BTreeMap::new(),
            topics: BTreeMap::new(),
            seen: None,
        }
    }

    /// Keeps to `terms` from now on; each member's session does from its next heartbeat on.
    pub(crate) fn keep_to(&mut self, terms: Terms) {
        self.terms = terms;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }
    pub(crate) fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }
    pub(crate) fn members(&self) -> &IndexMap<MemberId, Member> {
        &self.members
    }
    /// What a member should have once all is settled.
    pub(crate) fn target(&self, id: &MemberId) -> Option<&Partitions> {
        self.targets.get(id)
    }

    /// As ListGroups and ConsumerGroupDescribe spell it.
    pub(crate) fn state_name(&self) -> &'static str {
        let settled = |member: &Member| member.is_settled_in(self.assignment_epoch);
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if !self.members.values().all(settled) {
            "Reconciling"
        } else {
            "Stable"
        }
    }

    /// The topics that are subscribed to and were there when last looked at: their offsets cannot be deleted.
    pub(crate) fn subscribed(&self) -> BTreeSet<TopicName> {
        let wanted = |topic: &&TopicName| self.members.values().any(|member| member.wants(topic));
        self.topics.keys().filter(wanted).cloned().collect()
    }

    /// Whether offsets may be committed by this member in this epoch, or by somebody who is none (an epoch below 0).
    pub(crate) fn validate_commit(&self, id: &MemberId, epoch: i32) -> Result<(), ResponseError> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.validate_epoch(id, epoch)
    }

    /// Whether this member may ask for offsets in this epoch. Who names no member may.
    pub(crate) fn validate_fetch(&self, id: Option<&MemberId>, epoch: i32) -> Result<(), ResponseError> {
        match id {
            None if epoch < 0 => Ok(()),
            id => self.validate_epoch(id.unwrap_or(&MemberId::default()), epoch),
        }
    }

    /// Whether a member must commit with its epoch (OffsetCommit from version 9 on).
    pub(crate) fn wants_epochs_of(&self, id: &MemberId) -> bool {
        self.members.get(id).is_some_and(|member| member.guest.is_none())
    }

    fn validate_epoch(&self, id: &MemberId, epoch: i32) -> Result<(), ResponseError> {
        match self.members.get(id) {
            None => Err(ResponseError::UnknownMemberId),
            Some(member) if member.epoch != epoch => match member.guest {
                Some(_) => Err(ResponseError::IllegalGeneration),
                None => Err(ResponseError::StaleMemberEpoch),
            },
            Some(_) => Ok(()),
        }
    }

    /// When [`ConsumerGroup::expire`] must be called, if nothing else happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.members.values().map(Member::deadline).min()
    }

    /// Lets the time pass: who was silent, or did not give back, for too long is fenced.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late = self.members.iter().filter(|(_, member)| member.deadline() <= now);
        let late: Vec<MemberId> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.fence(&id);
        }
    }

    /// All members have been heard of just now, and what they are to give back is waited for anew.
    pub(crate) fn begin_sessions(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            member.begin_session(now, self.terms.session_timeout);
        }
    }

    /// The next heartbeat of anyone assigns anew.
    pub(crate) fn assign_anew(&mut self) {
        self.epoch += 1;
    }

    /// Takes a member out; the next heartbeat of any other assigns anew.
    pub(crate) fn fence(&mut self, id: &MemberId) {
        let Some(member) = self.members.shift_remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.static_ids.remove(instance);
        }
        self.targets.remove(id);
        self.owners.retain(|_, owner| owner != id);
        self.epoch += 1;
    }
}
