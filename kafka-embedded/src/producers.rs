//! What a partition remembers of idempotent producers (KIP-98): which batches they wrote last, so that a repeated
//! one is answered again and a gap is refused.

use std::collections::{HashMap, VecDeque};

use kafka_client::records::{BatchHeader, add_to_sequence};

/// Batches remembered of each producer: as many as a client may have in flight.
const REMEMBERED: usize = 5;

/// The producer's stamp on a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    producer_id: i64,
    epoch: i16,
    base_sequence: i32,
    last_sequence: i32,
}

impl Stamp {
    /// The stamp of an idempotent producer, if it is one's batch.
    pub(crate) fn of(header: &BatchHeader) -> Option<Self> {
        (header.producer_id >= 0).then(|| Self {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
        })
    }
}

/// Where a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) base_offset: i64,
    pub(crate) append_time: i64,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It was written before: answer as then.
    Duplicate(Written),
    /// OUT_OF_ORDER_SEQUENCE_NUMBER
    OutOfOrder,
    /// INVALID_PRODUCER_EPOCH: a later epoch has written here.
    Fenced,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// Base sequence, last sequence, place; the latest last.
    batches: VecDeque<(i32, i32, Written)>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers(HashMap<i64, Producer>);

impl Producers {
    /// Judges a batch. Nothing changes until [`Producers::written`].
    pub(crate) fn check(&self, stamp: Stamp) -> Verdict {
        // A producer that is not known here may start anywhere: its records may have been deleted.
        let Some(producer) = self.0.get(&stamp.producer_id) else { return Verdict::Append };
        if stamp.epoch < producer.epoch {
            return Verdict::Fenced;
        }
        if stamp.epoch > producer.epoch {
            return if stamp.base_sequence == 0 { Verdict::Append } else { Verdict::OutOfOrder };
        }
        let same =
            |batch: &&(i32, i32, Written)| (batch.0, batch.1) == (stamp.base_sequence, stamp.last_sequence);
        if let Some((_, _, written)) = producer.batches.iter().find(same) {
            return Verdict::Duplicate(*written);
        }
        match producer.batches.back() {
            Some((_, last, _)) if stamp.base_sequence != add_to_sequence(*last, 1) => Verdict::OutOfOrder,
            _ => Verdict::Append,
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn written(&mut self, stamp: Stamp, written: Written) {
        let producer = self
            .0
            .entry(stamp.producer_id)
            .or_insert_with(|| Producer { epoch: stamp.epoch, batches: VecDeque::new() });
        if producer.epoch != stamp.epoch {
            producer.epoch = stamp.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back((stamp.base_sequence, stamp.last_sequence, written));
    }
}
