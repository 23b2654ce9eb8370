//! Record batches as they lie in a fetch answer, read as borrowed views; and their encoding.
//!
//! A record borrows key, value and headers from the answer's bytes, or from its batch's once that is decompressed.
//! Nothing is allocated per record. Checksums are verified, and batches decompressed, one at a time when they are
//! asked for: on the thread that handles the records, not on the I/O thread.

use bytes::Bytes;

pub mod encode;

/// What is wrong with a batch or a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The stored checksum does not fit the bytes.
    #[error("checksum mismatch (stored {stored:08x}, computed {computed:08x})")]
    Checksum {
        /// As stored.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The bytes do not follow the format.
    #[error("malformed records: {0}")]
    Malformed(String),
    /// The compressed bytes cannot be opened, or open to more than the bounds allow.
    #[error("cannot decompress ({codec}): {reason}")]
    Decompress {
        /// The codec's name.
        codec: &'static str,
        /// The decoder's words.
        reason: String,
    },
}

/// A compression codec as stored in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// 0
    None,
    /// 1
    Gzip,
    /// 2
    Snappy,
    /// 3
    Lz4,
    /// 4
    Zstd,
    /// 5 to 7: an error when the records are read, not before.
    Unknown(u8),
}

/// What a record's timestamp means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// Magic 0 has none.
    None,
    /// Set by the producer.
    CreateTime,
    /// Set by the broker.
    LogAppendTime,
}

/// The header of a batch, of any magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first offset that the batch covers.
    pub base_offset: i64,
    /// The last offset that it covers, even when compaction removed that record.
    pub last_offset: i64,
    /// Leader epoch of the append, -1 where unknown.
    pub leader_epoch: i32,
    /// Format: 0, 1 or 2.
    pub magic: i8,
    /// Stored checksum.
    pub crc: u32,
    /// Bytes of the whole batch.
    pub size: usize,
    /// Compression.
    pub codec: Codec,
    /// Meaning of the timestamps.
    pub timestamp_type: TimestampType,
    /// First timestamp, or the delete horizon.
    pub base_timestamp: i64,
    /// Highest timestamp.
    pub max_timestamp: i64,
    /// Whether `base_timestamp` is a delete horizon (KIP-534).
    pub has_delete_horizon: bool,
    /// Producer id, -1 without.
    pub producer_id: i64,
    /// Producer epoch, -1 without.
    pub producer_epoch: i16,
    /// First sequence, -1 without.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub is_transactional: bool,
    /// A control batch: markers, no records for a reader.
    pub is_control: bool,
    /// Number of records by the header; -1 for old magics, where it is not stored.
    pub record_count: i32,
}

impl BatchHeader {
    /// Where the next fetch starts.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset + 1
    }
}

/// Reads the batches of one partition's part of a fetch answer, in order.
///
/// A partial batch at the end is silence. Old formats (magic 0 and 1) come out as the same views.
#[derive(Debug, Clone)]
pub struct Batches {}

impl Batches {
    /// The batches in `bytes`. `check_crcs` is Kafka's `check.crcs`.
    #[must_use]
    pub fn new(bytes: Bytes, check_crcs: bool) -> Self {
        let _ = (bytes, check_crcs);
        todo!()
    }

    /// The next batch, verified and decompressed. After an error nothing more is read.
    ///
    /// # Errors
    /// The batch that cannot be read; [`Batches::failed_at`] has its first offset where its header could be read.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, RecordError> {
        todo!()
    }

    /// The next batch's header, without verifying or opening it: a reader can pass over what it does not want.
    pub fn peek_header(&self) -> Result<Option<BatchHeader>, RecordError> {
        todo!()
    }

    /// Passes over the next batch.
    pub fn skip_batch(&mut self) {
        todo!()
    }
}

/// One batch, opened: its header, and the bytes that its records borrow from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {}

impl Batch {
    /// The header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        todo!()
    }

    /// The records, in order, control records included.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        todo!()
    }

    /// The record that starts at `position` (of an earlier [`Record::position`]).
    pub fn record_at(&self, position: usize) -> Result<Record<'_>, RecordError> {
        let _ = position;
        todo!()
    }

    /// A counted handle to a part of this batch, for a value that outlives it: no copy.
    /// `part` must have come from a record of this batch; other bytes are copied.
    #[must_use]
    pub fn slice_of(&self, part: &[u8]) -> Bytes {
        let _ = part;
        todo!()
    }

    /// Whether the records lie in memory of their own (decompressed) rather than in the fetch answer's.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        todo!()
    }
}

/// The records of a batch. After an error it ends.
#[derive(Debug, Clone)]
pub struct Records<'b> {
    _batch: &'b Batch,
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, RecordError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// One record, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'b> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, -1 in magic 0.
    pub timestamp: i64,
    /// The key; `None` is Kafka's null.
    pub key: Option<&'b [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'b [u8]>,
    /// The headers, parsed when asked for.
    pub headers: HeadersView<'b>,
    /// Where the record starts in its batch, for [`Batch::record_at`].
    pub position: usize,
}

/// A record's headers, in order, duplicates kept. They were delimited when the record was read, so that iterating
/// cannot fail; a header that breaks the format makes the whole record an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadersView<'b> {
    _bytes: &'b [u8],
}

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// The name. Kafka's headers are UTF-8; a name that is not is an error of the record.
    pub name: &'b str,
    /// The value; `None` is null.
    pub value: Option<&'b [u8]>,
}

impl<'b> HeadersView<'b> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// All of them, in order.
    #[allow(clippy::iter_not_returning_iterator)]
    pub fn iter(&self) -> impl Iterator<Item = Header<'b>> + use<'b> {
        todo!() as std::iter::Empty<Header<'b>>
    }
    /// The last header of this name, as Kafka's `lastHeader`.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Header<'b>> {
        let _ = name;
        todo!()
    }
}
