//! One batch of one partition, from its first record to its outcome.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::buffers::Buffers;
use super::receipt::{Outcome, Receipt};
use crate::config::{Compression, Packing};
use crate::error::Error;
use crate::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite, restamp};
use crate::records::{Batches, RecordError};

/// A batch that is not finished.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) receipt: Arc<Receipt>,
    contents: Contents,
    pub(super) records: i32,
    /// Producer id, epoch and sequence, once it was on its way with them.
    pub(super) stamp: Option<ProducerStamp>,
    /// Bytes of `buffer.memory` that it holds.
    pub(super) charged: usize,
    pub(super) created: Instant,
    /// Somebody waits for one of its records: it does not linger while nothing of its partition is under way.
    pub(super) awaited: bool,
    /// It has reached `batch.size`, and lingers no longer.
    pub(super) full: bool,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// Why the last attempt failed.
    pub(super) last: Option<Error>,
    /// Whether an attempt may have written it, for all that is known.
    pub(super) doubtful: bool,
    /// Its place among the batches of its partition; parts of a split batch keep it.
    pub(super) order: u64,
}

#[derive(Debug)]
enum Contents {
    Growing(BatchBuilder),
    Built(Bytes),
}

impl Batch {
    /// An empty one, to grow in that buffer; what was in it is gone.
    pub(super) fn new(buffer: Vec<u8>, created: Instant, order: u64) -> Self {
        Self {
            receipt: Arc::default(),
            contents: Contents::Growing(BatchBuilder::in_buffer(buffer)),
            records: 0,
            stamp: None,
            charged: 0,
            created,
            awaited: false,
            full: false,
            attempts: 0,
            last: None,
            doubtful: false,
            order,
        }
    }

    /// Appends a record; its place. A batch that was built takes no more.
    pub(super) fn append(&mut self, record: RecordToWrite<'_>, charge: usize) -> Option<i32> {
        let Contents::Growing(builder) = &mut self.contents else { return None };
        let index = builder.append(record);
        self.records += 1;
        self.charged += charge;
        Some(index)
    }

    /// It lingers no longer; whether that is news.
    pub(super) fn fill(&mut self) -> bool {
        !std::mem::replace(&mut self.full, true)
    }

    /// Bytes so far: compressed, once it is built.
    pub(super) fn size(&self) -> usize {
        match &self.contents {
            Contents::Growing(builder) => builder.size(),
            Contents::Built(bytes) => bytes.len(),
        }
    }

    /// The bytes to be sent, with its stamp. They are compressed at the first attempt.
    pub(super) fn build(&mut self, packing: impl Into<Packing>) -> Result<Bytes, RecordError> {
        let stamp = self.stamp.unwrap_or(ProducerStamp::NONE);
        let before = std::mem::replace(&mut self.contents, Contents::Built(Bytes::new()));
        let bytes = match before {
            Contents::Growing(builder) => builder.build(packing, stamp)?,
            Contents::Built(bytes) => restamp(bytes, stamp),
        };
        self.contents = Contents::Built(bytes.clone());
        self.receipt.keep(bytes.clone());
        Ok(bytes)
    }

    /// Ends it; the bytes of memory that are free now. Its buffer goes to `buffers`, unless a failure has to give it back.
    pub(super) fn finish(self, outcome: Outcome, buffers: &Buffers) -> usize {
        match self.contents {
            Contents::Growing(builder) => {
                if let (Outcome::Failed(_), Ok(bytes)) =
                    (&outcome, builder.build(Compression::None, ProducerStamp::NONE))
                {
                    self.receipt.keep(bytes);
                }
                self.receipt.complete(outcome);
            }
            Contents::Built(bytes) => {
                self.receipt.complete(outcome);
                buffers.give_back(bytes);
            }
        }
        self.charged
    }

    /// Two halves of a batch of several records that was refused as too large. Sequences stay as they were: the
    /// halves cover the same range. One that was never sent, or cannot be read again, comes back.
    pub(super) fn split(self) -> Result<[Self; 2], Box<Self>> {
        let Contents::Built(bytes) = &self.contents else {
            return Err(Box::new(self));
        };
        match self.halves(bytes) {
            Err(_) => Err(Box::new(self)),
            Ok(halves) => {
                let parts = [(0, &halves[0]), (halves[0].records, &halves[1])];
                let parts = parts.map(|(first, half)| (first, Arc::clone(&half.receipt)));
                self.receipt.complete(Outcome::Split(parts.into()));
                Ok(halves)
            }
        }
    }

    fn halves(&self, bytes: &Bytes) -> Result<[Self; 2], RecordError> {
        let first_count = self.records / 2;
        let half = |charged, stamp| Self {
            charged,
            stamp,
            attempts: self.attempts,
            last: self.last.clone(),
            doubtful: self.doubtful,
            ..Self::new(Vec::with_capacity(bytes.len() / 2), self.created, self.order)
        };
        let later = |stamp: ProducerStamp| ProducerStamp {
            base_sequence: super::sequences::advance(stamp.base_sequence, first_count),
            ..stamp
        };
        let charged = self.charged / 2;
        let mut one = half(charged, self.stamp);
        let mut two = half(self.charged - charged, self.stamp.map(later));
        let Some(batch) = Batches::new(bytes.clone(), false).next_batch()? else {
            return Err(RecordError::Malformed("no batch".into()));
        };
        for record in batch.records() {
            let record = record?;
            let headers: Vec<_> = record.headers.iter().map(|header| (header.name, header.value)).collect();
            let to_write = RecordToWrite {
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: &headers,
            };
            let part = if one.records < first_count { &mut one } else { &mut two };
            part.append(to_write, 0);
        }
        Ok([one, two])
    }
}
