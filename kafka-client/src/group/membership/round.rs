//! A round of the group: giving back, joining, assigning, syncing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{Effect, Interest, JoinAnswer, Joined, JoinedMember, Machine, Moment, Phase, Role, is_fatal};
use crate::config::Assignor;
use crate::error::{Error, Result};
use crate::group::assignor::{GroupMember, Memory, RebalanceProtocol};
use crate::group::protocol::{self, MemberAssignment, MemberSubscription};
use crate::group::retry::Failures;
use crate::ids::{TopicName, TopicPartition};
use crate::wire::EncodeError;

/// Failures that are answered by another attempt at once. After as many the next ones wait.
const AT_ONCE: u32 = 3;

impl Machine {
    /// Joins again if the subscription is another one than the group knows, or the leader's assignment is outdated.
    pub(super) fn rejoin_if_changed(&mut self, at: Moment) {
        let wanted = self.wanted();
        let held = |topic: &TopicName| self.held.iter().any(|partition| partition.topic == *topic);
        let added = wanted.iter().any(|topic| self.subscribed.binary_search(topic).is_err());
        // A leader that knows more topics of the pattern may give them before they are in our picture.
        let removed =
            self.subscribed.iter().any(|topic| wanted.binary_search(topic).is_err() && !held(topic));
        if added || removed {
            return self.rejoin(at, "the subscription has changed");
        }
        let outdated = self.led.as_ref().is_some_and(|led| {
            led.iter().any(|(topic, count)| self.partitions(*topic).is_some_and(|now| now != *count))
        });
        if outdated {
            self.rejoin(at, "the subscribed topics have changed");
        }
    }

    /// Another round: first gives back what must not be held meanwhile.
    pub(super) fn rejoin(&mut self, at: Moment, reason: &'static str) {
        self.reason = reason;
        let give_back: Vec<_> = match self.protocol {
            RebalanceProtocol::Eager => self.held.iter().copied().collect(),
            RebalanceProtocol::Cooperative => Vec::new(),
        };
        match give_back.is_empty() {
            true => self.join(),
            false => self.give_back(at.now, give_back),
        }
    }

    fn give_back(&mut self, now: Instant, partitions: Vec<TopicPartition>) {
        self.round += 1;
        let deadline = now + self.time_to_give_back();
        self.effects.push(Effect::Revoked { round: self.round, partitions: partitions.clone(), deadline });
        self.phase = Phase::GivingBack { round: self.round, partitions, deadline };
    }

    /// The coordinator waits for `max.poll.interval.ms` since it began to; a heartbeat interval may have passed until
    /// we heard of it, and the rest of the round takes time too.
    fn time_to_give_back(&self) -> Duration {
        let group = &self.settings.group;
        group.rebalance_timeout.saturating_sub(group.heartbeat_interval).mul_f64(0.9)
    }

    pub(super) fn given_back(&mut self, at: Moment) {
        if let Phase::GivingBack { partitions, .. } =
            std::mem::replace(&mut self.phase, Phase::Waiting { at: None })
        {
            self.let_go(&partitions);
            self.rejoin(at, self.reason);
        }
    }

    /// The group goes on without waiting: who still works on these must stop, their next holder has begun.
    pub(super) fn given_back_too_late(&mut self, at: Moment) {
        if let Phase::GivingBack { partitions, .. } =
            std::mem::replace(&mut self.phase, Phase::Waiting { at: None })
        {
            self.let_go(&partitions);
            self.effects.push(Effect::Lost(partitions));
            self.rejoin(at, self.reason);
        }
    }

