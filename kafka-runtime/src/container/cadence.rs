//! When a commit is due (pure): records finished in, an answer out.
//!
//! Time is not counted here: one ticker of the member looks at all of its partitions (see `commit`), so that a
//! thousand of them need no thousand timers.

use std::collections::VecDeque;

use crate::config::Cadence;

/// What a partition has to do about committing before it dispatches the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// Commit, in the way of the strategy.
    Commit,
    /// Commit, and dispatch nothing until that is confirmed: the bound on unconfirmed records is reached.
    Confirm,
}

/// Counts what one partition has finished, against what was asked to be committed and what was confirmed.
#[derive(Debug)]
pub(crate) struct Meter {
    cadence: Cadence,
    /// The most that one drain of the queue hands over.
    drain: u64,
    finished: u64,
    asked: u64,
    confirmed: u64,
    /// Of the finished ones, those ahead of one that is not.
    ahead: u64,
    /// Offsets whose number of finished records is known, for a bound: (offset, finished below it).
    marks: VecDeque<(i64, u64)>,
}

impl Meter {
    /// Nothing finished yet. `drain` is `max.poll.records`.
    pub(crate) fn new(cadence: Cadence, drain: usize) -> Self {
        let drain = u64::try_from(drain).unwrap_or(u64::MAX).max(1);
        Self { cadence, drain, finished: 0, asked: 0, confirmed: 0, ahead: 0, marks: VecDeque::new() }
    }

    /// How many records may be dispatched before [`Meter::due`] has to be asked again.
    pub(crate) fn allowance(&self) -> u64 {
        match self.cadence {
            Cadence::Record => 1,
            Cadence::Batch => self.drain.saturating_sub(self.since_asked()),
            Cadence::Every { records: Some(bound), .. } => {
                at_least_one(bound).saturating_sub(self.unconfirmed())
            }
            Cadence::Every { records: None, .. } => u64::MAX,
        }
    }

    /// The most that may be finished and not confirmed.
    pub(crate) fn bound(&self) -> Option<u64> {
        match self.cadence {
            Cadence::Every { records, .. } => records.map(at_least_one),
            Cadence::Record | Cadence::Batch => None,
        }
    }

    /// `records` more are finished. Everything below `offset` is, and `ahead` of all of them are not below it.
    pub(crate) fn finished(&mut self, records: u64, offset: i64, ahead: u64) {
        self.finished += records;
        self.ahead = ahead;
        let marked = self.marks.back().map_or(self.confirmed, |(_, below)| *below);
        if self.below() > marked && self.bound().is_some() {
            self.marks.push_back((offset, self.below()));
        }
    }

    /// What is due now; `drained` says that the queue is empty.
    pub(crate) fn due(&self, drained: bool) -> Due {
        let since = self.since_asked();
        match self.cadence {
            Cadence::Record if since > 0 => Due::Commit,
            Cadence::Batch if since >= self.drain || (drained && since > 0) => Due::Commit,
            Cadence::Every { .. } if self.is_at_bound() && self.below() > self.confirmed => Due::Confirm,
            _ => Due::Nothing,
        }
    }

    /// The bound is reached by what is finished ahead of an open one, and no commit helps.
    pub(crate) fn is_held(&self) -> bool {
        self.is_at_bound() && self.below() <= self.confirmed
    }

    fn is_at_bound(&self) -> bool {
        self.bound().is_some_and(|bound| self.unconfirmed() >= bound)
    }

    /// A commit of everything finished so far was asked for.
    pub(crate) fn asked(&mut self) {
        self.asked = self.finished;
    }

    /// Everything below `offset` is committed.
    pub(crate) fn confirmed(&mut self, offset: i64) {
        while let Some((_, finished)) = self.marks.front().filter(|(mark, _)| *mark <= offset) {
            self.confirmed = *finished;
            self.marks.pop_front();
        }
    }

    /// A new epoch of the position: what was finished in the old one is of no interest any more.
    pub(crate) fn restart(&mut self) {
        (self.asked, self.confirmed, self.ahead) = (self.finished, self.finished, 0);
        self.marks.clear();
    }

    fn since_asked(&self) -> u64 {
        self.finished - self.asked
    }

    fn unconfirmed(&self) -> u64 {
        self.finished - self.confirmed
    }

