//! Idempotence of one partition (KIP-98, KIP-360): which producer id, epoch and sequence its batches carry. Pure.
//!
//! A broker takes a batch only if its first sequence follows the last one it has of this producer id and epoch, and
//! remembers the last five batches: so repeated batches are not written twice, and later ones wait for earlier ones.
//! A batch that is given up leaves a gap that no later batch can pass. When the broker says so, the epoch is raised, by
//! the client itself as the Java client does it, and what is left starts again at sequence 0. But not before everything
//! older has its outcome: a batch whose answer was lost may have been written, and only its old stamp tells.
//!
//! In transactions the epoch belongs to the whole producer, not to a partition: it is raised between two transactions
//! (see [`super::transaction`]), when nothing is left of the one before, and all partitions begin at 0 again.

use crate::records::encode::ProducerStamp;

/// What InitProducerId gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// The sequences of one partition.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    identity: Option<Identity>,
    transactional: bool,
    next: i32,
    /// Whether a broker has taken a batch with this identity and epoch. Until then it takes any sequence as the
    /// first, even a later one when the first was lost: so the first goes alone.
    proven: bool,
    /// The order of the first batch that needs a new epoch, and whether the producer id is no good either.
    restart: Option<(u64, Restart)>,
}

/// How to go on after a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Restart {
    /// With the next epoch.
    Epoch,
    /// With another producer id: the broker has fenced this one.
    Identity,
}

/// A sequence `by` records later. After the largest comes 0.
pub(super) fn advance(sequence: i32, by: i32) -> i32 {
    // The sum of two non-negative numbers, without its sign bit, is the remainder by 2^31.
    sequence.wrapping_add(by) & i32::MAX
}

impl Sequences {
    pub(super) fn new(transactional: bool) -> Self {
        Self { transactional, ..Self::default() }
    }

    /// The stamp of the next batch. `None` without an identity.
    pub(super) fn stamp(&mut self, known: Option<Identity>, records: i32) -> Option<ProducerStamp> {
        let identity = match self.identity {
            Some(identity) if !self.transactional || known == Some(identity) => identity,
            _ => {
                let fresh = known?;
                (self.identity, self.next, self.proven) = (Some(fresh), 0, false);
                fresh
            }
        };
        let base_sequence = self.next;
        self.next = advance(base_sequence, records);
        Some(ProducerStamp {
            producer_id: identity.id,
            epoch: identity.epoch,
            base_sequence,
            transactional: self.transactional,
        })
    }

    /// A batch was taken.
    pub(super) fn prove(&mut self) {
        self.proven = true;
    }

    /// Whether several batches may be on their way.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// From the batch of this order on, another epoch is needed.
    pub(super) fn want_restart(&mut self, order: u64, how: Restart) {
        self.restart = Some(match self.restart {
            None => (order, how),
            Some((first, before)) => (first.min(order), before.max(how)),
        });
    }

    /// The first batch that must wait for another epoch.
    pub(super) fn restarts_at(&self) -> Option<u64> {
        self.restart.map(|(order, _)| order)
    }

    /// Starts again, when everything older has its outcome. Comes back with an identity that must not be used again.
    pub(super) fn restart(&mut self) -> Option<Identity> {
        let (_, how) = self.restart.take()?;
        (self.next, self.proven) = (0, false);
        match (self.identity, how) {
            (Some(Identity { id, epoch }), Restart::Epoch) if epoch < i16::MAX => {
                self.identity = Some(Identity { id, epoch: epoch + 1 });
                None
            }
            (used_up, _) => {
                self.identity = None;
                used_up
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<Identity> = Some(Identity { id: 7, epoch: 0 });

    fn stamp(sequences: &mut Sequences, records: i32) -> (i64, i16, i32) {
        let stamp = sequences.stamp(ONE, records).unwrap();
        (stamp.producer_id, stamp.epoch, stamp.base_sequence)
    }

    #[test]
    fn sequences_wrap_to_zero_inside_a_batch() {
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(advance(i32::MAX - 2, 10), 7);
        let mut sequences = Sequences::default();
        assert_eq!(sequences.stamp(None, 1), None);
        assert_eq!(stamp(&mut sequences, i32::MAX), (7, 0, 0));
        assert_eq!(stamp(&mut sequences, 5), (7, 0, i32::MAX));
        assert_eq!(stamp(&mut sequences, 5), (7, 0, 4));
    }

    #[test]
    fn a_restart_begins_at_zero_in_the_next_epoch() {
        let mut sequences = Sequences::default();
        stamp(&mut sequences, 10);
        sequences.want_restart(4, Restart::Epoch);
        sequences.want_restart(3, Restart::Epoch);
        assert_eq!(sequences.restarts_at(), Some(3));
        assert_eq!(sequences.restart(), None);
        assert_eq!(stamp(&mut sequences, 2), (7, 1, 0));
        assert_eq!(sequences.restarts_at(), None);
    }

    #[test]
    fn in_transactions_the_producer_says_which_epoch_it_is() {
        let mut sequences = Sequences::new(true);
        let one = sequences.stamp(ONE, 10).unwrap();
        assert!(one.transactional);
        assert_eq!(sequences.stamp(ONE, 1).unwrap().base_sequence, 10, "the same epoch goes on");
        sequences.prove();
        let two = sequences.stamp(Some(Identity { id: 7, epoch: 1 }), 1).unwrap();
        assert_eq!((two.epoch, two.base_sequence, sequences.is_proven()), (1, 0, false));
        assert_eq!(sequences.stamp(None, 1), None);
    }

    #[test]
    fn a_fenced_identity_or_the_last_epoch_needs_another_identity() {
        let mut sequences = Sequences::default();
        stamp(&mut sequences, 1);
        sequences.want_restart(0, Restart::Identity);
        sequences.want_restart(0, Restart::Epoch);
        assert_eq!(sequences.restart(), ONE);
        let last = Identity { id: 8, epoch: i16::MAX };
        assert_eq!(sequences.stamp(Some(last), 1).unwrap().producer_id, 8);
        sequences.want_restart(0, Restart::Epoch);
        assert_eq!(sequences.restart(), Some(last));
    }
}
