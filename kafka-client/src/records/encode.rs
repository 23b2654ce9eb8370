//! Writing record batches (magic 2).

use bytes::Bytes;

use crate::config::Compression;

use super::RecordError;

/// A record to be written, borrowed from whoever sends it.
#[derive(Debug, Clone, Copy)]
pub struct RecordToWrite<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order: name, value.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// The producer's stamp on a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// Producer id, -1 without.
    pub producer_id: i64,
    /// Epoch, -1 without.
    pub epoch: i16,
    /// Sequence of the batch's first record, -1 without.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub transactional: bool,
}

impl ProducerStamp {
    /// Neither idempotent nor transactional.
    pub const NONE: Self = Self { producer_id: -1, epoch: -1, base_sequence: -1, transactional: false };
}

/// A batch that grows record by record; records are encoded as they come, straight into one buffer.
#[derive(Debug)]
pub struct BatchBuilder {}

impl BatchBuilder {
    /// An empty batch with room for `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let _ = capacity;
        todo!()
    }
    /// Appends a record; its offset in the batch.
    pub fn append(&mut self, record: RecordToWrite<'_>) -> i32 {
        let _ = record;
        todo!()
    }
    /// Bytes that a record takes at most, batch overhead not included.
    #[must_use]
    pub fn upper_bound(record: &RecordToWrite<'_>) -> usize {
        let _ = record;
        todo!()
    }
    /// Records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes so far, uncompressed, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        todo!()
    }
    /// The finished batch: compressed, stamped, with its checksum.
    ///
    /// # Errors
    /// The encoder's.
    pub fn build(self, compression: Compression, stamp: ProducerStamp) -> Result<Bytes, RecordError> {
        let _ = (compression, stamp);
        todo!()
    }
}

/// Puts another stamp on a finished batch and renews the checksum (after an epoch bump).
#[must_use]
pub fn restamp(batch: Bytes, stamp: ProducerStamp) -> Bytes {
    let _ = stamp;
    batch
}
