//! Where the transactions of one partition begin and end (pure: offsets and moments in, answers out).
//!
//! A transaction takes records from an offset on until it is due. When a record fails, what its handler sent is in the
//! transaction with what those before it sent, so all of it is aborted, and there are two ways on:
//!
//! ```text
//!   it was the first of its transaction ──▶ in place: the policy has its word; the next try is in a new transaction
//!   others came before it ──▶ back: they are handled again up to it and committed; then it fails at the front, with the
//!                             failure that it had, and no try more
//! ```

use kafka_client::config::Backoff;
use tokio::time::{Duration, Instant};

/// See the module. `F` is a failure.
#[derive(Debug)]
pub(crate) struct Bounds<F> {
    /// The cadence of time.
    every: Option<Duration>,
    open: Option<Open>,
    /// The record that failed behind others, with what it failed with.
    behind: Option<(i64, F)>,
    /// Whether the next boundary is to be a commit, whatever the time.
    soon: bool,
    /// What is in hand was aborted: nothing is committed until the position is back.
    spoiled: bool,
    /// Commits in a row that failed.
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    from: i64,
    since: Instant,
}

/// How a record's failure goes on, when its transaction is aborted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way<F> {
    /// Nothing came before it.
    InPlace(F),
    /// The position goes back to the committed offset.
    Back,
}

impl<F> Bounds<F> {
    pub(crate) fn new(every: Option<Duration>) -> Self {
        Self { every, open: None, behind: None, soon: false, spoiled: false, failures: 0 }
    }

    /// A transaction takes records from `from` on.
    pub(crate) fn begun(&mut self, from: i64, now: Instant) {
        self.open = Some(Open { from, since: now });
    }

    /// Whether there is a transaction.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The next boundary is a commit.
    pub(crate) fn soon(&mut self) {
        self.soon = true;
    }

    /// Whether the transaction has to be committed before the record at `next` is handed over.
    pub(crate) fn is_due(&self, next: i64, now: Instant) -> bool {
        if self.spoiled {
            return false;
        }
        let Some(open) = self.open else { return self.soon };
        let to_itself = self.behind.as_ref().is_some_and(|(offset, _)| *offset == next && open.from < next);
        self.soon || to_itself || self.due_at().is_some_and(|at| at <= now)
    }

