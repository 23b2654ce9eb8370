//! A dead letter as a handler's payload.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::headers::{self, DLT, RETRY};
use crate::listener::{Delivery, Headers};

/// A record that failed for good, with why, where and when: the payload of a listener on a dead-letter topic. It reads
/// what this library writes, and what Spring Kafka's `DeadLetterPublishingRecoverer` and retry topics write.
///
/// That the payload cannot be decoded is no failure here: often it is why the record is a dead letter.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// # #[derive(Deserialize)] struct Payment { account: String }
/// #[kafka_listener(topic = "payments-dlt", group = "triage")]
/// async fn triage(dead: DeadLetter<Payment>) {
///     println!("{} failed {} times: {}", dead.origin(), dead.attempts().unwrap_or(1), dead.cause());
///     match dead.payload() {
///         Ok(payment) => println!("of account {}", payment.account),
///         Err(why) => println!("{why}: {:?}", dead.value()),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetter<T> {
    payload: Result<T, String>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Headers,
    origin: Origin,
    facts: Facts,
}

/// How a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The handler returned an error (Spring: threw an exception).
    Error,
    /// It could not be decoded.
    Decode,
    /// The handler panicked.
    Panic,
    /// The handler took too long.
    Timeout,
}

/// Where a dead letter comes from. What its headers do not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    group: Option<String>,
}

/// The last header of a name.
type Lookup<'l, 'r> = &'l dyn Fn(&str) -> Option<&'r [u8]>;

/// What the headers say of the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    kind: FailureKind,
    cause: Option<String>,
    class: Option<String>,
    trace: Option<String>,
    attempts: Option<u32>,
    listener: Option<String>,
    failed_at: Option<i64>,
}

impl<T> DeadLetter<T> {
    pub(crate) fn read(delivery: &Delivery<'_>, payload: Result<T, String>) -> Self {
        let bytes = |part: Option<&[u8]>| part.map(|part| delivery.batch.batch().slice_of(part));
        let view = delivery.record.headers;
        Self {
            payload,
            key: bytes(delivery.record.key),
            value: bytes(delivery.record.value),
            headers: Headers::of(delivery),
            origin: Origin::read(&|name| view.last(name)?.value),
            facts: Facts::read(&|name| view.last(name)?.value),
        }
    }

    /// The payload, or why it cannot be decoded.
    ///
    /// # Errors
    /// What is wrong with the value, in words.
    pub fn payload(&self) -> Result<&T, &str> {
        self.payload.as_ref().map_err(String::as_str)
    }

    /// The payload itself.
    ///
    /// # Errors
    /// As [`DeadLetter::payload`].
    pub fn into_payload(self) -> Result<T, String> {
        self.payload
    }

    /// The value as it is; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// The key as it is.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// All headers: the record's own, and what the failure added.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Where it failed.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The last failure in words; empty where nothing says it.
    pub fn cause(&self) -> &str {
        self.facts.cause.as_deref().unwrap_or_default()
    }

    /// How it failed.
    pub fn kind(&self) -> FailureKind {
        self.facts.kind
    }

    /// The type of the error (`exception-cause-fqcn`, or else `exception-fqcn`): the path of a Rust type, of an error in a
    /// `Box<dyn Error>` or an `anyhow::Error` the word that its `Debug` begins with, or the class of a Java exception, which
    /// Spring wraps in one of its own.
    pub fn error_type(&self) -> Option<&str> {
        self.facts.class.as_deref()
    }

    /// The failure with its causes, one a line; Java's stack trace.
    pub fn trace(&self) -> Option<&str> {
        self.facts.trace.as_deref()
    }

    /// How many tries failed.
    pub fn attempts(&self) -> Option<u32> {
        self.facts.attempts
    }

    /// The listener that gave it up, where that was one of this library.
    pub fn listener(&self) -> Option<&str> {
        self.facts.listener.as_deref()
    }

    /// When the last try failed, where this library wrote it.
    pub fn failed_at(&self) -> Option<SystemTime> {
        time(self.facts.failed_at)
    }
}

impl Origin {
    pub(super) fn read(last: Lookup<'_, '_>) -> Self {
        Self {
            topic: text(last, headers::ORIGINAL_TOPIC),
            partition: value(last, headers::ORIGINAL_PARTITION).and_then(headers::int),
            offset: value(last, headers::ORIGINAL_OFFSET).and_then(headers::long),
            timestamp: value(last, headers::ORIGINAL_TIMESTAMP).and_then(headers::long),
            group: text(last, headers::ORIGINAL_GROUP),
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// The record's timestamp there.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        time(self.timestamp)
    }

    /// The group whose member gave it up.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }
}

/// `orders-3 at offset 17`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic.as_deref().unwrap_or("an unknown topic"))?;
        if let Some(partition) = self.partition {
            write!(f, "-{partition}")?;
        }
        match self.offset {
            Some(offset) => write!(f, " at offset {offset}"),
            None => Ok(()),
        }
    }
}

