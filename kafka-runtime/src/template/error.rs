//! What can go wrong with the template.

use std::time::Duration;

use kafka_client::producer::SendError;
use kafka_client::{TopicName, TopicPartition};

/// Why a record was not sent, or a partition not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The producer's reason.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The value has no JSON form.
    #[error("a value for topic {topic} cannot be written as JSON: {source}")]
    Encode {
        /// The topic.
        topic: TopicName,
        /// serde's words.
        source: serde_json::Error,
    },
    /// The record received is not the JSON that was asked for.
    #[error("{partition} at offset {offset} is not the JSON that was asked for: {source}")]
    Decode {
        /// The partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
        /// serde's words.
        source: serde_json::Error,
    },
    /// `send_default` without a default.
    #[error("no default topic: set spring.kafka.template.default-topic, or name one")]
    NoDefaultTopic,
    /// `send_async` outside of a tokio runtime.
    #[error("send_async was called outside of a tokio runtime, so that nothing could call back")]
    NoRuntime,
    /// A partition could not be read.
    #[error("receiving {partition}: {source}")]
    Receive {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        source: kafka_client::Error,
    },
    /// Nothing came.
    #[error("receiving {partition}: nothing came for {waited:?} at offset {offset}{}", .because.as_ref().map(|why| format!(" ({why})")).unwrap_or_default())]
    Silence {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was waited for.
        offset: i64,
        /// How long.
        waited: Duration,
        /// The last trouble.
        because: Option<String>,
    },
}
