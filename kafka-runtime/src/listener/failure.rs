//! How a handler can fail, before policy decides what that leads to.

use std::error::Error as StdError;

/// Why a record was not handled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The handler returned an error.
    Handler(Box<dyn StdError + Send + Sync>),
    /// The payload could not be decoded, or an argument could not be made from the record: it will fail again.
    /// The text names topic, partition, offset, JSON path and the offending bytes (shortened).
    Decode(String),
    /// The handler panicked.
    Panic(String),
}

/// Why a batch was not handled, and how far it was.
#[derive(Debug)]
pub struct BatchFailure {
    /// Everything before this index is handled.
    pub index: usize,
    /// What happened at it.
    pub failure: Failure,
}
