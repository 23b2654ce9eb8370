//! Hashes of keys, each as its client library computes it.

use super::KeyHash;

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
    KeyHash::Murmur2.partition(key, partitions)
}

impl KeyHash {
    /// The partition of a key among `partitions`; 0 where there are none.
    #[must_use]
    pub fn partition(self, key: &[u8], partitions: i32) -> i32 {
        let of_signed = |hash: i32| hash.checked_rem(partitions).unwrap_or(0);
        let of_unsigned = |hash: u32| {
            let count = u32::try_from(partitions).unwrap_or(0);
            hash.checked_rem(count).and_then(|partition| i32::try_from(partition).ok()).unwrap_or(0)
        };
        match self {
            Self::Murmur2 => of_signed(murmur2(key) & i32::MAX),
            Self::Crc32 => of_unsigned(crc32(key)),
            // Go's remainder has the sign of the hash.
            Self::Fnv1a => of_signed(fnv1a(key) as i32).abs(),
            Self::Fnv1aReference => of_signed(fnv1a(key) as i32 & i32::MAX),
        }
    }
}

/// CRC-32 with the reflected polynomial of IEEE 802.3, as zlib and librdkafka have it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn keys_go_where_the_java_client_sends_them() {
        for line in vectors::lines("murmur2.jsonl") {
            let (hex, key) = (&line["key"], vectors::bytes(&line["key"]).unwrap());
            assert_eq!(i64::from(murmur2(&key)), line["murmur2"].as_i64().unwrap(), "{hex}");
            for (count, partition) in line["partitions"].as_object().unwrap() {
                let chosen = partition_for_key(&key, count.parse().unwrap());
                assert_eq!(i64::from(chosen), partition.as_i64().unwrap(), "{hex} of {count}");
            }
        }
        assert_eq!(partition_for_key(b"x", 0), 0);
    }

    #[test]
    fn the_other_hashes_are_the_published_ones() {
        // The check values of CRC-32 and FNV-1a.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
        // Negative as a number of 32 bits: the two ways part.
        let (quirk, reference) =
            (KeyHash::Fnv1a.partition(b"a", 7), KeyHash::Fnv1aReference.partition(b"a", 7));
        assert_eq!(quirk, (0xe40c_292cu32 as i32 % 7).abs());
        assert_eq!(reference, (0xe40c_292cu32 & 0x7fff_ffff) as i32 % 7);
        assert_ne!(quirk, reference);
        for hash in [KeyHash::Crc32, KeyHash::Fnv1a, KeyHash::Fnv1aReference] {
            assert_eq!(hash.partition(b"x", 0), 0);
            assert!((0..1000u32).all(|key| (0..7).contains(&hash.partition(&key.to_be_bytes(), 7))));
        }
    }
}
