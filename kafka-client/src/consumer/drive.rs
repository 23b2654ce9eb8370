//! Each partition's next step, and what came of the last one.

use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::task::{Done, Task};
use crate::cluster::ClusterMetadata;
use crate::config::OffsetReset;
use crate::error::{At, Error, Result};
use crate::fetch::Map;
use crate::fetch::broker::{Entry, Report};
use crate::fetch::leader::{Doubted, Sought, Told, epoch_ends, list_offsets};
use crate::fetch::position::{Leader, Refused, Step};
use crate::fetch::reset::{Remedy, Target, Validated, Why, remedy};
use crate::fetch::slot::{Position, Queued};
use crate::ids::TopicPartition;

/// After so many failures in a row of one partition it is a problem, and not just a leader that moves.
const PROBLEM: u32 = 5;

/// Questions of this round, by the broker that they go to.
#[derive(Debug, Default)]
struct Questions {
    sought: Map<i32, Vec<Sought>>,
    doubted: Map<i32, Vec<Doubted>>,
}

impl Task {
    /// The partition is to be looked at before the round ends.
    pub(super) fn touch(&mut self, partition: TopicPartition) {
        self.touched.push(partition);
    }

    /// Does what can be done now for all that were touched.
    pub(super) fn drive(&mut self) {
        let mut questions = Questions::default();
        while let Some(partition) = self.touched.pop() {
            while self.step(partition, &mut questions) {}
        }
        for (broker, sought) in questions.sought {
            self.ask_offsets(broker, sought);
        }
        for (broker, doubted) in questions.doubted {
            self.ask_epochs(broker, doubted);
        }
    }

    /// One step of one partition; whether there may be another one at once.
    fn step(&mut self, partition: TopicPartition, questions: &mut Questions) -> bool {
        let now = self.now();
        let turn = self.next_turn();
        let Some(held) = self.partitions.get_mut(&partition) else { return false };
        let position = held.slot.position();
        let step = held.tracker.step(now, position);
        held.tracker.took(step, turn);
        match step {
            Step::Rest => return false,
            Step::At(moment) => {
                self.wakes.insert((moment, partition));
                return false;
            }
            Step::Leaderless => {
                self.env.cluster.refresh();
                let code = why_leaderless(&self.env.cluster.snapshot(), partition);
                self.again_later(partition, code, "Metadata");
            }
            Step::List { leader, target } => {
                let sought = Sought { partition, leader_epoch: leader.epoch, target };
                questions.sought.entry(leader.broker).or_default().push(sought);
            }
            Step::Validate { leader } => {
                let doubted =
                    Doubted { partition, leader_epoch: leader.epoch, read_epoch: position.leader_epoch };
                questions.doubted.entry(leader.broker).or_default().push(doubted);
            }
            Step::Move { from, to } => {
                if let Some(broker) = from.filter(|from| to.is_none_or(|place| place.broker != *from)) {
                    self.loops.remove(broker, partition);
                }
                if let Some(place) = to {
                    let entry = Entry {
                        slot: Arc::clone(&held.slot),
                        turn,
                        epoch: held.slot.epoch(),
                        topic_id: place.topic_id,
                        leader_epoch: place.leader_epoch,
                        paused: held.paused,
                    };
                    self.loops.add(place.broker, entry);
                }
            }
        }
        true
    }

    /// Tries the partition again after a back-off; says so, if that goes on for long.
    fn again_later(&mut self, partition: TopicPartition, code: ResponseError, api: &'static str) {
        let backoff = self.env.cluster.config().retry_backoff;
        let (now, unit) = (self.now(), self.env.cluster.seams().rng.unit());
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        let tries = held.tracker.tries();
        held.tracker.again_at(now + backoff.wait(tries, unit));
        self.touch(partition);
        if tries >= PROBLEM {
            self.problem(Error::Broker { api, code, at: At::Partition(partition) });
        }
    }

