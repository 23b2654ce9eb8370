//! What answers mean: what is to be taken on, given back, or lost.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError as E;
use tokio::time::Instant;

use super::{Answer, Effect, GivingBack, Machine, Moment, Phase, is_fatal};
use crate::error::{Error, Result};
use crate::group::retry::Failures;
use crate::ids::TopicPartition;

/// How much of the rebalance timeout may be used: the answer to the heartbeat that tells of it takes time too.
const MARGIN: f64 = 0.9;

impl Machine {
    pub(super) fn beaten(&mut self, at: Moment, turn: u64, sent: Instant, answer: Result<Answer>) {
        if !self.beat.is_over(turn) {
            return;
        }
        match answer {
            Ok(answer) => self.accepted(at, sent, answer),
            Err(error) => self.refused(at, error),
        }
    }

    fn accepted(&mut self, at: Moment, sent: Instant, answer: Answer) {
        let asks = matches!(self.phase, Phase::Asking { .. });
        // That was so when the heartbeat arrived, and is for a session from its sending.
        if asks && sent + self.beat.session <= at.now {
            return self.beat.wait_until(at.now);
        }
        if asks && answer.assignment.is_none() {
            // It does not take the heartbeat as one that says everything.
            return self.part();
        }
        let said = self.beat.take_saying();
        self.known.topics = said.topics.or(self.known.topics.take());
        self.known.held = said.held.or(self.known.held.take());
        (self.unsure, self.failures) = (false, Failures::default());
        if matches!(self.phase, Phase::Joining) {
            self.effects.push(Effect::AskSession);
        }
        self.phase = Phase::Member;
        if self.stamp.generation != answer.epoch {
            self.stamp.generation = answer.epoch;
            self.effects.push(Effect::Identity(self.stamp.clone()));
        }
        let before = self.beat.acknowledged(sent, answer.interval);
        self.effects.extend(self.beat.lease.map(Effect::Lease));
        if let Some(told) = answer.assignment {
            self.told = told;
            // The coordinator may have begun to wait with any heartbeat since the last one that was answered.
            self.settle_since(at.now, before.unwrap_or(sent));
        } else if self.nameless {
            // The broker that was asked for names may not have known the topic yet.
            self.settle(at.now);
        }
        if self.known.held.as_ref() != Some(&self.held) {
            self.beat.hurry(Duration::ZERO);
        }
    }

    /// Goes on with what was told last.
    pub(super) fn settle(&mut self, now: Instant) {
        self.settle_since(now, self.beat.last_acknowledged().unwrap_or(now));
    }

    /// Takes on what is new, and gives back what is not the member's any more; `since`: when it may have been asked to.
    fn settle_since(&mut self, now: Instant, since: Instant) {
        let told = self.named();
        let added: BTreeMap<TopicPartition, u128> = told
            .iter()
            .filter(|(partition, _)| !self.held.contains_key(partition))
            .map(|(partition, id)| (*partition, *id))
            .collect();
        let back: Vec<TopicPartition> =
            self.held.keys().filter(|partition| !told.contains_key(partition)).copied().collect();
        if self.giving_back.is_none() && !back.is_empty() {
            self.round += 1;
            let deadline = (since + self.settings.group.rebalance_timeout.mul_f64(MARGIN)).max(now);
            let (round, partitions) = (self.round, back);
            self.effects.push(Effect::Revoked { round, partitions: partitions.clone(), deadline });
            self.giving_back = Some(GivingBack { round, partitions, deadline });
        }
        // One that is just being given back is held until that is done, and comes anew then; a topic may have got another
        // id meanwhile.
        self.held.extend(told);
        if !added.is_empty() {
            self.effects.push(Effect::Assigned(added.into_keys().collect()));
        }
    }

