//! Which deliveries are settled, and how far that makes it safe to commit. Pure: offsets in, an offset out.
//!
//! ```text
//!           safe()                     frontier
//!             ▼                           ▼
//!   passed ───[open][settled][open][settled]── not delivered yet
//! ```
//!
//! Only deliveries that are acknowledged out of order need a ledger. Where the handler's return settles a record and
//! one follows the other, the position of the record in hand says the same in one number.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// What was delivered and not passed yet, in the order of the offsets.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The front one is always open: settled ones are passed as soon as nothing open is before them.
    deliveries: VecDeque<Delivery>,
    /// Everything below it was delivered, or is not for a handler (control, aborted, compacted away).
    frontier: i64,
    /// Offsets of settled deliveries that are not passed yet, and of open ones.
    ahead: i64,
    open: i64,
}

/// One delivery: a record, or a batch of them. Known by its last offset.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    first: i64,
    last: i64,
    settled: bool,
}

impl Delivery {
    fn offsets(&self) -> i64 {
        self.last - self.first + 1
    }
}

impl Ledger {
    /// A partition that is read from `start`.
    pub(crate) fn new(start: i64) -> Self {
        Self { deliveries: VecDeque::new(), frontier: start, ahead: 0, open: 0 }
    }

    /// The offsets `first..=last` go to a handler. What was delivered before (a repetition) stays as it is.
    pub(crate) fn deliver(&mut self, first: i64, last: i64) {
        if first >= self.frontier && last >= first {
            self.deliveries.push_back(Delivery { first, last, settled: false });
            self.frontier = last + 1;
            self.open += last - first + 1;
        }
    }

    /// The delivery that ends with `last` is done. `false` when it was already, or was never delivered.
    pub(crate) fn settle(&mut self, last: i64) -> bool {
        let Some(delivery) = self.find(last).filter(|delivery| !delivery.settled) else { return false };
        delivery.settled = true;
        let offsets = delivery.offsets();
        (self.ahead, self.open) = (self.ahead + offsets, self.open - offsets);
        while let Some(passed) = self.deliveries.front().filter(|delivery| delivery.settled) {
            self.ahead -= passed.offsets();
            self.deliveries.pop_front();
        }
        true
    }

    /// Makes two of the delivery that `last` lies inside of: one that ends with it, and the rest. The last offset of
    /// the one that was split, if it was.
    pub(crate) fn split(&mut self, last: i64) -> Option<i64> {
        let index = self.deliveries.partition_point(|delivery| delivery.last < last);
        let whole = self.deliveries.get_mut(index)?;
        if whole.settled || !(whole.first..whole.last).contains(&last) {
            return None;
        }
        let front = Delivery { last, ..*whole };
        whole.first = last + 1;
        let end = whole.last;
        self.deliveries.insert(index, front);
        Some(end)
    }

    /// Everything below `next` that was not delivered is not for a handler.
    pub(crate) fn pass_to(&mut self, next: i64) {
        self.frontier = self.frontier.max(next);
    }

    /// The offset to commit: everything below it is settled or passed. It never falls.
    pub(crate) fn safe(&self) -> i64 {
        self.deliveries.front().map_or(self.frontier, |delivery| delivery.first)
    }

    /// Whether the delivery that ends with `last` waits for its end.
    pub(crate) fn is_open(&self, last: i64) -> bool {
        self.position(last)
            .and_then(|index| self.deliveries.get(index))
            .is_some_and(|delivery| !delivery.settled)
    }

    /// Whether a delivery of any of these offsets waits for its end.
    pub(crate) fn is_open_within(&self, offsets: &RangeInclusive<i64>) -> bool {
        let from = self.deliveries.partition_point(|delivery| delivery.last < *offsets.start());
        let mut within =
            self.deliveries.range(from..).take_while(|delivery| delivery.first <= *offsets.end());
        within.any(|delivery| !delivery.settled)
    }

    /// The first offset of the delivery that ends with `last`, while it is not passed.
    pub(crate) fn first_of(&self, last: i64) -> Option<i64> {
        self.position(last).and_then(|index| self.deliveries.get(index)).map(|delivery| delivery.first)
    }

    /// First and last offsets of deliveries that wait for their end, in order.
    pub(crate) fn open(&self) -> impl Iterator<Item = (i64, i64)> {
        self.deliveries.iter().filter(|one| !one.settled).map(|one| (one.first, one.last))
    }

    /// Deliveries that are not passed yet: open ones, and those settled ahead of an open one.
    pub(crate) fn window(&self) -> usize {
        self.deliveries.len()
    }

    /// Offsets that are settled ahead of an open delivery.
    pub(crate) fn ahead(&self) -> u64 {
        u64::try_from(self.ahead).unwrap_or(0)
    }

    /// Offsets of open deliveries.
    pub(crate) fn open_offsets(&self) -> u64 {
        u64::try_from(self.open).unwrap_or(0)
    }

    fn position(&self, last: i64) -> Option<usize> {
        self.deliveries.binary_search_by_key(&last, |delivery| delivery.last).ok()
    }

