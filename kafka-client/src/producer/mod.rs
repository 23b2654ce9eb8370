//! A producer: records gather in a batch per partition, batches go out one request per broker, retried within the
//! delivery timeout, idempotent, in order.

use std::future::Future;
use std::time::Duration;

use crate::client::ClientContext;
use crate::config::ProducerConfig;
use crate::error::{Error, Result};
use crate::ids::{TopicName, TopicPartition};

/// A record on its way out, borrowed from whoever sends it: it is encoded into its batch before `send` first waits.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: TopicName,
    /// The partition, or the partitioner's choice.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, or now.
    pub timestamp: Option<i64>,
    /// Key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// Its offset; -1 with acks 0.
    pub offset: i64,
    /// Its timestamp: the record's own, or the broker's with LogAppendTime.
    pub timestamp: i64,
}

/// Why a record was not sent. The rest of its batch has results of its own.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Larger than `max.request.size` or than the broker takes.
    #[error(
        "record for {topic} has {size} bytes, more than the limit of {limit}: raise max.request.size (and the topic's max.message.bytes) or send less"
    )]
    TooLarge {
        /// The topic.
        topic: TopicName,
        /// Its size.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// No such topic, and it is not created by itself.
    #[error("topic {topic} does not exist (waited {waited:?} for it)")]
    UnknownTopic {
        /// The topic.
        topic: TopicName,
        /// For how long its metadata was asked for.
        waited: Duration,
    },
    /// The topic has fewer partitions.
    #[error("{topic} has no partition {partition}: it has {count}")]
    UnknownPartition {
        /// The topic.
        topic: TopicName,
        /// The partition that was asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// `buffer.memory` stayed full for `max.block.ms`.
    #[error(
        "the producer's buffer of {limit} bytes stayed full for {waited:?}: brokers are slower than the sender"
    )]
    BufferFull {
        /// `buffer.memory`.
        limit: usize,
        /// `max.block.ms`.
        waited: Duration,
    },
    /// `delivery.timeout.ms` passed; the last error says why it was not delivered before.
    #[error("record for {partition} was not delivered within {after:?}: {last}")]
    DeliveryTimeout {
        /// The partition.
        partition: TopicPartition,
        /// `delivery.timeout.ms`.
        after: Duration,
        /// The last failure.
        last: String,
    },
    /// The broker refused it for good.
    #[error("record for {partition} was refused: {source}")]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// Its answer.
        source: Error,
    },
    /// The producer was closed.
    #[error("the producer is closed")]
    Closed,
}

/// A producer; clones share it. Dropping the last one closes it without waiting: see [`Producer::close`].
#[derive(Debug, Clone)]
pub struct Producer {}

impl Producer {
    pub(crate) fn start(context: ClientContext, config: ProducerConfig) -> Result<Self> {
        let _ = (context, config);
        todo!()
    }

    /// Waits for room and for the topic's metadata, puts the record into its batch, and returns the future of its
    /// delivery. Dropping that future does not take the record back.
    ///
    /// # Errors
    /// What can be said before it is sent.
    pub async fn enqueue(&self, record: Outgoing<'_>) -> Result<Delivery, SendError> {
        let _ = record;
        todo!()
    }

    /// [`Producer::enqueue`], and waits for the delivery.
    pub async fn send(&self, record: Outgoing<'_>) -> Result<RecordMetadata, SendError> {
        self.enqueue(record).await?.await
    }

    /// Sends out what has gathered and waits until each record enqueued before has its result.
    pub async fn flush(&self, deadline: Duration) -> Result<(), SendError> {
        let _ = deadline;
        todo!()
    }

    /// Takes no more records, flushes, and ends. What is not delivered by the deadline fails with `Closed`.
    pub async fn close(&self, deadline: Duration) -> Result<(), SendError> {
        let _ = deadline;
        todo!()
    }
}

/// A record's delivery.
#[derive(Debug)]
pub struct Delivery {}

impl Future for Delivery {
    type Output = Result<RecordMetadata, SendError>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        todo!()
    }
}
