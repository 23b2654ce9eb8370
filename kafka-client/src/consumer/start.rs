//! First positions: what was committed, or what the reset policy says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::sleep;

use super::commit::{self, CommitJob, Persistence};
use super::task::{Done, Task};
use super::{ConsumerEvent, Offsets};
use crate::cluster::ClusterMetadata;
use crate::config::{StartAt, Subscription};
use crate::error::{At, Error, Result};
use crate::fetch::Map;
use crate::fetch::reset::{Target, Why};
use crate::fetch::slot::{Position, Queued};
use crate::group::{CommittedOffset, fetch_committed_watched};
use crate::ids::{TopicName, TopicPartition};

/// The partitions that there were when the consumer began. Later ones start at their first record.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// Partitions by topic, once the cluster was seen.
    counts: Option<Map<TopicName, usize>>,
}

impl Baseline {
    pub(super) fn is_known(&self) -> bool {
        self.counts.is_some()
    }

    pub(super) fn set(&mut self, picture: &ClusterMetadata) {
        let counts = picture.topics.iter().map(|(name, topic)| {
            let count = match topic.error {
                // Not there, or created just now by our asking for it.
                Some(ResponseError::UnknownTopicOrPartition | ResponseError::LeaderNotAvailable) => 0,
                // It may well have been there.
                Some(_) => usize::MAX,
                None => topic.partitions.len(),
            };
            (*name, count.max(topic.partitions.len()))
        });
        self.counts = Some(counts.collect());
    }

    /// Whether the partition came to be after the consumer began.
    pub(super) fn is_new(&self, partition: TopicPartition) -> bool {
        let Some(counts) = &self.counts else { return false };
        let known = counts.get(&partition.topic).copied().unwrap_or(0);
        usize::try_from(partition.partition).is_ok_and(|number| number >= known)
    }
}

/// The answer to a question for committed offsets.
pub(super) type Committed = Result<HashMap<TopicPartition, Result<Option<CommittedOffset>, ResponseError>>>;

impl Task {
    /// Asks for the picture that later ones are compared with.
    pub(super) fn ask_baseline(&mut self) {
        let cluster = Arc::clone(&self.env.cluster);
        self.jobs.spawn(async move { Done::Baseline(cluster.refreshed().await) });
    }

    pub(super) fn baseline(&mut self, picture: Result<Arc<ClusterMetadata>>) {
        match picture {
            Ok(picture) => {
                self.baseline.set(&picture);
                let waiting = std::mem::take(&mut self.before_baseline);
                self.begin(&waiting);
            }
            Err(error) => {
                self.problem(error);
                let pause = self.env.cluster.config().retry_backoff.max;
                let cluster = Arc::clone(&self.env.cluster);
                self.jobs.spawn(async move {
                    sleep(pause).await;
                    Done::Baseline(cluster.refreshed().await)
                });
            }
        }
    }

    /// Looks for the first positions of partitions that were just taken on.
    pub(super) fn begin(&mut self, partitions: &[TopicPartition]) {
        if !self.baseline.is_known() {
            self.before_baseline.extend(partitions);
            return;
        }
        let place = |partition| self.env.starts.get(partition).copied().unwrap_or(StartAt::Committed);
        let places: Vec<_> = partitions.iter().map(|partition| (*partition, place(partition))).collect();
        self.begin_at(&places);
    }

    /// Looks for these first positions.
    pub(super) fn begin_at(&mut self, places: &[(TopicPartition, StartAt)]) {
        let mut committed = Vec::new();
        for (partition, at) in places.iter().copied() {
            match (at, Target::of_place(at)) {
                (_, Some(target)) => self.look_for(partition, target, Why::Start { save: false }),
                (StartAt::Offset(offset), None) => {
                    self.set_off(partition, Position { offset, leader_epoch: -1 });
                }
                (_, None) if self.env.coordinator.is_some() => committed.push(partition),
                (_, None) => self.begin_by_policy(partition),
            }
        }
        self.ask_committed(committed, Duration::ZERO);
    }

