//! Which partition a record goes to.
//!
//! ```text
//!   Partitioner (what was configured, by name) ──▶ Chooser (one per topic) ──▶ partition
//!                                                     └─ hash: murmur2, crc32, FNV-1a
//! ```
//!
//! Services in several languages that share a topic must place a key alike, or its records lose their order: each client
//! library's way has a name here.

mod chooser;
mod hash;

use std::fmt;
use std::sync::Arc;

pub use hash::{murmur2, partition_for_key};

pub(super) use chooser::{Chooser, Situation};

use super::Outgoing;

/// How a record without an explicit partition finds one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// Java's default: murmur2 of the key; without a key as [`Partitioner::Sticky`]. **(default)**
    #[default]
    Murmur2,
    /// A hash of the key decides; what becomes of records without one is said beside it.
    Keyed(KeyHash, Keyless),
    /// Keys do not count: one partition until a batch is full, then another (KIP-480; Java's
    /// `partitioner.ignore.keys`).
    Sticky,
    /// Keys do not count: one partition after the other.
    RoundRobin,
    /// Keys do not count: any partition.
    Random,
    /// Keys do not count: the partition to which this producer has sent the fewest bytes.
    LeastBytes,
    /// The record names its partition; one that does not is refused.
    Manual,
    /// Your own.
    Own(OwnPartitioner),
}

/// What is made of a key's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHash {
    /// Kafka's murmur2, its sign bit cleared: Java, librdkafka's `murmur2`, franz-go, kafka-go's `Murmur2Balancer`.
    Murmur2,
    /// CRC-32 (IEEE): librdkafka's `consistent`, kafka-go's `CRC32Balancer`. An empty key counts as none, unless
    /// [`Keyless::Hashed`].
    Crc32,
    /// FNV-1a of 32 bits, the remainder's sign dropped: sarama's `HashPartitioner`, kafka-go's `Hash`, librdkafka's
    /// `fnv1a`.
    Fnv1a,
    /// FNV-1a of 32 bits, its sign bit cleared: sarama's and kafka-go's `ReferenceHash`. Other partitions than
    /// [`KeyHash::Fnv1a`] for every other key.
    Fnv1aReference,
}

/// Where records without a key go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyless {
    /// As [`Partitioner::Sticky`].
    Sticky,
    /// As [`Partitioner::RoundRobin`].
    RoundRobin,
    /// As [`Partitioner::Random`].
    Random,
    /// As an empty key would: all to one partition.
    Hashed,
}

/// Java's classes, librdkafka's names, and those of Go's clients.
const NAMES: &[(&str, Partitioner)] = &[
    ("org.apache.kafka.clients.producer.internals.DefaultPartitioner", Partitioner::Murmur2),
    ("org.apache.kafka.clients.producer.RoundRobinPartitioner", Partitioner::RoundRobin),
    ("org.apache.kafka.clients.producer.UniformStickyPartitioner", Partitioner::Sticky),
    ("default", Partitioner::Murmur2),
    ("sticky", Partitioner::Sticky),
    ("round_robin", Partitioner::RoundRobin),
    ("random", Partitioner::Random),
    ("least_bytes", Partitioner::LeastBytes),
    ("manual", Partitioner::Manual),
    ("consistent", Partitioner::Keyed(KeyHash::Crc32, Keyless::Hashed)),
    ("consistent_random", Partitioner::Keyed(KeyHash::Crc32, Keyless::Random)),
    ("murmur2", Partitioner::Keyed(KeyHash::Murmur2, Keyless::Hashed)),
    ("murmur2_random", Partitioner::Keyed(KeyHash::Murmur2, Keyless::Random)),
    ("fnv1a", Partitioner::Keyed(KeyHash::Fnv1a, Keyless::Hashed)),
    ("fnv1a_random", Partitioner::Keyed(KeyHash::Fnv1a, Keyless::Random)),
    ("sarama_hash", Partitioner::Keyed(KeyHash::Fnv1a, Keyless::Random)),
    ("sarama_reference_hash", Partitioner::Keyed(KeyHash::Fnv1aReference, Keyless::Random)),
    ("kafka_go_hash", Partitioner::Keyed(KeyHash::Fnv1a, Keyless::RoundRobin)),
    ("kafka_go_reference_hash", Partitioner::Keyed(KeyHash::Fnv1aReference, Keyless::Random)),
    ("kafka_go_crc32", Partitioner::Keyed(KeyHash::Crc32, Keyless::Random)),
    ("kafka_go_murmur2", Partitioner::Keyed(KeyHash::Murmur2, Keyless::Random)),
    ("kafka_go_least_bytes", Partitioner::LeastBytes),
];

impl Partitioner {
    /// The partitioner of this name: a class of Java's `partitioner.class`, a value of librdkafka's `partitioner`, or one
    /// of the names for Go's clients; `-` is as good as `_`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim().replace('-', "_");
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, partitioner)| partitioner.clone())
    }

    /// The names that [`Partitioner::named`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Partitioner {
    /// Its shortest name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = || match self {
            Self::Own(own) => format!("{own:?}"),
            other => format!("{other:?}"),
        };
        let names = NAMES.iter().filter(|(name, known)| known == self && !name.contains('.'));
        f.write_str(&names.map(|(name, _)| (*name).to_owned()).next().unwrap_or_else(own))
    }
}

/// Chooses partitions in a way of its own.
pub trait ChoosePartition: Send + Sync + fmt::Debug + 'static {
    /// The partition for `record`, in `0..choice.partitions`; another number fails the record, and so does a panic. Called
    /// for records without a partition of their own, on the sending threads, so it should be quick.
    fn choose(&self, record: &Outgoing<'_>, choice: &Choice<'_>) -> i32;
}

/// What a topic has.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// How many partitions.
    pub partitions: i32,
    /// Those that have a leader now; the others have to wait.
    pub available: &'a [i32],
}

/// A [`ChoosePartition`] in a configuration. Equal to its clones only.
#[derive(Clone)]
pub struct OwnPartitioner(Arc<dyn ChoosePartition>);

impl OwnPartitioner {
    /// Wraps it.
    pub fn new(partitioner: impl ChoosePartition) -> Self {
        Self(Arc::new(partitioner))
    }
}

impl fmt::Debug for OwnPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for OwnPartitioner {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OwnPartitioner {}
