//! Of which sort a handler's error is: by the types that the attribute names, found before the error is boxed.
//!
//! `anyhow::Error` hides the type of what it holds once it is boxed, so the macro's code asks it while it is still
//! itself: by its own `downcast_ref`, which wins over [`NoDowncast`]'s. Everything else is found in the boxed error and
//! its causes.

use std::any::type_name;
use std::error::Error as StdError;

use super::failure::{BatchFailure, Failure, Fatal};
use super::outcome::BatchError;

/// A type of error that the attribute names.
#[derive(Debug, Clone, Copy)]
pub struct Sort {
    name: fn() -> &'static str,
    is: fn(&(dyn StdError + 'static)) -> bool,
}

impl Sort {
    /// The sort of all `T`.
    #[must_use]
    pub const fn of<T: StdError + 'static>() -> Self {
        Self { name: type_name::<T>, is: |error| error.is::<T>() }
    }
}

/// The types of `retry(only = [..], never = [..])`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sorts {
    /// Only these are tried again.
    pub only: &'static [Sort],
    /// These are not.
    pub never: &'static [Sort],
}

/// What was found of an error while its type was known: which of [`Sorts`] it is itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Root {
    /// It is a [`Fatal`].
    pub fatal: bool,
    /// Index into [`Sorts::only`].
    pub only: Option<usize>,
    /// Index into [`Sorts::never`].
    pub never: Option<usize>,
}

/// Of which sorts an error is, itself or by one of its causes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sorted {
    pub(crate) fatal: bool,
    pub(crate) only: Option<&'static str>,
    pub(crate) never: Option<&'static str>,
    /// It is none of the handler's errors, so `only` says nothing of it.
    pub(crate) is_behind_the_handler: bool,
    root: Root,
    sorts: Sorts,
}

impl Sorted {
    /// The name of the type that it was found to be.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.never.or(self.only)
    }

    /// The name of the type that the error itself was, of those that the attribute names, while its type was known.
    pub(crate) fn name_of_root(&self) -> Option<&'static str> {
        let Self { root, sorts, .. } = self;
        let named = |at: Option<usize>, sorts: &'static [Sort]| at.and_then(|index| sorts.get(index));
        let sort = named(root.never, sorts.never).or_else(|| named(root.only, sorts.only));
        sort.map(|sort| (sort.name)())
    }

    /// The name of the type that an error is, of those that the attribute names.
    pub(crate) fn name_of(&self, error: &(dyn StdError + 'static)) -> Option<&'static str> {
        let mut sorts = self.sorts.never.iter().chain(self.sorts.only);
        sorts.find(|sort| (sort.is)(error)).map(|sort| (sort.name)())
    }

    fn of(error: &(dyn StdError + 'static), root: Root, sorts: Sorts) -> Self {
        let is = |sort: &Sort| causes(error).any(|cause| (sort.is)(cause));
        let found = |at: Option<usize>, sorts: &'static [Sort]| {
            let sort = at.and_then(|index| sorts.get(index)).or_else(|| sorts.iter().find(|sort| is(sort)));
            sort.map(|sort| (sort.name)())
        };
        Self {
            fatal: root.fatal || causes(error).any(|cause| cause.is::<Fatal>()),
            only: found(root.only, sorts.only),
            never: found(root.never, sorts.never),
            is_behind_the_handler: false,
            root,
            sorts,
        }
    }

    pub(super) fn behind_the_handler(error: &(dyn StdError + 'static)) -> Self {
        Self { is_behind_the_handler: true, ..Self::of(error, Root::default(), Sorts::default()) }
    }
}

/// An error and what caused it.
pub(crate) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| (*error).source())
}

/// A failure whose error can be sorted.
pub trait Sortable {
    /// Notes the sort of the handler's error.
    #[must_use]
    fn sorted(self, root: Root, sorts: Sorts) -> Self;
}

impl Sortable for Failure {
    #[cold]
    fn sorted(mut self, root: Root, sorts: Sorts) -> Self {
        if let Self::Handler(error) = &mut self {
            error.sort(Sorted::of(error.error(), root, sorts));
        }
        self
    }
}

impl Sortable for BatchFailure {
    #[cold]
    fn sorted(self, root: Root, sorts: Sorts) -> Self {
        Self { failure: self.failure.sorted(root, sorts), ..self }
    }
}

/// The error of what was returned, if that can hold one.
pub trait ErrorOf {
    /// Its type.
    type Error;
    /// The error.
    fn __kafka_error(&self) -> Option<&Self::Error>;
}

impl<T, E> ErrorOf for Result<T, E> {
    type Error = E;
    fn __kafka_error(&self) -> Option<&E> {
        self.as_ref().err()
    }
}

/// What is returned without an error.
pub trait NoErrorOf {
    /// Nothing.
    fn __kafka_error(&self) -> Option<&()> {
        None
    }
}

impl<R> NoErrorOf for &R {}

/// The error that says why, inside one that says where.
pub trait InnerError {
    /// Itself.
    fn __kafka_inner(&self) -> &Self {
        self
    }
}

impl<E> InnerError for E {}

impl<E> BatchError<E> {
    #[doc(hidden)]
    pub fn __kafka_inner(&self) -> &E {
        self.error()
    }
}

/// Whatever has no `downcast_ref` of its own.
pub trait NoDowncast {
    /// Nothing: it is found once it is boxed.
    fn downcast_ref<T>(&self) -> Option<&T> {
        None
    }
}

impl<E> NoDowncast for E {}
