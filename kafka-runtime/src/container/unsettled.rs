//! Deliveries that were made and are not settled: since when, and the batches that they came from.

use std::collections::{HashMap, VecDeque};

use kafka_client::consumer::ChunkBatch;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// By last offset.
    open: HashMap<i64, Delivered>,
    held: VecDeque<ChunkBatch>,
}

/// A delivery that is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    /// Its number: an `Ack` of an earlier try cannot fail a later one.
    pub(crate) number: u64,
    /// How often it was made.
    pub(crate) tries: u32,
    /// When it was made first, and when last.
    pub(crate) begun: Instant,
    pub(crate) latest: Instant,
    /// It failed, and waits for its next try.
    pub(crate) has_failed: bool,
}

impl Unsettled {
    /// The delivery that ends with `last` is made, perhaps again.
    pub(super) fn deliver(&mut self, last: i64, number: u64) {
        let now = Instant::now();
        let new = Delivered { number, tries: 0, begun: now, latest: now, has_failed: false };
        let open = self.open.entry(last).or_insert(new);
        *open = Delivered {
            number,
            tries: open.tries.saturating_add(1),
            latest: now,
            has_failed: false,
            ..*open
        };
    }

    pub(super) fn get(&self, last: i64) -> Option<Delivered> {
        self.open.get(&last).copied()
    }

    /// `Ack`s that are out are of an earlier number from now on.
    pub(super) fn renumber(&mut self, last: i64, number: u64) {
        if let Some(open) = self.open.get_mut(&last) {
            open.number = number;
        }
    }

    /// Of the delivery that ends with `end`, what ends with `last` goes its own way.
    pub(super) fn split(&mut self, last: i64, end: i64) {
        let whole = self.get(end);
        self.open.extend(whole.map(|whole| (last, whole)));
    }

    pub(super) fn fail(&mut self, last: i64) {
        if let Some(open) = self.open.get_mut(&last) {
            open.has_failed = true;
        }
    }

    pub(super) fn settle(&mut self, last: i64) {
        self.open.remove(&last);
    }

    /// The position moved.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.held.clear();
    }

    /// Keeps what is about to be delivered; lets go of what is below `safe`.
    pub(super) fn hold(&mut self, batches: &[ChunkBatch], safe: i64) {
        while self.held.front().is_some_and(|batch| batch.next_offset() <= safe) {
            self.held.pop_front();
        }
        self.held.extend(batches.iter().cloned());
    }

    /// The batches that these records are in.
    pub(super) fn batches(&self, first: i64, last: i64) -> Vec<ChunkBatch> {
        let overlaps =
            |batch: &&ChunkBatch| batch.next_offset() > first && batch.batch().header().base_offset <= last;
        self.held.iter().filter(overlaps).cloned().collect()
    }

    /// The batch that this record is in.
    pub(super) fn batch_of(&self, offset: i64) -> Option<ChunkBatch> {
        self.held.iter().find(|batch| batch.next_offset() > offset).cloned()
    }
}
