//! Reading a piece of one partition, without a group.

use std::ops::{Bound, Deref};
use std::time::Duration;

use bytes::Bytes;
use kafka_client::config::{ConsumerConfig, OffsetReset, StartAt, Subscription};
use kafka_client::consumer::{ChunkBatch, Consumer, ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::records::Record as RecordView;
use kafka_client::{Client, Error, TopicPartition};
use serde::de::DeserializeOwned;

use super::{Result, TemplateError};

/// Records of one page at most.
const PAGE: usize = 10_000;

/// Records of one partition, in order. A slice of them, and an iterator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    records: Vec<Received>,
    next: Option<i64>,
}

impl Page {
    /// Where the next page begins, if there is more than this one.
    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.next
    }
}

impl Deref for Page {
    type Target = [Received];
    fn deref(&self) -> &[Received] {
        &self.records
    }
}

impl<'a> IntoIterator for &'a Page {
    type Item = &'a Received;
    type IntoIter = std::slice::Iter<'a, Received>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Page {
    type Item = Received;
    type IntoIter = std::vec::IntoIter<Received>;
    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

/// A record that was received. It shares the memory of the answer that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    partition: TopicPartition,
    offset: i64,
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
}

impl Received {
    pub(super) fn of(partition: TopicPartition, batch: &ChunkBatch, record: &RecordView<'_>) -> Self {
        let owned = |part: &[u8]| batch.batch().slice_of(part);
        Self {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(owned),
            value: record.value.map(owned),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.into(), header.value.map(owned)))
                .collect(),
        }
    }

    /// Its topic and partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.partition
    }
    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }
    /// Milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }
    /// Its key; `None` is null.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }
    /// Its value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
    /// Its value as text; `None` for a tombstone and for what is no UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value()?).ok()
    }
    /// Its headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }
    /// Its value as a `T`, as a listener's payload of this type reads it: text and bytes (`String`, `Vec<u8>`, `Bytes`) as they
    /// are, everything else from JSON. A tombstone is `null`, so an `Option` of what is JSON takes both.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        self.decoded(super::value::decode(self.value()))
    }
    /// Its value from JSON, whatever the type: text stands in quotes. A tombstone is `null`.
    ///
    /// # Errors
    /// It is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.decoded(crate::json::from_slice(self.value().unwrap_or(b"null")))
    }

    fn decoded<T>(&self, value: serde_json::Result<T>) -> Result<T> {
        let (partition, offset) = (self.partition, self.offset);
        value.map_err(|source| TemplateError::Decode { partition, offset, source })
    }
}

/// Reads `range` of a partition as far as it goes now.
pub(super) async fn receive(
    client: &Client,
    topic: &str,
    partition: i32,
    range: (Bound<i64>, Bound<i64>),
    patience: Duration,
) -> Result<Page> {
    let partition = TopicPartition::new(topic, partition);
    let failed = |source| TemplateError::Receive { partition, source };
    let (first, end) = bounds(client, partition, range).await.map_err(failed)?;
    let mut reading = Reading { partition, next: first, end, records: Vec::new() };
    if first < end {
        let subscription = Subscription::Partitions(vec![(partition, StartAt::Offset(first))]);
        // What was deleted meanwhile is passed over.
        let config = ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            allow_auto_create_topics: false,
            ..ConsumerConfig::new(subscription)
        };
        let mut consumer = client.consumer(config).map_err(failed)?;
        let mut stream = reading.stream(&mut consumer, patience).await?;
        while reading.wants_more() {
            match tokio::time::timeout(patience, stream.next()).await {
                Ok(Some(item)) => reading.take(item)?,
                Ok(None) => return Err(failed(Error::Closed)),
                Err(_) => return Err(reading.silence(patience, None)),
            }
        }
    }
    let next = Some(reading.next).filter(|next| *next < end);
    Ok(Page { records: reading.records, next })
}

/// The first offset, and the one after the last.
async fn bounds(
    client: &Client,
    partition: TopicPartition,
    (start, end): (Bound<i64>, Bound<i64>),
) -> kafka_client::Result<(i64, i64)> {
    let admin = client.admin();
    let at = |at| {
        let admin = &admin;
        async move {
            let found = admin.list_offsets(&[(partition, at)]).await?;
            found.into_iter().next().map_or(Err(Error::Closed), |(_, offset)| offset)
        }
    };
    let first = match start {
        Bound::Included(offset) => offset,
        Bound::Excluded(offset) => offset.saturating_add(1),
        Bound::Unbounded => at(StartAt::Beginning).await?,
    };
    let last = at(StartAt::End).await?;
    let end = match end {
        Bound::Included(offset) => offset.saturating_add(1),
        Bound::Excluded(offset) => offset,
        Bound::Unbounded => i64::MAX,
    };
    Ok((first, end.min(last)))
}

struct Reading {
    partition: TopicPartition,
    next: i64,
    end: i64,
    records: Vec<Received>,
}

impl Reading {
    fn wants_more(&self) -> bool {
        self.next < self.end && self.records.len() < PAGE
    }

    async fn stream(&self, consumer: &mut Consumer, patience: Duration) -> Result<PartitionStream> {
        let mut because = None;
        loop {
            let event = match tokio::time::timeout(patience, consumer.next()).await {
                Ok(event) => event,
                Err(_) => return Err(self.silence(patience, because)),
            };
            let failed = |source| TemplateError::Receive { partition: self.partition, source };
            match event {
                Some(ConsumerEvent::Assigned(streams)) => {
                    if let Some(stream) = streams.into_iter().next() {
                        return Ok(stream);
                    }
                }
                Some(ConsumerEvent::Problem(problem)) => because = Some(problem.to_string()),
                Some(ConsumerEvent::Fatal(error)) => return Err(failed(error)),
                Some(_) => {}
                None => return Err(failed(Error::Closed)),
            }
        }
    }

    fn take(&mut self, item: StreamItem) -> Result<()> {
        let partition = self.partition;
        let failed = |source| TemplateError::Receive { partition, source };
        let mut chunk = match item {
            StreamItem::Chunk(chunk) => chunk,
            StreamItem::Moved(start) => {
                self.next = self.next.max(start.offset);
                return Ok(());
            }
            StreamItem::Failed(error) => return Err(failed(error)),
            _ => return Ok(()),
        };
        while self.wants_more() {
            let offset = self.next;
            let unreadable = |reason: String| failed(Error::Records { partition, offset, reason });
            match chunk.next_batch().map_err(|error| unreadable(error.to_string()))? {
                Some(batch) => self.read(&batch).map_err(unreadable)?,
                None => break,
            }
        }
        Ok(())
    }

    fn read(&mut self, batch: &ChunkBatch) -> Result<(), String> {
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            if record.offset < self.next {
                continue;
            }
            if !self.wants_more() || record.offset >= self.end {
                self.next = record.offset;
                return Ok(());
            }
            self.records.push(Received::of(self.partition, batch, &record));
            self.next = record.offset + 1;
        }
        self.next = batch.next_offset();
        Ok(())
    }

    fn silence(&self, waited: Duration, because: Option<String>) -> TemplateError {
        TemplateError::Silence { partition: self.partition, offset: self.next, waited, because }
    }
}