    pub(super) fn look_for(&mut self, partition: TopicPartition, target: Target, why: Why) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.tracker.look_for(target, why);
            self.touch(partition);
        }
    }

    /// Reads the partition from a known position on.
    fn set_off(&mut self, partition: TopicPartition, position: Position) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.tracker.ready();
            self.arrive(partition, position, Queued::Dropped);
            self.touch(partition);
        }
    }

    /// Asks what the group committed, after a pause.
    pub(super) fn ask_committed(&mut self, partitions: Vec<TopicPartition>, pause: Duration) {
        let Some(coordinator) = self.env.coordinator.clone().filter(|_| !partitions.is_empty()) else {
            return partitions.into_iter().for_each(|partition| self.begin_by_policy(partition));
        };
        let turn = self.next_turn();
        // Once for each assignment; whoever moves a partition knows of its transactions.
        let mut begins = Vec::new();
        for partition in &partitions {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.tracker.asked_as(turn);
                if !held.announced && !held.held_up {
                    begins.push(*partition);
                }
            }
        }
        let events = self.outbox.apart();
        let held_up = move |mut partitions: Vec<TopicPartition>| {
            partitions.retain(|partition| begins.contains(partition));
            if let (Some(events), false) =
                (events.as_ref().and_then(|weak| weak.upgrade()), partitions.is_empty())
            {
                let _ = events.send(ConsumerEvent::HeldUp(partitions));
            }
        };
        let deadline = self.env.config.api_timeout;
        let committing = self.committing.clone();
        self.jobs.spawn(async move {
            sleep(pause).await;
            commit::over(committing).await;
            let answer = fetch_committed_watched(&coordinator, &partitions, deadline, held_up).await;
            Done::Committed { partitions, turn, answer }
        });
    }

    pub(super) fn committed(&mut self, partitions: Vec<TopicPartition>, turn: u64, answer: &Committed) {
        let mut again = Vec::new();
        for partition in partitions {
            let current = self.partitions.get_mut(&partition).filter(|held| held.tracker.is_turn(turn));
            let Some(held) = current else { continue };
            let found = match answer {
                Ok(found) => match found.get(&partition) {
                    Some(Ok(found)) => Ok(found.clone()),
                    Some(Err(code)) => Err(of_partition(partition, *code)),
                    None => Err(of_partition(partition, ResponseError::UnknownServerError)),
                },
                Err(error) => Err(error.clone()),
            };
            match found {
                Ok(Some(offset)) => {
                    let position = Position { offset: offset.offset, leader_epoch: offset.leader_epoch };
                    held.committed = Some(offset);
                    self.set_off(partition, position);
                }
                Ok(None) => self.begin_by_policy(partition),
                Err(error) if gives_up(&error) => self.stop(partition, error),
                Err(error) => {
                    held.held_up |= error.code() == Some(ResponseError::UnstableOffsetCommit);
                    self.problem(error);
                    again.push(partition);
                }
            }
        }
        if !again.is_empty() {
            // Not knowing never means that there is none.
            let pause = self.env.cluster.config().retry_backoff.max;
            self.ask_committed(again, pause);
        }
    }

    /// There is no committed offset.
    fn begin_by_policy(&mut self, partition: TopicPartition) {
        let policy = self.env.config.auto_offset_reset;
        let is_new = self.baseline.is_new(partition);
        match Target::of_start(policy, is_new, self.wall_millis()) {
            Some((target, depends_on_now)) => {
                let announced = self.partitions.get(&partition).is_some_and(|held| held.announced);
                let save = depends_on_now && self.env.coordinator.is_some();
                let why = if announced { Why::Sought } else { Why::Start { save } };
                self.look_for(partition, target, why);
            }
            None => {
                let reason = "none was committed".to_owned();
                self.stop(partition, Error::NoOffset { partition, reason });
            }
        }
    }

    /// Commits starts that would be others if they were chosen again.
    pub(super) fn save_starts(&mut self, starts: Vec<(TopicPartition, Position)>) {
        if starts.is_empty() {
            return;
        }
        let turn = self.next_turn();
        let mut offsets = Offsets::new();
        for (partition, position) in &starts {
            let Some(held) = self.partitions.get_mut(partition) else { continue };
            held.tracker.wait();
            held.tracker.asked_as(turn);
            let offset = CommittedOffset {
                offset: position.offset,
                leader_epoch: position.leader_epoch,
                metadata: String::new(),
            };
            offsets.push((*partition, offset));
        }
        let until = self.now() + self.env.config.api_timeout;
        let (job, answer) = CommitJob::new(offsets, Persistence::Until(until), &self.holding);
        let _ = self.commits.send(job);
        self.jobs.spawn(async move {
            let results = answer.await.map(|outcome| outcome.partitions).unwrap_or_default();
            Done::Saved { starts, turn, results }
        });
    }

    pub(super) fn saved(
        &mut self,
        starts: &[(TopicPartition, Position)],
        turn: u64,
        results: Vec<(TopicPartition, Result<()>)>,
    ) {
        let results: Map<_, _> = results.into_iter().collect();
        let mut again = Vec::new();
        for (partition, position) in starts {
            if !self.partitions.get(partition).is_some_and(|held| held.tracker.is_turn(turn)) {
                continue;
            }
            match results.get(partition) {
                // It is about to be taken away.
                Some(Err(Error::NotHeld { .. })) => {}
                Some(Err(error)) if error.is_retriable() => {
                    self.problem(error.clone());
                    again.push((*partition, *position));
                }
                Some(Err(error)) => {
                    // Somebody who may read but not commit; they will hear of it again.
                    self.problem(error.clone());
                    self.set_off(*partition, *position);
                }
                Some(Ok(())) | None => self.set_off(*partition, *position),
            }
        }
        // These were tried for as long as `default.api.timeout.ms` says.
        self.save_starts(again);
    }
}

fn of_partition(partition: TopicPartition, code: ResponseError) -> Error {
    Error::Broker { api: "OffsetFetch", code, at: At::Partition(partition) }
}

/// Whether an offset that cannot be had stops its partition.
fn gives_up(error: &Error) -> bool {
    use ResponseError as E;
    matches!(
        error.code(),
        Some(
            E::GroupAuthorizationFailed
                | E::TopicAuthorizationFailed
                | E::InvalidGroupId
                | E::UnsupportedVersion
        )
    )
}

/// Where directly assigned partitions start.
pub(super) fn starts(subscription: &Subscription) -> Map<TopicPartition, StartAt> {
    match subscription {
        Subscription::Partitions(partitions) => partitions.iter().copied().collect(),
        Subscription::Topics(_) | Subscription::Pattern(_) => Map::default(),
    }
}
