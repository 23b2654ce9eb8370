//! When a commit is due (pure): records finished in, an answer out.
//!
//! Time is not counted here: one ticker of the member looks at all of its partitions (see `commit`), so that a
//! thousand of them need no thousand timers.

use std::collections::VecDeque;

use crate::config::Cadence;

/// While records are open, a commit is due when it makes room for one in so many of the bound.
const GOOD_PART: u64 = 4;

/// What was settled since the last look; below `safe` all is, and `ahead` of what is settled is not below it. Where records
/// are settled later than their handler returns these are offsets: of a batch with gaps, the gaps too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) records: u64,
    pub(crate) safe: i64,
    pub(crate) ahead: u64,
    /// Handed over, and settled later than its handler returns.
    pub(crate) open: u64,
}

/// What a partition has to do about committing before it dispatches the next records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// Commit, in the way of the strategy.
    Commit,
    /// Commit, and dispatch nothing until that is confirmed: the bound has no room for what is wanted.
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
    /// Handed over and not finished.
    open: u64,
    /// Offsets whose number of finished records is known, for a bound: (offset, finished below it).
    marks: VecDeque<(i64, u64)>,
}

impl Meter {
    /// Nothing finished yet. `drain` is `max.poll.records`.
    pub(crate) fn new(cadence: Cadence, drain: usize) -> Self {
        let drain = u64::try_from(drain).unwrap_or(u64::MAX).max(1);
        Self {
            cadence,
            drain,
            finished: 0,
            asked: 0,
            confirmed: 0,
            ahead: 0,
            open: 0,
            marks: VecDeque::new(),
        }
    }

    /// How many records may be dispatched before [`Meter::due`] has to be asked again.
    pub(crate) fn allowance(&self) -> u64 {
        match self.cadence {
            Cadence::Record => 1,
            Cadence::Batch => self.drain.saturating_sub(self.since_asked()),
            Cadence::Every { .. } => {
                self.bound().map_or(u64::MAX, |bound| bound.saturating_sub(self.repeatable()))
            }
        }
    }

    /// The most that may be open, or finished and not confirmed: what a crash repeats.
    pub(crate) fn bound(&self) -> Option<u64> {
        self.cadence.bound()
    }

    /// More is finished.
    pub(crate) fn finished(&mut self, settled: &Settled) {
        self.finished += settled.records;
        (self.ahead, self.open) = (settled.ahead, settled.open);
        let marked = self.marks.back().map_or(self.confirmed, |(_, below)| *below);
        if self.below() > marked && self.bound().is_some() {
            self.marks.push_back((settled.safe, self.below()));
        }
    }

    /// What is due before `wish` records are dispatched; `drained` says that the queue is empty.
    pub(crate) fn due(&self, drained: bool, wish: u64) -> Due {
        let since = self.since_asked();
        match self.cadence {
            Cadence::Record if since > 0 => Due::Commit,
            Cadence::Batch if since >= self.drain || (drained && since > 0) => Due::Commit,
            Cadence::Every { .. } if self.lacks_room(wish) && self.is_worth_a_commit() => Due::Confirm,
            _ => Due::Nothing,
        }
    }

    /// Whether `wish` records have to wait for open ones, by the bound: no commit is due that makes room for them.
    pub(crate) fn is_held(&self, wish: u64) -> bool {
        self.lacks_room(wish) && !self.is_worth_a_commit()
    }

    /// Whether a commit would make any room.
    pub(crate) fn is_behind(&self) -> bool {
        self.gain() > 0
    }

    /// The room that a commit would make.
    fn gain(&self) -> u64 {
        self.below().saturating_sub(self.confirmed)
    }

    fn lacks_room(&self, wish: u64) -> bool {
        self.bound().is_some_and(|bound| self.repeatable() + wish.min(bound) > bound)
    }

    /// Open records are settled one by one; a commit for each would be one round trip for each.
    fn is_worth_a_commit(&self) -> bool {
        let is_good = self.bound().is_some_and(|bound| self.gain() * GOOD_PART >= bound);
        self.is_behind() && (self.open == 0 || is_good)
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
        (self.asked, self.confirmed) = (self.finished, self.finished);
        (self.ahead, self.open) = (0, 0);
        self.marks.clear();
    }

    fn since_asked(&self) -> u64 {
        self.finished - self.asked
    }

    /// What a crash would repeat now.
    fn repeatable(&self) -> u64 {
        self.finished - self.confirmed + self.open
    }

