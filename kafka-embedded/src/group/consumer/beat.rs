//! ConsumerGroupHeartbeat: joining, staying, and leaving.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use regex_lite::Regex;
use tokio::time::Instant;

use super::super::member::MemberId;
use super::{Assignor, Catalog, ConsumerGroup, Member, Partitions, Refusal};

/// The epoch of somebody who joins.
const JOIN: i32 = 0;
/// The epoch of somebody who leaves.
pub(crate) const LEAVE: i32 = -1;
/// The epoch of a static member that leaves and will be back.
pub(crate) const LEAVE_FOR_A_WHILE: i32 = -2;

/// A regular expression for topics: a topic's whole name must match.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) text: StrBytes,
    regex: Regex,
}

impl Pattern {
    /// # Errors
    /// What is no regular expression.
    pub(crate) fn new(text: StrBytes) -> Result<Self, Refusal> {
        let refuse = |error: regex_lite::Error| {
            let message = format!(
                "SubscribedTopicRegex `{}` is not a valid regular expression: {error}.",
                text.as_str()
            );
            Refusal::new(ResponseError::InvalidRegularExpression, message)
        };
        let regex = Regex::new(&format!("^(?:{})$", text.as_str())).map_err(refuse)?;
        Ok(Self { text, regex })
    }

    pub(super) fn matches(&self, topic: &TopicName) -> bool {
        self.regex.is_match(topic)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What a heartbeat says. `None` where nothing has changed since the last one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beat {
    pub(crate) member_id: MemberId,
    /// 0 joins, -1 leaves, -2 leaves for a while.
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) rack: Option<StrBytes>,
    pub(crate) rebalance_timeout: Option<Duration>,
    pub(crate) topics: Option<BTreeSet<TopicName>>,
    /// `Some(None)`: no pattern any more.
    pub(crate) pattern: Option<Option<Pattern>>,
    pub(crate) assignor: Option<Assignor>,
    /// What the member has.
    pub(crate) owned: Option<Partitions>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
}

impl Beat {
    /// Whether it says everything, and so wants to be told everything.
    fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.pattern.is_some();
        self.epoch == JOIN || (self.rebalance_timeout.is_some() && subscribes && self.owned.is_some())
    }
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beaten {
    pub(crate) member_id: MemberId,
    pub(crate) epoch: i32,
    /// What the member is to have, where that is new or it asked.
    pub(crate) assignment: Option<Partitions>,
}

impl ConsumerGroup {
    /// A heartbeat of somebody who joins or stays.
    ///
    /// # Errors
    /// Who may not; the group is as it was then.
    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        catalog: &impl Catalog,
        beat: &Beat,
    ) -> Result<Beaten, Refusal> {
        let id = &beat.member_id;
        if self.members.len() >= self.terms.max_size && !self.members.contains_key(id) {
            let message = format!(
                "The consumer group has reached its maximum capacity of {} members.",
                self.terms.max_size
            );
            return Err(Refusal::new(ResponseError::GroupMaxSizeReached, message));
        }
        self.admit(now, beat)?;
        let Some(member) = self.members.get_mut(id) else { return Err(self.unknown(id)) };
        let had = member.assigned.clone();
        let changed = member.update(beat);
        member.guest = None;
        member.session_until = now + self.terms.session_timeout;
        self.retarget(catalog, changed);
        self.reconcile(now, id, beat.owned.as_ref());
        let Some(member) = self.members.get(id) else { return Err(self.unknown(id)) };
        let told = (beat.is_full() || member.assigned != had).then(|| member.assigned.clone());
        Ok(Beaten { member_id: id.clone(), epoch: member.epoch, assignment: told })
    }

    /// Makes a member of somebody who joins; checks somebody who is one.
    fn admit(&mut self, now: Instant, beat: &Beat) -> Result<(), Refusal> {
        let (id, joins) = (&beat.member_id, beat.epoch == JOIN);
        let known = match &beat.instance_id {
            None => self.members.contains_key(id).then(|| id.clone()),
            Some(instance) => self.static_ids.get(instance).cloned(),
        };
        match (known, &beat.instance_id) {
            (None, instance) if joins => {
                if let Some(instance) = instance {
                    self.static_ids.insert(instance.clone(), id.clone());
                }
                self.members.insert(id.clone(), Member::new(now + self.terms.session_timeout));
                Ok(())
            }
            (None, Some(instance)) => Err(unknown_instance(instance)),
            (None, None) => Err(self.unknown(id)),
            (Some(known), Some(instance)) if joins => self.replace(&known, id, instance),
            (Some(known), Some(instance)) if known != *id => Err(fenced_instance(id, instance, &known)),
            (Some(known), _) => self.check_epoch(&known, beat),
        }
    }

