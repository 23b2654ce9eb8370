//! The headers of a failed record, byte for byte as Spring Kafka's `DeadLetterPublishingRecoverer` and its retry topics
//! write them, so that its tools read ours and ours read its. Pure.
//!
//! Texts are UTF-8, an `int` is 4 bytes and a `long` 8, big endian; times of retry topics are Java's `BigInteger`: as few
//! bytes as hold the number with its sign.

use kafka_client::records::{HeadersView, TimestampType};

pub(crate) const ORIGINAL_TOPIC: &str = "original-topic";
pub(crate) const ORIGINAL_PARTITION: &str = "original-partition";
pub(crate) const ORIGINAL_OFFSET: &str = "original-offset";
pub(crate) const ORIGINAL_TIMESTAMP: &str = "original-timestamp";
pub(crate) const ORIGINAL_TIMESTAMP_TYPE: &str = "original-timestamp-type";
pub(crate) const ORIGINAL_GROUP: &str = "original-consumer-group";
/// In the dead letters of retry topics and in theirs, Spring calls it so.
pub(crate) const EXCEPTION: &str = "exception-fqcn";
pub(crate) const EXCEPTION_CAUSE: &str = "exception-cause-fqcn";
pub(crate) const MESSAGE: &str = "exception-message";
pub(crate) const STACKTRACE: &str = "exception-stacktrace";

/// What the names above begin with on a dead letter.
pub(crate) const DLT: &str = "kafka_dlt-";
/// What they begin with on a record of a retry topic, and on Spring's dead letters behind retry topics.
pub(crate) const RETRY: &str = "kafka_";

/// Tries so far, and that of this delivery: an `int`.
pub(crate) const RETRY_ATTEMPTS: &str = "retry_topic-attempts";
/// Ours: how many tries failed, an `int`.
pub(crate) const ATTEMPTS: &str = "kafka_runtime-attempts";
/// Ours: the listener's id.
pub(crate) const LISTENER: &str = "kafka_runtime-listener";
/// Ours: `error`, `decode`, `panic`, `timeout`.
pub(crate) const KIND: &str = "kafka_runtime-failure";
/// Ours: when it failed for the last time, a `long`, milliseconds.
pub(crate) const FAILED_AT: &str = "kafka_runtime-failed-at";
/// An error's words are kept up to here.
const LONGEST_MESSAGE: usize = 2 * 1024;
/// Its chain of causes up to here.
const LONGEST_CHAIN: usize = 8 * 1024;

/// Headers as they are written.
pub(crate) type Written = Vec<(String, Option<Vec<u8>>)>;

/// Where a record was when it failed for the first time, as headers have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FirstPlace {
    pub(crate) topic: Vec<u8>,
    pub(crate) partition: Vec<u8>,
    pub(crate) offset: Vec<u8>,
    pub(crate) timestamp: Vec<u8>,
    pub(crate) timestamp_type: Vec<u8>,
    pub(crate) group: Option<Vec<u8>>,
}

impl FirstPlace {
    pub(crate) fn of(
        (topic, partition, offset): (&str, i32, i64),
        (timestamp, timestamp_type): (i64, TimestampType),
        group: Option<&str>,
    ) -> Self {
        let timestamp_type = match timestamp_type {
            TimestampType::None => "NoTimestampType",
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        Self {
            topic: topic.into(),
            partition: partition.to_be_bytes().into(),
            offset: offset.to_be_bytes().into(),
            timestamp: timestamp.to_be_bytes().into(),
            timestamp_type: timestamp_type.into(),
            group: group.map(Into::into),
        }
    }

    fn write(&self, prefix: &str, to: &mut Written) {
        let mut put = |name: &str, value: &[u8]| to.push((format!("{prefix}{name}"), Some(value.to_vec())));
        put(ORIGINAL_TOPIC, &self.topic);
        put(ORIGINAL_PARTITION, &self.partition);
        put(ORIGINAL_OFFSET, &self.offset);
        put(ORIGINAL_TIMESTAMP, &self.timestamp);
        put(ORIGINAL_TIMESTAMP_TYPE, &self.timestamp_type);
        if let Some(group) = &self.group {
            put(ORIGINAL_GROUP, group);
        }
    }
}

/// Why it failed, last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason<'a> {
    /// The error's type.
    pub(crate) class: &'a str,
    pub(crate) message: &'a str,
    /// With all causes, one a line.
    pub(crate) chain: &'a str,
    /// `error`, `decode`, `panic`, `timeout`.
    pub(crate) kind: &'a str,
    pub(crate) listener: &'a str,
    /// Tries that failed.
    pub(crate) attempts: u32,
    /// Milliseconds since 1970.
    pub(crate) failed_at: i64,
}

