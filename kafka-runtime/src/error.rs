//! Why an application does not start, or did not end well.

use std::fmt;

use crate::app::Summary;
use crate::config::ConfigErrors;
use crate::template::TemplateError;

/// A result of the application.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the application. It shows itself as text in `{:?}` too, which is how `main` prints what it returns.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong: everything that is, with its place.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The listeners do not fit together, or something that they need is missing: all of it.
    #[error("cannot start:{}", Lines(.0))]
    Startup(Vec<String>),
    /// The client could not be made.
    #[error("{what}: {source}")]
    Client {
        /// What it was for.
        what: String,
        /// Why not.
        source: kafka_client::Error,
    },
    /// Every listener has failed for good; nothing is left to run.
    #[error("every listener has failed:{}", Lines(.0))]
    AllFailed(Vec<String>),
    /// It was stopped, and something was left undone.
    #[error("{0}")]
    Unfinished(Box<Summary>),
    /// It was told a second time to stop while it was stopping.
    #[error(
        "stopped at once, as was asked twice: handlers in hand were cut off, their records are handled again"
    )]
    Impatient,
    /// Sending failed, where an application passes that on.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One line each, indented.
struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  - {line}"))
    }
}