    fn let_go(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.held.remove(partition);
        }
    }

    pub(super) fn join(&mut self) {
        self.attempt += 1;
        self.subscribed = self.wanted();
        let owned: Vec<_> = self.held.iter().copied().collect();
        let protocols = self.settings.group.assignors.iter().map(|assignor| {
            let subscription = MemberSubscription {
                topics: self.subscribed.clone(),
                user_data: assignor.user_data(self.memory.get(assignor)),
                owned: owned.clone(),
                generation: Some(self.stamp.generation),
                rack: self.settings.rack.clone(),
            };
            Ok((*assignor, subscription.encode(protocol::VERSION)?))
        });
        match protocols.collect::<Result<_, EncodeError>>() {
            Ok(protocols) => {
                let (member_id, reason) = (self.stamp.member_id.clone(), self.reason);
                self.effects.push(Effect::Join { attempt: self.attempt, member_id, protocols, reason });
                self.phase = Phase::Joining;
            }
            Err(error) => self.fail(unwritable("subscription", &error)),
        }
    }

    pub(super) fn joined(&mut self, at: Moment, answer: Result<JoinAnswer>) {
        match answer {
            Ok(JoinAnswer::IdRequired(member_id)) => {
                self.stamp.member_id = member_id;
                self.again(at, "the coordinator gave a member id");
            }
            Ok(JoinAnswer::Accepted(joined)) => self.accepted(at, joined),
            Err(error) => self.round_failed(at, error),
        }
    }

    fn accepted(&mut self, at: Moment, joined: Joined) {
        self.stamp = joined.identity;
        self.beat.restart(at.now, self.settings.group.heartbeat_interval);
        let Some(assignor) = Assignor::by_name(&joined.assignor) else {
            let error =
                self.malformed("JoinGroup", "the coordinator", &format!("no assignor '{}'", joined.assignor));
            return self.round_failed(at, error);
        };
        match joined.role {
            Role::Follower => {
                self.led = None;
                self.sync(assignor, Vec::new());
            }
            Role::Leader { members, skip_assignment } => {
                let members: Vec<_> = members.into_iter().map(|member| self.read(member)).collect();
                let topics: BTreeSet<_> =
                    members.iter().flat_map(|member| &member.subscription.topics).copied().collect();
                let topics = topics.into_iter().collect();
                self.effects.push(Effect::LookUp { attempt: self.attempt, topics });
                self.phase = Phase::Leading { assignor, members, skip_assignment };
            }
        }
    }

    /// A subscription that cannot be read must not stop the others: its member gets nothing, and is told of.
    fn read(&mut self, member: JoinedMember) -> GroupMember {
        let subscription = MemberSubscription::decode(member.subscription).unwrap_or_else(|error| {
            let error = self.malformed("JoinGroup", &format!("member {}", member.id), &error);
            self.effects.push(Effect::Problem(error));
            MemberSubscription::default()
        });
        GroupMember { id: member.id, instance_id: member.instance_id, subscription }
    }

    /// Shares the partitions out.
    pub(super) fn lead(&mut self, at: Moment) {
        let phase = std::mem::replace(&mut self.phase, Phase::Waiting { at: None });
        let Phase::Leading { assignor, members, skip_assignment } = phase else { return };
        let topics = members.iter().flat_map(|member| &member.subscription.topics);
        let counts: HashMap<_, _> =
            topics.map(|topic| (*topic, self.partitions(*topic).unwrap_or(0))).collect();
        self.led = Some(counts.iter().map(|(topic, count)| (*topic, *count)).collect());
        if skip_assignment {
            return self.sync(assignor, Vec::new());
        }
        let assigned = assignor.assign(&counts, &members);
        let assignments = members.into_iter().zip(assigned).map(|(member, partitions)| {
            let assignment = MemberAssignment { partitions, user_data: None };
            Ok((member.id, assignment.encode(protocol::VERSION)?))
        });
        match assignments.collect::<Result<_, EncodeError>>() {
            Ok(assignments) => self.sync(assignor, assignments),
            Err(error) => self.retry(at, unwritable("assignment", &error)),
        }
    }

    fn sync(&mut self, assignor: Assignor, assignments: Vec<(String, Bytes)>) {
        let (attempt, stamp) = (self.attempt, self.stamp.clone());
        self.effects.push(Effect::Sync { attempt, stamp, assignor, assignments });
        self.phase = Phase::Syncing { assignor };
    }

    pub(super) fn synced(&mut self, at: Moment, assignor: Assignor, sent: Instant, answer: Result<Bytes>) {
        let assignment = match answer {
            Err(error) => return self.round_failed(at, error),
            Ok(bytes) => MemberAssignment::decode(bytes),
        };
        let partitions = match assignment {
            Ok(assignment) => assignment.partitions,
            Err(error) => {
                let error = self.malformed("SyncGroup", "the leader", &error);
                return self.retry(at, error);
            }
        };
        let foreign = partitions.iter().find(|partition| !self.settings.interest.admits(partition.topic));
        if let Some(foreign) = foreign {
            let error = self.malformed("SyncGroup", "the leader", &format!("{foreign} is not subscribed to"));
            return self.retry(at, error);
        }
        self.failures = Failures::default();
        self.phase = Phase::Stable { assignor };
        self.acknowledged(sent);
        self.effects.push(Effect::Identity(self.stamp.clone()));
        self.memory
            .insert(assignor, Memory { partitions: partitions.clone(), generation: self.stamp.generation });
        self.take(at, &partitions.into_iter().collect());
    }

    /// The assignment of a complete round.
    fn take(&mut self, at: Moment, assigned: &BTreeSet<TopicPartition>) {
        if matches!(self.settings.interest, Interest::Pattern(_)) {
            self.subscribed.extend(assigned.iter().map(|partition| partition.topic));
            self.subscribed.sort_unstable();
            self.subscribed.dedup();
        }
        let added: Vec<_> = assigned.difference(&self.held).copied().collect();
        let taken_away: Vec<_> = self.held.difference(assigned).copied().collect();
        self.held.extend(&added);
        self.effects.push(Effect::Assigned(added));
        match taken_away.is_empty() {
            true => self.rejoin_if_changed(at),
            false => {
                self.reason = "partitions were given back";
                self.give_back(at.now, taken_away);
            }
        }
    }

    /// JoinGroup or SyncGroup failed.
    fn round_failed(&mut self, at: Moment, error: Error) {
        match error.code() {
            Some(ResponseError::UnknownMemberId) => {
                self.lose(false);
                self.again(at, "the coordinator does not know the member any more");
            }
            Some(ResponseError::IllegalGeneration) => {
                self.lose(true);
                self.again(at, "the generation has passed");
            }
            Some(ResponseError::RebalanceInProgress) => self.again(at, "the group began another round"),
            _ if is_fatal(&error) => self.fail(error),
            _ => self.retry(at, error),
        }
    }

    /// Another attempt after a back-off.
    fn retry(&mut self, at: Moment, error: Error) {
        let wait = self.failures.wait_after(&error, at.now, &self.settings.retry, at.chance);
        self.effects.extend(self.failures.worth_telling(error, at.now).map(Effect::Problem));
        self.start_over(at.now + wait, "the last round failed");
    }

    /// Another attempt, at once the first times.
    fn again(&mut self, at: Moment, reason: &'static str) {
        let wait = self.failures.wait_again(AT_ONCE, at.now, &self.settings.retry, at.chance);
        self.start_over(at.now + wait, reason);
    }

    fn wanted(&self) -> Vec<TopicName> {
        self.settings.interest.wanted(self.picture.as_deref())
    }

    fn partitions(&self, topic: TopicName) -> Option<usize> {
        self.settings.interest.partitions(self.picture.as_deref(), topic)
    }
}

fn unwritable(what: &str, error: &EncodeError) -> Error {
    Error::Config(format!("the {what} cannot be written: {error}"))
}
