//! Which partition a record goes to. Pure, but for one counter and one place to stick to per topic.

use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use crate::config::Partitioner;
use crate::seams::Rng;

/// Kafka's murmur2 of a key (seed `0x9747b28c`, as the Java client computes it).
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java's lengths are 32 bits.
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = word.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

/// The partition of a key among `partitions`, as Java's default partitioner chooses it.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX).checked_rem(partitions).unwrap_or(0)
}

/// The choices for one topic, over all threads that send to it.
#[derive(Debug)]
pub(super) struct Chooser {
    how: Partitioner,
    turn: AtomicU64,
    /// Where records without a key go now; -1 before the first.
    sticky: AtomicI32,
    /// Bytes that went there since it was chosen.
    bytes: AtomicUsize,
}

impl Chooser {
    pub(super) fn new(how: Partitioner) -> Self {
        Self { how, turn: AtomicU64::new(0), sticky: AtomicI32::new(-1), bytes: AtomicUsize::new(0) }
    }

    /// The partition of a record of `size` bytes. `available` are those of the `count` partitions that have a leader.
    /// Records without a key change to another partition after `batch_size` bytes (KIP-480, KIP-794), so that each
    /// gets whole batches.
    pub(super) fn choose(
        &self,
        key: Option<&[u8]>,
        count: i32,
        available: &[i32],
        size: usize,
        batch_size: usize,
        rng: &Rng,
    ) -> i32 {
        match (self.how, key) {
            (Partitioner::Murmur2, Some(key)) => partition_for_key(key, count),
            (Partitioner::Murmur2, None) => self.stick(count, available, size, batch_size, rng),
            (Partitioner::RoundRobin, _) => pick(self.turn.fetch_add(1, Ordering::Relaxed), count, available),
        }
    }

    fn stick(&self, count: i32, available: &[i32], size: usize, batch_size: usize, rng: &Rng) -> i32 {
        let now = self.sticky.load(Ordering::Relaxed);
        let used = self.bytes.fetch_add(size, Ordering::Relaxed);
        let usable = (0..count).contains(&now) && (available.is_empty() || available.contains(&now));
        if usable && used < batch_size {
            return now;
        }
        let next = match available {
            [only] => *only,
            _ => {
                let others = available.iter().copied().filter(|other| *other != now).collect::<Vec<_>>();
                pick(rng.next_u64(), count, &others)
            }
        };
        self.sticky.store(next, Ordering::Relaxed);
        self.bytes.store(size, Ordering::Relaxed);
        next
    }
}

/// One of the available ones; of all, where none is: it has to wait anyway.
fn pick(number: u64, count: i32, available: &[i32]) -> i32 {
    let of = |length: usize| usize::try_from(number % (length.max(1) as u64)).unwrap_or(0);
    match available.get(of(available.len())) {
        Some(partition) => *partition,
        None => i32::try_from(of(usize::try_from(count).unwrap_or(0))).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_the_java_client_sends_them() {
        let folder = std::env::var("KAFKA_VECTORS")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors").into());
        let text =
            std::fs::read_to_string(format!("{folder}/murmur2.jsonl")).expect("KAFKA_VECTORS/murmur2.jsonl");
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let hex = line["key"].as_str().unwrap();
            assert!(!hex.starts_with("base64:"));
            let key: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(i64::from(murmur2(&key)), line["murmur2"].as_i64().unwrap(), "{hex}");
            for (count, partition) in line["partitions"].as_object().unwrap() {
                let chosen = partition_for_key(&key, count.parse().unwrap());
                assert_eq!(i64::from(chosen), partition.as_i64().unwrap(), "{hex} of {count}");
            }
        }
        assert_eq!(partition_for_key(b"x", 0), 0);
    }

    #[test]
    fn records_without_a_key_fill_one_batch_after_the_other() {
        let (chooser, rng) = (Chooser::new(Partitioner::Murmur2), Rng::seeded(3));
        let chosen: Vec<_> =
            (0..1000).map(|_| chooser.choose(None, 4, &[0, 2, 3], 100, 1000, &rng)).collect();
        let runs: Vec<_> = chosen.chunk_by(|one, two| one == two).collect();
        assert!(runs.iter().all(|run| run.len() == 10), "{chosen:?}");
        for partition in [0, 2, 3] {
            assert!(runs.iter().filter(|run| run[0] == partition).count() > 20);
        }
        assert!(!chosen.contains(&1), "it has no leader");
        assert_eq!(chooser.choose(None, 4, &[1], 100, 1000, &rng), 1, "its partition lost its leader");
    }

    #[test]
    fn round_robin_goes_round_whatever_the_key() {
        let (chooser, rng) = (Chooser::new(Partitioner::RoundRobin), Rng::seeded(3));
        let chosen: Vec<_> =
            (0..6).map(|_| chooser.choose(Some(b"same"), 4, &[0, 1, 3], 9, 9, &rng)).collect();
        assert_eq!(chosen, [0, 1, 3, 0, 1, 3]);
        let waiting: Vec<_> = (0..3).map(|_| chooser.choose(None, 2, &[], 9, 9, &rng)).collect();
        assert!(waiting.contains(&0) && waiting.contains(&1), "none has a leader: {waiting:?}");
    }
}
