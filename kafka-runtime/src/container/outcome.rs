//! How a failed record is told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kafka_client::TopicPartition;

use crate::listener::{Failure, HandlerError, causes};

/// How many bytes of a key are shown.
const SHOWN: usize = 64;

/// A record, for a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Where<'a> {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) attempt: u32,
}

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.partition, self.offset)?;
        if let Some(key) = self.key {
            write!(f, ", key {}", shown(key))?;
        }
        write!(f, ", attempt {}", self.attempt)
    }
}

/// A key as text, shortened.
pub(crate) fn shown(key: &[u8]) -> String {
    match key.get(..SHOWN) {
        Some(start) if key.len() > SHOWN => format!("{:?}...", String::from_utf8_lossy(start)),
        _ => format!("{:?}", String::from_utf8_lossy(key)),
    }
}

/// The failure with all of its causes.
pub(crate) fn told(failure: &Failure) -> String {
    match failure {
        Failure::Handler(error) => chained(error, ": "),
        Failure::Decode(text) => text.clone(),
        Failure::Panic(message) => format!("the handler panicked: {message}"),
        Failure::Timeout(limit) => format!("the handler took longer than {limit:?} (handler-timeout)"),
    }
}

/// A handler's error and its causes. Their texts are the user's code: one that panics must not take the partition along.
pub(crate) fn chained(error: &HandlerError, between: &str) -> String {
    let told = || causes(error.error()).map(ToString::to_string).collect::<Vec<_>>().join(between);
    let told = catch_unwind(AssertUnwindSafe(told));
    told.unwrap_or_else(|_| format!("{} (it panicked when it was asked for its text)", error.type_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_with_a_shortened_key() {
        let partition = TopicPartition::new("orders", 3);
        let record = Where { partition, offset: 7, key: Some(b"c\"1"), attempt: 2 };
        assert_eq!(record.to_string(), "orders-3 at offset 7, key \"c\\\"1\", attempt 2");
        let long = [b'k'; 200];
        assert_eq!(shown(&long), format!("\"{}\"...", "k".repeat(64)));
    }

    #[test]
    fn causes_are_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot bill")]
        struct Outer(#[source] fmt::Error);
        let failure = Failure::Handler(Outer(fmt::Error).into());
        let inner = fmt::Error.to_string();
        assert_eq!(told(&failure), format!("cannot bill: {inner}"));
    }
}
