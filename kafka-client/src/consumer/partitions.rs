//! What a consumer holds: taken on, announced, moved, paused, given back, lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::task::{Stage, Task};
use super::{ConsumerEvent, PartitionStream, Revocation, Start};
use crate::config::StartAt;
use crate::error::{Error, Result};
use crate::fetch::position::Tracker;
use crate::fetch::reset::{Target, Why};
use crate::fetch::slot::{Position, Queued, Slot};
use crate::group::CommittedOffset;
use crate::ids::TopicPartition;

/// No position yet.
const NOWHERE: Position = Position { offset: -1, leader_epoch: -1 };

/// How long a consumer without a group waits at its end for what is being handled.
const WITHOUT_GROUP: Duration = Duration::from_secs(300);

/// One partition that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) slot: Arc<Slot>,
    pub(super) tracker: Tracker,
    /// Distinguishes this assignment of the partition from earlier and later ones.
    pub(super) assignment: u64,
    /// Whether the user has its stream.
    pub(super) announced: bool,
    pub(super) committed: Option<CommittedOffset>,
    /// Whether the user knows that a transaction holds its offset up.
    pub(super) held_up: bool,
    pub(super) paused: bool,
    /// Who waits for a seek.
    pub(super) seeker: Option<oneshot::Sender<Result<u64>>>,
}

impl Held {
    /// Tells who waits for a seek how it ended.
    pub(super) fn sought(&mut self, result: Result<()>) {
        if let Some(seeker) = self.seeker.take() {
            let _ = seeker.send(result.map(|()| self.slot.epoch()));
        }
    }
}

/// Partitions on their way back to the group.
#[derive(Debug)]
pub(super) struct Released {
    partitions: Vec<(TopicPartition, u64)>,
    /// What the group waits for.
    done: Option<oneshot::Sender<()>>,
}

