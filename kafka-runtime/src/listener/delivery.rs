//! One record, or one batch of records, on its way into a handler.

use kafka_client::TopicPartition;
use kafka_client::consumer::ChunkBatch;
use kafka_client::records::Record;

use crate::container::AckIssuer;

/// One record with all that an argument can be made from. `Copy`: no count is touched to hand it on.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'r> {
    /// The record, borrowed from its batch.
    pub record: Record<'r>,
    /// The batch, for values that outlive it.
    pub batch: &'r ChunkBatch,
    /// Where it comes from.
    pub partition: TopicPartition,
    /// The listener's id.
    pub listener: &'r str,
    /// 1 at the first try.
    pub attempt: u32,
    /// Makes an `Ack` for this record, where the listener acknowledges by hand.
    pub acks: Option<&'r AckIssuer>,
}

/// Records of one partition, in order. May span batches of the wire.
#[derive(Debug, Clone, Copy)]
pub struct BatchDelivery<'r> {
    /// The records, each with its own batch.
    pub records: &'r [(Record<'r>, &'r ChunkBatch)],
    /// Where they come from.
    pub partition: TopicPartition,
    /// The listener's id.
    pub listener: &'r str,
    /// 1 at the first try.
    pub attempt: u32,
    /// Makes an `Ack` for all of them.
    pub acks: Option<&'r AckIssuer>,
}