    /// When it will be due by the cadence of time.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let open = self.open.filter(|_| !self.spoiled)?;
        Some(open.since + self.every?)
    }

    /// It is committed.
    pub(crate) fn committed(&mut self) {
        (self.open, self.soon, self.failures) = (None, false, 0);
    }

    /// Whether there is something to commit at `next`: that which is in a handler's hands is not.
    pub(crate) fn is_wanted(&self, next: i64) -> bool {
        self.soon || self.open.is_some_and(|open| open.from < next)
    }

    /// Nothing is in it yet: its time begins now.
    pub(crate) fn renewed(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.since = now;
        }
    }

    /// It is aborted, and holds nothing that has to be done again.
    pub(crate) fn aborted(&mut self) {
        (self.open, self.soon) = (None, false);
    }

    /// It is aborted, or was never committed: the position has to go back. How long to wait before, by `backoff`.
    pub(crate) fn lost(&mut self, backoff: Backoff, unit: f64) -> Duration {
        let wait = backoff.wait(self.failures, unit);
        self.failures = self.failures.saturating_add(1);
        (self.open, self.soon, self.spoiled) = (None, false, true);
        wait
    }

    /// Whether what is in hand was aborted.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.spoiled
    }

    /// The position is somewhere else by now, and what was in hand is forgotten.
    pub(crate) fn moved(&mut self) {
        (self.open, self.spoiled) = (None, false);
    }

    /// The record at `offset` failed, and its transaction is aborted.
    pub(crate) fn failed(&mut self, offset: i64, failure: F) -> Way<F> {
        self.soon = false;
        match self.open.take() {
            Some(open) if open.from < offset => {
                self.behind = Some((offset, failure));
                self.spoiled = true;
                Way::Back
            }
            _ => Way::InPlace(failure),
        }
    }

    /// The failure that the record at `offset` had when it was tried behind others.
    pub(crate) fn take_failure(&mut self, offset: i64) -> Option<F> {
        match &self.behind {
            Some((behind, _)) if *behind <= offset => {
                self.behind.take().filter(|(behind, _)| *behind == offset).map(|(_, failure)| failure)
            }
            _ => None,
        }
    }

    /// The record that has to begin a transaction.
    pub(crate) fn to_itself(&self) -> Option<i64> {
        self.behind.as_ref().map(|(offset, _)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn backoff() -> Backoff {
        Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_is_due_by_time_or_when_it_is_asked_for() {
        let (mut bounds, now) = (Bounds::<()>::new(Some(Duration::from_millis(100))), Instant::now());
        assert!(!bounds.is_due(5, now) && bounds.due_at().is_none());
        bounds.begun(5, now);
        assert_eq!(bounds.due_at(), Some(now + Duration::from_millis(100)));
        assert!(!bounds.is_due(6, now) && bounds.is_due(6, now + Duration::from_millis(100)));
        bounds.soon();
        assert!(bounds.is_due(6, now));
        bounds.committed();
        assert!(!bounds.is_open() && !bounds.is_due(6, now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_failed_behind_others_fails_again_at_the_front() {
        let (mut bounds, now) = (Bounds::new(None), Instant::now());
        bounds.begun(5, now);
        assert_eq!(bounds.failed(7, "why"), Way::Back);
        assert!(bounds.is_spoiled() && !bounds.is_due(8, now), "nothing of it may be committed");
        bounds.moved();
        bounds.begun(5, now);
        assert!(!bounds.is_due(6, now) && bounds.is_due(7, now));
        bounds.committed();
        bounds.begun(7, now);
        assert!(!bounds.is_due(7, now));
        assert_eq!(bounds.take_failure(7), Some("why"));
        assert_eq!(bounds.failed(7, "again"), Way::InPlace("again"));
    }

    #[test]
    fn a_failure_of_a_record_that_was_passed_is_forgotten() {
        let mut bounds = Bounds::new(None);
        bounds.begun(0, Instant::now());
        bounds.failed(3, ());
        assert_eq!(bounds.take_failure(2), None);
        assert_eq!((bounds.take_failure(9), bounds.to_itself()), (None, None));
    }

    #[test]
    fn waits_grow_until_a_commit_succeeds() {
        let mut bounds = Bounds::<()>::new(None);
        let first = bounds.lost(backoff(), 0.5);
        assert!(bounds.lost(backoff(), 0.5) > first);
        bounds.moved();
        bounds.committed();
        assert_eq!(bounds.lost(backoff(), 0.5), first);
    }

    /// A partition of records, each of which fails so many times, worked off by the bounds.
    struct World {
        bounds: Bounds<u32>,
        /// What is in the open transaction, and what was committed: tries of a record at its result.
        pending: Vec<(i64, u32)>,
        visible: BTreeMap<i64, Vec<u32>>,
        committed: i64,
        now: Instant,
    }

    impl World {
        fn commit(&mut self, to: i64) {
            for (offset, tries) in self.pending.drain(..) {
                self.visible.entry(offset).or_default().push(tries);
            }
            self.committed = to;
            self.bounds.committed();
        }

        fn begin(&mut self, at: i64) {
            if !self.bounds.is_open() {
                self.bounds.begun(at, self.now);
            }
        }
    }

    proptest! {
        /// Whatever fails, and whichever commits fail: each record has one visible result, in order, with as many tries as
        /// it failed plus one; and the policy is asked once for each failure.
        #[test]
        fn each_record_has_one_result(
            failing in prop::collection::vec(prop_oneof![3 => Just(0u32), 1 => 1..4u32], 1..30),
            every in prop::option::of(1..5u64),
            refused in prop::collection::vec(any::<bool>(), 0..20),
        ) {
            let end = i64::try_from(failing.len()).unwrap();
            let mut world = World {
                bounds: Bounds::new(every.map(Duration::from_secs)),
                pending: Vec::new(),
                visible: BTreeMap::new(),
                committed: 0,
                now: Instant::now(),
            };
            let mut refused = refused.into_iter();
            let (mut next, mut steps) = (0, 0);
            while world.committed < end {
                steps += 1;
                prop_assert!(steps < 20_000, "it goes round in circles");
                if world.bounds.is_spoiled() {
                    next = world.committed;
                    world.bounds.moved();
                }
                if next == end || world.bounds.is_due(next, world.now) {
                    if refused.next().unwrap_or(false) {
                        world.pending.clear();
                        world.bounds.lost(backoff(), 0.0);
                        continue;
                    }
                    world.commit(next);
                    continue;
                }
                world.begin(next);
                world.now += Duration::from_secs(1);
                let fails = failing[usize::try_from(next).unwrap()];
                let mut tries = 0;
                let mut failure = world.bounds.take_failure(next);
                // The tries of the record: in place once it stands at the front.
                loop {
                    let failed = match failure.take() {
                        Some(told) => Some(told),
                        None => { tries += 1; (tries <= fails).then_some(tries) }
                    };
                    let Some(failed) = failed else {
                        world.pending.push((next, tries));
                        next += 1;
                        break;
                    };
                    world.pending.clear();
                    match world.bounds.failed(next, failed) {
                        Way::Back => break,
                        Way::InPlace(told) => tries = tries.max(told),
                    }
                    world.begin(next);
                }
            }
            for (offset, fails) in failing.iter().enumerate() {
                prop_assert_eq!(world.visible.get(&i64::try_from(offset).unwrap()), Some(&vec![fails + 1]));
            }
        }
    }
}
