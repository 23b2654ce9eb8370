//! Batches of payloads.

use std::fmt;
use std::ops::Deref;

use kafka_client::TopicPartition;
use kafka_client::consumer::ChunkBatch;
use kafka_client::records::{HeadersView, Record};

use super::delivery::RecordPlace;
use super::extract::FromDelivery;
use super::handler::NOTHING;
use super::key::{FromKey, Key};
use super::metadata::Metadata;
use super::part::{PartName, PartRejection};
use super::{BatchDelivery, Delivery};

/// The payloads of a batch, in order, as a slice; and with [`Batch::items`], each with its key, headers and metadata.
///
/// It owns what it needs (the records' memory is shared, not copied), so that it can be kept and moved.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// #[derive(Deserialize)]
/// struct Click { page: String }
///
/// #[kafka_listener(topic = "clicks", group = "warehouse", batch)]
/// async fn store(clicks: Batch<Click>) -> Result<(), BatchError<String>> {
///     for (index, click) in clicks.items().enumerate() {
///         let user: Key<&str> = click.key().map_err(|error| BatchError::at(index, error.to_string()))?;
///         println!("{user} saw {} at offset {}", click.page, click.metadata().offset());
///     }
///     Ok(())
/// }
/// ```
pub struct Batch<T> {
    payloads: Vec<T>,
    places: Vec<Place>,
    batches: Vec<ChunkBatch>,
    origin: Origin,
}

/// Where a record of a batch lies: which of its batches of the wire, and where in that.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    position: usize,
}

/// What all records of a batch have in common.
#[derive(Debug, Clone, Copy)]
struct Origin {
    partition: TopicPartition,
    listener: &'static str,
    attempt: u32,
}

impl<T> Batch<T> {
    /// The payloads alone.
    #[must_use]
    pub fn into_payloads(self) -> Vec<T> {
        self.payloads
    }

    /// The topic and partition that all of them come from.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.origin.partition
    }

    /// Each payload with what else its record has.
    pub fn items(&self) -> impl ExactSizeIterator<Item = BatchItem<'_, T>> + DoubleEndedIterator {
        self.payloads.iter().enumerate().map(|(index, payload)| BatchItem { payload, index, batch: self })
    }

    /// The record at `index`, as it was delivered.
    fn delivery(&self, index: usize) -> Option<Delivery<'_>> {
        let Place { batch, position } = *self.places.get(index)?;
        let batch = self.batches.get(batch)?;
        // The record was read before, so it can be read again.
        let record = batch.batch().record_at(position).ok()?;
        let Origin { partition, listener, attempt } = self.origin;
        Some(Delivery { record, batch, partition, listener, attempt, acks: None, outbox: None, tx: None })
    }

    /// Room for the payloads of `delivery`.
    pub(super) fn for_delivery(delivery: &BatchDelivery<'_>) -> Self {
        let BatchDelivery { records, partition, listener, attempt, .. } = *delivery;
        Self {
            payloads: Vec::with_capacity(records.len()),
            places: Vec::with_capacity(records.len()),
            batches: Vec::new(),
            origin: Origin { partition, listener, attempt },
        }
    }

    /// Adds the payload of `record`. `is_new` says that the one before came from another batch of the wire.
    pub(super) fn add(&mut self, payload: T, record: &Record<'_>, batch: &ChunkBatch, is_new: bool) {
        self.payloads.push(payload);
        if is_new {
            self.batches.push(batch.clone());
        }
        self.places.push(Place { batch: self.batches.len().saturating_sub(1), position: record.position });
    }
}

/// A batch that was never on a wire, to call a handler in a test of its own: its items have no key and no headers,
/// and their offsets count from 0.
impl<T> From<Vec<T>> for Batch<T> {
    fn from(payloads: Vec<T>) -> Self {
        let origin = Origin { partition: TopicPartition::new("", 0), listener: "", attempt: 1 };
        Self { payloads, places: Vec::new(), batches: Vec::new(), origin }
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.payloads
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.payloads.into_iter()
    }
}

impl<'b, T> IntoIterator for &'b Batch<T> {
    type Item = &'b T;
    type IntoIter = std::slice::Iter<'b, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.payloads.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("partition", &self.origin.partition)
            .field("payloads", &self.payloads)
            .finish_non_exhaustive()
    }
}

/// One payload of a [`Batch`], with what else its record has. Derefs to the payload.
pub struct BatchItem<'b, T> {
    payload: &'b T,
    index: usize,
    batch: &'b Batch<T>,
}

impl<'b, T> BatchItem<'b, T> {
    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &'b T {
        self.payload
    }

    /// The record's key, as the argument `Key<K>` of a record listener would be.
    ///
    /// # Errors
    /// It is null or not a `K`.
    pub fn key<K: FromKey<'b>>(&self) -> Result<Key<K>, PartRejection> {
        match self.batch.delivery(self.index) {
            Some(delivery) => Key::from_delivery(&delivery, &NOTHING),
            None => K::from_key(None).map(Key).map_err(|problem| {
                let place =
                    RecordPlace { partition: self.batch.partition(), offset: self.made_up().offset() };
                PartRejection::new::<K>(PartName::Key, place, problem, None)
            }),
        }
    }

    /// The record's headers.
    #[must_use]
    pub fn headers(&self) -> HeadersView<'b> {
        self.batch.delivery(self.index).map(|delivery| delivery.record.headers).unwrap_or_default()
    }

    /// The record's own metadata.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        match self.batch.delivery(self.index) {
            Some(delivery) => Metadata::of(&delivery),
            None => self.made_up(),
        }
    }

    /// Metadata of a batch that was never on a wire.
    fn made_up(&self) -> Metadata {
        let TopicPartition { topic, partition } = self.batch.origin.partition;
        Metadata::at(topic.as_str(), partition, i64::try_from(self.index).unwrap_or(i64::MAX))
    }
}

impl<T> Deref for BatchItem<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.payload
    }
}

impl<T: fmt::Debug> fmt::Debug for BatchItem<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchItem")
            .field("payload", self.payload)
            .field("metadata", &self.metadata())
            .finish_non_exhaustive()
    }
}
