//! Where a value comes from.

use std::fmt;
use std::sync::Arc;

use crate::listener::SourceLocation;

/// Where a value, or a mistake, comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A place in a file; line and column count from 1.
    File {
        /// The file as it was named.
        file: Arc<str>,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// A file as a whole.
    WholeFile(Arc<str>),
    /// An environment variable.
    Environment(Arc<str>),
    /// A member of the JSON text in `SPRING_APPLICATION_JSON`.
    Json(Arc<str>),
    /// An argument `--key=value` of the program.
    Argument(Arc<str>),
    /// Given by the program, see [`ConfigBuilder::set`](super::ConfigBuilder::set).
    Code,
    /// A random value, `${random.uuid}`.
    Random,
    /// An argument of `#[kafka_listener]`.
    Attribute {
        /// Where the attribute stands.
        location: SourceLocation,
        /// The argument, `group` for example.
        argument: Arc<str>,
    },
    /// Follows from another setting, named here.
    Derived(Arc<str>),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::WholeFile(file) => f.write_str(file),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Json(_) => f.write_str("SPRING_APPLICATION_JSON"),
            Self::Argument(name) => write!(f, "argument --{name}"),
            Self::Code => f.write_str("set in code"),
            Self::Random => f.write_str("random"),
            Self::Attribute { location, argument } => write!(f, "{location}, attribute {argument}"),
            Self::Derived(from) => write!(f, "follows from {from}"),
            Self::Default => f.write_str("default"),
        }
    }
}
