//! Deliveries that were not acknowledged, and go to their handler again.

use std::collections::{HashMap, VecDeque};

use kafka_client::consumer::ChunkBatch;
use tokio::time::Instant;

use super::ack::AckDesk;
use super::lane::Lane;
use super::outcome::Where;
use super::recovery::{Failed, Resolution};

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
    /// Tries so far of deliveries that failed, by last offset, and when the first of them failed.
    tried: HashMap<i64, (u32, Instant)>,
    waiting: Vec<Delivery>,
}

impl Again {
    /// Keeps what is about to be delivered; lets go of what is below `safe`.
    pub(crate) fn hold(&mut self, batches: &[ChunkBatch], safe: i64) {
        while self.held.front().is_some_and(|batch| batch.next_offset() <= safe) {
            self.held.pop_front();
        }
        self.tried.retain(|last, _| *last >= safe);
        self.waiting.retain(|delivery| delivery.last >= safe);
        self.held.extend(batches.iter().cloned());
    }

    /// Asks the policy about what was not acknowledged. `false`: the partition stops.
    pub(crate) async fn judge(&mut self, desk: &AckDesk, lane: &mut Lane) -> bool {
        for failed in desk.take_failures() {
            let (attempt, since) = self.tried.get(&failed.last).copied().unwrap_or((1, Instant::now()));
            let (first, last) = (failed.first, failed.last);
            let failure = failed.reason.into_failure();
            if first < last && lane.work.recovery.is_spent(&failure, attempt, since) {
                let partition = lane.partition();
                let records = u64::try_from(last - first + 1).unwrap_or(1);
                lane.failed_together(
                    Where { partition, offset: first, key: None, attempt },
                    &failure,
                    records,
                );
                self.one_by_one(desk, Delivery { first, last, attempt, at: Instant::now() }, since);
                continue;
            }
            let batch = self.batch_of(first);
            let record = batch.as_ref().and_then(|batch| {
                let record = batch.records().flatten().find(|record| record.offset == first)?;
                Some((record, batch))
            });
            // What is open is held.
            let Some((record, batch)) = record else { continue };
            let delivery = lane.work.recovery.delivery_of(record.headers);
            let tries = attempt + (delivery - 1);
            let failed =
                Failed { record, batch, partition: lane.partition(), attempt: tries, since, tx: None };
            match lane.resolve(&failed, &failure).await {
                Resolution::Retry(wait) => {
                    let attempt = attempt + 1;
                    self.tried.insert(last, (attempt, since));
                    self.waiting.push(Delivery { first, last, attempt, at: Instant::now() + wait });
                }
                Resolution::Settled => desk.settle_by_policy(last),
                Resolution::Stop(_) => return false,
            }
        }
        true
    }

    /// A batch was refused as a whole for the last time: which of its records it is, nobody knows, and the others must
    /// not go down with it.
    fn one_by_one(&mut self, desk: &AckDesk, whole: Delivery, since: Instant) {
        let batches = self.batches(&whole);
        let offsets = batches.iter().flat_map(ChunkBatch::records).flatten().map(|record| record.offset);
        for offset in offsets.filter(|offset| (whole.first..=whole.last).contains(offset)) {
            desk.split(offset);
            self.tried.insert(offset, (whole.attempt, since));
            self.waiting.push(Delivery { first: offset, last: offset, ..whole });
        }
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

    fn batch_of(&self, offset: i64) -> Option<ChunkBatch> {
        self.held.iter().find(|batch| batch.next_offset() > offset).cloned()
    }
}
