//! How a handler can fail, before policy decides what that leads to.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::sort::Sorted;

/// Any error, as handlers return it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a record was not handled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The handler returned an error.
    Handler(HandlerError),
    /// The payload could not be decoded, or an argument could not be made from the record: it will fail again.
    /// The text names topic, partition, offset, JSON path and the offending bytes (shortened).
    Decode(String),
    /// The handler panicked.
    Panic(String),
    /// The handler took longer than this (`handler-timeout`) and was dropped where it waited.
    Timeout(Duration),
}

/// What a handler returned, with the name of its type: which is lost once it is boxed.
#[derive(Debug)]
pub struct HandlerError {
    error: BoxError,
    type_name: &'static str,
    pub(crate) sorted: Sorted,
}

impl HandlerError {
    pub(super) fn new<E: Into<BoxError>>(error: E) -> Self {
        Self { error: error.into(), type_name: std::any::type_name::<E>(), sorted: Sorted::default() }
    }

    /// The error.
    #[must_use]
    pub fn error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.error
    }

    /// The name of the type that the handler returned, as [`std::any::type_name`] has it; of the type in the attribute
    /// that it was found to be, where it is one.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.sorted.name().unwrap_or(self.type_name)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: Into<BoxError>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Marks an error as one that no further try can cure: the record is not tried again, whatever the listener's policy,
/// and goes where spent tries lead (`on-exhausted`: by default to the dead letter).
///
/// It may lie anywhere in an error's chain of causes, so that `?` and `anyhow`'s `context` keep it.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// # #[derive(Deserialize)] struct Order { total_cents: i64 }
/// #[kafka_listener(topic = "orders", group = "billing")]
/// async fn bill(order: Order) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     if order.total_cents < 0 {
///         return Err(Fatal::new("a negative total").into());
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Fatal(BoxError);

impl Fatal {
    /// Marks `error`.
    #[must_use]
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Fatal {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
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
