//! What a handler may return.

use super::batch_payload::Settling;
use super::failure::{BatchFailure, BoxError, Failure, HandlerError};
use crate::template::TxError;

/// What a listener may return: nothing, or `Result<(), E>` with any error that converts into a boxed one
/// (`anyhow::Error`, `Box<dyn Error + Send + Sync>`, `String`, an enum of your own with `thiserror`).
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    label = "neither nothing nor `Result<(), E>`",
    note = "return nothing, or `Result<(), E>` with an error that implements `std::error::Error + Send + Sync + \
            'static` or otherwise converts into `Box<dyn Error + Send + Sync>` (as `anyhow::Error` and `String` do)",
    note = "a value that is to be sent on needs to know where to: `send_to = \"enriched\"`, or `reply`",
    note = "`BatchError` is for listeners with the setting `batch`"
)]
pub trait IntoOutcome {
    /// The outcome of the record.
    ///
    /// # Errors
    /// The handler's.
    fn into_outcome(self) -> Result<(), Failure>;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<(), Failure> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), Failure> {
        self.map_err(|error| Failure::Handler(HandlerError::new(error)))
    }
}

impl IntoOutcome for Result<(), TxError> {
    fn into_outcome(self) -> Result<(), Failure> {
        self.map_err(|error| Failure::Handler(HandlerError::new(error.into_source())))
    }
}

/// The outcome of a record, for the macro's code.
///
/// # Errors
/// The handler's.
pub fn outcome<R: IntoOutcome>(returned: R) -> Result<(), Failure> {
    returned.into_outcome()
}

/// How far a batch came, and why not farther. Not a `std::error::Error` itself: it is a place and an error.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// # async fn insert(click: &str) -> Result<(), std::io::Error> { Ok(()) }
/// #[kafka_listener(topic = "clicks", group = "warehouse", batch)]
/// async fn store(clicks: Vec<String>) -> Result<(), BatchError<std::io::Error>> {
///     for (index, click) in clicks.iter().enumerate() {
///         insert(click).await.map_err(|error| BatchError::at(index, error))?;
///     }
///     Ok(())
/// }
/// ```
///
/// Any error converts into one at index 0 (by `?`): then nothing of the batch counts as handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchError<E> {
    index: usize,
    error: E,
}

impl<E> BatchError<E> {
    /// Everything before `index` is handled; `error` happened at it.
    pub fn at(index: usize, error: E) -> Self {
        Self { index, error }
    }

    /// Everything before this index is handled.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What happened at it.
    pub fn error(&self) -> &E {
        &self.error
    }
}

impl<E> From<E> for BatchError<E> {
    fn from(error: E) -> Self {
        Self::at(0, error)
    }
}

/// What a batch listener may return: nothing, `Result<(), E>`, or `Result<(), BatchError<E>>` for partial success.
#[diagnostic::on_unimplemented(
    message = "a batch listener cannot return `{Self}`",
    label = "none of: nothing, `Result<(), E>`, `Result<(), BatchError<E>>`",
    note = "return nothing, `Result<(), E>` or `Result<(), BatchError<E>>`, with an error that implements \
            `std::error::Error + Send + Sync + 'static` or otherwise converts into `Box<dyn Error + Send + Sync>`",
    note = "values that are to be sent on need to know where to: `send_to = \"enriched\"`, or `reply`"
)]
pub trait IntoBatchOutcome {
    /// The outcome of the batch.
    ///
    /// # Errors
    /// The handler's, at its index.
    fn into_outcome(self) -> Result<(), BatchFailure>;
}

impl IntoBatchOutcome for () {
    fn into_outcome(self) -> Result<(), BatchFailure> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoBatchOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), BatchFailure> {
        self.map_err(|error| BatchFailure { index: 0, failure: Failure::Handler(HandlerError::new(error)) })
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoBatchOutcome for Result<(), BatchError<E>> {
    fn into_outcome(self) -> Result<(), BatchFailure> {
        self.map_err(|BatchError { index, error }| BatchFailure {
            index,
            failure: Failure::Handler(HandlerError::new(error)),
        })
    }
}

impl IntoBatchOutcome for Result<(), TxError> {
    fn into_outcome(self) -> Result<(), BatchFailure> {
        IntoBatchOutcome::into_outcome(self.map_err(TxError::into_source))
    }
}

/// The outcome of a batch, for the macro's code: the handler's, or that of the record which ended the batch.
///
/// # Errors
/// The handler's, or what ended the batch.
pub fn batch_outcome<R: IntoBatchOutcome>(returned: R, settling: Settling<'_>) -> Result<(), BatchFailure> {
    settling.finish(returned.into_outcome())
}
