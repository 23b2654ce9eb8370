//! The outcome of a batch, shared by all of its records: no channel and no allocation per record.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::unsent::{Contents, contents_of};
use super::{RecordMetadata, SendError, Unsent};
use crate::ids::TopicPartition;

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    Written {
        /// Offset of the first record; -1 where the broker did not say.
        base_offset: i64,
        log_append_time: Option<i64>,
    },
    Failed(SendError),
    /// Some records were named as the reason, by their place in the batch; the rest fail because of them.
    Blamed {
        records: HashMap<i32, SendError>,
        rest: SendError,
    },
    /// It was too large and went on in parts, each with the place of its first record.
    Split(Vec<(i32, Arc<Receipt>)>),
}

/// Where the outcome will be.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    outcome: OnceLock<Outcome>,
    waiting: Mutex<Vec<Waker>>,
    kept: Mutex<Kept>,
}

/// What a failure gives back.
#[derive(Default)]
enum Kept {
    /// Nothing: the batch is not built yet, or it did not fail.
    #[default]
    Nothing,
    Batch(Bytes),
    /// Read out of the batch when the first record was given back.
    Records(Vec<Arc<Contents>>),
}

impl std::fmt::Debug for Kept {
    /// Without the records, which may hold anybody's secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Batch(_) => "the batch",
            Self::Records(_) => "its records",
        })
    }
}

impl Receipt {
    /// Keeps the batch as long as it may fail.
    pub(super) fn keep(&self, batch: Bytes) {
        *self.kept() = Kept::Batch(batch);
    }

    /// What a record of a batch that failed was.
    fn give_back(&self, index: i32) -> Option<Arc<Contents>> {
        let mut kept = self.kept();
        if let Kept::Batch(batch) = &mut *kept {
            *kept = Kept::Records(contents_of(std::mem::take(batch)));
        }
        let Kept::Records(records) = &*kept else { return None };
        records.get(usize::try_from(index).ok()?).map(Arc::clone)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the outcome; the first one stays.
    pub(super) fn complete(&self, outcome: Outcome) {
        let failed = matches!(outcome, Outcome::Failed(_) | Outcome::Blamed { .. });
        if self.outcome.set(outcome).is_ok() {
            if !failed {
                *self.kept() = Kept::Nothing;
            }
            let waiting = std::mem::take(&mut *self.waiting());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// The outcome, or the waker is kept; `place` is where it is kept, so that polling again keeps no second one.
    fn poll(&self, place: &mut Option<usize>, context: &Context<'_>) -> Poll<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiting = self.waiting();
        // It may have been set before the lock was taken, and then nobody would wake us.
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        match place.and_then(|place| waiting.get_mut(place)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                *place = Some(waiting.len());
                waiting.push(context.waker().clone());
            }
        }
        Poll::Pending
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record's delivery: the result comes when its batch has one. Clones have the same.
#[derive(Debug)]
#[must_use = "a record may fail after it was enqueued"]
pub struct Delivery {
    receipt: Arc<Receipt>,
    /// The record's place in the batch.
    index: i32,
    partition: TopicPartition,
    timestamp: i64,
    /// Whether the record named its partition.
    named: bool,
    place: Option<usize>,
}

impl Clone for Delivery {
    fn clone(&self) -> Self {
        // Not the place, which is of one waker.
        Self { receipt: Arc::clone(&self.receipt), place: None, ..*self }
    }
}

impl Delivery {
    /// `named` says whether the record named its partition.
    pub(super) fn new(
        receipt: Arc<Receipt>,
        index: i32,
        partition: TopicPartition,
        timestamp: i64,
        named: bool,
    ) -> Self {
        Self { receipt, index, partition, timestamp, named, place: None }
    }

    /// The record, given back.
    fn unsent(&self) -> Unsent {
        Unsent::in_batch(self.partition, self.named, self.receipt.give_back(self.index))
    }

    /// Where the record goes to. Its offset is known when it is delivered.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// The part of a split batch that has the record, and its place there.
    fn part(&self, parts: &[(i32, Arc<Receipt>)]) -> Option<(Arc<Receipt>, i32)> {
        let (first, receipt) = parts.iter().rev().find(|(first, _)| *first <= self.index)?;
        Some((Arc::clone(receipt), self.index - first))
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut place = self.place;
            let result = match self.receipt.poll(&mut place, context) {
                Poll::Pending => None,
                Poll::Ready(Outcome::Failed(error)) => Some(Err(error.clone().of(self.unsent()))),
                Poll::Ready(Outcome::Blamed { records, rest }) => {
                    Some(Err(records.get(&self.index).unwrap_or(rest).clone().of(self.unsent())))
                }
                Poll::Ready(Outcome::Written { base_offset, log_append_time }) => Some(Ok(RecordMetadata {
                    partition: self.partition,
                    offset: if *base_offset < 0 { -1 } else { base_offset + i64::from(self.index) },
                    timestamp: log_append_time.unwrap_or(self.timestamp),
                })),
                Poll::Ready(Outcome::Split(parts)) => match self.part(parts) {
                    None => Some(Err(SendError::Closed { record: self.unsent(), doubtful: true })),
                    Some((receipt, index)) => {
                        (self.receipt, self.index, self.place) = (receipt, index, None);
                        continue;
                    }
                },
            };
            self.place = place;
            return result.map_or(Poll::Pending, Poll::Ready);
        }
    }
}

/// Waits until each of these batches has an outcome, parts of split ones included: the first failure among them.
#[derive(Debug)]
pub(super) struct Settled {
    open: Vec<(Arc<Receipt>, Option<usize>)>,
    failure: Option<SendError>,
}

impl Settled {
    pub(super) fn new(receipts: Vec<Arc<Receipt>>) -> Self {
        Self { open: receipts.into_iter().map(|receipt| (receipt, None)).collect(), failure: None }
    }

    /// How many batches are still waited for.
    pub(super) fn left(&self) -> usize {
        self.open.iter().filter(|(receipt, _)| !receipt.is_complete()).count()
    }
}

impl Future for Settled {
    type Output = Option<SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { open, failure } = &mut *self;
        while let Some((receipt, place)) = open.last_mut() {
            let parts = match receipt.poll(place, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Outcome::Split(parts)) => {
                    parts.iter().map(|(_, part)| (Arc::clone(part), None)).collect()
                }
                Poll::Ready(Outcome::Written { .. }) => Vec::new(),
                Poll::Ready(Outcome::Failed(error) | Outcome::Blamed { rest: error, .. }) => {
                    failure.get_or_insert_with(|| error.clone());
                    Vec::new()
                }
            };
            open.pop();
            open.extend(parts);
        }
        Poll::Ready(failure.take())
    }
}
