//! How a handler can fail, before policy decides what that leads to.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::sort::{Sorted, causes};

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
    /// Boxed, since a handler's result is moved for each record.
    sorted: Option<Box<Sorted>>,
}

impl HandlerError {
    pub(super) fn new<E: Into<BoxError>>(error: E) -> Self {
        Self { error: error.into(), type_name: std::any::type_name::<E>(), sorted: None }
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
        self.sorted().name().unwrap_or(self.type_name)
    }

    /// Of which sorts it is.
    pub(crate) fn sorted(&self) -> Sorted {
        self.sorted.as_deref().copied().unwrap_or_default()
    }

    /// The failure of what was to follow the handler: its acknowledgement, what it sends on.
    pub(crate) fn into_failure(mut self) -> Failure {
        self.sort(Sorted::behind_the_handler(self.error()));
        Failure::Handler(self)
    }

    pub(super) fn sort(&mut self, sorted: Sorted) {
        self.sorted = Some(Box::new(sorted));
    }

    /// The error and its causes, with the paths of their types where these are known: of what the handler returned, and of
    /// what the attribute names. The error itself may come more than once.
    pub(crate) fn chain(&self) -> impl Iterator<Item = (Option<&'static str>, &(dyn StdError + 'static))> {
        let error: &(dyn StdError + 'static) = self.error();
        let sorted = self.sorted();
        let own = [Some(self.type_name), sorted.name_of_root()];
        let own = own.into_iter().flatten().map(move |path| (Some(path), error));
        own.chain(causes(error).map(move |cause| (sorted.name_of(cause), cause)))
    }
}

/// How a type is called that hides what its errors are, so that they have no names at run time; `None` for all others.
pub(crate) fn hiding(type_name: &str) -> Option<&'static str> {
    let of_batch = type_name.split_once("::BatchError<").map(|(_, inner)| inner.trim_end_matches('>'));
    let name = of_batch.unwrap_or(type_name);
    if ["alloc::boxed::Box<dyn ", "alloc::sync::Arc<dyn "].iter().any(|boxed| name.starts_with(boxed)) {
        return Some("Box<dyn Error>");
    }
    let is = |known: &&str| {
        name.strip_suffix(known).is_some_and(|before| before.is_empty() || before.ends_with("::"))
    };
    if name == std::any::type_name::<crate::template::TxError>() {
        return Some("TxError");
    }
    ["anyhow::Error", "eyre::Report"].into_iter().find(is)
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

#[cfg(test)]
mod tests {
    use std::any::type_name;

    use super::super::BatchError;
    use super::*;
    use crate::template::TxError;

    #[test]
    fn types_that_hide_what_is_in_them() {
        for name in [
            type_name::<BoxError>(),
            type_name::<Box<dyn StdError + Send + Sync + 'static>>(),
            type_name::<BatchError<BoxError>>(),
            "anyhow::Error",
            "eyre::Report",
            type_name::<TxError>(),
            type_name::<BatchError<TxError>>(),
        ] {
            assert!(hiding(name).is_some(), "{name}");
        }
        for name in [type_name::<std::io::Error>(), type_name::<BatchError<fmt::Error>>(), "shop::TxError"] {
            assert_eq!(hiding(name), None, "{name}");
        }
    }
}
