//! Fetching: one loop per broker, incremental sessions, a bounded prefetch.
//!
//! ```text
//! position  what has to happen before a partition can be fetched, and after it could not (pure)
//! reset     where positions begin and jump to (pure)
//! leader    what its leader is asked for: offsets, epochs
//! broker    the loop: entries, one request under way, parts to slots
//!  ├ session   what the broker knows of us (pure)
//!  ├ patience  how long it may wait for data (pure)
//!  ├ budget    how many bytes may be about, and what they pin
//!  ├ request   delta to message
//!  └ answer    message to parts, by the headers of their batches
//! slot      one partition between loop and reader: queue and position
//! aborted   which batches a reader must not see (pure)
//! ```

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

pub(crate) mod aborted;
pub(crate) mod answer;
pub(crate) mod broker;
pub(crate) mod budget;
pub(crate) mod leader;
pub(crate) mod patience;
pub(crate) mod position;
pub(crate) mod request;
pub(crate) mod reset;
pub(crate) mod session;
pub(crate) mod slot;
#[cfg(test)]
pub(crate) mod testing;

/// A map whose order follows from what was done to it alone, so that a simulation repeats exactly.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
/// A set of that kind.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<DefaultHasher>>;