impl Facts {
    pub(super) fn read(last: Lookup<'_, '_>) -> Self {
        let own = last;
        let class = text(last, headers::EXCEPTION_CAUSE).or_else(|| text(last, headers::EXCEPTION));
        let count = |name: &str| own(name).and_then(headers::int).and_then(|count| u32::try_from(count).ok());
        let kind = match own(headers::KIND) {
            Some(b"decode") => FailureKind::Decode,
            Some(b"panic") => FailureKind::Panic,
            Some(b"timeout") => FailureKind::Timeout,
            None if class.as_deref().is_some_and(|class| class.ends_with("DeserializationException")) => {
                FailureKind::Decode
            }
            _ => FailureKind::Error,
        };
        Self {
            kind,
            cause: text(last, headers::MESSAGE),
            class,
            trace: text(last, headers::STACKTRACE),
            attempts: count(headers::ATTEMPTS).or_else(|| count(headers::RETRY_ATTEMPTS)),
            listener: own(headers::LISTENER).map(|name| String::from_utf8_lossy(name).into_owned()),
            failed_at: own(headers::FAILED_AT).and_then(headers::long),
        }
    }
}

impl Facts {
    /// Whether the error has this type, or these words.
    pub(super) fn is_about(&self, wanted: &str) -> bool {
        let is_type = |class: &str| {
            class.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '.', '$']))
        };
        self.class.as_deref().is_some_and(is_type)
            || self.cause.as_deref().is_some_and(|cause| cause.contains(wanted))
    }
}

/// A header of a dead letter; behind retry topics Spring leaves out `dlt-`, and of a key's exception it says so.
fn value<'r>(last: Lookup<'_, 'r>, name: &str) -> Option<&'r [u8]> {
    let found = |prefix: &str| last(&format!("{prefix}{name}"));
    [DLT, "kafka_dlt-key-", RETRY].into_iter().find_map(found)
}

fn text(last: Lookup<'_, '_>, name: &str) -> Option<String> {
    value(last, name).map(|text| String::from_utf8_lossy(text).into_owned())
}

fn time(millis: Option<i64>) -> Option<SystemTime> {
    let millis = u64::try_from(millis?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::super::headers::tests::{headed, view};
    use super::*;

    /// What Spring Kafka's recoverer wrote for a JSON payload that it could not read.
    #[test]
    fn springs_dead_letters_are_read() {
        let batch = headed(&[
            ("kafka_dlt-original-topic", Some(b"orders")),
            ("kafka_dlt-original-partition", Some(&[0, 0, 0, 2])),
            ("kafka_dlt-original-offset", Some(&[0, 0, 0, 0, 0, 0, 0, 9])),
            ("kafka_dlt-original-timestamp", Some(&[0, 0, 1, 139, 207, 229, 104, 0])),
            ("kafka_dlt-original-timestamp-type", Some(b"CreateTime")),
            ("kafka_dlt-original-consumer-group", Some(b"billing")),
            (
                "kafka_dlt-exception-fqcn",
                Some(b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
            ),
            (
                "kafka_dlt-exception-cause-fqcn",
                Some(b"org.springframework.kafka.support.serializer.DeserializationException"),
            ),
            ("kafka_dlt-exception-message", Some(b"Listener failed")),
            ("kafka_dlt-exception-stacktrace", Some(b"org.springframework...")),
        ]);
        let origin = Origin::read(&|name| view(&batch).last(name)?.value);
        assert_eq!(origin.to_string(), "orders-2 at offset 9");
        assert_eq!((origin.group(), origin.timestamp().is_some()), (Some("billing"), true));
        let facts = Facts::read(&|name| view(&batch).last(name)?.value);
        assert_eq!(facts.kind, FailureKind::Decode);
        assert_eq!(facts.cause.as_deref(), Some("Listener failed"));
        assert!(facts.class.unwrap().ends_with("DeserializationException"));
    }

    #[test]
    fn behind_springs_retry_topics_they_have_other_names() {
        let batch = headed(&[
            ("kafka_original-topic", Some(b"orders")),
            ("kafka_original-partition", Some(&[0, 0, 0, 2])),
            ("kafka_exception-message", Some(b"no bank")),
            ("retry_topic-attempts", Some(&[0, 0, 0, 4])),
        ]);
        assert_eq!(Origin::read(&|name| view(&batch).last(name)?.value).to_string(), "orders-2");
        let facts = Facts::read(&|name| view(&batch).last(name)?.value);
        assert_eq!(
            (facts.cause.as_deref(), facts.attempts, facts.kind),
            (Some("no bank"), Some(4), FailureKind::Error)
        );
    }

    #[test]
    fn any_record_can_be_read_as_one() {
        let batch = headed(&[("kafka_dlt-original-offset", Some(b"x")), ("kafka_runtime-attempts", None)]);
        assert_eq!(Origin::read(&|name| view(&batch).last(name)?.value), Origin::default());
        assert_eq!(Origin::default().to_string(), "an unknown topic");
        assert_eq!(Facts::read(&|name| view(&batch).last(name)?.value).attempts, None);
    }
}
