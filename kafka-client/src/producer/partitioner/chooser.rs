//! The choices for one topic, over all threads that send to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use super::{Choice, KeyHash, Keyless, OwnPartitioner, Partitioner};
use crate::producer::Outgoing;
use crate::producer::topics::Obstacle;
use crate::seams::Rng;

/// The choices for one topic.
#[derive(Debug)]
pub(crate) struct Chooser {
    how: Partitioner,
    /// Whether less goes to where more waits.
    adaptive: bool,
    /// After how many bytes another partition has its turn.
    batch_size: usize,
    turn: AtomicU64,
    /// Where records without a key go now; -1 before the first.
    sticky: AtomicI32,
    /// Bytes that went there since it was chosen.
    bytes: AtomicUsize,
}

/// What a topic is like now.
pub(crate) struct Situation<'a> {
    /// How many partitions there are.
    pub(crate) count: i32,
    /// Those that have a leader.
    pub(crate) available: &'a [i32],
    /// Whether a partition has a leader.
    pub(crate) has_leader: &'a dyn Fn(i32) -> bool,
    /// Batches that wait for a partition.
    pub(crate) backlog: &'a dyn Fn(i32) -> usize,
    /// Bytes that were sent to a partition.
    pub(crate) sent: &'a dyn Fn(i32) -> u64,
}

impl Chooser {
    pub(crate) fn new(how: Partitioner, adaptive: bool, batch_size: usize) -> Self {
        Self {
            how,
            adaptive,
            batch_size,
            turn: AtomicU64::new(0),
            sticky: AtomicI32::new(-1),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Whether it wants to know how much was sent where.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.how, Partitioner::LeastBytes)
    }

    /// The partition of a record of `size` bytes.
    pub(in crate::producer) fn choose(
        &self,
        record: &Outgoing<'_>,
        topic: &Situation<'_>,
        size: usize,
        rng: &Rng,
    ) -> Result<i32, Obstacle> {
        Ok(match (&self.how, record.key) {
            (Partitioner::Murmur2, Some(key)) => KeyHash::Murmur2.partition(key, topic.count),
            (Partitioner::Keyed(hash, keyless), key) => match (key, keyless) {
                (Some(key), _) if !key.is_empty() || *hash != KeyHash::Crc32 => {
                    hash.partition(key, topic.count)
                }
                (_, Keyless::Hashed) => hash.partition(&[], topic.count),
                (_, Keyless::Sticky) => self.stick(topic, size, rng),
                (_, Keyless::RoundRobin) => self.next(topic),
                (_, Keyless::Random) => pick(rng.next_u64(), topic),
            },
            (Partitioner::Murmur2 | Partitioner::Sticky, _) => self.stick(topic, size, rng),
            (Partitioner::RoundRobin, _) => self.next(topic),
            (Partitioner::Random, _) => pick(rng.next_u64(), topic),
            (Partitioner::LeastBytes, _) => {
                let least = topic.available.iter().min_by_key(|partition| (topic.sent)(**partition));
                least.copied().unwrap_or_else(|| self.next(topic))
            }
            (Partitioner::Manual, _) => return Err(Obstacle::NoPartition),
            (Partitioner::Own(OwnPartitioner(own)), _) => {
                let choice = Choice { partitions: topic.count, available: topic.available };
                // It is somebody else's code, and whoever sends may send for many.
                catch_unwind(AssertUnwindSafe(|| own.choose(record, &choice)))
                    .map_err(|_| Obstacle::PartitionerPanicked)?
            }
        })
    }

    fn next(&self, topic: &Situation<'_>) -> i32 {
        pick(self.turn.fetch_add(1, Ordering::Relaxed), topic)
    }

