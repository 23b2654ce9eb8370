//! A record on its way out, with everything that it can have.

use std::borrow::Cow;

use kafka_client::TopicName;
use kafka_client::producer::{Outgoing, Unsent};
use serde::Serialize;

use super::{AsKey, Result, TemplateError, buffers};

/// A record to send. Without a value it is a tombstone.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// let record = Record::to("orders").key("c1").text("hello").header("trace", "t1").partition(3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a record does nothing until it is sent"]
pub struct Record {
    topic: TopicName,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Headers as the producer wants them.
pub(super) type HeaderViews<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

impl Record {
    /// A record for `topic`, with neither key nor value.
    pub fn to(topic: impl AsRef<str>) -> Self {
        Self::to_topic(TopicName::new(topic.as_ref()))
    }

    pub(super) fn to_topic(topic: TopicName) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: Vec::new() }
    }

    /// A record with key and value, made in one place.
    pub(super) fn encoded<V: Serialize + ?Sized>(
        topic: TopicName,
        key: impl AsKey,
        value: &V,
    ) -> Result<Self> {
        let key = key_of(key);
        match super::value::encode(value) {
            Ok(value) => Ok(Self { key, value: Some(value), ..Self::to_topic(topic) }),
            Err(source) => Err(TemplateError::Encode { topic, partition: None, key, source }),
        }
    }

    /// The record, out of a place where nobody needs it any more.
    pub(super) fn take(&mut self) -> Self {
        let topic = self.topic;
        std::mem::replace(self, Self::to_topic(topic))
    }

    /// Its key; see [`AsKey`].
    pub fn key(mut self, key: impl AsKey) -> Self {
        self.key = key_of(key);
        self
    }

    /// Its value, as [`Template::send`](super::Template::send) writes it: text and bytes (see [`Template`](super::Template)) as
    /// they are, everything else as JSON.
    ///
    /// # Errors
    /// It has no JSON form (a map whose keys are no strings, for example).
    pub fn value<V: Serialize + ?Sized>(self, value: &V) -> Result<Self> {
        self.with(super::value::encode(value))
    }

    /// Its value, as JSON whatever it is: text in quotes, as Spring's `JsonSerializer` writes it.
    ///
    /// # Errors
    /// As [`Record::value`].
    pub fn json<V: Serialize + ?Sized>(self, value: &V) -> Result<Self> {
        self.with(super::value::to_json(value))
    }

    fn with(mut self, value: serde_json::Result<Vec<u8>>) -> Result<Self> {
        match value {
            Ok(value) => {
                self.value = Some(value);
                Ok(self)
            }
            Err(source) => {
                let Self { topic, partition, key, .. } = self;
                Err(TemplateError::Encode { topic, partition, key, source })
            }
        }
    }

    /// Its value, as text.
    pub fn text(self, text: impl AsRef<str>) -> Self {
        self.bytes(buffers::copy(text.as_ref().as_bytes()))
    }

    /// Its value, as it is.
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.value = Some(bytes.into());
        self
    }

    /// A null value: in a compacted topic, the deletion of the key.
    pub fn tombstone(mut self) -> Self {
        self.value = None;
        self
    }

    /// Adds a header. Order and duplicates are kept.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), Some(value.as_ref().to_vec())));
        self
    }

    /// Adds a header whose value is null.
    pub fn header_null(mut self, name: impl Into<String>) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    /// Its partition; without it the key decides.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Its timestamp in milliseconds since 1970; without it, now.
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.timestamp = Some(millis);
        self
    }

    /// Adds Spring's `__TypeId__` header, by which its `JsonDeserializer` finds the class: a class name of the receiving
    /// side, or an alias of its `spring.json.type.mapping`.
    pub fn type_id(self, name: impl AsRef<str>) -> Self {
        self.header("__TypeId__", name.as_ref())
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> TopicName {
        self.topic
    }

    /// The key's bytes; `None` is null.
    #[must_use]
    pub fn key_bytes(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The value's bytes; `None` is a tombstone.
    #[must_use]
    pub fn value_bytes(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Bytes that it keeps, roughly.
    pub(super) fn size(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        size_of::<Self>() + length(&self.key) + length(&self.value) + headers
    }

    /// It is in its batch, and nobody looks at it again: its buffers are for the records that come next.
    pub(super) fn recycle(&mut self) {
        self.headers = Vec::new();
        // The key's comes back first.
        [self.value.take(), self.key.take()].into_iter().flatten().for_each(buffers::give_back);
    }

    /// The record as an error gives it back.
    pub(super) fn unsent(&self) -> Unsent {
        Unsent::of(&self.outgoing(&self.header_views()))
    }

    pub(super) fn header_views(&self) -> HeaderViews<'_> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
    }

    pub(super) fn outgoing<'a>(&'a self, headers: &'a HeaderViews<'a>) -> Outgoing<'a> {
        Outgoing {
            topic: self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

fn key_of(key: impl AsKey) -> Option<Vec<u8>> {
    key.as_key().map(|key| match key {
        Cow::Borrowed(key) => buffers::copy(key),
        Cow::Owned(key) => key,
    })
}

/// The record that an error gives back, as it was: without the partition that the partitioner chose.
impl From<&Unsent> for Record {
    fn from(unsent: &Unsent) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self {
            topic: unsent.topic(),
            partition: unsent.named_partition(),
            timestamp: unsent.timestamp(),
            key: owned(unsent.key()),
            value: owned(unsent.value()),
            headers: unsent.headers().map(|(name, value)| (name.to_owned(), owned(value))).collect(),
        }
    }
}
