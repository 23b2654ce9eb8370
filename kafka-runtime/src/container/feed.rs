//! A partition's stream, opened batch by batch.

use std::future::Future;

use kafka_client::Error;
use kafka_client::consumer::{Chunk, ChunkBatch, PartitionStream, Start, StreamItem};

/// Where chunks come from.
pub(crate) trait Source: Send + 'static {
    /// The next item, `None` at the end. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<StreamItem>> + Send;
    /// An item that is there already.
    fn try_next(&mut self) -> Option<StreamItem>;
}

impl Source for PartitionStream {
    async fn next(&mut self) -> Option<StreamItem> {
        PartitionStream::next(self).await
    }
    fn try_next(&mut self) -> Option<StreamItem> {
        PartitionStream::try_next(self)
    }
}

/// What a partition has next.
#[derive(Debug)]
pub(crate) enum Fed {
    /// A batch that handlers should see.
    Batch(ChunkBatch),
    /// Nothing for handlers up to this offset (control, aborted, compacted away).
    Passed { next: i64, leader_epoch: i32 },
    /// The position jumped.
    Moved(Start),
    /// The partition cannot be read on. It stays assigned; the client says `Moved` when it can again.
    Failed(Error),
    /// A batch that cannot be opened; what comes behind it must not be read.
    Unreadable { offset: i64, cause: String },
    /// The partition has ended.
    Ended,
}

/// A stream with the chunk in hand.
#[derive(Debug)]
pub(crate) struct Feed<S> {
    /// `None` once nothing more is wanted: fetching for it has ended.
    source: Option<S>,
    chunk: Option<Chunk>,
    put_back: Option<Fed>,
}

impl<S: Source> Feed<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source: Some(source), chunk: None, put_back: None }
    }

    /// What is there already.
    pub(crate) fn ready(&mut self) -> Option<Fed> {
        if let Some(fed) = self.put_back.take() {
            return Some(fed);
        }
        loop {
            if let Some(fed) = self.open_chunk() {
                return Some(fed);
            }
            let item = self.source.as_mut()?.try_next()?;
            if let Some(fed) = self.take(item) {
                return Some(fed);
            }
        }
    }

    /// It was not time for this yet: it comes next.
    pub(crate) fn put_back(&mut self, fed: Fed) {
        self.put_back = Some(fed);
    }

    /// Waits for what comes next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Fed {
        loop {
            if let Some(fed) = self.ready() {
                return fed;
            }
            let item = match &mut self.source {
                Some(source) => source.next().await,
                None => None,
            };
            let Some(item) = item else { return Fed::Ended };
            if let Some(fed) = self.take(item) {
                return fed;
            }
        }
    }

    /// What is left of the chunk in hand is not wanted: the position has jumped.
    pub(crate) fn skip_chunk(&mut self) {
        (self.chunk, self.put_back) = (None, None);
    }

    /// Nothing more is wanted.
    pub(crate) fn end(&mut self) {
        (self.source, self.chunk, self.put_back) = (None, None, None);
    }

    fn take(&mut self, item: StreamItem) -> Option<Fed> {
        match item {
            StreamItem::Chunk(chunk) => {
                self.chunk = Some(chunk);
                None
            }
            StreamItem::Moved(start) => Some(Fed::Moved(start)),
            StreamItem::Failed(error) => Some(Fed::Failed(error)),
            // An item of a later client says nothing to this loop.
            _ => None,
        }
    }

    fn open_chunk(&mut self) -> Option<Fed> {
        let chunk = self.chunk.as_mut()?;
        match chunk.next_batch() {
            Ok(Some(batch)) if batch.is_visible() => Some(Fed::Batch(batch)),
            Ok(Some(batch)) => {
                let leader_epoch = batch.batch().header().leader_epoch;
                Some(Fed::Passed { next: batch.next_offset(), leader_epoch })
            }
            Ok(None) => {
                self.chunk = None;
                None
            }
            Err(error) => {
                let fed = Fed::Unreadable { offset: chunk.failed_at(), cause: error.to_string() };
                self.chunk = None;
                Some(fed)
            }
        }
    }
}
