//! What goes wrong in a run, and when: it follows from the seed alone.

use std::time::Duration;

use kafka_client::seams::Rng;
use kafka_embedded::ErrorCode;

/// How long trouble lasts, about.
const TROUBLED: Duration = Duration::from_secs(40);

/// Something that goes wrong. `usize`s pick an instance among those that there are then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Trouble {
    /// An instance more.
    Join,
    /// An instance stops gracefully.
    Leave(usize),
    /// An instance is gone from one moment to the next.
    Crash(usize),
    /// An instance reaches nobody for a while, and hears nothing of it.
    Silence(usize, Duration),
    /// All connections of an instance end.
    Disconnect(usize),
    /// The coordinator begins a rebalance.
    Rebalance,
    /// The next requests of a kind fail.
    Requests(Kind, u64, Failing),
    /// A broker stops, and starts again after a while.
    StopBroker(i32, Duration),
    /// A broker neither reads nor answers anything for a while.
    CutOffBroker(i32, Duration),
    /// A broker dies, which the others notice late, and starts again after a while.
    KillBroker(i32, Duration),
}

/// Whose requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Fetch,
    Heartbeat,
    Join,
    OffsetFetch,
    Produce,
}

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    /// With an error code.
    Answered(ErrorCode),
    /// Its connection is closed before it is served.
    Unserved,
    /// It is served, and its connection closed instead of an answer.
    Unanswered,
    /// Its answer takes so long.
    Late(Duration),
}

/// Troubles with their times, from the beginning on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan(pub(super) Vec<(Duration, Trouble)>);

impl Plan {
    pub(super) fn of(rng: &Rng, brokers: i32) -> Self {
        let count = 4 + rng.below(12);
        let mut troubles: Vec<_> =
            (0..count).map(|_| (millis(rng, 200, TROUBLED), trouble(rng, brokers))).collect();
        troubles.sort_by_key(|(at, _)| *at);
        Self(troubles)
    }
}

fn millis(rng: &Rng, least: u64, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(least + rng.below(most.saturating_sub(least)))
}

fn trouble(rng: &Rng, brokers: i32) -> Trouble {
    let who = usize::try_from(rng.below(8)).unwrap_or(0);
    let broker = 1 + i32::try_from(rng.below(u64::try_from(brokers).unwrap_or(1))).unwrap_or(0);
    match rng.below(21) {
        0..=3 => Trouble::Join,
        4 | 5 => Trouble::Leave(who),
        6 | 7 => Trouble::Crash(who),
        8 | 9 => Trouble::Silence(who, millis(rng, 500, Duration::from_secs(40))),
        10 => Trouble::Disconnect(who),
        11 | 12 => Trouble::Rebalance,
        13 => Trouble::StopBroker(broker, millis(rng, 500, Duration::from_secs(20))),
        14 => Trouble::CutOffBroker(broker, millis(rng, 500, Duration::from_secs(20))),
        15 => Trouble::KillBroker(broker, millis(rng, 500, Duration::from_secs(20))),
        _ => requests(rng),
    }
}

fn requests(rng: &Rng) -> Trouble {
    let (kind, code) = match rng.below(6) {
        0 | 1 => (Kind::Commit, one_of(rng, ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator)),
        2 => (Kind::Fetch, one_of(rng, ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownServerError)),
        3 => (Kind::Heartbeat, one_of(rng, ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator)),
        4 => (Kind::Join, one_of(rng, ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator)),
        _ => {
            (Kind::OffsetFetch, one_of(rng, ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator))
        }
    };
    let kind = if rng.below(8) == 0 { Kind::Produce } else { kind };
    let failing = match rng.below(4) {
        0 if kind != Kind::Produce => Failing::Answered(code),
        1 => Failing::Unserved,
        2 => Failing::Late(millis(rng, 100, Duration::from_secs(12))),
        _ => Failing::Unanswered,
    };
    Trouble::Requests(kind, 1 + rng.below(6), failing)
}

fn one_of(rng: &Rng, one: ErrorCode, other: ErrorCode) -> ErrorCode {
    if rng.below(2) == 0 { one } else { other }
}

/// What is done to a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// It takes so long.
    Slow(Duration),
    /// It returns an error.
    Fail,
    /// It panics.
    Panic,
}

/// What is done to handlers: it follows from seed, partition, offset and try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chaos {
    pub(super) seed: u64,
    pub(super) fails: bool,
}

impl Chaos {
    /// The last try of a record that is made to fail.
    const LAST: u32 = 2;

    pub(crate) fn strike(self, partition: i32, offset: i64, attempt: u32) -> Option<Mischief> {
        let mixed = self.seed.rotate_left(17)
            ^ u64::from(partition.unsigned_abs()) << 40
            ^ offset.unsigned_abs() << 8
            ^ u64::from(attempt);
        let rng = Rng::seeded(mixed);
        match rng.below(100) {
            0..=3 if self.fails && attempt <= Self::LAST => Some(Mischief::Fail),
            4 | 5 if self.fails && attempt <= Self::LAST => Some(Mischief::Panic),
            6..=15 => Some(Mischief::Slow(millis(&rng, 1, Duration::from_millis(400)))),
            16 => Some(Mischief::Slow(millis(&rng, 1000, Duration::from_secs(30)))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all_of_it() {
        for seed in 0..200 {
            let plan = Plan::of(&Rng::seeded(seed), 3);
            assert_eq!(plan, Plan::of(&Rng::seeded(seed), 3));
            assert!(plan.0.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            assert!((4..16).contains(&plan.0.len()));
            let chaos = Chaos { seed, fails: true };
            for offset in 0..200 {
                assert_eq!(chaos.strike(1, offset, 1), chaos.strike(1, offset, 1));
                let third = chaos.strike(1, offset, 3);
                assert!(!matches!(third, Some(Mischief::Fail | Mischief::Panic)), "{third:?}");
            }
        }
        assert_ne!(Plan::of(&Rng::seeded(1), 3), Plan::of(&Rng::seeded(2), 3));
    }

    #[test]
    fn every_trouble_comes_up() {
        let all: Vec<_> = (0..300).flat_map(|seed| Plan::of(&Rng::seeded(seed), 3).0).collect();
        let kinds: std::collections::HashSet<_> =
            all.iter().map(|(_, trouble)| std::mem::discriminant(trouble)).collect();
        assert_eq!(kinds.len(), 10);
    }
}
