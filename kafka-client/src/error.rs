//! What can go wrong between the client and a cluster, with the place and what to do.

use std::fmt;
use std::time::Duration;

pub use kafka_protocol::ResponseError;

use crate::ids::{TopicName, TopicPartition};

/// A result of the client.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the client. Each says where it happened; [`Error::is_retriable`] says whether trying again can help.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No broker could be reached.
    #[error("no Kafka broker answers at {servers}: {reason}")]
    Unreachable {
        /// The addresses that were tried.
        servers: String,
        /// The last failure.
        reason: String,
    },
    /// A connection could not be opened or ended before the answer came.
    #[error("connection to broker {broker}: {reason}")]
    Disconnected {
        /// `host:port`.
        broker: String,
        /// The operating system's words, or what the peer did.
        reason: String,
    },
    /// Nobody listens there: the broker's process is down.
    #[error("connection to broker {broker}: refused, nobody listens there")]
    Refused {
        /// `host:port`.
        broker: String,
    },
    /// The peer does not speak Kafka's protocol.
    #[error("{broker} is not a Kafka broker: {reason}")]
    NotKafka {
        /// `host:port`.
        broker: String,
        /// What it answered instead.
        reason: String,
    },
    /// A request was not answered in time.
    #[error("{api} was not answered by {broker} within {after:?}")]
    Timeout {
        /// The request's Kafka name.
        api: &'static str,
        /// `host:port`.
        broker: String,
        /// The deadline.
        after: Duration,
    },
    /// The broker has no version of this API in common with this client.
    #[error("{broker} supports no version of {api} that this client speaks (Kafka 2.1 or later is needed)")]
    Unsupported {
        /// The request's Kafka name.
        api: &'static str,
        /// `host:port`.
        broker: String,
    },
    /// The broker answered with an error code.
    #[error("{api} for {at}: {code}")]
    Broker {
        /// The request's Kafka name.
        api: &'static str,
        /// Kafka's error.
        code: ResponseError,
        /// What the request was about.
        at: At,
    },
    /// The broker answered with an error code, and with words of its own.
    #[error("{api} for {at}: {code} ({message})")]
    Explained {
        /// The request's Kafka name.
        api: &'static str,
        /// Kafka's error.
        code: ResponseError,
        /// What the request was about.
        at: At,
        /// The broker's words.
        message: String,
    },
    /// An answer could not be decoded.
    #[error("{api} from {broker} cannot be read: {reason}")]
    Malformed {
        /// The request's Kafka name.
        api: &'static str,
        /// `host:port`.
        broker: String,
        /// Where the decoder stopped.
        reason: String,
    },
    /// Records of a partition cannot be read.
    #[error("{partition} at offset {offset}: {reason}")]
    Records {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that cannot be read.
        offset: i64,
        /// What is wrong with the batch.
        reason: String,
    },
    /// A partition has no committed offset, or one out of range, and `auto.offset.reset` is `none`.
    #[error("{partition} has no usable offset ({reason}) and auto.offset.reset is none")]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
        /// Why there is none.
        reason: String,
    },
    /// Records were passed over because the position was out of range.
    #[error(
        "{partition}: offset {from} is out of range, reading goes on at {to} ({} offsets skipped); \
         retention may be shorter than this consumer is behind",
        to.saturating_sub(*from).max(0)
    )]
    Skipped {
        /// The partition.
        partition: TopicPartition,
        /// Where reading should have gone on.
        from: i64,
        /// Where it goes on.
        to: i64,
    },
    /// A partition is not held, or not any more: whoever holds it now goes on from its committed offset.
    #[error("{partition} is not held by this consumer (any more)")]
    NotHeld {
        /// The partition.
        partition: TopicPartition,
    },
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// The client, consumer or producer was closed.
    #[error("the client is closed")]
    Closed,
}

/// What a broker's error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// The whole cluster or connection.
    Broker(String),
    /// A topic.
    Topic(TopicName),
    /// A partition.
    Partition(TopicPartition),
    /// A consumer group.
    Group(String),
    /// A transactional id.
    Transaction(String),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(broker) => write!(f, "broker {broker}"),
            Self::Topic(topic) => write!(f, "topic {topic}"),
            Self::Partition(partition) => write!(f, "{partition}"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Transaction(id) => write!(f, "transactional id {id}"),
        }
    }
}

impl Error {
    /// A broker's error, with its words where it had any.
    pub(crate) fn answered(api: &'static str, code: ResponseError, at: At, message: Option<&str>) -> Self {
        match message.filter(|message| !message.is_empty()) {
            None => Self::Broker { api, code, at },
            Some(message) => Self::Explained { api, code, at, message: message.to_owned() },
        }
    }

    /// Whether the same request can succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Disconnected { .. }
            | Self::Refused { .. }
            | Self::Timeout { .. } => true,
            Self::Broker { code, .. } | Self::Explained { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// Kafka's error code, where a broker gave one.
    #[must_use]
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Broker { code, .. } | Self::Explained { code, .. } => Some(*code),
            _ => None,
        }
    }
}
