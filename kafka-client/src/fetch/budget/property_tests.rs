//! The budget, whatever loops and readers do: what is charged is what is there, and no credit is given that there is not.

use std::sync::Weak;

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 10_000;
const PARTITIONS: usize = 3;

/// What loops and readers do. Numbers choose among what there is then.
#[derive(Debug, Clone, Copy)]
enum Move {
    Reserve {
        seat: usize,
        wish: usize,
    },
    /// A reader that has nothing at all goes on without credit.
    Overdraw {
        seat: usize,
    },
    /// Nothing comes of a request.
    Fail(usize),
    /// An answer as long as its reservation at most, or with one batch that is longer.
    Answer {
        which: usize,
        share: usize,
        too_long: bool,
    },
    /// A part of an answer for a partition: a share of what is left of it.
    Split {
        which: usize,
        share: usize,
        partition: usize,
    },
    /// The rest of an answer is for nobody.
    Forget(usize),
    /// A reader is done with a part.
    Read(usize),
    Take {
        seat: usize,
        taken: bool,
    },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let which = || 0..usize::MAX;
    let one = prop_oneof![
        6 => (which(), 1..2 * LIMIT).prop_map(|(seat, wish)| Move::Reserve { seat, wish }),
        1 => which().prop_map(|seat| Move::Overdraw { seat }),
        1 => which().prop_map(Move::Fail),
        5 => (which(), 0usize..101, prop::bool::weighted(0.1))
            .prop_map(|(which, share, too_long)| Move::Answer { which, share, too_long }),
        10 => (which(), 1usize..101, 0..PARTITIONS)
            .prop_map(|(which, share, partition)| Move::Split { which, share, partition }),
        2 => which().prop_map(Move::Forget),
        8 => which().prop_map(Move::Read),
        1 => (which(), any::<bool>()).prop_map(|(seat, taken)| Move::Take { seat, taken }),
    ];
    prop::collection::vec(one, 0..200)
}

/// An answer that is being split up.
struct Open {
    block: Arc<Block>,
    bytes: Bytes,
    /// It is longer than its reservation.
    overdrawn: bool,
}

struct Scene {
    budget: Arc<Budget>,
    seats: Vec<Seat>,
    reservations: Vec<Reservation>,
    open: Vec<Open>,
    /// Parts with their partitions, and what may be charged beyond the limit while they are there: copies out of what was
    /// overdrawn itself.
    parts: Vec<(Bytes, usize, usize)>,
    usage: Vec<Usage>,
    /// What may be charged beyond the limit while these answers are there: what they had beyond their reservations, and what
    /// was copied out of them.
    beyond: Vec<(Weak<Block>, usize)>,
    /// What was for nobody counts as seen as long as its answer is there.
    forgotten: Vec<(Weak<Block>, usize)>,
}

fn still_there(noted: &[(Weak<Block>, usize)]) -> usize {
    noted.iter().filter(|(block, _)| block.strong_count() > 0).map(|(_, bytes)| bytes).sum()
}

impl Scene {
    fn new() -> Self {
        let budget = Budget::new(LIMIT);
        let seats = (0..3).map(|_| budget.seat()).collect();
        let usage = (0..PARTITIONS).map(|_| Usage::default()).collect();
        let (reservations, open, parts) = (Vec::new(), Vec::new(), Vec::new());
        Self { budget, seats, reservations, open, parts, usage, beyond: Vec::new(), forgotten: Vec::new() }
    }

