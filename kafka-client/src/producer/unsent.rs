//! A record that was not sent, given back.

use std::fmt;
use std::sync::Arc;

use super::Outgoing;
use crate::ids::{TopicName, TopicPartition};
use crate::records::{Batches, RecordError};

/// How much of a key is shown.
const SHOWN: usize = 40;

/// A record that was not sent: where it should have gone, and what it was, so that it can be sent again. It costs nothing
/// before the failure: what had a batch is read out of the batch. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Unsent(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    topic: TopicName,
    partition: Option<i32>,
    named: bool,
    /// `None` for a failure that is told of a whole batch.
    contents: Option<Arc<Contents>>,
}

/// What a record was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Unsent {
    /// A copy of a record that had no batch yet.
    #[must_use]
    pub fn of(record: &Outgoing<'_>) -> Self {
        let headers = record.headers.iter();
        let contents = Contents {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
        };
        Self(Arc::new(Inner {
            topic: record.topic,
            partition: record.partition,
            named: record.partition.is_some(),
            contents: Some(Arc::new(contents)),
        }))
    }

    /// Whatever is on its way to a partition.
    pub(super) fn somewhere_in(partition: TopicPartition) -> Self {
        Self::in_batch(partition, false, None)
    }

    /// A record of a batch.
    pub(super) fn in_batch(partition: TopicPartition, named: bool, contents: Option<Arc<Contents>>) -> Self {
        let TopicPartition { topic, partition } = partition;
        Self(Arc::new(Inner { topic, partition: Some(partition), named, contents }))
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> TopicName {
        self.0.topic
    }

    /// The partition that it named, or that was chosen for it.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.0.partition
    }

    /// The partition that it named itself: without one, another may be chosen when it is sent again.
    #[must_use]
    pub fn named_partition(&self) -> Option<i32> {
        self.0.partition.filter(|_| self.0.named)
    }

    /// Its timestamp; `None` where it had none yet.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.0.contents.as_ref()?.timestamp
    }

    /// Its key; `None` is null.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.0.contents.as_ref()?.key.as_deref()
    }

    /// Its value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.0.contents.as_ref()?.value.as_deref()
    }

    /// Its headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let contents = self.0.contents.iter();
        contents.flat_map(|contents| &contents.headers).map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether key, value and headers are those of the record; where not, it stands for a batch of which nothing else is
    /// known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.contents.is_some()
    }
}

/// The records of a finished batch, in order; none, where it cannot be read.
pub(super) fn contents_of(batch: bytes::Bytes) -> Vec<Arc<Contents>> {
    let read = || -> Result<_, RecordError> {
        let Some(batch) = Batches::new(batch, false).next_batch()? else { return Ok(Vec::new()) };
        let records = batch.records().map(|record| {
            let record = record?;
            let headers = record.headers.iter();
            Ok(Arc::new(Contents {
                timestamp: Some(record.timestamp),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.map(|one| (one.name.to_owned(), one.value.map(<[u8]>::to_vec))).collect(),
            }))
        });
        records.collect()
    };
    read().unwrap_or_default()
}

/// `record for orders-3 with key "c17"`.
impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record for {}", self.0.topic)?;
        if let Some(partition) = self.0.partition {
            write!(f, "-{partition}")?;
        }
        match &self.0.contents {
            Some(contents) => write!(f, " {}", ShownKey(contents.key.as_deref())),
            None => Ok(()),
        }
    }
}

/// As it is displayed: values and headers may be anybody's secrets.
impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A key in a message: `with key "c17"`, or in hexadecimal where it is no printable text, `with key 0x00ff`; a long one is
/// shortened; `without a key`.
#[derive(Debug, Clone, Copy)]
pub struct ShownKey<'a>(pub Option<&'a [u8]>);

impl fmt::Display for ShownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key) = self.0 else { return f.write_str("without a key") };
        f.write_str("with key ")?;
        let text = std::str::from_utf8(key).ok().filter(|text| !text.chars().any(char::is_control));
        let shortened = match text {
            Some(text) => {
                let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
                write!(f, "{:?}", text.get(..end).unwrap_or(text))?;
                end < text.len()
            }
            None => {
                f.write_str("0x")?;
                key.iter().take(SHOWN / 2).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                key.len() > SHOWN / 2
            }
        };
        if shortened { write!(f, "... ({} bytes)", key.len()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_text_or_hexadecimal_and_shortened() {
        let shown = |key| ShownKey(key).to_string();
        assert_eq!(shown(None), "without a key");
        assert_eq!(shown(Some(b"c17")), r#"with key "c17""#);
        assert_eq!(shown(Some(b"")), r#"with key """#);
        assert_eq!(shown(Some(&[0, 255])), "with key 0x00ff");
        assert_eq!(shown(Some(b"line\nfeed")), "with key 0x6c696e650a66656564");
        let long = "\u{e9}".repeat(41);
        assert_eq!(shown(Some(long.as_bytes())), format!("with key {:?}... (82 bytes)", "\u{e9}".repeat(40)));
        assert_eq!(shown(Some(&[1; 21])), format!("with key 0x{}... (21 bytes)", "01".repeat(20)));
    }

    #[test]
    fn neither_value_nor_headers_are_printed() {
        let record = Outgoing {
            topic: "orders".into(),
            partition: Some(3),
            timestamp: None,
            key: Some(b"k"),
            value: Some(b"secret"),
            headers: &[("token", Some(b"secret"))],
        };
        let unsent = Unsent::of(&record);
        assert_eq!(unsent.to_string(), r#"record for orders-3 with key "k""#);
        assert!(!format!("{unsent:?}").contains("secret"));
        assert_eq!(unsent.headers().collect::<Vec<_>>(), [("token", Some(&b"secret"[..]))]);
    }
}
