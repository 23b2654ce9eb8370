//! What a partition remembers of producers with an id (KIP-98): which batches they wrote last, so that a repeated one
//! is answered again and a gap is refused; and which of them have a transaction open here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kafka_client::records::control::EndMarker;
use kafka_client::records::{BatchHeader, add_to_sequence};

use tokio::time::Instant;

use crate::transaction::Identity;

/// Batches remembered of each producer: as many as a client may have in flight.
const REMEMBERED: usize = 5;
/// No sequence.
const NONE: i32 = -1;

/// The producer's stamp on a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    by: Identity,
    base_sequence: i32,
    last_sequence: i32,
    timestamp: i64,
    transactional: bool,
}

impl Stamp {
    /// The stamp of a producer with an id, if it is one's batch.
    pub(crate) fn of(header: &BatchHeader) -> Option<Self> {
        (header.producer_id >= 0).then(|| Self {
            by: Identity { producer_id: header.producer_id, epoch: header.producer_epoch },
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            timestamp: header.max_timestamp,
            transactional: header.is_transactional,
        })
    }

    /// Whose batch it is.
    pub(crate) fn by(&self) -> Identity {
        self.by
    }
}

/// Where a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) base_offset: i64,
    pub(crate) append_time: i64,
}

/// What lets a producer write here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Its batch is part of no transaction, or of one that is open here.
    Plain,
    /// The coordinator was asked, and knows that the partition takes part (version 1).
    Verified,
    /// The coordinator was told that the partition takes part from now on (version 2).
    Added,
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
    /// INVALID_TXN_STATE: outside a transaction that is open, or in one of which the coordinator was not asked.
    WrongTransaction,
}

/// Why a marker is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerRefused {
    /// INVALID_PRODUCER_EPOCH
    ProducerFenced,
    /// TRANSACTION_COORDINATOR_FENCED
    CoordinatorFenced,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// Base sequence, last sequence, place; the latest last.
    batches: VecDeque<(i32, i32, Written)>,
    /// Where its open transaction begins.
    open_from: Option<i64>,
    /// The epoch of the coordinator that wrote the last marker, -1 before one has.
    coordinator_epoch: i32,
    last_timestamp: i64,
    used: Instant,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Self {
            epoch,
            batches: VecDeque::new(),
            open_from: None,
            coordinator_epoch: -1,
            last_timestamp: -1,
            used: Instant::now(),
        }
    }

    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NONE, |(_, last, _)| *last)
    }

    /// What it wrote in an earlier epoch does not count in this one.
    fn enter(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// A producer as DescribeProducers shows it; -1 stands for what there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActiveProducer {
    pub(crate) by: Identity,
    pub(crate) last_sequence: i32,
    pub(crate) last_timestamp: i64,
    pub(crate) coordinator_epoch: i32,
    pub(crate) open_from: i64,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: BTreeMap<i64, Producer>,
    /// Where open transactions begin.
    open: BTreeSet<i64>,
}

impl Producers {
    /// Whether a transaction of the producer is open here.
    pub(crate) fn is_open(&self, by: Identity) -> bool {
        let producer = self.known.get(&by.producer_id);
        producer.is_some_and(|producer| producer.open_from.is_some() && producer.epoch == by.epoch)
    }

    /// The first offset of the earliest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.first().copied()
    }

    /// Judges a batch. Nothing changes until [`Producers::written`].
    pub(crate) fn check(&self, stamp: Stamp, admission: Admission) -> Verdict {
        let producer = self.known.get(&stamp.by.producer_id);
        if let Some(written) = producer.and_then(|producer| duplicate(producer, stamp)) {
            return Verdict::Duplicate(written);
        }
        if stamp.transactional && admission == Admission::Plain && !self.is_open(stamp.by) {
            return Verdict::WrongTransaction;
        }
        let Some(producer) = producer else {
            // A producer that is not known here may start anywhere, since its records may have been deleted; but what
            // a transaction of version 2 begins with is known to be the first of its epoch.
            let begins = admission == Admission::Added && stamp.base_sequence != 0;
            return if begins { Verdict::OutOfOrder } else { Verdict::Append };
        };
        if stamp.by.epoch < producer.epoch {
            return Verdict::Fenced;
        }
        let expected = match stamp.by.epoch == producer.epoch {
            true if producer.last_sequence() != NONE => add_to_sequence(producer.last_sequence(), 1),
            _ => 0,
        };
        if stamp.base_sequence != expected {
            return Verdict::OutOfOrder;
        }
        match producer.open_from {
            Some(_) if !stamp.transactional => Verdict::WrongTransaction,
            _ => Verdict::Append,
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn written(&mut self, stamp: Stamp, written: Written) {
        let Identity { producer_id, epoch } = stamp.by;
        let producer = self.known.entry(producer_id).or_insert_with(|| Producer::new(epoch));
        producer.enter(epoch);
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back((stamp.base_sequence, stamp.last_sequence, written));
        producer.last_timestamp = stamp.timestamp.max(written.append_time);
        producer.used = Instant::now();
        if stamp.transactional && producer.open_from.is_none() {
            producer.open_from = Some(written.base_offset);
            self.open.insert(written.base_offset);
        }
    }

    /// Whether a marker may be written.
    pub(crate) fn check_marker(&self, marker: &EndMarker) -> Result<(), MarkerRefused> {
        match self.known.get(&marker.producer_id) {
            Some(producer) if marker.producer_epoch < producer.epoch => Err(MarkerRefused::ProducerFenced),
            Some(producer) if marker.coordinator_epoch < producer.coordinator_epoch => {
                Err(MarkerRefused::CoordinatorFenced)
            }
            _ => Ok(()),
        }
    }

    /// Remembers a marker that was appended; where the transaction began that it ends, if it had written anything.
    pub(crate) fn ended(&mut self, marker: &EndMarker) -> Option<i64> {
        let epoch = marker.producer_epoch;
        let producer = self.known.entry(marker.producer_id).or_insert_with(|| Producer::new(epoch));
        producer.enter(epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = marker.timestamp;
        producer.used = Instant::now();
        let began = producer.open_from.take()?;
        self.open.remove(&began);
        Some(began)
    }

    /// Forgets those without a transaction that did nothing for `age`: Kafka's `producer.id.expiration.ms`.
    pub(crate) fn forget_idle(&mut self, age: Duration) {
        self.known.retain(|_, producer| producer.open_from.is_some() || producer.used.elapsed() < age);
    }

    /// The epoch and the last batch's base offset of each producer, for compaction: `None` where the last was a marker.
    pub(crate) fn last_written(&self) -> BTreeMap<i64, (i16, Option<i64>)> {
        let last = |producer: &Producer| producer.batches.back().map(|(.., written)| written.base_offset);
        self.known.iter().map(|(id, producer)| (*id, (producer.epoch, last(producer)))).collect()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = ActiveProducer> {
        self.known.iter().map(|(id, producer)| ActiveProducer {
            by: Identity { producer_id: *id, epoch: producer.epoch },
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            open_from: producer.open_from.unwrap_or(-1),
        })
    }
}

/// Where the same batch was written before, if it is among those that are remembered.
fn duplicate(producer: &Producer, stamp: Stamp) -> Option<Written> {
    let same = |(base, last, written): &(i32, i32, Written)| {
        ((*base, *last) == (stamp.base_sequence, stamp.last_sequence)).then_some(*written)
    };
    if producer.epoch != stamp.by.epoch {
        return None;
    }
    producer.batches.iter().find_map(same)
}

#[cfg(test)]
mod tests;