impl Reason<'_> {
    fn write(&self, prefix: &str, to: &mut Written) {
        let mut put = |name: String, value: Vec<u8>| to.push((name, Some(value)));
        put(format!("{prefix}{EXCEPTION}"), self.class.into());
        put(format!("{prefix}{MESSAGE}"), shortened(self.message, LONGEST_MESSAGE).into());
        put(format!("{prefix}{STACKTRACE}"), shortened(self.chain, LONGEST_CHAIN).into());
        put(ATTEMPTS.into(), self.attempts.to_be_bytes().into());
        put(LISTENER.into(), self.listener.into());
        put(KIND.into(), self.kind.into());
        put(FAILED_AT.into(), self.failed_at.to_be_bytes().into());
    }
}

fn shortened(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// The record's own headers, as they are.
fn own(headers: HeadersView<'_>) -> impl Iterator<Item = (String, Option<Vec<u8>>)> {
    headers.iter().map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)))
}

/// The headers of a dead letter: the record's own untouched, ours behind them, so that the last of a name is this
/// failure's.
pub(crate) fn of_dead_letter(headers: HeadersView<'_>, first: &FirstPlace, reason: Reason<'_>) -> Written {
    let mut written: Written = own(headers).collect();
    first.write(DLT, &mut written);
    reason.write(DLT, &mut written);
    written
}

/// An `int`.
pub(crate) fn int(bytes: &[u8]) -> Option<i32> {
    bytes.try_into().ok().map(i32::from_be_bytes)
}

/// A `long`.
pub(crate) fn long(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_client::TopicPartition;
    use kafka_client::consumer::{Chunk, ChunkBatch};
    use kafka_client::records::append::{AppendStamp, stamp};
    use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};

    use super::*;

    /// A batch with one record that has these headers.
    pub(crate) fn headed(headers: &[(&str, Option<&[u8]>)]) -> ChunkBatch {
        let mut builder = BatchBuilder::new(1024);
        builder.append(RecordToWrite { timestamp: 0, key: None, value: None, headers });
        let bytes = builder.build(kafka_client::config::Compression::None, ProducerStamp::NONE).unwrap();
        let mut bytes = BytesMut::from(bytes);
        stamp(&mut bytes, AppendStamp { base_offset: 0, leader_epoch: 0, append_time: None }).unwrap();
        let bytes: Bytes = bytes.freeze();
        let mut chunk = Chunk::from_bytes(TopicPartition::new("t", 0), 1, 0, bytes);
        chunk.next_batch().unwrap().unwrap()
    }

    pub(crate) fn view(batch: &ChunkBatch) -> HeadersView<'_> {
        batch.records().next().unwrap().unwrap().headers
    }

    const REASON: Reason<'static> = Reason {
        class: "billing::BankError",
        message: "closed",
        chain: "closed\nCaused by: Sunday",
        kind: "error",
        listener: "bill",
        attempts: 3,
        failed_at: 1_700_000_000_123,
    };

    /// The bytes that Spring's recoverer writes for the same record (`ByteBuffer.putInt`, `putLong`, `getBytes(UTF_8)`).
    #[test]
    fn bytes_are_springs() {
        let first = FirstPlace::of(
            ("orders", 3, 258),
            (1_700_000_000_000, TimestampType::CreateTime),
            Some("billing"),
        );
        let batch = headed(&[("trace", Some(b"1")), ("trace", None)]);
        let written = of_dead_letter(view(&batch), &first, REASON);
        let expected: Vec<(&str, Option<&[u8]>)> = vec![
            ("trace", Some(b"1")),
            ("trace", None),
            ("kafka_dlt-original-topic", Some(b"orders")),
            ("kafka_dlt-original-partition", Some(&[0, 0, 0, 3])),
            ("kafka_dlt-original-offset", Some(&[0, 0, 0, 0, 0, 0, 1, 2])),
            ("kafka_dlt-original-timestamp", Some(&[0, 0, 1, 139, 207, 229, 104, 0])),
            ("kafka_dlt-original-timestamp-type", Some(b"CreateTime")),
            ("kafka_dlt-original-consumer-group", Some(b"billing")),
            ("kafka_dlt-exception-fqcn", Some(b"billing::BankError")),
            ("kafka_dlt-exception-message", Some(b"closed")),
            ("kafka_dlt-exception-stacktrace", Some(b"closed\nCaused by: Sunday")),
            ("kafka_runtime-attempts", Some(&[0, 0, 0, 3])),
            ("kafka_runtime-listener", Some(b"bill")),
            ("kafka_runtime-failure", Some(b"error")),
            ("kafka_runtime-failed-at", Some(&[0, 0, 1, 139, 207, 229, 104, 123])),
        ];
        let written: Vec<_> = written.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let words = "ü".repeat(LONGEST_MESSAGE);
        assert_eq!(shortened(&words, LONGEST_MESSAGE - 1).len(), LONGEST_MESSAGE - 2);
        assert_eq!(shortened("short", 10), "short");
    }
}
