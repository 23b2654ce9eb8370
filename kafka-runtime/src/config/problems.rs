//! Mistakes, collected: all of them are reported together, each with its place and, where there is one, a cure.

use std::fmt;

use super::names::canonical;
use super::origin::Origin;

/// One mistake, or one remark, about the configuration. Never contains the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// The key it is about, as the user wrote it; empty where it is about a whole file.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(origin: Origin, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { origin, key: key.into(), what: what.into(), help: None }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn did_you_mean(mut self, nearest: Option<String>) -> Self {
        if let Some(nearest) = nearest {
            self.help = Some(format!("did you mean `{nearest}`?"));
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Default | Origin::Code => {}
            ref origin => write!(f, "{origin}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        f.write_str(&self.what)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with the configuration. Nothing starts while there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Each mistake, in the order of the files and then of the checks.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "configuration: {one}"),
            all => {
                write!(f, "configuration: {} problems", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects mistakes and remarks; the same one is kept once, however many listeners run into it.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    errors: Vec<Problem>,
    notices: Vec<Problem>,
}

impl Problems {
    pub(crate) fn error(&mut self, problem: Problem) {
        push_new(&mut self.errors, problem);
    }

    pub(crate) fn notice(&mut self, problem: Problem) {
        push_new(&mut self.notices, problem);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        other.errors.into_iter().for_each(|problem| self.error(problem));
        other.notices.into_iter().for_each(|problem| self.notice(problem));
    }

    pub(crate) fn notices(&self) -> &[Problem] {
        &self.notices
    }

    /// `value`, unless there was a mistake.
    pub(crate) fn or<T>(self, value: T) -> Result<T, ConfigErrors> {
        self.into_result().map(|()| value)
    }

    pub(crate) fn into_result(mut self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        // A stable sort: places of one file by line, all else as it was found.
        self.errors.sort_by_key(|problem| match &problem.origin {
            Origin::File { file, line, column } => (0, file.to_string(), *line, *column),
            _ => (1, String::new(), 0, 0),
        });
        Err(ConfigErrors { problems: self.errors })
    }
}

/// A value that is read for several reasons is wrong once.
fn push_new(to: &mut Vec<Problem>, problem: Problem) {
    let said = matches!(problem.origin, Origin::File { .. } | Origin::Environment(_) | Origin::Argument(_));
    let known = to.iter().any(|other| {
        *other == problem
            || (said
                && !problem.key.is_empty()
                && other.origin == problem.origin
                && canonical(&other.key) == canonical(&problem.key))
    });
    if !known {
        to.push(problem);
    }
}