    /// Finished, and below the offset that may be committed.
    fn below(&self) -> u64 {
        self.finished.saturating_sub(self.ahead)
    }
}

/// A bound of 0 would never let a record through.
fn at_least_one(records: u32) -> u64 {
    u64::from(records.max(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn record_is_due_after_each() {
        let mut meter = Meter::new(Cadence::Record, 500);
        assert_eq!((meter.due(true), meter.allowance()), (Due::Nothing, 1));
        meter.finished(1, 1, 0);
        assert_eq!(meter.due(false), Due::Commit);
        meter.asked();
        assert_eq!(meter.due(true), Due::Nothing);
    }

    #[test]
    fn batch_is_due_when_the_queue_is_drained_or_a_poll_is_full() {
        let mut meter = Meter::new(Cadence::Batch, 10);
        meter.finished(4, 4, 0);
        assert_eq!((meter.due(false), meter.due(true), meter.allowance()), (Due::Nothing, Due::Commit, 6));
        meter.finished(6, 10, 0);
        assert_eq!((meter.due(false), meter.allowance()), (Due::Commit, 0));
        meter.asked();
        assert_eq!((meter.due(true), meter.allowance()), (Due::Nothing, 10));
    }

    #[test]
    fn time_alone_never_holds_a_partition() {
        let mut meter = Meter::new(Cadence::Every { records: None, time: Some(Duration::from_secs(1)) }, 10);
        meter.finished(1_000_000, 1_000_000, 0);
        assert_eq!((meter.due(true), meter.allowance()), (Due::Nothing, u64::MAX));
    }

    #[test]
    fn a_bound_counts_records_not_offsets() {
        let mut meter = Meter::new(Cadence::Every { records: Some(3), time: None }, 500);
        meter.finished(2, 4_000, 0); // compacted
        assert_eq!((meter.due(true), meter.allowance()), (Due::Nothing, 1));
        meter.finished(1, 9_000, 0);
        meter.asked();
        assert_eq!((meter.due(false), meter.allowance()), (Due::Confirm, 0));
        meter.confirmed(8_999); // the ticker's commit, of less
        assert_eq!((meter.due(false), meter.allowance()), (Due::Nothing, 2));
        meter.confirmed(9_000);
        assert_eq!(meter.allowance(), 3);
    }

    #[test]
    fn what_is_finished_ahead_is_confirmed_with_what_is_before_it() {
        let mut meter = Meter::new(Cadence::Every { records: Some(3), time: None }, 500);
        meter.finished(1, 0, 1);
        meter.confirmed(0);
        assert_eq!((meter.allowance(), meter.due(true), meter.is_held()), (2, Due::Nothing, false));
        meter.finished(2, 0, 3);
        meter.confirmed(0);
        assert_eq!((meter.allowance(), meter.due(true), meter.is_held()), (0, Due::Nothing, true));
        meter.finished(1, 4, 0);
        assert_eq!((meter.due(true), meter.is_held()), (Due::Confirm, false));
        meter.confirmed(4);
        assert_eq!((meter.allowance(), meter.due(true)), (3, Due::Nothing));
    }

    proptest! {
        /// However commits are confirmed, records that are finished and not confirmed never exceed the bound.
        #[test]
        fn a_bound_is_hard(bound in 1..20u32, steps in prop::collection::vec((1..9u64, 0..12i64, any::<bool>()), 1..200)) {
            let mut meter = Meter::new(Cadence::Every { records: Some(bound), time: None }, 500);
            let (mut finished, mut confirmed, mut offset) = (0u64, 0u64, 0i64);
            let mut counts = vec![(0i64, 0u64)];
            for (wanted, back, confirm) in steps {
                let granted = wanted.min(meter.allowance());
                for _ in 0..granted {
                    finished += 1;
                    offset += 3;
                    counts.push((offset, finished));
                }
                meter.finished(granted, offset, 0);
                prop_assert!(finished - confirmed <= u64::from(bound));
                prop_assert_eq!(meter.due(false) == Due::Confirm, meter.allowance() == 0);
                if confirm || meter.due(false) == Due::Confirm {
                    let to = if meter.due(false) == Due::Confirm { offset } else { (offset - back).max(0) };
                    meter.confirmed(to);
                    confirmed = confirmed.max(counts.iter().rfind(|(at, _)| *at <= to).unwrap().1);
                }
            }
        }
    }
}
