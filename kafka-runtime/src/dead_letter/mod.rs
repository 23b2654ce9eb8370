//! Dead letters: what is written with a record that failed for good, and what is read of it.
//!
//! ```text
//! headers   names and bytes, as Spring Kafka has them (pure)
//! letter    DeadLetter<T>, a payload that knows why it is there
//! replay    dead letters sent back, each at most once; done: which were (pure)
//! ```

mod done;
pub(crate) mod headers;
mod letter;
pub(crate) mod replay;

/// A broker decides what is too large, not this client: the record was in Kafka before.
pub(crate) const LARGEST: usize = 64 * 1024 * 1024;

pub use self::letter::{DeadLetter, FailureKind, Origin};
pub use self::replay::{Replay, ReplayError, Replayed};
