//! The batches of a fetch answer, one by one.

use bytes::Bytes;

use super::header::{BATCH_OVERHEAD, Codec};
use super::record::Base;
use super::{BatchHeader, RecordError, compress, legacy};

/// Reads the batches of one partition's part of a fetch answer, in order.
///
/// A partial batch at the end is silence. Old formats (magic 0 and 1) come out as the same views.
#[derive(Debug, Clone)]
pub struct Batches {
    /// What has not been passed yet.
    rest: Bytes,
    check_crcs: bool,
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    /// The first offset of the batch, where it could be known.
    at: Option<i64>,
}

impl Batches {
    /// The batches in `bytes`. `check_crcs` is Kafka's `check.crcs`.
    #[must_use]
    pub fn new(bytes: Bytes, check_crcs: bool) -> Self {
        Self { rest: bytes, check_crcs, failure: None }
    }

    /// The next batch, verified and decompressed: to 64 MiB, or to 1024 times its size where that is more, and never
    /// to more than 1 GiB. After an error nothing more is read.
    ///
    /// # Errors
    /// The batch that cannot be read; [`Batches::failed_at`] has its first offset where its header could be read.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, RecordError> {
        let header = match self.peek_header() {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.failure = Some(Failure { at: None });
                return Err(error);
            }
        };
        let bytes = self.rest.split_to(header.size);
        Batch::open(header, bytes, self.check_crcs).map(Some).inspect_err(|_| {
            let old_wrapper = header.magic < 2 && header.codec != Codec::None;
            self.failure = Some(Failure { at: (!old_wrapper).then_some(header.base_offset) });
        })
    }

    /// The next batch's header, without verifying or opening it: a reader can pass over what it does not want.
    ///
    /// # Errors
    /// The next batch cannot be delimited.
    pub fn peek_header(&self) -> Result<Option<BatchHeader>, RecordError> {
        if self.failure.is_some() { Ok(None) } else { BatchHeader::parse(&self.rest) }
    }

    /// Passes over the next batch.
    pub fn skip_batch(&mut self) {
        if let Ok(Some(header)) = self.peek_header() {
            let _passed = self.rest.split_to(header.size);
        }
    }

    /// The first offset of the batch that failed; `None` where nothing failed or its header does not say it
    /// (it cannot be delimited, or is a compressed wrapper of an old format).
    #[must_use]
    pub fn failed_at(&self) -> Option<i64> {
        self.failure.and_then(|failure| failure.at)
    }

    /// Bytes that were not passed yet, a partial batch at the end included. If they are all that there was, the
    /// fetch was too small for the first batch.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// One batch, opened: its header, and the bytes that its records borrow from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    header: BatchHeader,
    /// Magic 2: what follows the header. Old formats: whole messages.
    body: Bytes,
    count: u32,
    /// What the records' offsets are relative to.
    base_offset: i64,
    detached: bool,
}

impl Batch {
    /// Opens the batch that `bytes` is, all of it and nothing more.
    fn open(header: BatchHeader, bytes: Bytes, check_crcs: bool) -> Result<Self, RecordError> {
        if check_crcs {
            header.verify(&bytes)?;
        }
        if header.magic < 2 {
            Self::open_legacy(header, bytes, check_crcs)
        } else {
            Self::open_v2(header, bytes)
        }
    }

    fn open_v2(header: BatchHeader, mut bytes: Bytes) -> Result<Self, RecordError> {
        let count = u32::try_from(header.record_count)
            .map_err(|_| RecordError::Malformed(format!("a record count of {}", header.record_count)))?;
        let body = bytes.split_off(BATCH_OVERHEAD.min(bytes.len()));
        // A batch compacted to nothing may keep the name of its codec, but there is nothing to open.
        let detached = header.codec != Codec::None && count > 0;
        let body = if detached { compress::decompress(header.codec, &body)? } else { body };
        Ok(Self { header, body, count, base_offset: header.base_offset, detached })
    }

    fn open_legacy(mut header: BatchHeader, bytes: Bytes, check_crcs: bool) -> Result<Self, RecordError> {
        let opened = legacy::open(&header, bytes, check_crcs)?;
        header.base_offset = opened.first_offset;
        Ok(Self {
            header,
            body: opened.messages,
            count: opened.count,
            base_offset: opened.base,
            detached: opened.detached,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    pub(super) fn base(&self) -> Base {
        Base::of(&self.header, self.base_offset)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// A counted handle to a part of this batch, for a value that outlives it: no copy.
    /// `part` must have come from a record of this batch; other bytes are copied.
    #[must_use]
    pub fn slice_of(&self, part: &[u8]) -> Bytes {
        let start = part.as_ptr().addr().wrapping_sub(self.body.as_ptr().addr());
        let end = start.saturating_add(part.len());
        if end <= self.body.len() { self.body.slice(start..end) } else { Bytes::copy_from_slice(part) }
    }

    /// Bytes of its records, opened.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// Whether the records lie in memory of their own (decompressed) rather than in the fetch answer's.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.detached
    }
}
