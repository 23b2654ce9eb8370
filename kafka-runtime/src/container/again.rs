//! Deliveries that were not acknowledged, and go to their handler again.

use std::collections::{HashMap, VecDeque};

use kafka_client::consumer::ChunkBatch;
use tokio::time::Instant;

use super::ack::AckDesk;
use super::lane::Lane;
use super::outcome::{Outcome, Where};
use crate::listener::Failure;

/// A delivery that is made again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) attempt: u32,
    at: Instant,
}

/// The batches that open deliveries came from, and what is due again when.
#[derive(Debug, Default)]
pub(crate) struct Again {
    held: VecDeque<ChunkBatch>,
    /// Tries so far of deliveries that failed, by last offset.
    attempts: HashMap<i64, u32>,
    waiting: Vec<Delivery>,
}

impl Again {
    /// Keeps what is about to be delivered; lets go of what is below `safe`.
    pub(crate) fn hold(&mut self, batches: &[ChunkBatch], safe: i64) {
        while self.held.front().is_some_and(|batch| batch.next_offset() <= safe) {
            self.held.pop_front();
        }
        self.attempts.retain(|last, _| *last >= safe);
        self.waiting.retain(|delivery| delivery.last >= safe);
        self.held.extend(batches.iter().cloned());
    }

    /// Asks the policy about what was not acknowledged. `false`: the partition stops.
    pub(crate) fn judge(&mut self, desk: &AckDesk, lane: &mut Lane) -> bool {
        for failed in desk.take_failures() {
            let attempt = self.attempts.get(&failed.last).copied().unwrap_or(1);
            let key = self.key_of(failed.first);
            let at =
                Where { partition: lane.partition(), offset: failed.first, key: key.as_deref(), attempt };
            match lane.judge(at, &Failure::Handler(failed.reason.into())) {
                Outcome::Retry(wait) => {
                    let attempt = attempt + 1;
                    self.attempts.insert(failed.last, attempt);
                    let (first, last) = (failed.first, failed.last);
                    self.waiting.push(Delivery { first, last, attempt, at: Instant::now() + wait });
                }
                Outcome::Skip => desk.settle_by_policy(failed.last),
                Outcome::Stop => return false,
            }
        }
        true
    }

    /// A delivery whose time has come.
    pub(crate) fn next_due(&mut self) -> Option<Delivery> {
        let now = Instant::now();
        let index = self.waiting.iter().position(|delivery| delivery.at <= now)?;
        Some(self.waiting.swap_remove(index))
    }

    /// When the next one is due.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|delivery| delivery.at).min()
    }

    /// The batches that a delivery's records are in.
    pub(crate) fn batches(&self, delivery: &Delivery) -> Vec<ChunkBatch> {
        let overlaps = |batch: &&ChunkBatch| {
            batch.next_offset() > delivery.first && batch.batch().header().base_offset <= delivery.last
        };
        self.held.iter().filter(overlaps).cloned().collect()
    }

    fn key_of(&self, offset: i64) -> Option<Vec<u8>> {
        let batch = self.held.iter().find(|batch| batch.next_offset() > offset)?;
        let record = batch.records().flatten().find(|record| record.offset == offset)?;
        record.key.map(<[u8]>::to_vec)
    }
}
