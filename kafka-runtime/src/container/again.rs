//! Deliveries that were not acknowledged, and go to their handler again.

use std::collections::HashMap;

use kafka_client::consumer::ChunkBatch;
use tokio::time::Instant;

use super::ack::AckDesk;
use super::flow::Fate;
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

/// What is due again when.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// Tries so far of deliveries that failed, by last offset, and when the first of them failed; `None`: what held up
    /// its last one does not count.
    tried: HashMap<i64, (u32, Option<Instant>)>,
    waiting: Vec<Delivery>,
}

impl Again {
    /// Lets go of what is below `safe`.
    pub(crate) fn forget(&mut self, safe: i64) {
        self.tried.retain(|last, _| *last >= safe);
        self.waiting.retain(|delivery| delivery.last >= safe);
    }

    /// Asks the policy about what was not acknowledged. `false`: the partition stops.
    pub(crate) async fn judge(&mut self, desk: &AckDesk, lane: &mut Lane) -> bool {
        for failed in desk.take_failures() {
            let (first, last) = (failed.first, failed.last);
            let (attempt, since) = self.tried.get(&last).copied().unwrap_or((1, None));
            let since = since.unwrap_or_else(Instant::now);
            let failure = failed.reason.into_failure();
            let batch = desk.batch_of(first);
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
            if let Fate::Again(opened) = lane.fate(&failure, last).await {
                lane.tell_held_up(&failed, &failure, opened);
                self.tried.insert(last, (attempt, None));
                self.waiting.push(Delivery { first, last, attempt, at: Instant::now() });
                continue;
            }
            if first < last && lane.work.recovery.is_spent(&failure, attempt, since) {
                let records = u64::try_from(last - first + 1).unwrap_or(1);
                lane.failed_together(Where { key: None, ..failed.at() }, &failure, records);
                self.one_by_one(desk, Delivery { first, last, attempt, at: Instant::now() }, since);
                continue;
            }
            match lane.resolve(&failed, &failure).await {
                Resolution::Retry(wait) => {
                    let attempt = attempt + 1;
                    self.tried.insert(last, (attempt, Some(since)));
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
        let batches = desk.batches(whole.first, whole.last);
        let offsets = batches.iter().flat_map(ChunkBatch::records).flatten().map(|record| record.offset);
        for offset in offsets.filter(|offset| (whole.first..=whole.last).contains(offset)) {
            desk.split(offset);
            self.tried.insert(offset, (whole.attempt, Some(since)));
            self.waiting.push(Delivery { first: offset, last: offset, ..whole });
        }
    }

    /// A delivery whose time has come.
    pub(crate) fn next_due(&mut self) -> Option<Delivery> {
        let now = Instant::now();
        let index = self.waiting.iter().position(|delivery| delivery.at <= now)?;
        Some(self.waiting.swap_remove(index))
    }

    /// It was not made: it is due at once.
    pub(crate) fn put_back(&mut self, delivery: Delivery) {
        self.waiting.push(delivery);
    }

    /// When the next one is due.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|delivery| delivery.at).min()
    }
}