    /// A static member is back under another id: it goes on with what it had, if it said that it would be back.
    fn replace(&mut self, old: &MemberId, new: &MemberId, instance: &StrBytes) -> Result<(), Refusal> {
        let released = |member: &Member| member.epoch == LEAVE_FOR_A_WHILE || member.guest.is_some();
        if !self.members.get(old).is_some_and(released) {
            let message = format!(
                "Static member {} with instance id {} cannot join the group because the instance id is owned by {} \
                 member.",
                new.as_str(),
                instance.as_str(),
                old.as_str()
            );
            return Err(Refusal::new(ResponseError::UnreleasedInstanceId, message));
        }
        self.succeed(old, new, instance);
        Ok(())
    }

    /// A static member goes on under another id, as one that just joined, with what it had.
    pub(super) fn succeed(&mut self, old: &MemberId, new: &MemberId, instance: &StrBytes) {
        let Some((at, _, mut member)) = self.members.shift_remove_full(old) else { return };
        member.epoch = JOIN;
        member.previous_epoch = JOIN;
        self.members.shift_insert(at, new.clone(), member);
        self.static_ids.insert(instance.clone(), new.clone());
        if let Some(target) = self.targets.remove(old) {
            self.targets.insert(new.clone(), target);
        }
        for owner in self.owners.values_mut().filter(|owner| *owner == old) {
            owner.clone_from(new);
        }
    }

    fn check_epoch(&self, id: &MemberId, beat: &Beat) -> Result<(), Refusal> {
        let Some(member) = self.members.get(id) else { return Err(self.unknown(id)) };
        let fenced = |how: &str| {
            let message = format!(
                "The consumer group member has a {how} member epoch ({}) than the one known by the group coordinator \
                 ({}). The member must abandon all its partitions and rejoin.",
                beat.epoch, member.epoch
            );
            Err(Refusal::new(ResponseError::FencedMemberEpoch, message))
        };
        // The answer that told of the present epoch may have been lost.
        let missed = beat.epoch == member.previous_epoch
            && beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&member.assigned));
        match beat.epoch.cmp(&member.epoch) {
            std::cmp::Ordering::Greater => fenced("greater"),
            std::cmp::Ordering::Less if !missed => fenced("smaller"),
            _ => Ok(()),
        }
    }

    /// A member leaves, for good or for a while.
    ///
    /// # Errors
    /// Who is none.
    pub(crate) fn leave(&mut self, beat: &Beat) -> Result<Beaten, Refusal> {
        let id = &beat.member_id;
        match &beat.instance_id {
            None if !self.members.contains_key(id) => return Err(self.unknown(id)),
            None => {}
            Some(instance) => match self.static_ids.get(instance) {
                None => return Err(unknown_instance(instance)),
                Some(known) if known != id => return Err(fenced_instance(id, instance, known)),
                Some(_) => {}
            },
        }
        if beat.epoch == LEAVE_FOR_A_WHILE {
            self.pause(id);
        } else {
            self.fence(id);
        }
        Ok(Beaten { member_id: id.clone(), epoch: beat.epoch, assignment: None })
    }

    /// A static member goes for a while: its partitions stay its own until its session ends.
    fn pause(&mut self, id: &MemberId) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.epoch = LEAVE_FOR_A_WHILE;
        member.revoke_until = None;
        for partition in std::mem::take(&mut member.revoking) {
            self.owners.remove(&partition);
        }
    }

    fn unknown(&self, id: &MemberId) -> Refusal {
        let message = format!("Member {} is not a member of group {}.", id.as_str(), self.id.as_str());
        Refusal::new(ResponseError::UnknownMemberId, message)
    }
}

fn unknown_instance(instance: &StrBytes) -> Refusal {
    Refusal::new(ResponseError::UnknownMemberId, format!("Instance id {} is unknown.", instance.as_str()))
}

fn fenced_instance(id: &MemberId, instance: &StrBytes, by: &MemberId) -> Refusal {
    let message = format!(
        "Static member {} with instance id {} was fenced by member {}.",
        id.as_str(),
        instance.as_str(),
        by.as_str()
    );
    Refusal::new(ResponseError::FencedInstanceId, message)
}
