//! Partitions filed by what is to be done for them: in the line of their leader, held, with an alarm, or let go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Sender;
use crate::producer::queue::Due;
use crate::producer::topics::{Partition, Place};

impl Sender {
    /// Files a partition by what is to be done for it. What expired is failed, what is idle let go.
    pub(super) fn look(&mut self, partition: &Arc<Partition>, now: Instant) {
        let hurry = self.shared.hurried.load(Ordering::Acquire) > 0;
        let mut queue = partition.queue();
        let aftermath = queue.expire(now);
        let (due, expiry) = (queue.due(now, hurry), queue.expiry());
        partition.note_backlog(&queue);
        drop(queue);
        let sooner = |at: Instant| Some(expiry.map_or(at, |expiry| at.min(expiry)));
        match due {
            Due::Idle => self.set_alarm(partition, None),
            Due::At(at) => self.set_alarm(partition, sooner(at)),
            Due::Full(at) => {
                self.set_alarm(partition, sooner(at));
                self.line_up(partition);
            }
            Due::Now => {
                self.set_alarm(partition, expiry);
                self.line_up(partition);
                if let Some(leader) = partition.leader() {
                    self.lane(leader).presses = true;
                }
            }
        }
        match due {
            Due::Idle => _ = self.active.remove(&partition.id),
            _ => _ = self.active.entry(partition.id).or_insert_with(|| Arc::clone(partition)),
        }
        self.clear_up(aftermath);
    }

    pub(super) fn set_alarm(&mut self, partition: &Partition, at: Option<Instant>) {
        let before = std::mem::replace(&mut partition.mark().alarm, at);
        if before != at {
            before.map(|before| self.alarms.remove(&(before, partition.id)));
            at.map(|at| self.alarms.insert((at, partition.id)));
        }
    }

    /// Into the line of its leader, if it has one and may be written to; to those that wait otherwise.
    pub(super) fn line_up(&mut self, partition: &Arc<Partition>) {
        if partition.mark().place != Place::Nowhere {
            return;
        }
        match partition.leader() {
            Some(leader) if self.admits(partition.id) => {
                self.lane(leader).line.push_back(Arc::clone(partition));
                partition.mark().place = Place::Line;
                return;
            }
            Some(_) => {
                if let Some(transaction) = &self.shared.transaction
                    && transaction.machine().refusal().is_some()
                {
                    return transaction.abandon(&self.shared);
                }
            }
            None => {
                partition.queue().trouble.get_or_insert_with(|| "the partition has no leader".to_owned());
                self.cluster.track_while_used(partition.id.topic, true);
                self.cluster.refresh();
            }
        }
        self.held.push(Arc::clone(partition));
        partition.mark().place = Place::Held;
    }

    /// Looks again at what waits: leaders may have moved.
    pub(super) fn look_at_those_that_wait(&mut self) {
        let lines = self.lanes.values_mut().flat_map(|lane| lane.line.drain(..));
        let waiting: Vec<_> = lines.chain(self.held.drain(..)).collect();
        let now = self.now();
        for partition in waiting {
            partition.mark().place = Place::Nowhere;
            self.look(&partition, now);
        }
    }
}