    /// Finished, and below the offset that may be committed.
    fn below(&self) -> u64 {
        self.finished.saturating_sub(self.ahead)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn settled(records: u64, safe: i64, ahead: u64, open: u64) -> Settled {
        Settled { records, safe, ahead, open }
    }

    #[test]
    fn record_is_due_after_each() {
        let mut meter = Meter::new(Cadence::Record, 500);
        assert_eq!((meter.due(true, 1), meter.allowance()), (Due::Nothing, 1));
        meter.finished(&settled(1, 1, 0, 0));
        assert_eq!(meter.due(false, 1), Due::Commit);
        meter.asked();
        assert_eq!(meter.due(true, 1), Due::Nothing);
    }

    #[test]
    fn batch_is_due_when_the_queue_is_drained_or_a_poll_is_full() {
        let mut meter = Meter::new(Cadence::Batch, 10);
        meter.finished(&settled(4, 4, 0, 0));
        assert_eq!(
            (meter.due(false, 1), meter.due(true, 1), meter.allowance()),
            (Due::Nothing, Due::Commit, 6)
        );
        meter.finished(&settled(6, 10, 0, 0));
        assert_eq!((meter.due(false, 1), meter.allowance()), (Due::Commit, 0));
        meter.asked();
        assert_eq!((meter.due(true, 1), meter.allowance()), (Due::Nothing, 10));
    }

    #[test]
    fn time_alone_never_holds_a_partition() {
        let mut meter = Meter::new(Cadence::Every { records: None, time: Some(Duration::from_secs(1)) }, 10);
        meter.finished(&settled(1_000_000, 1_000_000, 0, 0));
        assert_eq!((meter.due(true, 1), meter.allowance()), (Due::Nothing, u64::MAX));
    }

    #[test]
    fn a_bound_counts_records_not_offsets() {
        let mut meter = Meter::new(Cadence::Every { records: Some(3), time: None }, 500);
        meter.finished(&settled(2, 4_000, 0, 0)); // compacted
        assert_eq!((meter.due(true, 1), meter.allowance()), (Due::Nothing, 1));
        meter.finished(&settled(1, 9_000, 0, 0));
        meter.asked();
        assert_eq!((meter.due(false, 1), meter.allowance()), (Due::Confirm, 0));
        meter.confirmed(8_999); // the ticker's commit, of less
        assert_eq!((meter.due(false, 1), meter.allowance()), (Due::Nothing, 2));
        meter.confirmed(9_000);
        assert_eq!(meter.allowance(), 3);
    }

    #[test]
    fn what_is_finished_ahead_is_confirmed_with_what_is_before_it() {
        let mut meter = Meter::new(Cadence::Every { records: Some(3), time: None }, 500);
        meter.finished(&settled(1, 0, 1, 1));
        meter.confirmed(0);
        assert_eq!((meter.allowance(), meter.due(true, 1), meter.is_held(1)), (1, Due::Nothing, false));
        meter.finished(&settled(1, 0, 2, 1));
        meter.confirmed(0);
        assert_eq!((meter.allowance(), meter.due(true, 1), meter.is_held(1)), (0, Due::Nothing, true));
        meter.finished(&settled(1, 3, 0, 0));
        assert_eq!((meter.due(true, 1), meter.is_held(1)), (Due::Confirm, false));
        meter.confirmed(3);
        assert_eq!((meter.allowance(), meter.due(true, 1)), (3, Due::Nothing));
    }

    #[test]
    fn while_records_are_open_a_commit_is_due_when_it_makes_good_room() {
        let mut meter = Meter::new(Cadence::Every { records: Some(8), time: None }, 500);
        meter.finished(&settled(1, 1, 0, 7));
        assert_eq!((meter.due(false, 1), meter.is_held(1), meter.is_behind()), (Due::Nothing, true, true));
        meter.finished(&settled(1, 2, 0, 6));
        assert_eq!((meter.due(false, 1), meter.is_held(1)), (Due::Confirm, false));
        meter.confirmed(2);
        assert_eq!((meter.allowance(), meter.is_behind()), (2, false));
    }

    #[test]
    fn as_many_have_to_fit_as_are_dispatched_at_once() {
        let mut meter = Meter::new(Cadence::Every { records: Some(8), time: None }, 500);
        meter.finished(&settled(3, 3, 0, 0));
        assert_eq!((meter.due(false, 5), meter.due(false, 6)), (Due::Nothing, Due::Confirm));
        meter.confirmed(3);
        assert_eq!(meter.due(false, 100), Due::Nothing, "more than the bound are never awaited");
    }

    /// What a partition did: how many were handed over, which of them are open, and what is committed.
    #[derive(Default)]
    struct Model {
        handed: u64,
        open: BTreeSet<u64>,
        confirmed: u64,
    }

    impl Model {
        fn safe(&self) -> u64 {
            self.open.first().copied().unwrap_or(self.handed)
        }

        fn settled(&self, records: u64) -> Settled {
            let open = self.open.len() as u64;
            let ahead = self.handed - self.safe() - open;
            // Every third offset is a record.
            settled(records, i64::try_from(self.safe() * 3).unwrap(), ahead, open)
        }
    }

    proptest! {
        /// In whatever order records are settled and commits are confirmed, those that a crash would repeat never exceed the
        /// bound, and as soon as all are settled dispatch goes on or a commit is due.
        #[test]
        fn a_bound_is_hard(
            bound in 1..20u32,
            steps in prop::collection::vec((1..9u64, prop::collection::vec(any::<prop::sample::Index>(), 0..6), 0..3u64, any::<bool>()), 1..200),
        ) {
            let mut meter = Meter::new(Cadence::Every { records: Some(bound), time: None }, 500);
            let mut model = Model::default();
            for (wish, settle, back, confirm) in steps {
                if meter.allowance() >= wish.min(u64::from(bound)) {
                    prop_assert!(!meter.is_held(wish) && meter.due(false, wish) == Due::Nothing);
                    let next = model.handed + wish.min(meter.allowance());
                    model.open.extend(model.handed..next);
                    model.handed = next;
                }
                meter.finished(&model.settled(0));
                prop_assert!(model.handed - model.confirmed <= u64::from(bound));
                // As many as there are.
                for index in settle.iter().take(model.open.len()) {
                    let one = model.open.iter().copied().nth(index.index(model.open.len())).unwrap();
                    model.open.remove(&one);
                    meter.finished(&model.settled(1));
                }
                if model.open.is_empty() {
                    prop_assert!(!meter.is_held(wish));
                }
                if confirm || meter.due(false, 1) == Due::Confirm {
                    let to = if meter.due(false, 1) == Due::Confirm { model.safe() } else { model.safe().saturating_sub(back) };
                    meter.confirmed(i64::try_from(to * 3).unwrap());
                    model.confirmed = model.confirmed.max(to);
                }
            }
        }
    }
}
