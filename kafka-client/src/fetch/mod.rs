//! Fetching: one loop per broker, incremental sessions, a bounded prefetch.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

pub(crate) mod budget;
pub(crate) mod session;

/// A map whose order follows from what was done to it alone, so that a simulation repeats exactly.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
/// A set of that kind.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<DefaultHasher>>;
