//! A stored record batch (magic 2): its header, which the broker patches, and the rest as it was received.

use bytes::{BufMut, Bytes};

use super::Refusal;

/// Bytes before the first record.
pub(crate) const HEADER: usize = 61;
/// Base offset and length: what the stored length does not count.
const LENGTH_OVERHEAD: usize = 12;
/// Where the checksummed part begins.
const CHECKED: usize = 21;
/// Below this a batch is copied on arrival, so that a small one does not keep a whole read buffer alive.
const COPY_BELOW: usize = 4096;

const CODEC_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// zstd's number in the attributes.
pub(crate) const ZSTD: i16 = 4;

/// One batch. Clones share the records' bytes.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    head: [u8; HEADER],
    body: Bytes,
}

impl Batch {
    /// Takes the one batch that a produce request may hold for a partition, and checks its header and checksum.
    pub(crate) fn parse(records: Bytes) -> Result<Self, Refusal> {
        let Some((head, _)) = records.split_first_chunk::<HEADER>() else {
            return Err(match records.get(16) {
                Some(0 | 1) => Refusal::InvalidRecord("only record batches with magic version 2 are allowed"),
                _ if records.is_empty() => Refusal::InvalidRecord("there must be at least one record batch"),
                _ => Refusal::Corrupt,
            });
        };
        let mut batch = Self { head: *head, body: Bytes::new() };
        if batch.magic() != 2 {
            return Err(Refusal::InvalidRecord("only record batches with magic version 2 are allowed"));
        }
        let size = batch.declared_size().ok_or(Refusal::Corrupt)?;
        if size > records.len() {
            return Err(Refusal::Corrupt);
        }
        if size < records.len() {
            return Err(Refusal::InvalidRecord("exactly one record batch is allowed"));
        }
        let body = records.slice(HEADER..size);
        batch.body = if size < COPY_BELOW { Bytes::copy_from_slice(&body) } else { body };
        batch.check()?;
        Ok(batch)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.stored_crc() != self.computed_crc() {
            return Err(Refusal::Corrupt);
        }
        if self.base_offset() != 0 {
            return Err(Refusal::InvalidRecord("the base offset of a produced batch must be 0"));
        }
        if self.is_control() {
            return Err(Refusal::InvalidRecord("clients cannot write control batches"));
        }
        if self.record_count() <= 0 || self.last_offset_delta() != self.record_count() - 1 {
            return Err(Refusal::InvalidRecord("the last offset delta does not fit the record count"));
        }
        if self.producer_id() >= 0 && (self.base_sequence() < 0 || self.producer_epoch() < 0) {
            return Err(Refusal::InvalidRecord("an idempotent batch needs a sequence and an epoch"));
        }
        Ok(())
    }

    /// The size that the header's length field gives; `None` below the header's own.
    fn declared_size(&self) -> Option<usize> {
        let size = usize::try_from(i32::from_be_bytes(self.bytes_at::<8, 4>())).ok()? + LENGTH_OVERHEAD;
        (size >= HEADER).then_some(size)
    }

    fn bytes_at<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= HEADER) };
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.head[AT..AT + N]);
        bytes
    }

    fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= HEADER) };
        self.head[AT..AT + N].copy_from_slice(&bytes);
    }

    pub(crate) fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.bytes_at::<0, 8>())
    }
    pub(crate) fn leader_epoch(&self) -> i32 {
        i32::from_be_bytes(self.bytes_at::<12, 4>())
    }
    fn magic(&self) -> i8 {
        i8::from_be_bytes(self.bytes_at::<16, 1>())
    }
    fn stored_crc(&self) -> u32 {
        u32::from_be_bytes(self.bytes_at::<17, 4>())
    }
    fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.bytes_at::<21, 2>())
    }
    fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.bytes_at::<23, 4>())
    }
    pub(crate) fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(self.bytes_at::<35, 8>())
    }
    pub(crate) fn producer_id(&self) -> i64 {
        i64::from_be_bytes(self.bytes_at::<43, 8>())
    }
    pub(crate) fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(self.bytes_at::<51, 2>())
    }
    pub(crate) fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.bytes_at::<53, 4>())
    }
    pub(crate) fn record_count(&self) -> i32 {
        i32::from_be_bytes(self.bytes_at::<57, 4>())
    }
    /// The codec's number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub(crate) fn codec(&self) -> i16 {
        self.attributes() & CODEC_MASK
    }
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }
    fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }
    /// The last offset that the batch covers.
    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset() + i64::from(self.last_offset_delta())
    }
    /// Bytes of the whole batch.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.body.len()
    }

    /// The place in the log. Neither field is under the checksum.
    pub(crate) fn place(&mut self, base_offset: i64, leader_epoch: i32) {
        self.set::<0, 8>(base_offset.to_be_bytes());
        self.set::<12, 4>(leader_epoch.to_be_bytes());
    }

    /// Makes `now` the timestamp of every record (`message.timestamp.type=LogAppendTime`); the deltas stay and mean
    /// nothing. The checksum is renewed.
    pub(crate) fn stamp_append_time(&mut self, now: i64) {
        self.set::<21, 2>((self.attributes() | LOG_APPEND_TIME).to_be_bytes());
        self.set::<35, 8>(now.to_be_bytes());
        self.set::<17, 4>(self.computed_crc().to_be_bytes());
    }

    fn computed_crc(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.head[CHECKED..]), &self.body)
    }

    /// The header as stored.
    pub(crate) fn head(&self) -> &[u8; HEADER] {
        &self.head
    }
    /// The records as received.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The whole batch in memory of its own, for the record reader.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut whole = Vec::with_capacity(self.size());
        whole.put_slice(&self.head);
        whole.put_slice(&self.body);
        Bytes::from(whole)
    }
}
