//! The dispatcher against a model that remembers everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::dispatch::{Dispatcher, Taken};

#[derive(Debug, Clone)]
enum Step {
    Admit { gap: i64, lane: Option<u64> },
    Take,
    Finish(prop::sample::Index),
    Park(prop::sample::Index, u64),
    Wait(u64),
    Pass(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        6 => (0..3i64, prop::option::of(0..5u64)).prop_map(|(gap, lane)| Step::Admit { gap, lane }),
        6 => Just(Step::Take),
        4 => index().prop_map(Step::Finish),
        2 => (index(), 1..50u64).prop_map(|(index, millis)| Step::Park(index, millis)),
        2 => (1..60u64).prop_map(Step::Wait),
        1 => (0..4i64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..300)
}

/// Every record ever admitted.
struct Model {
    lanes: BTreeMap<i64, Option<u64>>,
    finished: BTreeSet<i64>,
    running: BTreeSet<i64>,
    parked: BTreeMap<i64, Instant>,
    frontier: i64,
}

impl Model {
    fn open(&self) -> impl Iterator<Item = i64> {
        self.lanes.keys().copied().filter(|offset| !self.finished.contains(offset))
    }

    /// No earlier record of its lane is open, and nothing else keeps it.
    fn may_go(&self, offset: i64) -> bool {
        let lane = self.lanes[&offset];
        let first = lane.is_none() || self.open().find(|other| self.lanes[other] == lane) == Some(offset);
        first && !self.running.contains(&offset) && !self.parked.contains_key(&offset)
    }

    fn check(&self, dispatcher: &Dispatcher<()>) {
        let open: Vec<i64> = self.open().collect();
        let safe = open.first().copied().unwrap_or(self.frontier);
        assert_eq!((dispatcher.safe(), dispatcher.window()), (safe, open.len()));
        assert_eq!((dispatcher.running(), dispatcher.parked()), (self.running.len(), self.parked.len()));
        let settled = self.finished.range(..safe).count() as u64;
        assert_eq!((dispatcher.settled(), dispatcher.finished()), (settled, self.finished.len() as u64));
        let ends = open.iter().skip(1).copied().chain([self.frontier]);
        let gaps: Vec<(i64, u64)> = open
            .iter()
            .zip(ends)
            .map(|(from, to)| (*from, self.finished.range(from..&to).count() as u64))
            .collect();
        assert_eq!(dispatcher.gaps().map(|gap| (gap.offset, gap.finished)).collect::<Vec<_>>(), gaps);
        let lowest = open.iter().copied().find(|offset| self.may_go(*offset));
        assert_eq!(dispatcher.peek(), lowest, "the lowest that may go goes first");
        assert_eq!(dispatcher.ready(), open.iter().filter(|offset| self.may_go(**offset)).count());
    }
}

fn pick(index: &prop::sample::Index, from: &BTreeSet<i64>) -> Option<i64> {
    (!from.is_empty()).then(|| *index.get(&from.iter().copied().collect::<Vec<_>>()))
}

proptest! {
    #[test]
    fn order_within_lanes_lowest_first_no_gap(start in 0..1000i64, steps in steps()) {
        let mut now = Instant::now();
        let mut dispatcher = Dispatcher::new(start);
        let mut model = Model {
            lanes: BTreeMap::new(),
            finished: BTreeSet::new(),
            running: BTreeSet::new(),
            parked: BTreeMap::new(),
            frontier: start,
        };
        let mut attempts: BTreeMap<i64, u32> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Admit { gap, lane } => {
                    let offset = model.frontier + gap;
                    dispatcher.admit(offset, lane, ());
                    model.lanes.insert(offset, lane);
                    model.frontier = offset + 1;
                }
                Step::Take => if let Some(Taken { offset, attempt }) = dispatcher.take(now) {
                    prop_assert!(model.may_go(offset));
                    model.running.insert(offset);
                    let tries = attempts.entry(offset).or_default();
                    *tries += 1;
                    prop_assert_eq!(attempt, *tries);
                },
                Step::Finish(index) => if let Some(offset) = pick(&index, &model.running) {
                    prop_assert!(dispatcher.finish(offset));
                    prop_assert!(!dispatcher.finish(offset), "twice");
                    model.running.remove(&offset);
                    model.finished.insert(offset);
                },
                Step::Park(index, millis) => if let Some(offset) = pick(&index, &model.running) {
                    let until = now + Duration::from_millis(millis);
                    dispatcher.park(offset, until, now, String::new());
                    model.running.remove(&offset);
                    model.parked.insert(offset, until);
                },
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    dispatcher.wake(now);
                    model.parked.retain(|_, until| *until > now);
                    prop_assert_eq!(dispatcher.next_wake(), model.parked.values().min().copied());
                }
                Step::Pass(by) => {
                    model.frontier += by;
                    dispatcher.pass_to(model.frontier);
                }
            }
            model.check(&dispatcher);
        }
        // Whatever happened, all of it comes to an end.
        dispatcher.wake(now + Duration::from_secs(60));
        for offset in std::mem::take(&mut model.running) {
            dispatcher.finish(offset);
        }
        while let Some(taken) = dispatcher.take(now) {
            dispatcher.finish(taken.offset);
        }
        prop_assert_eq!((dispatcher.window(), dispatcher.safe()), (0, model.frontier));
        prop_assert_eq!(dispatcher.settled(), model.lanes.len() as u64);
    }

    /// What is discarded is neither tried again nor committed.
    #[test]
    fn nothing_discarded_is_ever_safe(taken in 0..20usize, finished in prop::collection::vec(any::<prop::sample::Index>(), 0..10), late in any::<bool>()) {
        let now = Instant::now();
        let mut dispatcher = Dispatcher::new(0);
        (0..20).for_each(|offset| dispatcher.admit(offset, None, ()));
        let mut running: Vec<i64> = (0..taken).filter_map(|_| dispatcher.take(now)).map(|taken| taken.offset).collect();
        for index in finished {
            if !running.is_empty() {
                dispatcher.finish(running.swap_remove(index.index(running.len())));
            }
        }
        let safe = dispatcher.safe();
        dispatcher.discard();
        prop_assert_eq!((dispatcher.safe(), dispatcher.ready(), dispatcher.gaps().count()), (safe, 0, 0));
        for offset in running {
            if late { dispatcher.park(offset, now, now, String::new()) } else { dispatcher.finish(offset); }
        }
        prop_assert_eq!((dispatcher.safe(), dispatcher.running(), dispatcher.next_wake()), (safe, 0, None));
    }
}