    /// The same partition until a batch's worth of bytes went there, so that each gets whole batches.
    fn stick(&self, topic: &Situation<'_>, size: usize, rng: &Rng) -> i32 {
        let now = self.sticky.load(Ordering::Relaxed);
        let used = self.bytes.fetch_add(size, Ordering::Relaxed);
        let usable =
            (0..topic.count).contains(&now) && (topic.available.is_empty() || (topic.has_leader)(now));
        if usable && used < self.batch_size {
            return now;
        }
        let next = self.another(now, topic, rng);
        self.sticky.store(next, Ordering::Relaxed);
        self.bytes.store(size, Ordering::Relaxed);
        next
    }

    fn another(&self, now: i32, topic: &Situation<'_>, rng: &Rng) -> i32 {
        let others: Vec<i32> = topic.available.iter().copied().filter(|other| *other != now).collect();
        if !self.adaptive || others.len() < 2 {
            return match (&others[..], topic.available) {
                ([], [only]) => *only,
                ([], _) => pick(rng.next_u64(), topic),
                (others, _) => one_of(rng.next_u64(), others).unwrap_or(now),
            };
        }
        // The less waits for a partition, the likelier it is; the one with the longest queue is not impossible.
        let backlogs: Vec<usize> = others.iter().map(|other| (topic.backlog)(*other)).collect();
        let longest = backlogs.iter().max().map_or(0, |longest| *longest);
        let weights = backlogs.iter().map(|backlog| (longest - backlog + 1) as u64);
        let mut at = rng.below(weights.clone().sum());
        for (other, weight) in others.iter().zip(weights) {
            match at.checked_sub(weight) {
                None => return *other,
                Some(rest) => at = rest,
            }
        }
        now
    }
}

fn one_of(number: u64, of: &[i32]) -> Option<i32> {
    let index = number.checked_rem(of.len() as u64)?;
    of.get(usize::try_from(index).ok()?).copied()
}

