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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(epoch: i16, base_sequence: i32, count: i32) -> Stamp {
        let last_sequence = add_to_sequence(base_sequence, count - 1);
        Stamp { producer_id: 1, epoch, base_sequence, last_sequence }
    }

    fn at(base_offset: i64) -> Written {
        Written { base_offset, append_time: -1 }
    }

    #[test]
    fn a_new_epoch_begins_at_0_and_fences_the_old() {
        let mut producers = Producers::default();
        producers.written(stamp(0, 0, 3), at(0));
        assert_eq!(producers.check(stamp(1, 3, 1)), Verdict::OutOfOrder);
        assert_eq!(producers.check(stamp(1, 0, 1)), Verdict::Append);
        producers.written(stamp(1, 0, 1), at(3));
        assert_eq!(producers.check(stamp(0, 3, 1)), Verdict::Fenced);
        assert_eq!(producers.check(stamp(1, 1, 1)), Verdict::Append);
    }

    #[test]
    fn a_producer_that_is_not_known_may_start_anywhere() {
        assert_eq!(Producers::default().check(stamp(3, 17, 1)), Verdict::Append);
    }

    proptest! {
        /// One producer that sends in order, repeats and skips, from a sequence near the wrap on.
        #[test]
        fn repeats_are_answered_again_and_gaps_refused(
            start in prop::sample::select(vec![0, 100, i32::MAX - 20, i32::MAX]),
            steps in prop::collection::vec((0usize..9, 1i32..5), 1..60),
        ) {
            let mut producers = Producers::default();
            let mut written: Vec<(Stamp, Written)> = Vec::new();
            let (mut next, mut offset) = (start, 0);
            for (step, count) in steps {
                match written.len().checked_sub(step) {
                    // Mostly the next batch.
                    _ if step == 0 || step > 6 => {
                        let batch = stamp(0, next, count);
                        prop_assert_eq!(producers.check(batch), Verdict::Append);
                        producers.written(batch, at(offset));
                        written.push((batch, at(offset)));
                        next = add_to_sequence(next, count);
                        offset += i64::from(count);
                    }
                    // One of those before: known if it is among the last five.
                    Some(index) => {
                        let (batch, place) = written[index];
                        let expected = if step <= 5 { Verdict::Duplicate(place) } else { Verdict::OutOfOrder };
                        prop_assert_eq!(producers.check(batch), expected);
                    }
                    // A gap, once there is something to have a gap behind.
                    None if !written.is_empty() => {
                        let gap = stamp(0, add_to_sequence(next, count), 1);
                        prop_assert_eq!(producers.check(gap), Verdict::OutOfOrder);
                    }
                    None => {}
                }
            }
        }
    }
}
