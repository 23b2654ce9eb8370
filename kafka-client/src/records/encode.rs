//! Writing record batches (magic 2).

use bytes::{Bytes, BytesMut};

use crate::config::{Compression, Packing};

use super::compress::{codec_of, compress, compression_of};
use super::control::EndMarker;
use super::header::{BATCH_OVERHEAD, BatchHeader, Codec};
use super::{RecordError, varint};

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

    fn put_on(self, header: &mut BatchHeader) {
        header.producer_id = self.producer_id;
        header.producer_epoch = self.epoch;
        header.base_sequence = self.base_sequence;
        header.is_transactional = self.transactional;
    }
}

/// A batch that grows record by record; records are encoded as they come, straight into one buffer.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch with room for `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::in_buffer(Vec::with_capacity(capacity.max(BATCH_OVERHEAD)))
    }

    /// An empty batch in a buffer that was used before; what is in it is gone.
    #[must_use]
    pub fn in_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(BATCH_OVERHEAD, 0);
        Self { buffer, count: 0, base_timestamp: -1, max_timestamp: -1 }
    }

    /// Appends a record; its offset in the batch.
    pub fn append(&mut self, record: RecordToWrite<'_>) -> i32 {
        let offset = self.count;
        if offset == 0 {
            self.base_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.count = offset.saturating_add(1);
        let delta = Delta { timestamp: record.timestamp.wrapping_sub(self.base_timestamp), offset };
        write_record(&mut self.buffer, delta, &record);
        offset
    }

    /// Bytes that a record takes at most, batch overhead not included.
    #[must_use]
    pub fn upper_bound(record: &RecordToWrite<'_>) -> usize {
        let longest = Delta { timestamp: i64::MIN, offset: i32::MIN };
        varint::length(i64::from(i32::MAX)) + body_length(longest, record)
    }

    /// Records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, uncompressed, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// The finished batch: compressed, stamped, with its checksum.
    ///
    /// # Errors
    /// The encoder's, and a batch of more than 2 GiB.
    pub fn build(self, packing: impl Into<Packing>, stamp: ProducerStamp) -> Result<Bytes, RecordError> {
        let packing = packing.into();
        let mut header = BatchHeader {
            last_offset: i64::from(self.count) - 1,
            codec: codec_of(packing.codec()),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            record_count: self.count,
            ..BatchHeader::EMPTY
        };
        stamp.put_on(&mut header);
        let mut batch = self.compressed(packing)?;
        header.seal(&mut batch)?;
        Ok(batch.into())
    }

    fn compressed(self, packing: Packing) -> Result<Vec<u8>, RecordError> {
        if packing.codec() == Compression::None {
            return Ok(self.buffer);
        }
        let (room, records) = self.buffer.split_at_checked(BATCH_OVERHEAD).unwrap_or_default();
        let mut batch = Vec::with_capacity(BATCH_OVERHEAD + records.len() / 2);
        batch.extend_from_slice(room);
        compress(packing, records, &mut batch)?;
        Ok(batch)
    }
}

/// The batch that `header` describes, uncompressed, with these records and their offsets: compacted batches with
/// holes, control batches, a broker's timestamps. Length, count, codec and checksum follow from the records; the
/// other fields are taken as they are.
///
/// # Errors
/// A batch of more than 2 GiB.
pub fn batch<'a>(
    header: &BatchHeader,
    records: impl IntoIterator<Item = (i64, RecordToWrite<'a>)>,
) -> Result<Bytes, RecordError> {
    compressed_batch(&BatchHeader { codec: Codec::None, ..*header }, records)
}

/// The same, compressed with the codec that `header` names. One without records is not compressed.
///
/// # Errors
/// The encoder's, a codec that there is not, and a batch of more than 2 GiB.
pub fn compressed_batch<'a>(
    header: &BatchHeader,
    records: impl IntoIterator<Item = (i64, RecordToWrite<'a>)>,
) -> Result<Bytes, RecordError> {
    let mut body = Vec::new();
    let mut header = BatchHeader { record_count: 0, ..*header };
    for (offset, record) in records {
        let delta = Delta {
            timestamp: record.timestamp.wrapping_sub(header.base_timestamp),
            offset: offset.wrapping_sub(header.base_offset) as i32,
        };
        write_record(&mut body, delta, &record);
        header.record_count = header.record_count.saturating_add(1);
    }
    if body.is_empty() {
        header.codec = Codec::None;
    }
    let mut bytes = vec![0; BATCH_OVERHEAD];
    compress(compression_of(header.codec)?.into(), &body, &mut bytes)?;
    header.seal(&mut bytes)?;
    Ok(bytes.into())
}

/// The control batch that ends a producer's transaction in a partition, at offset 0 until it is appended.
///
/// # Errors
/// None that this batch can meet: those of [`batch`].
pub fn control_batch(marker: &EndMarker) -> Result<Bytes, RecordError> {
    let (key, value) = (marker.key(), marker.value());
    let header = BatchHeader {
        last_offset: 0,
        base_timestamp: marker.timestamp,
        max_timestamp: marker.timestamp,
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        is_transactional: true,
        is_control: true,
        ..BatchHeader::EMPTY
    };
    let record =
        RecordToWrite { timestamp: marker.timestamp, key: Some(&key), value: Some(&value), headers: &[] };
    batch(&header, [(0, record)])
}

/// What stands in a record relative to its batch.
#[derive(Clone, Copy)]
struct Delta {
    timestamp: i64,
    offset: i32,
}

fn write_record(out: &mut Vec<u8>, delta: Delta, record: &RecordToWrite<'_>) {
    let length = body_length(delta, record);
    out.reserve(varint::length(length as i64) + length);
    varint::write(out, length as i64);
    out.push(0);
    varint::write(out, delta.timestamp);
    varint::write(out, i64::from(delta.offset));
    write_nullable(out, record.key);
    write_nullable(out, record.value);
    varint::write(out, record.headers.len() as i64);
    for (name, value) in record.headers {
        write_nullable(out, Some(name.as_bytes()));
        write_nullable(out, *value);
    }
}

/// Bytes of a record after its length.
fn body_length(delta: Delta, record: &RecordToWrite<'_>) -> usize {
    let nullable = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => varint::length(bytes.len() as i64) + bytes.len(),
        None => 1,
    };
    let headers =
        record.headers.iter().map(|(name, value)| nullable(Some(name.as_bytes())) + nullable(*value));
    1 + varint::length(delta.timestamp)
        + varint::length(i64::from(delta.offset))
        + nullable(record.key)
        + nullable(record.value)
        + varint::length(record.headers.len() as i64)
        + headers.sum::<usize>()
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::write(out, -1),
    }
}

/// Puts another stamp on a finished batch and renews the checksum (after an epoch bump). Bytes that are not
/// one batch of magic 2 come back as they were.
#[must_use]
pub fn restamp(batch: Bytes, stamp: ProducerStamp) -> Bytes {
    match BatchHeader::parse(&batch) {
        Ok(Some(mut header)) if header.magic == 2 && header.size == batch.len() => {
            stamp.put_on(&mut header);
            // In place when nobody else holds the bytes.
            let mut batch = batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
            // It was a batch before, so it has room for the header.
            let _ = header.seal(&mut batch);
            batch.freeze()
        }
        _ => batch,
    }
}
