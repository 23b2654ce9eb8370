//! A returned value with what else its record is to have.

use crate::template::{AsKey, Record};

/// A value that a listener returns to be sent on (`send_to`, `reply`), with a key, headers or a partition of its own.
/// Without these, a value alone will do.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// # #[derive(Deserialize)] struct Order { customer: String, tenant: String }
/// # #[derive(Serialize)] struct Enriched;
/// #[kafka_listener(topic = "orders", group = "enrich", send_to = "enriched")]
/// async fn enrich(order: Order) -> Outgoing<Enriched> {
///     Outgoing::new(Enriched).key(&order.customer).header("tenant", order.tenant)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it is sent when the listener returns it"]
pub struct Outgoing<T> {
    pub(super) value: Option<T>,
    pub(super) own: Own,
}

/// What a record has instead of what its source gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Own {
    /// `Some(None)` is a null key.
    key: Option<Option<Vec<u8>>>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl<T> Outgoing<T> {
    /// The value, with the key of the record that it comes from until [`Outgoing::key`] says another.
    pub fn new(value: T) -> Self {
        Self { value: Some(value), own: Own::default() }
    }

    /// A null value: in a compacted topic, the deletion of the key.
    pub fn tombstone() -> Self {
        Self { value: None, own: Own::default() }
    }

    /// Its key; see [`AsKey`]. `()` is null.
    pub fn key(mut self, key: impl AsKey) -> Self {
        self.own.key = Some(key.as_key().map(std::borrow::Cow::into_owned));
        self
    }

    /// Its partition; without it the key decides.
    pub fn partition(mut self, partition: i32) -> Self {
        self.own.partition = Some(partition);
        self
    }

    /// Its timestamp in milliseconds since 1970; without it, now.
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.own.timestamp = Some(millis);
        self
    }

    /// Adds a header. Order and duplicates are kept.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.own.headers.push((name.into(), Some(value.as_ref().to_vec())));
        self
    }

    /// Adds a header whose value is null.
    pub fn header_null(mut self, name: impl Into<String>) -> Self {
        self.own.headers.push((name.into(), None));
        self
    }
}

impl<T> From<T> for Outgoing<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl Own {
    /// The record with all of this, and otherwise with `key`.
    pub(super) fn put_on(&self, record: Record, key: Option<&[u8]>) -> Record {
        let Self { key: own, partition, timestamp, headers } = self;
        let key = own.as_ref().map_or(key, |own| own.as_deref());
        let mut record = record.key(key);
        if let Some(partition) = partition {
            record = record.partition(*partition);
        }
        if let Some(timestamp) = timestamp {
            record = record.timestamp(*timestamp);
        }
        headers.iter().fold(record, |record, (name, value)| match value {
            Some(value) => record.header(name, value),
            None => record.header_null(name),
        })
    }
}
