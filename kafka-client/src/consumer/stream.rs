//! The reading end of one partition.

use std::sync::Arc;

use super::{LogEnd, Start, StreamItem};
use crate::fetch::slot::Slot;
use crate::ids::TopicPartition;

/// The reading end of one partition. Fetching for it goes on only as fast as it is read; dropping it ends that.
#[derive(Debug)]
pub struct PartitionStream {
    slot: Arc<Slot>,
    start: Start,
}

impl PartitionStream {
    pub(crate) fn new(slot: Arc<Slot>, start: Start) -> Self {
        Self { slot, start }
    }

    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.slot.partition()
    }

    /// Where reading begins: the committed offset or what the reset policy chose.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Where the partition's log ends, kept up to date by its fetches.
    #[must_use]
    pub fn log_end(&self) -> Arc<LogEnd> {
        Arc::clone(self.slot.log_end())
    }

    /// The next chunk; `None` when the partition has ended (revoked, lost, closed). Cancel-safe.
    pub async fn next(&mut self) -> Option<StreamItem> {
        std::future::poll_fn(|context| self.slot.poll_next(context)).await
    }

    /// Whether [`PartitionStream::try_next`] has something.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.slot.has_items()
    }

    /// A chunk that is there already.
    pub fn try_next(&mut self) -> Option<StreamItem> {
        self.slot.try_next()
    }
}

impl Drop for PartitionStream {
    fn drop(&mut self) {
        self.slot.end();
    }
}
