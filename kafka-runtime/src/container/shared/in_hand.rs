//! What a partition has in hand, for whoever wants an explanation.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_client::consumer::ChunkBatch;
use tokio::time::Instant;

/// What an explanation needs and dispatch does not: written once per batch, and once a second.
#[derive(Debug, Default)]
pub(super) struct InHand(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    batches: Vec<ChunkBatch>,
    /// A position and when it was seen first.
    seen: Option<(i64, Instant)>,
    /// When what it waits for is over.
    waits_until: Option<Instant>,
}

impl InHand {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, batches: &[ChunkBatch]) {
        let mut inner = self.inner();
        inner.batches.clear();
        inner.batches.extend_from_slice(batches);
    }

    /// The record waits for so long, or until this is dropped.
    pub(super) fn wait(&self, wait: Duration) -> Wait<'_> {
        self.inner().waits_until = Instant::now().checked_add(wait);
        Wait(self)
    }

    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.inner().waits_until
    }

    /// The key of the record at `offset`, if that is here and has one.
    pub(super) fn key(&self, offset: i64) -> Option<Vec<u8>> {
        let inner = self.inner();
        let batch = inner.batches.iter().find(|batch| batch.next_offset() > offset)?;
        let record = batch.records().flatten().find(|record| record.offset == offset)?;
        record.key.map(<[u8]>::to_vec)
    }

    /// How long it has been at `offset`, as far as anybody looked.
    pub(super) fn age(&self, offset: i64) -> Duration {
        let mut inner = self.inner();
        let now = Instant::now();
        match inner.seen {
            Some((seen, since)) if seen == offset => now.duration_since(since),
            _ => {
                inner.seen = Some((offset, now));
                Duration::ZERO
            }
        }
    }
}

/// A wait of the record in hand.
pub(crate) struct Wait<'a>(&'a InHand);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.inner().waits_until = None;
    }
}