    /// What was told, with names. Those without one come with a later picture.
    fn named(&mut self) -> BTreeMap<TopicPartition, u128> {
        let held: BTreeMap<(u128, i32), TopicPartition> =
            self.held.iter().map(|(partition, id)| ((*id, partition.partition), *partition)).collect();
        self.nameless = false;
        let mut named = BTreeMap::new();
        for (id, number) in &self.told {
            let topic = || self.picture.as_ref()?.topic_by_id(*id);
            let known = held.get(&(*id, *number)).copied();
            match known.or_else(|| Some(TopicPartition { topic: topic()?, partition: *number })) {
                Some(partition) if self.settings.interest.admits(partition.topic) => {
                    named.insert(partition, *id);
                }
                Some(foreign) => {
                    let reason = format!("{foreign} is not subscribed to");
                    let broker = format!("the coordinator of {}", self.at());
                    let error = Error::Malformed { api: "ConsumerGroupHeartbeat", broker, reason };
                    self.effects.push(Effect::Problem(error));
                }
                None => self.nameless = true,
            }
        }
        if self.nameless {
            self.effects.push(Effect::Refresh);
        }
        named
    }

    pub(super) fn given_back(&mut self, at: Moment, round: u64) {
        if let Some(giving) = self.giving_back.take_if(|giving| giving.round == round) {
            self.let_go(at, &giving.partitions);
        }
    }

    /// The coordinator does not wait any longer: who still works on these must stop, their next owner has begun.
    pub(super) fn given_back_too_late(&mut self, at: Moment) {
        if let Some(giving) = self.giving_back.take() {
            self.effects.push(Effect::Lost(giving.partitions.clone()));
            self.let_go(at, &giving.partitions);
        }
    }

    fn let_go(&mut self, at: Moment, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.held.remove(partition);
        }
        self.beat.hurry(Duration::ZERO);
        self.settle(at.now);
    }

    fn refused(&mut self, at: Moment, error: Error) {
        match error.code() {
            Some(E::UnknownMemberId | E::GroupIdNotFound) if !matches!(self.phase, Phase::Joining) => {
                self.lose();
                self.again(at);
            }
            Some(E::FencedMemberEpoch) => {
                self.lose();
                self.part();
            }
            Some(E::UnreleasedInstanceId) => {
                self.effects.push(Effect::Release);
                self.phase = Phase::Releasing;
            }
            _ if is_fatal(&error) => self.fail(error),
            _ => self.unanswered(at, error),
        }
    }

    /// The predecessor is gone, or could not be sent away: then it goes when its session ends.
    pub(super) fn released(&mut self, at: Moment, released: Result<()>) {
        let told = released.err().and_then(|error| self.failures.worth_telling(error, at.now));
        self.effects.extend(told.map(Effect::Problem));
        self.again(at);
    }

    /// Another attempt to join, at once the first time.
    pub(super) fn again(&mut self, at: Moment) {
        let wait = self.failures.wait_again(1, at.now, &self.settings.retry, at.chance);
        self.join_at(at.now + wait);
    }

    /// A heartbeat came to nothing: the next one follows soon, perhaps to another coordinator. The lease goes on.
    fn unanswered(&mut self, at: Moment, error: Error) {
        self.unsure = true;
        let until = at.now + self.beat.failures.wait_after(&error, at.now, &self.settings.retry, at.chance);
        self.beat.wait_until(until);
        self.effects.extend(self.beat.failures.worth_telling(error, at.now).map(Effect::Problem));
        if matches!(self.phase, Phase::Joining) {
            self.join_at(until);
        }
    }

    /// No heartbeat was acknowledged for a session timeout: the coordinator has given the partitions away, or will, or
    /// is away itself.
    pub(super) fn expired(&mut self, now: Instant) {
        self.effects.push(Effect::Problem(Error::Timeout {
            api: "ConsumerGroupHeartbeat",
            broker: format!("the coordinator of {}", self.at()),
            after: self.beat.session,
        }));
        let epoch = self.stamp.generation;
        self.lose();
        self.unsure = true;
        self.beat.wait_until(now);
        self.phase = Phase::Asking { epoch };
    }
}