impl Task {
    /// New partitions: each is read once its position is known.
    pub(super) fn take_on(&mut self, partitions: &[TopicPartition]) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        for partition in partitions {
            let assignment = self.next_turn();
            self.hold(*partition, assignment, None);
        }
        self.begin(partitions);
    }

    fn hold(
        &mut self,
        partition: TopicPartition,
        assignment: u64,
        seeker: Option<oneshot::Sender<Result<u64>>>,
    ) {
        let held = Held {
            slot: Slot::new(partition, NOWHERE),
            tracker: Tracker::waiting(),
            assignment,
            announced: false,
            committed: None,
            held_up: false,
            paused: false,
            seeker,
        };
        if let Some(before) = self.partitions.insert(partition, held) {
            // The group never gives what it has not taken back; if it does, the new assignment counts.
            self.drop_held(partition, before, Error::NotHeld { partition });
        }
        self.holding.take(partition, assignment);
        self.see(partition);
    }

    /// Ends the stream of a partition that is held, and begins another.
    pub(super) fn restart(
        &mut self,
        partition: TopicPartition,
        at: StartAt,
        reply: oneshot::Sender<Result<u64>>,
    ) {
        let held = self.partitions.get(&partition).filter(|_| matches!(self.stage, Stage::Running));
        let Some(assignment) = held.map(|held| held.assignment) else {
            let _ = reply.send(Err(Error::NotHeld { partition }));
            return;
        };
        // The same assignment: what was asked to be committed before still may be.
        self.hold(partition, assignment, Some(reply));
        self.begin_at(&[(partition, at)]);
    }

    /// Ends a partition that is not in the table any more.
    fn drop_held(&mut self, partition: TopicPartition, mut held: Held, reason: Error) {
        held.slot.end();
        held.sought(Err(reason));
        if let Some(broker) = held.tracker.placed_with() {
            self.loops.remove(broker, partition);
        }
    }

    /// The position of a partition is known: its first one, or a new one.
    pub(super) fn arrive(&mut self, partition: TopicPartition, position: Position, queued: Queued) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if held.announced {
            held.slot.move_to(position, queued);
        } else {
            held.slot.begin_at(position);
        }
        held.sought(Ok(()));
        self.announce(partition);
    }

    /// A partition stands still.
    pub(super) fn stop(&mut self, partition: TopicPartition, error: Error) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        held.tracker.fail();
        held.sought(Err(error.clone()));
        held.slot.fail(error);
        self.announce(partition);
        self.touch(partition);
    }

    /// Gives the user the stream, together with others of this round.
    pub(super) fn announce(&mut self, partition: TopicPartition) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if !std::mem::replace(&mut held.announced, true) {
            let start = Start {
                offset: held.slot.position().offset,
                committed: held.committed.clone(),
                epoch: held.slot.epoch(),
            };
            self.to_announce.push(PartitionStream::new(Arc::clone(&held.slot), start));
        }
    }

    /// Sends what [`Task::announce`] collected.
    pub(super) fn flush_announcements(&mut self) {
        if !self.to_announce.is_empty() {
            self.outbox.send(ConsumerEvent::Assigned(std::mem::take(&mut self.to_announce)));
        }
    }

    /// Partitions are to be given back: their streams end now, commits are possible until the user lets go.
    pub(super) fn give_back(
        &mut self,
        partitions: &[TopicPartition],
        deadline: Instant,
        done: Option<oneshot::Sender<()>>,
    ) {
        // Streams that were promised in this round must be seen before they are taken away.
        self.flush_announcements();
        let mut told = Vec::new();
        for partition in partitions {
            let Some(held) = self.partitions.remove(partition) else { continue };
            if held.announced {
                told.push((*partition, held.assignment));
            } else {
                self.holding.let_go(*partition, held.assignment);
            }
            self.drop_held(*partition, held, Error::NotHeld { partition: *partition });
        }
        if told.is_empty() {
            if matches!(self.stage, Stage::Draining) && !self.releases.is_empty() {
                // At the end everything is being given back already; the group waits for that.
                self.group_waits.extend(done);
            }
            // Otherwise nobody knows of them: dropping `done` lets the group go on.
            return;
        }
        let (let_go, gone) = oneshot::channel();
        let partitions = told.iter().map(|(partition, _)| *partition).collect();
        self.outbox.send(ConsumerEvent::Revoked(Revocation { partitions, deadline, _done: Some(let_go) }));
        self.releases.spawn(async move {
            // Let go by a message, by a drop, or by the deadline.
            let _ = timeout_at(deadline, gone).await;
            Released { partitions: told, done }
        });
    }

    /// The user let go of partitions, or the deadline passed.
    pub(super) fn released(&mut self, released: Released) {
        for (partition, assignment) in released.partitions {
            self.holding.let_go(partition, assignment);
        }
        drop(released.done);
        self.end_if_drained();
    }

    /// Partitions are gone: nothing of them is read or committed any more.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        self.flush_announcements();
        let mut told = Vec::new();
        for partition in partitions {
            let was_held = self.holding.lose(*partition);
            let announced = match self.partitions.remove(partition) {
                Some(held) => {
                    let announced = held.announced;
                    self.drop_held(*partition, held, Error::NotHeld { partition: *partition });
                    announced
                }
                // Being given back just now: the user should not go on with that either.
                None => was_held,
            };
            if announced {
                told.push(*partition);
            }
        }
        if !told.is_empty() {
            self.outbox.send(ConsumerEvent::Lost(told));
        }
    }

    /// Everything that is held.
    pub(super) fn all(&self) -> Vec<TopicPartition> {
        let mut all: Vec<_> = self.partitions.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Ends fetching and gives everything back.
    pub(super) fn shut_down(&mut self) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        let patience = self.env.config.group.as_ref().map_or(WITHOUT_GROUP, |group| group.rebalance_timeout);
        let deadline = self.now() + patience;
        let all = self.all();
        self.give_back(&all, deadline, None);
        self.stage = Stage::Draining;
        self.loops.clear();
        self.end_if_drained();
    }

    fn end_if_drained(&mut self) {
        if matches!(self.stage, Stage::Draining) && self.releases.is_empty() {
            self.group_waits.clear();
            self.outbox.close();
        }
    }

    /// Stops or resumes fetching; what is queued stays.
    pub(super) fn pause(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            let Some(held) = self.partitions.get_mut(partition) else { continue };
            held.paused = paused;
            if let Some(broker) = held.tracker.placed_with() {
                self.loops.pause(broker, *partition, paused);
            }
        }
    }

    /// Moves a partition.
    pub(super) fn seek(
        &mut self,
        partition: TopicPartition,
        to: StartAt,
        reply: oneshot::Sender<Result<u64>>,
    ) {
        let Some(held) = self.partitions.get_mut(&partition) else {
            let _ = reply.send(Err(Error::NotHeld { partition }));
            return;
        };
        // The earlier of two seeks has come to nothing, which is what its caller's order meant.
        held.sought(Ok(()));
        held.seeker = Some(reply);
        match (to, Target::of_place(to)) {
            (_, Some(target)) => held.tracker.look_for(target, Why::Sought),
            (StartAt::Offset(offset), None) => {
                held.tracker.ready();
                self.arrive(partition, Position { offset, leader_epoch: -1 }, Queued::Dropped);
            }
            (_, None) => {
                held.tracker.wait();
                self.ask_committed(vec![partition], Duration::ZERO);
            }
        }
        self.touch(partition);
    }
}
