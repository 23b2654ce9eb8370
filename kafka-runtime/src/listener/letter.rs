//! [`DeadLetter<T>`] as a payload: in the form of its `T`, and never a failure.

use std::marker::PhantomData;

use super::Delivery;
use super::delivery::Part;
use super::payload::{Decode, FormOf, Undecodable, decode_value};
use crate::dead_letter::DeadLetter;

/// What is in a dead letter has this form.
#[derive(Debug, Clone, Copy)]
pub struct Letter<F>(F);

/// Asks whether `T` is a dead letter: an inherent method wins over a trait's, as with [`FormOf`].
#[derive(Debug)]
pub struct LetterOf<T>(PhantomData<fn() -> T>);

impl<T> LetterOf<T> {
    /// The question.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> LetterOf<DeadLetter<T>> {
    /// Whose form is asked for: what is in it.
    #[must_use]
    pub fn __kafka_payload(&self) -> FormOf<T> {
        FormOf::new()
    }

    /// It is one.
    #[must_use]
    pub fn __kafka_wrap<F>(&self, form: F) -> Letter<F> {
        Letter(form)
    }
}

/// Any other payload.
pub trait NotALetter<T> {
    /// Whose form is asked for: its own.
    fn __kafka_payload(&self) -> FormOf<T> {
        FormOf::new()
    }

    /// It is not one.
    fn __kafka_wrap<F>(&self, form: F) -> F {
        form
    }
}

impl<T> NotALetter<T> for LetterOf<T> {}

#[diagnostic::do_not_recommend]
impl<'r, F, T: Decode<'r, F>> Decode<'r, Letter<F>> for DeadLetter<T> {
    /// Without the record there is no letter.
    fn decode(_: Option<Part<'r>>) -> Result<Self, Undecodable> {
        Err(Undecodable::Tombstone)
    }

    fn decode_record(delivery: &Delivery<'r>) -> Result<Self, Undecodable> {
        let payload = decode_value::<T, F>(delivery).map_err(|rejection| rejection.to_string());
        Ok(Self::read(delivery, payload))
    }
}
