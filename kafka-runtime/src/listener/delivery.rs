//! One record, or one batch of records, on its way into a handler.

use std::fmt;

use kafka_client::TopicPartition;
use kafka_client::consumer::ChunkBatch;
use kafka_client::records::Record;

use super::Outbox;
use crate::container::AckIssuer;
use crate::template::Tx;

/// One record with all that an argument can be made from. `Copy`: no count is touched to hand it on.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'r> {
    /// The record, borrowed from its batch.
    pub record: Record<'r>,
    /// The batch, for values that outlive it.
    pub batch: &'r ChunkBatch,
    /// Where it comes from.
    pub partition: TopicPartition,
    /// The listener's id, kept for the life of the process: [`Metadata`](super::Metadata) outlives the record.
    pub listener: &'static str,
    /// 1 at the first try.
    pub attempt: u32,
    /// Makes an `Ack` for this record, where the listener acknowledges by hand.
    pub acks: Option<&'r AckIssuer>,
    /// Takes what the handler returns, where that goes on.
    pub outbox: Option<&'r Outbox>,
    /// The transaction that it is handled in, where the listener is transactional.
    pub tx: Option<&'r Tx>,
}

impl<'r> Delivery<'r> {
    /// Where the record is, for errors.
    #[must_use]
    pub fn place(&self) -> RecordPlace {
        RecordPlace { partition: self.partition, offset: self.record.offset }
    }

    /// A part of the record with the batch that it borrows from.
    #[inline]
    pub(crate) fn part(&self, bytes: &'r [u8]) -> Part<'r> {
        Part { bytes, batch: self.batch }
    }
}

/// Records of one partition, in order. May span batches of the wire.
#[derive(Debug, Clone, Copy)]
pub struct BatchDelivery<'r> {
    /// The records, each with its own batch.
    pub records: &'r [(Record<'r>, &'r ChunkBatch)],
    /// Where they come from.
    pub partition: TopicPartition,
    /// The listener's id.
    pub listener: &'static str,
    /// 1 at the first try.
    pub attempt: u32,
    /// Makes an `Ack` for all of them.
    pub acks: Option<&'r AckIssuer>,
    /// Takes what the handler returns, where that goes on.
    pub outbox: Option<&'r Outbox>,
    /// The transaction that they are handled in, where the listener is transactional.
    pub tx: Option<&'r Tx>,
}

impl<'r> BatchDelivery<'r> {
    /// The first `count` records.
    pub(crate) fn first(self, count: usize) -> Self {
        Self { records: self.records.get(..count).unwrap_or(self.records), ..self }
    }

    /// One of the records as a delivery of its own.
    pub(crate) fn single(&self, (record, batch): (Record<'r>, &'r ChunkBatch)) -> Delivery<'r> {
        Delivery {
            record,
            batch,
            partition: self.partition,
            listener: self.listener,
            attempt: self.attempt,
            acks: self.acks,
            outbox: self.outbox,
            tx: self.tx,
        }
    }
}

/// Bytes of a record, with the batch that they borrow from.
#[derive(Debug, Clone, Copy)]
pub struct Part<'r> {
    /// The bytes.
    pub bytes: &'r [u8],
    /// Their batch, for a value that outlives it.
    pub batch: &'r ChunkBatch,
}

/// Where a record is, as errors show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// Offset.
    pub offset: i64,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = self.partition;
        write!(f, "topic `{topic}`, partition {partition}, offset {}", self.offset)
    }
}
