//! A batch's header: delimiting, parsing, checksum, and writing it again.

use bytes::{Buf, BufMut};

use super::compress::compression_of;
use super::{RecordError, legacy};
use crate::config::Compression;

/// Bytes of a batch (magic 2) before its records.
pub const BATCH_OVERHEAD: usize = 61;

/// The base offset and the length that counts what follows: not part of the length.
pub(super) const LOG_OVERHEAD: usize = 12;
/// Enough to know a batch's length and format.
const UP_TO_MAGIC: usize = LOG_OVERHEAD + 5;
/// The least that any format needs after [`LOG_OVERHEAD`].
const LEAST_LENGTH: i32 = 14;
/// What the checksum of magic 2 covers begins here: neither the base offset nor the leader epoch.
const CHECKED_FROM: usize = 21;
const CRC_AT: usize = 17;

const CODEC_MASK: i16 = 0b111;
pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

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

impl Codec {
    /// The codec in the low three bits of a batch's attributes.
    pub(super) fn from_attributes(attributes: i16) -> Self {
        match attributes & CODEC_MASK {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            other => Self::Unknown(other as u8),
        }
    }

    fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
            Self::Unknown(bits) => i16::from(bits) & CODEC_MASK,
        }
    }

    /// Kafka's name for it, as in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        compression_of(self).map_or("unknown", Compression::name)
    }
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

impl TimestampType {
    pub(super) fn from_attributes(attributes: i16) -> Self {
        if attributes & LOG_APPEND_TIME == 0 { Self::CreateTime } else { Self::LogAppendTime }
    }
}