/// One of the available ones; of all, where none is: it has to wait anyway.
fn pick(number: u64, topic: &Situation<'_>) -> i32 {
    let of_all = || {
        let count = u64::try_from(topic.count).unwrap_or(0);
        number.checked_rem(count).and_then(|partition| i32::try_from(partition).ok()).unwrap_or(0)
    };
    one_of(number, topic.available).unwrap_or_else(of_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::partitioner::ChoosePartition;

    fn record(key: Option<&[u8]>) -> Outgoing<'_> {
        Outgoing { topic: "t".into(), partition: None, timestamp: None, key, value: None, headers: &[] }
    }

    fn choose(chooser: &Chooser, key: Option<&[u8]>, count: i32, available: &[i32], rng: &Rng) -> i32 {
        let topic = Situation {
            count,
            available,
            has_leader: &|partition| available.contains(&partition),
            backlog: &|_| 0,
            sent: &|_| 0,
        };
        chooser.choose(&record(key), &topic, 100, rng).unwrap()
    }

    fn chooser(how: Partitioner) -> Chooser {
        Chooser::new(how, true, 1000)
    }

    #[test]
    fn records_without_a_key_fill_one_batch_after_the_other() {
        for adaptive in [true, false] {
            let (chooser, rng) = (Chooser::new(Partitioner::Murmur2, adaptive, 1000), Rng::seeded(3));
            let chosen: Vec<_> = (0..1000).map(|_| choose(&chooser, None, 4, &[0, 2, 3], &rng)).collect();
            let runs: Vec<_> = chosen.chunk_by(|one, two| one == two).collect();
            assert!(runs.iter().all(|run| run.len() == 10), "{chosen:?}");
            for partition in [0, 2, 3] {
                assert!(runs.iter().filter(|run| run[0] == partition).count() > 20);
            }
            assert!(!chosen.contains(&1), "it has no leader");
            assert_eq!(choose(&chooser, None, 4, &[1], &rng), 1, "its partition lost its leader");
        }
    }

    #[test]
    fn where_much_waits_less_goes() {
        let (chooser, rng) = (chooser(Partitioner::Sticky), Rng::seeded(3));
        let topic = Situation {
            count: 4,
            available: &[0, 1, 2, 3],
            has_leader: &|_| true,
            backlog: &|partition| if partition == 2 { 30 } else { 0 },
            sent: &|_| 0,
        };
        let chosen: Vec<_> =
            (0..4000).map(|_| chooser.choose(&record(Some(b"k")), &topic, 1000, &rng).unwrap()).collect();
        let slow = chosen.iter().filter(|partition| **partition == 2).count();
        assert!((1..200).contains(&slow), "{slow} of {}", chosen.len());
    }

    #[test]
    fn round_robin_goes_round_whatever_the_key() {
        let (chooser, rng) = (chooser(Partitioner::RoundRobin), Rng::seeded(3));
        let chosen: Vec<_> = (0..6).map(|_| choose(&chooser, Some(b"same"), 4, &[0, 1, 3], &rng)).collect();
        assert_eq!(chosen, [0, 1, 3, 0, 1, 3]);
        let waiting: Vec<_> = (0..3).map(|_| choose(&chooser, None, 2, &[], &rng)).collect();
        assert!(waiting.contains(&0) && waiting.contains(&1), "none has a leader: {waiting:?}");
    }

    #[test]
    fn what_is_empty_is_a_key_or_none_as_each_library_has_it() {
        let rng = Rng::seeded(3);
        let spread = |how: &str, key: Option<&[u8]>| {
            let chooser = chooser(Partitioner::named(how).unwrap());
            let mut seen: Vec<_> =
                (0..200).map(|_| choose(&chooser, key, 5, &[0, 1, 2, 3, 4], &rng)).collect();
            seen.sort_unstable();
            seen.dedup();
            seen.len()
        };
        for how in ["consistent", "murmur2", "fnv1a"] {
            assert_eq!((spread(how, None), spread(how, Some(b""))), (1, 1), "{how}");
        }
        for (how, empty) in
            [("consistent-random", 5), ("murmur2_random", 1), ("fnv1a_random", 1), ("kafka-go-hash", 1)]
        {
            assert_eq!(
                (spread(how, None), spread(how, Some(b"")), spread(how, Some(b"k"))),
                (5, empty, 1),
                "{how}"
            );
        }
    }

    #[test]
    fn the_least_bytes_get_the_next() {
        let (chooser, rng) = (chooser(Partitioner::LeastBytes), Rng::seeded(3));
        let topic = Situation {
            count: 3,
            available: &[0, 1, 2],
            has_leader: &|_| true,
            backlog: &|_| 0,
            sent: &|partition| [30, 10, 20][usize::try_from(partition).unwrap()],
        };
        assert_eq!(chooser.choose(&record(None), &topic, 1, &rng), Ok(1));
    }

    #[derive(Debug)]
    struct Last;

    impl ChoosePartition for Last {
        fn choose(&self, _: &Outgoing<'_>, choice: &Choice<'_>) -> i32 {
            choice.partitions - 1
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl ChoosePartition for Broken {
        fn choose(&self, _: &Outgoing<'_>, _: &Choice<'_>) -> i32 {
            panic!("on purpose")
        }
    }

    #[test]
    fn it_may_be_your_own_or_nobodys() {
        let rng = Rng::seeded(3);
        let own = Partitioner::Own(OwnPartitioner::new(Last));
        assert_eq!(own.clone(), own);
        assert_ne!(own, Partitioner::Own(OwnPartitioner::new(Last)));
        assert_eq!(
            (own.to_string(), Partitioner::RoundRobin.to_string()),
            ("Last".into(), "round_robin".into())
        );
        assert_eq!(choose(&chooser(own), None, 4, &[0], &rng), 3);
        let topic =
            Situation { count: 1, available: &[0], has_leader: &|_| true, backlog: &|_| 0, sent: &|_| 0 };
        let manual = chooser(Partitioner::Manual).choose(&record(Some(b"k")), &topic, 1, &rng);
        assert_eq!(manual, Err(Obstacle::NoPartition));
        let broken = chooser(Partitioner::Own(OwnPartitioner::new(Broken)));
        let panicked = broken.choose(&record(None), &topic, 1, &rng);
        assert_eq!(panicked, Err(Obstacle::PartitionerPanicked));
    }
}