    /// The turn of a partition's request, if it is still the one whose answer counts.
    fn turns_of(&self, partitions: impl Iterator<Item = TopicPartition>) -> Map<TopicPartition, u64> {
        partitions
            .filter_map(|partition| Some((partition, self.partitions.get(&partition)?.tracker.turn())))
            .collect()
    }

    fn ask_offsets(&mut self, broker: i32, sought: Vec<Sought>) {
        let turns = self.turns_of(sought.iter().map(|sought| sought.partition));
        let (pool, isolation) = (Arc::clone(&self.env.pool), self.env.config.isolation);
        let deadline = self.env.cluster.config().request_timeout;
        self.jobs.spawn(async move {
            let told = list_offsets(&pool, broker, &sought, isolation, deadline).await;
            Done::Listed { sought, turns, told }
        });
    }

    fn ask_epochs(&mut self, broker: i32, doubted: Vec<Doubted>) {
        let turns = self.turns_of(doubted.iter().map(|doubted| doubted.partition));
        let pool = Arc::clone(&self.env.pool);
        let deadline = self.env.cluster.config().request_timeout;
        self.jobs.spawn(async move {
            let told = epoch_ends(&pool, broker, &doubted, deadline).await;
            Done::Validated { doubted, turns, told }
        });
    }

    /// Leaders told offsets, or did not.
    pub(super) fn listed(
        &mut self,
        sought: Vec<Sought>,
        turns: &Map<TopicPartition, u64>,
        told: Result<Vec<Told>>,
    ) {
        let told = self.told(told);
        let mut to_save = Vec::new();
        for Sought { partition, leader_epoch, target } in sought {
            let current = self
                .partitions
                .get_mut(&partition)
                .filter(|held| turns.get(&partition).is_some_and(|turn| held.tracker.is_turn(*turn)));
            let Some((held, why)) = current.and_then(|held| {
                let why = held.tracker.looking_because()?;
                Some((held, why))
            }) else {
                continue;
            };
            match told.get(&partition).copied() {
                Some(Ok(position)) if position.offset < 0 && target != Target::Latest => {
                    // No record is as late as that: what comes next is.
                    self.look_for(partition, Target::Latest, why);
                }
                Some(Ok(position)) => {
                    held.tracker.confirm(leader_epoch);
                    if self.land(partition, position, why) {
                        to_save.push((partition, position));
                    }
                    self.touch(partition);
                }
                Some(Err(code)) => self.remedied(partition, code, "ListOffsets"),
                None => self.again_later(partition, ResponseError::NetworkException, "ListOffsets"),
            }
        }
        self.save_starts(to_save);
    }

    /// A new position is known; whether it has to be committed before anything else.
    fn land(&mut self, partition: TopicPartition, position: Position, why: Why) -> bool {
        match why {
            Why::Start { save: true } => return true,
            Why::OutOfRange { from } => {
                self.problem(Error::Skipped { partition, from, to: position.offset });
            }
            Why::Start { save: false } | Why::Truncated | Why::Recreated | Why::Sought => {}
        }
        self.arrive(partition, position, why.queued());
        false
    }

    /// Leaders said what they know of positions, or did not.
    pub(super) fn validated(
        &mut self,
        doubted: Vec<Doubted>,
        turns: &Map<TopicPartition, u64>,
        told: Result<Vec<Told>>,
    ) {
        if matches!(told, Err(Error::Unsupported { .. })) {
            // A broker that old cannot be asked; its log is believed.
            doubted.iter().for_each(|doubted| self.confirmed(doubted.partition, doubted.leader_epoch, turns));
            return;
        }
        let told = self.told(told);
        for Doubted { partition, leader_epoch, .. } in doubted {
            let current = self
                .partitions
                .get(&partition)
                .filter(|held| turns.get(&partition).is_some_and(|turn| held.tracker.is_turn(*turn)));
            let Some(held) = current else { continue };
            match told.get(&partition).copied() {
                Some(Ok(end)) => match Validated::of(held.slot.position(), end) {
                    Validated::Confirmed => self.confirmed(partition, leader_epoch, turns),
                    Validated::Truncated(end) => self.truncated(partition, end, leader_epoch),
                    Validated::Unknown => self.reset(partition, Why::Truncated),
                },
                // Who may read but not ask reads on.
                Some(Err(
                    ResponseError::TopicAuthorizationFailed | ResponseError::ClusterAuthorizationFailed,
                )) => {
                    self.confirmed(partition, leader_epoch, turns);
                }
                Some(Err(code)) => self.remedied(partition, code, "OffsetForLeaderEpoch"),
                None => self.again_later(partition, ResponseError::NetworkException, "OffsetForLeaderEpoch"),
            }
        }
    }

