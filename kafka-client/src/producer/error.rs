//! Why a record was not sent.

use std::time::Duration;

use super::{TransactionError, Unsent};
use crate::error::Error;
use crate::ids::TopicName;

/// Why a record was not sent. The rest of its batch has results of its own. [`SendError::record`] gives the record back.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Larger than `max.request.size` or than the buffer.
    #[error(
        "{record} has {size} bytes, more than the limit of {limit}: raise max.request.size (and the topic's max.message.bytes) or send less"
    )]
    TooLarge {
        /// The record.
        record: Unsent,
        /// Its size.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// No such topic, and it is not created by itself.
    #[error("{record}: the topic does not exist (waited {waited:?} for it)")]
    UnknownTopic {
        /// The record.
        record: Unsent,
        /// For how long its topic's metadata was asked for.
        waited: Duration,
    },
    /// The topic has fewer partitions.
    #[error("{record}: there is no partition {partition}, the topic has {count}")]
    UnknownPartition {
        /// The record.
        record: Unsent,
        /// The partition that was asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// The record names no partition, and the partitioner is [`Partitioner::Manual`](super::Partitioner::Manual).
    #[error("{record} names no partition, and the partitioner is manual")]
    NoPartition {
        /// The record.
        record: Unsent,
    },
    /// The record names no partition, and your own partitioner
    /// ([`ChoosePartition`](super::ChoosePartition)) panicked over it.
    #[error("{record} has no partition: the partitioner panicked over it, see its own message")]
    PartitionerPanicked {
        /// The record.
        record: Unsent,
    },
    /// `buffer.memory` stayed full for `max.block.ms`.
    #[error(
        "{record} found no room: the producer's buffer of {limit} bytes stayed full for {waited:?}, brokers are slower than the sender"
    )]
    BufferFull {
        /// The record.
        record: Unsent,
        /// `buffer.memory`.
        limit: usize,
        /// `max.block.ms`.
        waited: Duration,
    },
    /// `delivery.timeout.ms` passed; the last error says why it was not delivered before.
    #[error("{record} was not delivered within {after:?}{}: {last}", doubt(*.doubtful))]
    DeliveryTimeout {
        /// The record.
        record: Unsent,
        /// `delivery.timeout.ms`.
        after: Duration,
        /// The last failure.
        last: String,
        /// Whether it may have been written all the same; see [`SendError::may_be_written`].
        doubtful: bool,
    },
    /// The broker refused it for good; or its topic (no permission, a name that is none), before it was sent.
    #[error("{record} was refused{}: {source}", doubt(*.doubtful))]
    Refused {
        /// The record.
        record: Unsent,
        /// The broker's answer.
        source: Error,
        /// Whether an attempt before may have written it; see [`SendError::may_be_written`].
        doubtful: bool,
    },
    /// Sent as often as `retries` allows.
    #[error("{record} was not delivered in {attempts} attempts{}: {source}", doubt(*.doubtful))]
    RetriesSpent {
        /// The record.
        record: Unsent,
        /// How often it was sent.
        attempts: u32,
        /// The last failure.
        source: Error,
        /// Whether it may have been written all the same; see [`SendError::may_be_written`].
        doubtful: bool,
    },
    /// Nothing is known of the topic's partitions, since no broker answers.
    #[error("{record}: the topic is not known: {source}")]
    TopicUnavailable {
        /// The record.
        record: Unsent,
        /// Why not.
        source: Error,
    },
    /// A flush did not end in time. What it waited for is still being sent.
    #[error("{batches} batches were not delivered within {after:?}")]
    FlushTimeout {
        /// How many batches had no outcome.
        batches: usize,
        /// The deadline.
        after: Duration,
    },
    /// The record is in no transaction (any more), and was not written or will not be seen: the transaction was
    /// aborted or cannot be committed, or the producer was fenced.
    #[error("{record} is in no transaction: {source}")]
    NoTransaction {
        /// The record.
        record: Unsent,
        /// What became of the transaction.
        source: Box<TransactionError>,
    },
    /// The producer was closed.
    #[error("{record} was not sent: the producer is closed{}", doubt(*.doubtful))]
    Closed {
        /// The record.
        record: Unsent,
        /// Whether it may have been written all the same; see [`SendError::may_be_written`].
        doubtful: bool,
    },
}

fn doubt(doubtful: bool) -> &'static str {
    if doubtful { " (it may have been written)" } else { "" }
}

/// The record of an error, borrowed as the error is.
macro_rules! record_of {
    ($error:expr) => {
        match $error {
            SendError::TooLarge { record, .. }
            | SendError::UnknownTopic { record, .. }
            | SendError::UnknownPartition { record, .. }
            | SendError::NoPartition { record }
            | SendError::PartitionerPanicked { record }
            | SendError::BufferFull { record, .. }
            | SendError::DeliveryTimeout { record, .. }
            | SendError::Refused { record, .. }
            | SendError::RetriesSpent { record, .. }
            | SendError::TopicUnavailable { record, .. }
            | SendError::NoTransaction { record, .. }
            | SendError::Closed { record, .. } => Some(record),
            SendError::FlushTimeout { .. } => None,
        }
    };
}

impl SendError {
    /// The record, to be looked at or sent again; `None` where this is about no single record (a flush).
    #[must_use]
    pub fn record(&self) -> Option<&Unsent> {
        record_of!(self)
    }

    /// The record's topic.
    #[must_use]
    pub fn topic(&self) -> Option<TopicName> {
        self.record().map(Unsent::topic)
    }

    /// The record's partition, as far as one was named or chosen.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.record().and_then(Unsent::partition)
    }

    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.record().and_then(Unsent::key)
    }

    /// Whether the record may stand in the log all the same: it was sent at least once, and the answer was lost or said
    /// that it was written and not replicated. Sent again, it may be there twice, and behind what was sent after it; what
    /// this producer sends itself is neither.
    #[must_use]
    pub fn may_be_written(&self) -> bool {
        match self {
            Self::DeliveryTimeout { doubtful, .. }
            | Self::Refused { doubtful, .. }
            | Self::RetriesSpent { doubtful, .. }
            | Self::Closed { doubtful, .. } => *doubtful,
            _ => false,
        }
    }

    /// The same failure, of this record.
    pub(super) fn of(mut self, unsent: Unsent) -> Self {
        if let Some(record) = record_of!(&mut self) {
            *record = unsent;
        }
        self
    }

    /// The same failure, of what may have been written, or not.
    pub(super) fn with_doubt(mut self, is_doubtful: bool) -> Self {
        if let Self::DeliveryTimeout { doubtful, .. }
        | Self::Refused { doubtful, .. }
        | Self::RetriesSpent { doubtful, .. }
        | Self::Closed { doubtful, .. } = &mut self
        {
            *doubtful = is_doubtful;
        }
        self
    }
}
