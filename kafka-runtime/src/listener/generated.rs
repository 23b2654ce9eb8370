//! What the code of `#[kafka_listener]` calls, through `kafka_runtime::__private`. Not for people.

use std::marker::PhantomData;

use super::extract::{FromBatch, FromDelivery};
use super::failure::Failure;
use super::handler::{Preparation, Prepared, Site, Slot};
use super::{BatchDelivery, Delivery};
use crate::container::Ack;
use crate::template::Tx;

/// Asks for an argument's part in the preparation; see [`FormOf`](super::payload::FormOf) for how that is found. A
/// type that is no argument has none, so that it is one error, where the argument is made.
#[derive(Debug)]
pub struct SlotOf<T>(PhantomData<fn() -> T>);

impl<T> SlotOf<T> {
    /// The question.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// An argument of a record listener.
pub trait PrepareArgument {
    /// What it looks up.
    fn __kafka_prepare(&self, preparation: &mut Preparation<'_>) -> Slot;
}

impl<'r, T: FromDelivery<'r>> PrepareArgument for SlotOf<T> {
    fn __kafka_prepare(&self, preparation: &mut Preparation<'_>) -> Slot {
        T::prepare(preparation)
    }
}

/// An argument of a batch listener.
pub trait PrepareBatchArgument {
    /// What it looks up.
    fn __kafka_prepare(&self, preparation: &mut Preparation<'_>) -> Slot;
}

impl<'r, T: FromBatch<'r>> PrepareBatchArgument for SlotOf<T> {
    fn __kafka_prepare(&self, preparation: &mut Preparation<'_>) -> Slot {
        T::prepare(preparation)
    }
}

/// Any other type.
pub trait PrepareNothing {
    /// Nothing.
    fn __kafka_prepare(&self, _: &mut Preparation<'_>) -> Slot {
        Slot::default()
    }
}

impl<T> PrepareNothing for &SlotOf<T> {}

/// Tells whether a type is [`Ack`], as a constant: an inherent one wins over a trait's.
#[derive(Debug)]
pub struct AckOr<T>(PhantomData<fn() -> T>);

impl AckOr<Ack> {
    /// It is.
    pub const IS_ACK: bool = true;
}

/// Any other type.
pub trait NotAck {
    /// It is not.
    const IS_ACK: bool = false;
}

impl<T> NotAck for AckOr<T> {}

/// Tells whether a type is `&Tx`, as [`AckOr`] does.
#[derive(Debug)]
pub struct TxOr<T>(PhantomData<fn() -> T>);

impl TxOr<&Tx> {
    /// It is.
    pub const IS_TX: bool = true;
}

/// Any other type.
pub trait NotTx {
    /// It is not.
    const IS_TX: bool = false;
}

impl<T> NotTx for TxOr<T> {}

/// Tells the name of the error's type in what a handler returns; an inherent method wins over a trait's.
#[derive(Debug)]
pub struct ErrorTypeOf<R>(PhantomData<fn() -> R>);

impl<R> ErrorTypeOf<R> {
    /// The question.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, E> ErrorTypeOf<Result<T, E>> {
    /// The name.
    #[must_use]
    pub fn __kafka_error_type(&self) -> Option<&'static str> {
        Some(std::any::type_name::<E>())
    }
}

/// What is returned without an error.
pub trait NoErrorType {
    /// None.
    fn __kafka_error_type(&self) -> Option<&'static str> {
        None
    }
}

impl<R> NoErrorType for ErrorTypeOf<R> {}

/// Prepares one argument after the other.
#[derive(Debug)]
pub struct Preparing<'p, 's> {
    preparation: &'p mut Preparation<'s>,
    site: Site,
    prepared: Prepared,
}

impl<'p, 's> Preparing<'p, 's> {
    /// None yet.
    pub fn new(preparation: &'p mut Preparation<'s>, site: Site) -> Self {
        Self { preparation, site, prepared: Prepared::default() }
    }

    /// The next argument.
    #[must_use]
    pub fn argument(mut self, name: &str, prepare: impl FnOnce(&mut Preparation<'_>) -> Slot) -> Self {
        let slot = self.preparation.argument(&self.site, name, prepare);
        self.prepared.slots.push(slot);
        self
    }

    /// All of them.
    #[must_use]
    pub fn finish(self) -> Prepared {
        self.prepared
    }
}

/// An argument of a record listener.
///
/// # Errors
/// The record has not got it.
pub fn argument<'r, T: FromDelivery<'r>>(delivery: &Delivery<'r>, slot: &'r Slot) -> Result<T, Failure> {
    T::from_delivery(delivery, slot).map_err(Into::into)
}

/// An argument of a batch listener.
///
/// # Errors
/// The batch has not got it.
pub fn batch_argument<'r, T: FromBatch<'r>>(batch: &BatchDelivery<'r>, slot: &'r Slot) -> Result<T, Failure> {
    T::from_batch(batch, slot).map_err(Into::into)
}
