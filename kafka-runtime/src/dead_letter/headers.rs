//! The headers of a failed record, byte for byte as Spring Kafka's `DeadLetterPublishingRecoverer` and its retry topics
//! write them, so that its tools read ours and ours read its. Pure.
//!
//! In Spring `exception-fqcn` is mostly the framework's own `ListenerExecutionFailedException`, and `exception-cause-fqcn` the
//! listener's exception in it; where nothing is around that, both are the same. So it is here, but for errors whose type
//! the handler's hides (`Box<dyn Error>`, `anyhow::Error`): then the cause is the word that the error's `Debug` begins with.
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
/// When the record is due: a `BigInteger`, milliseconds.
pub(crate) const RETRY_DUE: &str = "retry_topic-backoff-timestamp";
/// The record's first timestamp: a `BigInteger`, milliseconds.
pub(crate) const RETRY_ORIGINAL_TIMESTAMP: &str = "retry_topic-original-timestamp";

/// Ours: how many tries failed, an `int`.
pub(crate) const ATTEMPTS: &str = "kafka_runtime-attempts";
/// Ours: the listener's id.
pub(crate) const LISTENER: &str = "kafka_runtime-listener";
/// Ours: `error`, `decode`, `panic`, `timeout`.
pub(crate) const KIND: &str = "kafka_runtime-failure";
/// Ours: when it failed for the last time, a `long`, milliseconds.
pub(crate) const FAILED_AT: &str = "kafka_runtime-failed-at";

/// Ours: where a replayed record was read, `orders-dlt-0@17`.
pub(crate) const REPLAYED: &str = "kafka_runtime-replayed-from";

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

    /// What a record of a retry topic says of itself.
    pub(crate) fn carried(headers: HeadersView<'_>) -> Option<Self> {
        let value = |name: &str| Some(headers.last(&format!("{RETRY}{name}"))?.value?.to_vec());
        Some(Self {
            topic: value(ORIGINAL_TOPIC)?,
            partition: value(ORIGINAL_PARTITION)?,
            offset: value(ORIGINAL_OFFSET)?,
            timestamp: value(ORIGINAL_TIMESTAMP).unwrap_or_default(),
            timestamp_type: value(ORIGINAL_TIMESTAMP_TYPE).unwrap_or_default(),
            // Spring's retry topics have the group under its other name.
            group: value(ORIGINAL_GROUP)
                .or_else(|| Some(headers.last(&format!("{DLT}{ORIGINAL_GROUP}"))?.value?.to_vec())),
        })
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
    /// The error's type, as the handler returned it.
    pub(crate) class: &'a str,
    /// The error's type, or the name that is known of it.
    pub(crate) cause_class: &'a str,
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
        put(format!("{prefix}{EXCEPTION_CAUSE}"), self.cause_class.into());
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

/// The headers of a record on its way to a retry topic: the record's own, without those of an earlier failure.
pub(crate) fn of_retry(
    headers: HeadersView<'_>,
    first: &FirstPlace,
    reason: Reason<'_>,
    next: NextTry<'_>,
) -> Written {
    let mut written = without_failures(headers);
    first.write(RETRY, &mut written);
    reason.write(RETRY, &mut written);
    let mut put = |name: &str, value: Vec<u8>| written.push((name.to_owned(), Some(value)));
    put(RETRY_ORIGINAL_TIMESTAMP, next.original_timestamp.to_vec());
    put(RETRY_ATTEMPTS, next.attempt.to_be_bytes().into());
    put(RETRY_DUE, big_integer(next.due));
    written
}

/// The next delivery of a record that goes to a retry topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextTry<'a> {
    /// Its number, 2 for the first in a retry topic.
    pub(crate) attempt: u32,
    /// When, in milliseconds.
    pub(crate) due: i64,
    /// As the record carries it already, or of its first timestamp.
    pub(crate) original_timestamp: &'a [u8],
}

/// The number of this delivery: 1 for a record that no retry topic has seen. Spring's older ones have one byte.
pub(crate) fn attempt(headers: HeadersView<'_>) -> u32 {
    let value = headers.last(RETRY_ATTEMPTS).and_then(|header| header.value);
    let number = match value {
        Some([one]) => Some(u32::from(*one)),
        Some(bytes) => int(bytes).and_then(|number| u32::try_from(number).ok()),
        None => None,
    };
    number.unwrap_or(1).max(1)
}

/// When this delivery is due, in milliseconds.
pub(crate) fn due(headers: HeadersView<'_>) -> Option<i64> {
    of_big_integer(headers.last(RETRY_DUE)?.value?)
}

/// The record's first timestamp as retry topics carry it.
pub(crate) fn original_timestamp(headers: HeadersView<'_>, timestamp: i64) -> Vec<u8> {
    let carried = headers.last(RETRY_ORIGINAL_TIMESTAMP).and_then(|header| header.value);
    let carried = carried.filter(|value| of_big_integer(value).is_some());
    carried.map_or_else(|| big_integer(timestamp), <[u8]>::to_vec)
}

/// Java's `BigInteger.toByteArray`: as few bytes as hold the number with its sign.
pub(crate) fn big_integer(number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let is_needed = |at: usize| {
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        bytes.get(at) != Some(&sign) || (next ^ sign) & 0x80 != 0
    };
    let from = (0..7).find(|at| is_needed(*at)).unwrap_or(7);
    bytes.get(from..).unwrap_or_default().to_vec()
}