    fn find(&mut self, last: i64) -> Option<&mut Delivery> {
        // Acknowledgements in order find theirs at the front, whatever is behind it.
        let index = match self.deliveries.front() {
            Some(front) if front.last == last => 0,
            _ => self.position(last)?,
        };
        self.deliveries.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_says_what_of_a_span_is_open() {
        let mut ledger = Ledger::new(0);
        for (first, last) in [(0, 0), (1, 4), (5, 5), (6, 9)] {
            ledger.deliver(first, last);
        }
        ledger.split(2);
        assert!(ledger.settle(4) && ledger.settle(5));
        assert_eq!(ledger.open().collect::<Vec<_>>(), [(0, 0), (1, 2), (6, 9)]);
        let is_open = |first, last| ledger.is_open_within(&(first..=last));
        assert!(is_open(0, 0) && is_open(1, 4) && is_open(2, 5) && is_open(9, 20));
        assert!(!is_open(3, 4) && !is_open(3, 5) && !is_open(10, 20));
    }

    #[test]
    fn in_order_it_is_one_number() {
        let mut ledger = Ledger::new(10);
        for offset in 10..1_000 {
            ledger.deliver(offset, offset);
            assert_eq!(ledger.safe(), offset);
            assert!(ledger.settle(offset));
            assert_eq!((ledger.safe(), ledger.window()), (offset + 1, 0));
        }
    }

    #[test]
    fn a_gap_holds_the_offset_and_filling_it_frees_all() {
        let mut ledger = Ledger::new(0);
        for offset in 0..5 {
            ledger.deliver(offset, offset);
        }
        for offset in [1, 2, 4] {
            assert!(ledger.settle(offset));
            assert_eq!(ledger.safe(), 0);
        }
        assert!(!ledger.settle(2), "twice");
        assert!(!ledger.settle(7), "never delivered");
        assert!(ledger.settle(0));
        assert_eq!(ledger.safe(), 3);
        assert!(ledger.is_open(3) && !ledger.is_open(4));
        // A control batch after the records: passed once they are.
        ledger.pass_to(9);
        assert_eq!(ledger.safe(), 3);
        ledger.settle(3);
        assert_eq!(ledger.safe(), 9);
    }

    #[test]
    fn a_batch_may_be_settled_in_parts() {
        let mut ledger = Ledger::new(0);
        ledger.deliver(0, 9);
        assert_eq!(ledger.split(3), Some(9));
        assert_eq!((ledger.split(3), ledger.split(9), ledger.split(20)), (None, None, None));
        assert_eq!((ledger.first_of(3), ledger.first_of(9)), (Some(0), Some(4)));
        ledger.settle(3);
        assert_eq!(ledger.safe(), 4);
        ledger.deliver(4, 9); // the rest again
        ledger.settle(9);
        assert_eq!((ledger.safe(), ledger.window()), (10, 0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Deliver { gap: i64, records: i64 },
        Settle(prop::sample::Index),
        Pass(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            prop_oneof![
                3 => (0..3i64, 1..4i64).prop_map(|(gap, records)| Step::Deliver { gap, records }),
                3 => any::<prop::sample::Index>().prop_map(Step::Settle),
                1 => (0..5i64).prop_map(Step::Pass),
            ],
            0..200,
        )
    }

    proptest! {
        /// Against a map of everything ever delivered: safe is the first open delivery, or the frontier; it never
        /// falls; and every delivery below it is settled.
        #[test]
        fn safe_is_the_first_open_delivery(start in 0..1000i64, steps in steps()) {
            let mut ledger = Ledger::new(start);
            let mut model: BTreeMap<i64, (i64, bool)> = BTreeMap::new();
            let mut frontier = start;
            let mut before = start;
            for step in steps {
                match step {
                    Step::Deliver { gap, records } => {
                        let (first, last) = (frontier + gap, frontier + gap + records - 1);
                        ledger.pass_to(first);
                        ledger.deliver(first, last);
                        model.insert(last, (first, false));
                        frontier = last + 1;
                    }
                    Step::Settle(index) if !model.is_empty() => {
                        let last = *index.get(&model.keys().copied().collect::<Vec<_>>());
                        let entry = model.get_mut(&last).unwrap();
                        prop_assert_eq!(ledger.settle(last), !entry.1);
                        entry.1 = true;
                    }
                    Step::Settle(_) => {}
                    Step::Pass(by) => {
                        frontier += by;
                        ledger.pass_to(frontier);
                    }
                }
                let expected = model.values().find(|(_, settled)| !settled).map_or(frontier, |(first, _)| *first);
                prop_assert_eq!(ledger.safe(), expected);
                prop_assert!(ledger.safe() >= before);
                before = ledger.safe();
                let ahead = model.iter().filter(|(last, (_, settled))| *settled && **last > before);
                prop_assert_eq!(ledger.ahead() as i64, ahead.map(|(last, (first, _))| last - first + 1).sum::<i64>());
                let open = model.iter().filter(|(_, (_, settled))| !settled);
                prop_assert_eq!(ledger.open_offsets() as i64, open.map(|(last, (first, _))| last - first + 1).sum::<i64>());
                for (last, (_, settled)) in &model {
                    prop_assert_eq!(ledger.is_open(*last), !settled);
                }
            }
        }
    }
}
