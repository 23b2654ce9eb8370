//! The payload of a batch listener: values decoded one after the other, up to the first that cannot be.

use std::marker::PhantomData;

use kafka_client::consumer::ChunkBatch;
use kafka_client::records::Record;

use super::BatchDelivery;
use super::batch::Batch;
use super::failure::{BatchFailure, Failure};
use super::payload::{Decode, FormOf, decode_value};

/// Asks for the form of the payloads in a batch of the type `B`; see [`FormOf`].
#[derive(Debug)]
pub struct BatchOf<B>(PhantomData<fn() -> B>);

impl<B> BatchOf<B> {
    /// The question.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> BatchOf<Vec<T>> {
    /// That of a `T`.
    #[must_use]
    pub fn __kafka_item(&self) -> FormOf<T> {
        FormOf::new()
    }
}

impl<T> BatchOf<Batch<T>> {
    /// That of a `T`.
    #[must_use]
    pub fn __kafka_item(&self) -> FormOf<T> {
        FormOf::new()
    }
}

/// Types that are no batches: they have no form, and the error is [`DecodeBatch`]'s.
pub trait NotABatch {
    /// None.
    fn __kafka_item(&self) -> NoForm {
        NoForm
    }
}
impl<B> NotABatch for &BatchOf<B> {}

/// The form of what is no batch.
#[derive(Debug, Clone, Copy)]
pub struct NoForm;

impl NoForm {
    /// None.
    #[must_use]
    pub fn __kafka_form(&self) -> Self {
        Self
    }
}

/// The payload of a batch listener: [`Vec`] or [`Batch`] of what a record's payload can be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the payload of a batch listener",
    label = "not a batch of payloads",
    note = "the first argument of a batch listener is `Vec<T>`, `&[T]` or `Batch<T>`, where `T` is what a single \
            record's payload can be"
)]
pub trait DecodeBatch<'r, F>: Sized {
    /// A payload.
    type Payload: Decode<'r, F>;

    /// Room for the payloads of `delivery`.
    fn with_room_for(delivery: &BatchDelivery<'r>) -> Self;

    /// Adds the payload of `record`. `is_new` says that the record before came from another batch of the wire.
    fn push(&mut self, payload: Self::Payload, record: &Record<'r>, batch: &'r ChunkBatch, is_new: bool);
}

impl<'r, F, T: Decode<'r, F>> DecodeBatch<'r, F> for Vec<T> {
    type Payload = T;

    fn with_room_for(delivery: &BatchDelivery<'r>) -> Self {
        Self::with_capacity(delivery.records.len())
    }

    fn push(&mut self, payload: T, _: &Record<'r>, _: &'r ChunkBatch, _: bool) {
        self.push(payload);
    }
}

impl<'r, F, T: Decode<'r, F>> DecodeBatch<'r, F> for Batch<T> {
    type Payload = T;

    fn with_room_for(delivery: &BatchDelivery<'r>) -> Self {
        Self::for_delivery(delivery)
    }

    fn push(&mut self, payload: T, record: &Record<'r>, batch: &'r ChunkBatch, is_new: bool) {
        self.add(payload, record, batch, is_new);
    }
}

/// The payloads of a batch, for the macro's code, and what is left to settle once they are handled. `_form` chooses
/// how each is decoded.
///
/// A record that cannot be decoded ends the batch before it.
///
/// # Errors
/// The first record cannot be decoded: there is nothing to hand over.
pub fn batch<'r, B: DecodeBatch<'r, F>, F>(
    _form: F,
    delivery: BatchDelivery<'r>,
) -> Result<(B, Settling<'r>), BatchFailure> {
    let mut payloads = B::with_room_for(&delivery);
    let mut last: Option<&ChunkBatch> = None;
    for (index, (record, batch)) in delivery.records.iter().enumerate() {
        match decode_value(&delivery.single((*record, batch))) {
            Ok(payload) => {
                let is_new = !last.is_some_and(|last| std::ptr::eq(last, *batch));
                payloads.push(payload, record, batch, is_new);
                last = Some(batch);
            }
            Err(rejection) => {
                let ended = BatchFailure { index, failure: rejection.into() };
                return match index {
                    0 => Err(ended),
                    _ => Ok((payloads, Settling { handed: delivery.first(index), ended: Some(ended) })),
                };
            }
        }
    }
    Ok((payloads, Settling { handed: delivery, ended: None }))
}

/// The part of a batch that its handler gets, and why there is no more of it.
#[derive(Debug)]
pub struct Settling<'r> {
    handed: BatchDelivery<'r>,
    ended: Option<BatchFailure>,
}

impl<'r> Settling<'r> {
    /// What the handler gets.
    #[must_use]
    pub fn handed(&self) -> &BatchDelivery<'r> {
        &self.handed
    }

    /// The whole batch failed before the handler was called.
    #[must_use]
    pub fn rejected(&self, failure: Failure) -> BatchFailure {
        BatchFailure { index: 0, failure }
    }

    /// The handler's outcome; if it handled everything that it got, what ended the batch.
    pub(super) fn finish(self, handled: Result<(), BatchFailure>) -> Result<(), BatchFailure> {
        let last = self.handed.records.len().saturating_sub(1);
        match (handled, self.ended) {
            // An index beyond what was handed over would settle records that nobody saw.
            (Err(failure), _) => Err(BatchFailure { index: failure.index.min(last), ..failure }),
            (Ok(()), Some(ended)) => Err(ended),
            (Ok(()), None) => Ok(()),
        }
    }
}