fn of_big_integer(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    if bytes.len() > 8 {
        return None;
    }
    let sign: i64 = if first & 0x80 == 0 { 0 } else { -1 };
    Some(bytes.iter().fold(sign, |number, byte| (number << 8) | i64::from(*byte)))
}

/// What [`of_dead_letter`] (here or in Spring) put there.
pub(crate) fn is_of_failure(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        ORIGINAL_TOPIC,
        ORIGINAL_PARTITION,
        ORIGINAL_OFFSET,
        ORIGINAL_TIMESTAMP,
        ORIGINAL_TIMESTAMP_TYPE,
        ORIGINAL_GROUP,
        EXCEPTION,
        EXCEPTION_CAUSE,
        MESSAGE,
        STACKTRACE,
    ];
    let ours =
        [ATTEMPTS, LISTENER, KIND, FAILED_AT, REPLAYED, RETRY_ATTEMPTS, RETRY_DUE, RETRY_ORIGINAL_TIMESTAMP];
    ours.contains(&name)
        || name.starts_with(DLT)
        || name.strip_prefix(RETRY).is_some_and(|name| NAMES.contains(&name))
}

/// The record's headers without all that its failures added: as they were when it came first.
pub(crate) fn without_failures(headers: HeadersView<'_>) -> Written {
    own(headers).filter(|(name, _)| !is_of_failure(name)).collect()
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
        class: "alloc::boxed::Box<dyn core::error::Error>",
        cause_class: "BankError",
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
            ("kafka_dlt-exception-fqcn", Some(b"alloc::boxed::Box<dyn core::error::Error>")),
            ("kafka_dlt-exception-cause-fqcn", Some(b"BankError")),
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
    fn what_failures_added_comes_off_again_and_nothing_else() {
        let own: &[(&str, Option<&[u8]>)] =
            &[("kafka_correlationId", Some(b"7")), ("a", None), ("kafka_dl", Some(b"x")), ("a", Some(b""))];
        let first = FirstPlace::of(("orders", 0, 0), (0, TimestampType::LogAppendTime), None);
        let once = of_dead_letter(view(&headed(own)), &first, REASON);
        let once: Vec<_> = once.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let twice = of_dead_letter(view(&headed(&once)), &first, REASON);
        let twice: Vec<_> = twice.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let left = without_failures(view(&headed(&twice)));
        let left: Vec<_> = left.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(left, own);
    }

    /// `BigInteger.valueOf(n).toByteArray()` in Java.
    #[test]
    fn big_integers_are_javas() {
        let known: [(i64, &[u8]); 9] = [
            (0, &[0]),
            (1, &[1]),
            (127, &[127]),
            (128, &[0, 128]),
            (-1, &[255]),
            (-128, &[128]),
            (-129, &[255, 127]),
            (1_700_000_000_000, &[1, 139, 207, 229, 104, 0]),
            (i64::MIN, &[128, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (number, bytes) in known {
            assert_eq!((big_integer(number).as_slice(), of_big_integer(bytes)), (bytes, Some(number)));
        }
        assert_eq!((of_big_integer(&[]), of_big_integer(&[0; 9])), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn every_number_comes_back(number in proptest::prelude::any::<i64>()) {
            proptest::prop_assert_eq!(of_big_integer(&big_integer(number)), Some(number));
        }
    }

    #[test]
    fn a_retry_carries_its_place_and_replaces_its_reason() {
        let first = FirstPlace::of(("orders", 3, 7), (5, TimestampType::CreateTime), Some("billing"));
        let next = NextTry { attempt: 2, due: 1_000, original_timestamp: &[5] };
        let own: &[(&str, Option<&[u8]>)] = &[("trace", Some(b"1"))];
        let once = of_retry(view(&headed(own)), &first, REASON, next);
        let once: Vec<_> = once.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let batch = headed(&once);
        assert_eq!((attempt(view(&batch)), due(view(&batch))), (2, Some(1_000)));
        assert_eq!(FirstPlace::carried(view(&batch)), Some(first.clone()));
        let cause = view(&batch).last("kafka_exception-cause-fqcn").and_then(|header| header.value);
        assert_eq!(cause, Some(&b"BankError"[..]));
        assert_eq!(original_timestamp(view(&batch), 99), [5]);
        let springs = once.iter().map(|(name, value)| match *name {
            "kafka_original-consumer-group" => ("kafka_dlt-original-consumer-group", *value),
            name => (name, *value),
        });
        let springs = headed(&springs.collect::<Vec<_>>());
        assert_eq!(
            FirstPlace::carried(view(&springs)),
            Some(first.clone()),
            "as Spring's retry topics name it"
        );
        let twice = of_retry(view(&batch), &first, REASON, NextTry { attempt: 3, ..next });
        assert_eq!(twice.len(), once.len(), "nothing piles up");
        assert_eq!((attempt(view(&headed(own))), due(view(&headed(own)))), (1, None));
        assert_eq!(attempt(view(&headed(&[(RETRY_ATTEMPTS, Some(&[4]))]))), 4, "one byte, as older Springs");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let words = "ü".repeat(LONGEST_MESSAGE);
        assert_eq!(shortened(&words, LONGEST_MESSAGE - 1).len(), LONGEST_MESSAGE - 2);
        assert_eq!(shortened("short", 10), "short");
    }
}
