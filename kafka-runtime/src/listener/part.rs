//! A part of a record (its key, a header) that is not what the handler takes.

use std::fmt;
use std::str::Utf8Error;

use super::delivery::RecordPlace;
use super::excerpt::{Excerpt, shortened};

/// A parser's message may quote what it found, whatever its length.
const MAX_MESSAGE: usize = 200;

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartProblem {
    /// There is none, or it is null, and the argument is not an `Option`.
    Absent,
    /// It is not text.
    NotUtf8(Utf8Error),
    /// It is not what was asked for: in words.
    Other(String),
}

impl From<Utf8Error> for PartProblem {
    fn from(error: Utf8Error) -> Self {
        Self::NotUtf8(error)
    }
}

impl fmt::Display for PartProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is none, or it is null; take an `Option` where that may be"),
            Self::NotUtf8(error) => write!(f, "it is not UTF-8 ({error})"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A record's key or header is not what the handler takes.
#[derive(Debug, Clone)]
pub struct PartRejection(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    part: PartName,
    place: RecordPlace,
    wanted: &'static str,
    problem: PartProblem,
    excerpt: Option<Excerpt>,
}

/// Which part.
#[derive(Debug, Clone, Copy)]
pub(super) enum PartName {
    Key,
    Header(&'static str),
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("key"),
            Self::Header(name) => write!(f, "header `{name}`"),
        }
    }
}

impl PartRejection {
    /// `found` could not be taken as a `T`.
    #[cold]
    pub(super) fn new<T>(
        part: PartName,
        place: RecordPlace,
        problem: PartProblem,
        found: Option<&[u8]>,
    ) -> Self {
        let around = match &problem {
            PartProblem::NotUtf8(error) => error.valid_up_to(),
            _ => 0,
        };
        Self(Box::new(Details {
            part,
            place,
            wanted: std::any::type_name::<T>(),
            problem,
            excerpt: found.map(|bytes| Excerpt::around(bytes, around)),
        }))
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &PartProblem {
        &self.0.problem
    }
}

impl fmt::Display for PartRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { part, place, wanted, problem, excerpt } = &*self.0;
        let problem = shortened(problem.to_string(), MAX_MESSAGE);
        write!(f, "the {part} of {place} cannot be taken as `{wanted}`: {problem}")?;
        match excerpt {
            Some(excerpt) => write!(f, "; its bytes: {excerpt}"),
            None => Ok(()),
        }
    }
}