    fn confirmed(&mut self, partition: TopicPartition, epoch: i32, turns: &Map<TopicPartition, u64>) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if turns.get(&partition).is_some_and(|turn| held.tracker.is_turn(*turn)) {
            held.tracker.confirm(epoch);
            self.touch(partition);
        }
    }

    /// The log was cut off below the position: reading goes on there, or where the reader is, if that is earlier.
    fn truncated(&mut self, partition: TopicPartition, end: Position, leader_epoch: i32) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        let from = held.slot.position().offset;
        if self.env.config.auto_offset_reset == OffsetReset::None {
            let reason = format!("the log was cut off at {} while reading stood at {from}", end.offset);
            return self.stop(partition, Error::NoOffset { partition, reason });
        }
        tracing::warn!(%partition, from, to = end.offset, "the log was cut off below the position (unclean leader)");
        let to = Position { offset: end.offset.min(held.slot.first_unread()), ..end };
        held.tracker.confirm(leader_epoch);
        self.arrive(partition, to, Queued::Dropped);
        self.touch(partition);
    }

    /// The position means nothing any more: another one by policy.
    fn reset(&mut self, partition: TopicPartition, why: Why) {
        match Target::of_policy(self.env.config.auto_offset_reset, self.wall_millis()) {
            Some(target) => {
                tracing::warn!(%partition, "the leader knows nothing of the position's epoch: reset by policy");
                self.look_for(partition, target, why);
            }
            None => {
                let reason = "the leader knows nothing of its epoch".to_owned();
                self.stop(partition, Error::NoOffset { partition, reason });
            }
        }
    }

    /// What was told by partition. No answer at all means that the broker may not lead any more.
    fn told(&mut self, told: Result<Vec<Told>>) -> Map<TopicPartition, Result<Position, ResponseError>> {
        match told {
            Ok(told) => told.into_iter().collect(),
            Err(error) => {
                self.env.cluster.refresh();
                self.problem(error);
                Map::default()
            }
        }
    }

    /// What an error code for one partition leads to.
    fn remedied(&mut self, partition: TopicPartition, code: ResponseError, api: &'static str) {
        match remedy(code) {
            Remedy::GiveUp => self.stop(partition, Error::Broker { api, code, at: At::Partition(partition) }),
            Remedy::Refresh => {
                self.env.cluster.refresh();
                self.again_later(partition, code, api);
            }
            Remedy::Retry => self.again_later(partition, code, api),
        }
    }

    /// A loop tells of what it cannot handle.
    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Refused { partition, turn, code, asked } if self.taken_back(partition, turn) => {
                self.refused(partition, code, asked);
            }
            Report::Redirected { partition, turn, to } if self.taken_back(partition, turn) => {
                let until = self.now() + self.env.cluster.config().metadata_max_age;
                if let Some(held) = self.partitions.get_mut(&partition) {
                    held.tracker.redirect(to, until);
                }
                if !self.env.cluster.snapshot().brokers.contains_key(&to) {
                    self.env.cluster.refresh();
                }
                self.touch(partition);
            }
            Report::Broken { partition, turn, error } if self.taken_back(partition, turn) => match error {
                Some(error) => self.stop(partition, error),
                None => {
                    if let Some(held) = self.partitions.get_mut(&partition) {
                        held.tracker.fail();
                    }
                }
            },
            Report::Unreachable { broker, error } => self.unreachable(broker, error),
            // Of an earlier placement.
            Report::Refused { .. } | Report::Redirected { .. } | Report::Broken { .. } => {}
        }
    }

    /// Whether a report is about where the partition is now; if so, it is there no longer.
    fn taken_back(&mut self, partition: TopicPartition, turn: u64) -> bool {
        let current = self.partitions.get_mut(&partition).filter(|held| held.tracker.is_turn(turn));
        let Some(held) = current else { return false };
        if let Some(broker) = held.tracker.taken_back() {
            self.loops.remove(broker, partition);
        }
        true
    }

    fn refused(&mut self, partition: TopicPartition, code: ResponseError, asked: i64) {
        let (policy, now_millis) = (self.env.config.auto_offset_reset, self.wall_millis());
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        match held.tracker.refused(code, asked, policy, now_millis) {
            Refused::ToLeader | Refused::Reset => self.touch(partition),
            Refused::NoOffset => {
                let reason = format!("offset {asked} is out of range");
                self.stop(partition, Error::NoOffset { partition, reason });
            }
            Refused::GivenUp => {
                self.stop(partition, Error::Broker { api: "Fetch", code, at: At::Partition(partition) });
            }
            Refused::Again(remedy) => {
                if remedy == Remedy::Refresh {
                    self.env.cluster.refresh();
                }
                self.again_later(partition, code, "Fetch");
            }
        }
    }

    /// A broker cannot be asked; its loop goes on trying. Its partitions may have got another leader, and those that
    /// are only read from it as the nearest replica go back to theirs.
    fn unreachable(&mut self, broker: i32, error: Error) {
        self.env.cluster.refresh();
        self.problem(error);
        let mut back = Vec::new();
        for (partition, held) in &mut self.partitions {
            if held.tracker.reads_from(broker) && held.tracker.leave_replica() {
                back.push(*partition);
            }
        }
        self.touched.extend(back);
    }

    /// The cluster changed, or was looked at again.
    pub(super) fn pictured(&mut self) {
        for partition in self.all() {
            self.see(partition);
        }
    }

    /// Looks a partition up in the last picture of the cluster.
    pub(super) fn see(&mut self, partition: TopicPartition) {
        let picture = self.env.cluster.snapshot();
        let (leader, topic_id) = seen(&picture, partition);
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if held.tracker.saw(leader, topic_id) {
            self.recreated(partition);
        }
        self.touch(partition);
    }

    /// The topic was deleted and created again: all of its records are new.
    fn recreated(&mut self, partition: TopicPartition) {
        tracing::warn!(%partition, "the topic was deleted and created again: reading from its first record");
        match self.env.config.auto_offset_reset {
            OffsetReset::None => {
                let reason = "the topic was deleted and created again".to_owned();
                self.stop(partition, Error::NoOffset { partition, reason });
            }
            _ => self.look_for(partition, Target::Earliest, Why::Recreated),
        }
    }
}

fn why_leaderless(picture: &ClusterMetadata, partition: TopicPartition) -> ResponseError {
    let Some(topic) = picture.topics.get(&partition.topic) else {
        return ResponseError::UnknownTopicOrPartition;
    };
    let known = usize::try_from(partition.partition).is_ok_and(|number| number < topic.partitions.len());
    topic.error.unwrap_or(match known {
        true => ResponseError::LeaderNotAvailable,
        false => ResponseError::UnknownTopicOrPartition,
    })
}

fn seen(picture: &ClusterMetadata, partition: TopicPartition) -> (Option<Leader>, u128) {
    let leader = picture.leader(partition).map(|(broker, epoch)| Leader { broker, epoch });
    let topic_id = picture.topics.get(&partition.topic).map_or(0, |topic| topic.id);
    (leader, topic_id)
}