    fn play(&mut self, step: Move) {
        let place = |which: usize, count: usize| (count > 0).then(|| which % count.max(1));
        match step {
            Move::Reserve { seat, wish } => self.reserve(seat % self.seats.len(), wish),
            Move::Overdraw { seat } => {
                self.reservations.push(self.seats[seat % self.seats.len()].overdraw());
            }
            Move::Fail(which) => {
                if let Some(at) = place(which, self.reservations.len()) {
                    self.reservations.swap_remove(at);
                }
            }
            Move::Answer { which, share, too_long } => {
                let Some(at) = place(which, self.reservations.len()) else { return };
                let reservation = self.reservations.swap_remove(at);
                let fits = reservation.bytes() * share / 100;
                let size = if too_long || reservation.bytes() == 0 { fits + LIMIT / 7 } else { fits };
                let excess = size.saturating_sub(reservation.bytes());
                let block = reservation.received(size);
                self.beyond.push((Arc::downgrade(&block), excess));
                self.open.push(Open { block, bytes: Bytes::from(vec![0; size]), overdrawn: excess > 0 });
            }
            Move::Split { which, share, partition } => {
                if let Some(at) = place(which, self.open.len()) {
                    self.split(at, share, partition);
                }
            }
            Move::Forget(which) => {
                if let Some(at) = place(which, self.open.len()) {
                    let Open { block, bytes, .. } = self.open.swap_remove(at);
                    self.forgotten.push((Arc::downgrade(&block), bytes.len()));
                }
            }
            Move::Read(which) => {
                if let Some(at) = place(which, self.parts.len()) {
                    self.parts.swap_remove(at);
                }
            }
            Move::Take { seat, taken } => {
                let at = seat % self.seats.len();
                self.seats[at].take(taken);
            }
        }
    }

    fn reserve(&mut self, seat: usize, wish: usize) {
        let before = self.budget.charged();
        let left = LIMIT.saturating_sub(before);
        match self.seats[seat].reserve(wish) {
            Some(reservation) => {
                assert!((1..=wish).contains(&reservation.bytes()));
                assert!(reservation.bytes() <= left, "credit that there is not");
                assert!(reservation.bytes() <= LIMIT / 4, "more than a fair share of half");
                assert_eq!(self.budget.charged(), before + reservation.bytes());
                self.reservations.push(reservation);
            }
            None => assert!(left < LIMIT / 16 || left < wish, "{left} are left, and nobody may have them"),
        }
    }

    fn split(&mut self, at: usize, share: usize, partition: usize) {
        let Open { block, bytes, overdrawn } = &mut self.open[at];
        let part = bytes.split_to(bytes.len() * share / 100);
        if part.is_empty() {
            return;
        }
        let counts = self.budget.counts();
        let slow = counts.held - counts.live > LIMIT / WASTE;
        drop(counts);
        let handed = block.part(part.clone(), &self.usage[partition]);
        assert_eq!(handed.len(), part.len());
        let copied = handed.as_ptr() != part.as_ptr();
        assert_eq!(
            copied,
            slow && part.len() < block.size / SMALL,
            "copied though nobody is slow, or not though one is"
        );
        if copied && !*overdrawn {
            self.beyond.push((Arc::downgrade(block), part.len()));
        }
        let beyond = if copied && *overdrawn { part.len() } else { 0 };
        self.parts.push((handed, partition, beyond));
    }

    fn check(&self) {
        let counts = self.budget.counts();
        assert_eq!(counts.reserved, self.reservations.iter().map(Reservation::bytes).sum::<usize>());
        assert!(counts.live <= counts.held);
        let copies: usize = self.parts.iter().map(|(.., beyond)| beyond).sum();
        let most = LIMIT + still_there(&self.beyond) + copies;
        assert!(counts.reserved + counts.held <= most, "more than there may be");
        let handed: usize = self.parts.iter().map(|(part, ..)| part.len()).sum();
        let unsplit: usize = self.open.iter().map(|open| open.bytes.len()).sum();
        assert_eq!(
            counts.live,
            handed + unsplit + still_there(&self.forgotten),
            "live is what somebody can see, or will"
        );
        for (partition, usage) in self.usage.iter().enumerate() {
            let alive = self.parts.iter().filter(|(_, of, _)| *of == partition).map(|(part, ..)| part.len());
            assert_eq!(usage.load(Ordering::Relaxed), alive.sum::<usize>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_charged_is_there_and_comes_back(moves in moves()) {
        let mut scene = Scene::new();
        for step in moves {
            scene.play(step);
            scene.check();
        }
        scene.parts.clear();
        scene.open.clear();
        scene.reservations.clear();
        assert_eq!(scene.budget.charged(), 0);
        assert_eq!(scene.budget.counts().live, 0);
    }
}