/// The header of a batch, of any magic. An old message (magic 0 or 1) is a batch of one, or with compression the
/// wrapper of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first offset that the batch covers. Of a compressed old wrapper it is known once the batch is open;
    /// before, this is its last offset.
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
    /// The header of an empty batch by nobody; of an old message, which has nothing but these, with a count of -1.
    pub(super) const EMPTY: Self = Self {
        base_offset: 0,
        last_offset: -1,
        leader_epoch: -1,
        magic: 2,
        crc: 0,
        size: BATCH_OVERHEAD,
        codec: Codec::None,
        timestamp_type: TimestampType::CreateTime,
        base_timestamp: -1,
        max_timestamp: -1,
        has_delete_horizon: false,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        is_transactional: false,
        is_control: false,
        record_count: 0,
    };

    /// The header of the batch at the front of `bytes`; `None` if the batch is not whole. The checksum is not
    /// looked at: see [`BatchHeader::verify`].
    ///
    /// # Errors
    /// Bytes that no batch can begin with.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, RecordError> {
        let Some(size) = delimit(bytes)? else { return Ok(None) };
        let Some(batch) = bytes.get(..size) else { return Ok(None) };
        match batch.get(UP_TO_MAGIC - 1) {
            Some(2) => match batch.first_chunk() {
                Some(header) => Ok(Some(Self::parse_v2(header, size))),
                None => Err(RecordError::Malformed(format!(
                    "a batch of {size} bytes is smaller than its header ({BATCH_OVERHEAD})"
                ))),
            },
            _ => legacy::parse_header(batch).map(Some),
        }
    }

    fn parse_v2(header: &[u8; BATCH_OVERHEAD], size: usize) -> Self {
        let mut fields = header.as_slice();
        let base_offset = fields.get_i64();
        fields.advance(4);
        let leader_epoch = fields.get_i32();
        let magic = fields.get_i8();
        let crc = fields.get_u32();
        let attributes = fields.get_i16();
        Self {
            base_offset,
            last_offset: base_offset.wrapping_add(i64::from(fields.get_i32())),
            leader_epoch,
            magic,
            crc,
            size,
            codec: Codec::from_attributes(attributes),
            timestamp_type: TimestampType::from_attributes(attributes),
            base_timestamp: fields.get_i64(),
            max_timestamp: fields.get_i64(),
            has_delete_horizon: attributes & DELETE_HORIZON != 0,
            producer_id: fields.get_i64(),
            producer_epoch: fields.get_i16(),
            base_sequence: fields.get_i32(),
            is_transactional: attributes & TRANSACTIONAL != 0,
            is_control: attributes & CONTROL != 0,
            record_count: fields.get_i32(),
        }
    }

    /// Compares the stored checksum with the bytes of the batch that this is the header of.
    ///
    /// # Errors
    /// [`RecordError::Checksum`] when they differ.
    pub fn verify(&self, batch: &[u8]) -> Result<(), RecordError> {
        let batch = batch.get(..self.size).unwrap_or(batch);
        let computed = if self.magic < 2 { legacy::checksum(batch) } else { checksum(batch) };
        if computed == self.crc { Ok(()) } else { Err(RecordError::Checksum { stored: self.crc, computed }) }
    }

    /// Where the next fetch starts.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset.saturating_add(1)
    }

    /// The sequence of the batch's last record, -1 without.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.sequence_at(self.last_offset)
    }

    /// The sequence of the record at `offset` of this batch, -1 without.
    #[must_use]
    pub fn sequence_at(&self, offset: i64) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        add_to_sequence(self.base_sequence, offset.wrapping_sub(self.base_offset) as i32)
    }

    fn attributes(&self) -> i16 {
        let flag = |set: bool, bit: i16| if set { bit } else { 0 };
        self.codec.bits()
            | flag(self.timestamp_type == TimestampType::LogAppendTime, LOG_APPEND_TIME)
            | flag(self.is_transactional, TRANSACTIONAL)
            | flag(self.is_control, CONTROL)
            | flag(self.has_delete_horizon, DELETE_HORIZON)
    }

    /// Writes this header over the first [`BATCH_OVERHEAD`] bytes of a batch whose records follow them: the length
    /// and the checksum are taken from the bytes, the rest from the fields. Always magic 2.
    ///
    /// # Errors
    /// Fewer bytes than a header has, or more than a batch can have (2 GiB).
    pub(super) fn seal(&self, batch: &mut [u8]) -> Result<(), RecordError> {
        let size = batch.len();
        let (Ok(length), Some(mut fields)) =
            (i32::try_from(size.saturating_sub(LOG_OVERHEAD)), batch.get_mut(..BATCH_OVERHEAD))
        else {
            return Err(RecordError::Malformed(format!("{size} bytes do not make a batch")));
        };
        fields.put_i64(self.base_offset);
        fields.put_i32(length);
        fields.put_i32(self.leader_epoch);
        fields.put_i8(2);
        fields.put_u32(0);
        fields.put_i16(self.attributes());
        fields.put_i32(self.last_offset.wrapping_sub(self.base_offset) as i32);
        fields.put_i64(self.base_timestamp);
        fields.put_i64(self.max_timestamp);
        fields.put_i64(self.producer_id);
        fields.put_i16(self.producer_epoch);
        fields.put_i32(self.base_sequence);
        fields.put_i32(self.record_count);
        write_checksum(batch);
        Ok(())
    }
}

/// The sequence `count` records later: it wraps from 2147483647 to 0.
#[must_use]
pub fn add_to_sequence(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

/// The size of the batch at the front of `bytes`, which may be more than there is; `None` where even that is cut off.
fn delimit(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let Some(mut length) = bytes.get(8..LOG_OVERHEAD) else { return Ok(None) };
    let length = length.get_i32();
    let length = match usize::try_from(length) {
        Ok(enough) if length >= LEAST_LENGTH => enough,
        _ => {
            let problem = format!("a length of {length}, less than the least ({LEAST_LENGTH})");
            return Err(RecordError::Malformed(problem));
        }
    };
    match bytes.get(UP_TO_MAGIC - 1) {
        None => Ok(None),
        Some(0..=2) => Ok(Some(length + LOG_OVERHEAD)),
        Some(&magic) => Err(RecordError::Malformed(format!("unknown format (magic {})", magic as i8))),
    }
}

fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(CHECKED_FROM..).unwrap_or_default())
}

/// Renews the checksum of a batch (magic 2) whose bytes were changed.
pub(super) fn write_checksum(batch: &mut [u8]) {
    let crc = checksum(batch);
    if let Some(field) = batch.get_mut(CRC_AT..CHECKED_FROM) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}
