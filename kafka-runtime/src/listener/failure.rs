//! How a handler can fail, before policy decides what that leads to.

use std::error::Error as StdError;

/// Any error, as handlers return it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a record was not handled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The handler returned an error.
    Handler(BoxError),
    /// The payload could not be decoded, or an argument could not be made from the record: it will fail again.
    /// The text names topic, partition, offset, JSON path and the offending bytes (shortened).
    Decode(String),
    /// The handler panicked.
    Panic(String),
}

/// Why a batch was not handled, and how far it was.
#[derive(Debug)]
pub struct BatchFailure {
    /// Everything before this index is handled (where the listener acknowledges by hand: was handed over).
    /// It is below the number of records.
    pub index: usize,
    /// What happened at it.
    pub failure: Failure,
}
