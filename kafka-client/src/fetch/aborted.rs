//! Which batches belong to an aborted transaction, by the broker's list of them; pure.
//!
//! The answer to a `read_committed` fetch names each transaction that was aborted among what it holds: the producer,
//! and the offset where it began. From there on that producer's transactional batches are not for a reader, up to its
//! abort marker. A producer's later transaction in the same answer is judged by itself.

use std::collections::VecDeque;

use crate::fetch::Set;
use crate::records::BatchHeader;

/// The transactions of one partition's part of an answer.
#[derive(Debug, Default)]
pub(crate) struct Aborted {
    /// First offset and producer, in the order of offsets.
    upcoming: VecDeque<(i64, i64)>,
    /// Producers whose transaction at this place was aborted.
    producers: Set<i64>,
}

impl Aborted {
    /// `transactions` as (producer, first offset), in any order.
    pub(crate) fn new(transactions: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut upcoming: Vec<_> =
            transactions.into_iter().map(|(producer, first)| (first, producer)).collect();
        upcoming.sort_unstable();
        Self { upcoming: upcoming.into(), producers: Set::default() }
    }

    /// Whether the batch is part of an aborted transaction. To be asked for each batch, in order.
    pub(crate) fn covers(&mut self, batch: &BatchHeader) -> bool {
        while let Some((first, producer)) = self.upcoming.front().copied()
            && first <= batch.last_offset
        {
            self.upcoming.pop_front();
            self.producers.insert(producer);
        }
        batch.is_transactional && self.producers.contains(&batch.producer_id)
    }

    /// The batch is an abort marker: its producer's transaction ends here.
    pub(crate) fn ended(&mut self, marker: &BatchHeader) {
        self.producers.remove(&marker.producer_id);
    }
}
