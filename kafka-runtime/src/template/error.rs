//! What can go wrong with the template.

use std::time::Duration;

use kafka_client::producer::{Remedy, SendError, ShownKey, TransactionError};
use kafka_client::{TopicName, TopicPartition};

use super::Record;

/// Why a record was not sent, or a partition not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The producer's reason.
    #[error(transparent)]
    Send(SendError),
    /// The topic's name has a placeholder: a listener's is resolved, the template sends to the name as it is.
    #[error(
        "{topic} is no topic to send to: the template resolves no placeholders; send to the name that Config::resolve makes of it"
    )]
    Placeholder {
        /// The name.
        topic: TopicName,
        /// The producer's reason, with the record.
        source: SendError,
    },
    /// A transaction could not be begun or committed.
    #[error(transparent)]
    Transaction(TransactionError),
    /// The work of a transaction failed, and it was aborted.
    #[error("the transaction was aborted: {source}")]
    Work {
        /// What the work returned.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `in_transaction` without a prefix for transactional ids.
    #[error(
        "transactions need spring.kafka.producer.transaction-id-prefix: a text that no other process uses, and that this one has again after a restart"
    )]
    NoTransactionIdPrefix,
    /// `in_transaction` after [`Template::close`](super::Template::close).
    #[error("the template is closed: no transaction begins any more")]
    Closed,
    /// The producer's settings allow no transactions.
    #[error("no transactions with these settings: {source}")]
    NoTransactions {
        /// Which one.
        source: kafka_client::Error,
    },
    /// A request without a topic for its answer.
    #[error("requests need a topic for their answers: set kafka-runtime.template.reply-topic")]
    NoReplyTopic,
    /// The reply topic cannot be read.
    #[error("answers cannot be read from {topic}: {source}")]
    ReplyTopic {
        /// The reply topic.
        topic: TopicName,
        /// Why.
        source: kafka_client::Error,
    },
    /// A question was not sent in time, and is not sent any more.
    #[error(
        "a request to {topic} was not sent within {waited:?}, and will not be: it waited for the topic's metadata or for room in the producer's buffer"
    )]
    NotAsked {
        /// Where the question should have gone.
        topic: TopicName,
        /// The request's time limit.
        waited: Duration,
    },
    /// Nobody answered in time.
    #[error(
        "nobody answered a request to {topic} within {waited:?} (answers are expected in {reply_topic}){}",
        if *.acknowledged { "" } else { "; the request itself was not acknowledged by then: it may or may not be written" }
    )]
    NoAnswer {
        /// Where the question went.
        topic: TopicName,
        /// Where the answer should have come.
        reply_topic: TopicName,
        /// The request's time limit: its own, or `kafka-runtime.template.reply-timeout`.
        waited: Duration,
        /// Whether the question was acknowledged. Otherwise nothing is known of it: it was sent, or still to be sent again,
        /// and may be written later, or never.
        acknowledged: bool,
    },
    /// The value has no JSON form.
    #[error(
        "record for {topic}{} {}: its value cannot be written as JSON: {source}",
        .partition.map(|number| format!("-{number}")).unwrap_or_default(),
        ShownKey(.key.as_deref())
    )]
    Encode {
        /// The topic.
        topic: TopicName,
        /// The partition, if one was named before the value.
        partition: Option<i32>,
        /// The key, if it was given before the value.
        key: Option<Vec<u8>>,
        /// serde's words.
        source: serde_json::Error,
    },
    /// The value received is not of the type that was asked for.
    #[error("{partition} at offset {offset} is not what was asked for: {source}")]
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
    /// The time of [`Template::flush`](super::Template::flush) or [`Template::close`](super::Template::close) was over, and
    /// not only batches were left.
    #[error(
        "not everything was sent within {after:?}: {records} records of send_async waited for their topic or for room, {batches} batches were not delivered, {transactions} transactions were open"
    )]
    Unfinished {
        /// Records of `send_async` that were in no batch yet. Those that wait when the template is closed are told so.
        records: usize,
        /// Batches without an outcome.
        batches: usize,
        /// Transactions that had not ended.
        transactions: usize,
        /// The limit: `delivery.timeout.ms`, or `spring.kafka.template.close-timeout`.
        after: Duration,
    },
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

impl TemplateError {
    /// What there is to do about a transaction that was not committed; `None` where this is about something else.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Transaction(error) => Some(error.remedy()),
            _ => None,
        }
    }

    /// The record that was not sent, to send it again or put it elsewhere; `None` where there was none yet (a value without
    /// a JSON form) or this is about something else.
    ///
    /// A record whose failure is a time-out may have been written all the same
    /// ([`SendError::may_be_written`]): sent again, it may be there twice.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # async fn example(template: Template, failed: TemplateError) {
    /// if let Some(record) = failed.record() {
    ///     template.send_record_async(record, |result| drop(result));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        match self {
            Self::Send(error) | Self::Placeholder { source: error, .. } => {
                error.record().filter(|record| record.is_whole()).map(Record::from)
            }
            _ => None,
        }
    }
}

impl From<SendError> for TemplateError {
    fn from(error: SendError) -> Self {
        match error.topic() {
            // Kafka has no such names, so whatever the reason: this is the mistake.
            Some(topic) if topic.as_str().contains("${") => Self::Placeholder { topic, source: error },
            _ => Self::Send(error),
        }
    }
}
