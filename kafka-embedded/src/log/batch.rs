//! A stored record batch: its header, which the broker stamps, and the records as they were received.

use bytes::{BufMut, Bytes};
use kafka_client::records::append::{AppendStamp, check_produced, stamp};
use kafka_client::records::control::{ControlType, EndMarker, Ending, control_type, coordinator_epoch};
use kafka_client::records::encode::control_batch;
use kafka_client::records::{BATCH_OVERHEAD, BatchHeader, Codec, Record, RecordError};
use tokio::time::Instant;

use super::rewrite::{open, rewrite};

/// Below this a batch is copied on arrival, so that a small one does not keep a whole read buffer alive.
const COPY_BELOW: usize = 4096;

/// Why a produced batch is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// CORRUPT_MESSAGE
    Corrupt,
    /// INVALID_RECORD, with the reason.
    InvalidRecord(String),
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Checksum { .. } => Self::Corrupt,
            other => Self::InvalidRecord(other.to_string()),
        }
    }
}

/// A batch on its way into the log.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) header: BatchHeader,
    head: [u8; BATCH_OVERHEAD],
    records: Bytes,
}

impl Produced {
    /// Takes the one batch that a produce request holds for a partition, and checks its header and checksum.
    pub(crate) fn parse(batch: &Bytes) -> Result<Self, Refusal> {
        let invalid = |reason: &str| Refusal::InvalidRecord(reason.to_owned());
        let Some((head, _)) = batch.split_first_chunk() else {
            return Err(invalid("there must be exactly one record batch, of magic 2"));
        };
        let header = check_produced(batch)?;
        if header.base_offset != 0 {
            return Err(invalid("the base offset of a produced batch must be 0"));
        }
        if header.is_transactional && header.producer_id < 0 {
            return Err(invalid("a batch of a transaction must have a producer id"));
        }
        let records = batch.slice(BATCH_OVERHEAD..);
        let records = if batch.len() < COPY_BELOW { Bytes::copy_from_slice(&records) } else { records };
        Ok(Self { header, head: *head, records })
    }

    /// The control batch that ends a transaction.
    pub(crate) fn marker(marker: &EndMarker) -> Result<Self, Refusal> {
        let batch = control_batch(marker)?;
        match (BatchHeader::parse(&batch)?, batch.first_chunk()) {
            (Some(header), Some(head)) => {
                Ok(Self { header, head: *head, records: batch.slice(BATCH_OVERHEAD..) })
            }
            _ => Err(Refusal::InvalidRecord("a marker that is no batch".to_owned())),
        }
    }

    fn whole(&self) -> Bytes {
        Bytes::from([self.head.as_slice(), &self.records].concat())
    }

    /// Bytes of the whole batch.
    pub(crate) fn size(&self) -> usize {
        BATCH_OVERHEAD + self.records.len()
    }

    /// Whether each record has a key.
    pub(crate) fn has_keys(&self) -> Result<bool, Refusal> {
        let opened = open(self.whole())?;
        for record in opened.records() {
            if record?.key.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The batch in another codec (`compression.type`).
    pub(crate) fn recompress(self, codec: Codec) -> Result<Self, Refusal> {
        if self.header.codec == codec {
            return Ok(self);
        }
        let opened = open(self.whole())?;
        let records = opened.records().collect::<Result<Vec<_>, _>>()?;
        Self::parse(&rewrite(&BatchHeader { codec, ..self.header }, &records)?)
    }

    /// Makes `now` the timestamp of every record (`message.timestamp.type=LogAppendTime`), which renews the checksum.
    pub(crate) fn stamp_append_time(&mut self, now: i64) -> Result<(), Refusal> {
        let mut whole = Vec::from(self.whole());
        let append = AppendStamp { base_offset: 0, leader_epoch: -1, append_time: Some(now) };
        self.header = stamp(&mut whole, append)?;
        if let Some(head) = whole.first_chunk() {
            self.head = *head;
        }
        Ok(())
    }

    /// The batch at its place. Neither field is under the checksum.
    pub(crate) fn place(self, base_offset: i64, leader_epoch: i32) -> Batch {
        let Self { header, mut head, records } = self;
        (&mut head[..8]).put_i64(base_offset);
        (&mut head[12..16]).put_i32(leader_epoch);
        Batch {
            last_offset: base_offset + i64::from(header.record_count) - 1,
            leader_epoch,
            max_timestamp: header.max_timestamp,
            arrived: Instant::now(),
            head,
            records,
        }
    }
}

/// What a batch of a log holds.
#[derive(Debug)]
pub(crate) enum Written {
    Records(BatchHeader),
    Marker(EndMarker),
}

/// One batch of a log.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The last offset that it covers.
    pub(crate) last_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) max_timestamp: i64,
    pub(super) arrived: Instant,
    head: [u8; BATCH_OVERHEAD],
    records: Bytes,
}

impl Batch {
    /// A batch that was written anew.
    pub(super) fn stored(bytes: &Bytes, arrived: Instant) -> Option<Self> {
        let header = BatchHeader::parse(bytes).ok()??;
        Some(Self {
            last_offset: header.last_offset,
            leader_epoch: header.leader_epoch,
            max_timestamp: header.max_timestamp,
            arrived,
            head: *bytes.first_chunk()?,
            records: bytes.slice(BATCH_OVERHEAD..),
        })
    }

    /// All of it in one piece.
    pub(super) fn whole(&self) -> Bytes {
        Bytes::from([self.head.as_slice(), &self.records].concat())
    }

    /// The first offset that it covers.
    pub(crate) fn base_offset(&self) -> i64 {
        self.head.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }

    /// Bytes of the whole batch.
    pub(crate) fn size(&self) -> usize {
        BATCH_OVERHEAD + self.records.len()
    }
    /// The header as stored.
    pub(crate) fn head(&self) -> &[u8; BATCH_OVERHEAD] {
        &self.head
    }
    /// The records as received.
    pub(crate) fn records(&self) -> &Bytes {
        &self.records
    }

    /// The marker that it is, or its header.
    pub(crate) fn written(&self) -> Result<Written, RecordError> {
        let opened = open(self.whole())?;
        let header = *opened.header();
        let marker = |record: Record<'_>| {
            let ending = match control_type(record.key)? {
                ControlType::Commit => Ending::Commit,
                ControlType::Abort => Ending::Abort,
                _ => return None,
            };
            Some(EndMarker {
                ending,
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                coordinator_epoch: coordinator_epoch(record.value)?,
                timestamp: record.timestamp,
            })
        };
        let first = || opened.records().next().transpose();
        match header.is_control {
            true => Ok(first()?.and_then(marker).map_or(Written::Records(header), Written::Marker)),
            false => Ok(Written::Records(header)),
        }
    }

    /// Offset and timestamp of the first record that `wanted` picks, decompressed if need be; `None` also for
    /// records that cannot be read.
    pub(crate) fn find(&self, wanted: impl Fn(&Record<'_>) -> bool) -> Option<(i64, i64)> {
        let opened = open(self.whole()).ok()?;
        let mut records = opened.records().map_while(Result::ok);
        records.find(wanted).map(|record| (record.offset, record.timestamp))
    }
}
