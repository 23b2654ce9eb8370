//! What a listener with `send_to` or `reply` returns: values -> records to send.
//!
//! ```text
//! Result<T, E>                        Tried<..>   the error is the record's outcome
//! Option<T>                           Maybe<..>   None: nothing is sent
//! Vec<T>                              Many<..>    each, in order
//! Outgoing<T>                         Own<..>     key, headers, partition of its own
//! &str, String, &[u8], Vec<u8>, Bytes Raw         the bytes
//! ()                                  Nothing     an error
//! any other T: Serialize              Json
//! ```
//!
//! As with payloads it is the type that decides, found by the compiler's own rules for methods: [`ReturnedOf`] asks for what a
//! type is made of, layer by layer, [`SentOf`] for the form of what is left.

use std::marker::PhantomData;

use serde::Serialize;

use super::Delivery;
use super::batch_payload::Settling;
use super::failure::{BatchFailure, BoxError, Failure, Fatal, HandlerError};
use super::outgoing::{Outgoing, Own as OwnParts};
use super::payload::{Json, Raw};
use super::raw::for_each_raw_form;
use crate::template::{Destination, Record, TemplateError, TxError};

/// `Result`.
#[derive(Debug, Clone, Copy)]
pub struct Tried<F>(F);
/// `Option`.
#[derive(Debug, Clone, Copy)]
pub struct Maybe<F>(F);
/// `Vec`.
#[derive(Debug, Clone, Copy)]
pub struct Many<F>(F);
/// [`Outgoing`].
#[derive(Debug, Clone, Copy)]
pub struct Own<F>(F);
/// `()`.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

/// Asks what `T` is made of.
#[derive(Debug)]
pub struct ReturnedOf<T>(PhantomData<fn() -> T>);

/// Asks for the form of a single value.
#[derive(Debug)]
pub struct SentOf<T>(PhantomData<fn() -> T>);

impl<T> ReturnedOf<T> {
    /// The question.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }

    /// No further layers.
    #[must_use]
    pub fn __kafka_value(&self) -> SentOf<T> {
        SentOf(PhantomData)
    }
}

impl<T> SentOf<T> {
    /// It has no layers.
    #[must_use]
    pub fn __kafka_item(&self) -> Self {
        Self(PhantomData)
    }

    /// It has none.
    #[must_use]
    pub fn __kafka_wrap<F>(&self, form: F) -> F {
        form
    }

    /// It is one.
    #[must_use]
    pub fn __kafka_value(&self) -> Self {
        Self(PhantomData)
    }
}

macro_rules! raw_value {
    ($form:ty) => {
        #[allow(clippy::extra_unused_lifetimes)]
        impl<'r> ReturnedOf<$form> {
            /// A single value.
            #[must_use]
            pub fn __kafka_item(&self) -> SentOf<$form> {
                SentOf(PhantomData)
            }
            /// No layer.
            #[must_use]
            pub fn __kafka_wrap<F>(&self, form: F) -> F {
                form
            }
        }
        #[allow(clippy::extra_unused_lifetimes)]
        impl<'r> SentOf<$form> {
            /// As it is.
            #[must_use]
            pub fn __kafka_form(&self) -> Raw {
                Raw
            }
        }
    };
}
for_each_raw_form!(raw_value);

impl SentOf<()> {
    /// None.
    #[must_use]
    pub fn __kafka_form(&self) -> Nothing {
        Nothing
    }
}

/// A type that is made of another.
pub trait Layer {
    /// What is asked about that.
    type Item;
    /// The form, with this layer around it.
    type Wrapped<F>;
    /// The question about what is inside.
    fn __kafka_item(&self) -> Self::Item;
    /// Puts the layer around the form of what is inside.
    fn __kafka_wrap<F>(&self, form: F) -> Self::Wrapped<F>;
}

macro_rules! layer {
    ($type:ty, $wrapped:ident, $item:ident $(, $error:ident)?) => {
        impl<T $(, $error)?> Layer for ReturnedOf<$type> {
            type Item = $item<T>;
            type Wrapped<F> = $wrapped<F>;
            fn __kafka_item(&self) -> $item<T> {
                $item(PhantomData)
            }
            fn __kafka_wrap<F>(&self, form: F) -> $wrapped<F> {
                $wrapped(form)
            }
        }
    };
}
layer!(Result<T, E>, Tried, ReturnedOf, E);
layer!(Option<T>, Maybe, ReturnedOf);
layer!(Vec<T>, Many, ReturnedOf);
layer!(Outgoing<T>, Own, SentOf);

/// Everything else is a single value.
pub trait NoLayer<T> {
    /// It.
    fn __kafka_item(&self) -> SentOf<T> {
        SentOf(PhantomData)
    }
    /// As it is.
    fn __kafka_wrap<F>(&self, form: F) -> F {
        form
    }
}
impl<T> NoLayer<T> for &ReturnedOf<T> {}

/// Everything that is not raw.
pub trait SentAsJson {
    /// JSON.
    fn __kafka_form(&self) -> Json {
        Json
    }
}
impl<T> SentAsJson for &SentOf<T> {}

/// Where values become records: those of one source record.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// `None`: nobody is to get them.
    address: Option<Record>,
    /// The source's.
    key: Option<&'a [u8]>,
    own: OwnParts,
    records: Vec<Record>,
}

impl<'a> Envelope<'a> {
    fn of(delivery: &Delivery<'a>) -> Self {
        let address = delivery.outbox.and_then(|outbox| outbox.addressed(&delivery.record));
        Self { address, key: delivery.record.key, own: OwnParts::default(), records: Vec::new() }
    }

    /// Adds a record, if anybody is to get it.
    fn add(&mut self, fill: impl FnOnce(Record) -> Result<Record, TemplateError>) -> Result<(), Failure> {
        let Some(address) = self.address.clone() else { return Ok(()) };
        // The same value would not be written the next time either.
        let filled =
            fill(address).map_err(|error| Failure::Handler(HandlerError::from(Fatal::new(error))))?;
        self.records.push(self.own.put_on(filled, self.key));
        Ok(())
    }
}

/// What a listener with `send_to` or `reply` may return, in the form `F`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent on",
    label = "neither raw bytes or text, nor `serde::Serialize`",
    note = "with `send_to` or `reply` a listener returns what is sent: `&str`, `String`, `&[u8]`, `Vec<u8>` and `Bytes` go \
            as they are, every other type as JSON and must implement `Serialize`: add `#[derive(Serialize)]`",
    note = "around it there may be `Result<T, E>`, `Option<T>` (`None` sends nothing), `Vec<T>` (each one) and \
            `Outgoing<T>` (with a key, headers or a partition of its own)"
)]
pub trait Forward<F>: Sized {
    /// The type of a single value, which a typed topic must have.
    type Item: ?Sized;

    /// Adds its records.
    ///
    /// # Errors
    /// The handler's own, or that a value cannot be written.
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure>;
}

#[diagnostic::do_not_recommend]
impl<T: AsRef<[u8]>> Forward<Raw> for T {
    type Item = T;
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure> {
        to.add(|record| Ok(record.bytes(self.as_ref())))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Forward<Json> for T {
    type Item = T;
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure> {
        // By its type's name, as the template writes it: what only holds text or bytes goes as these.
        to.add(|record| record.value(&self))
    }
}

/// It has a form of its own, so that what is wrong with it can be said: see [`Sends`].
impl Forward<Nothing> for () {
    type Item = ();
    fn write(self, _: &mut Envelope<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Forms with something in them.
#[diagnostic::on_unimplemented(
    message = "a listener with `send_to` or `reply` returns what is sent, and this one returns nothing",
    label = "nothing to send",
    note = "return the value, or `Result<T, E>`, `Option<T>` (`None` sends nothing), `Vec<T>`; or remove `send_to`"
)]
pub trait Sends {}

impl Sends for Raw {}
impl Sends for Json {}
impl<F: Sends> Sends for Tried<F> {}
impl<F: Sends> Sends for Maybe<F> {}
impl<F: Sends> Sends for Many<F> {}
impl<F: Sends> Sends for Own<F> {}

/// An error that a handler may return.
#[diagnostic::on_unimplemented(
    message = "a listener cannot return the error `{Self}`",
    label = "does not convert into `Box<dyn Error + Send + Sync>`",
    note = "it must implement `std::error::Error + Send + Sync + 'static` or otherwise convert into a boxed one (as \
            `anyhow::Error` and `String` do)",
    note = "`BatchError` settles a part of a batch without anything to send for it: with `send_to` return any other error"
)]
pub trait IntoError {
    /// The failure.
    fn into_failure(self) -> Failure;
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoError for E {
    fn into_failure(self) -> Failure {
        Failure::Handler(HandlerError::new(self))
    }
}

#[diagnostic::do_not_recommend]
impl IntoError for TxError {
    fn into_failure(self) -> Failure {
        Failure::Handler(HandlerError::new(self.into_source()))
    }
}

impl<F, T: Forward<F>, E: IntoError> Forward<Tried<F>> for Result<T, E> {
    type Item = T::Item;
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure> {
        self.map_err(IntoError::into_failure)?.write(to)
    }
}

impl<F, T: Forward<F>> Forward<Maybe<F>> for Option<T> {
    type Item = T::Item;
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure> {
        self.map_or(Ok(()), |value| value.write(to))
    }
}

impl<F, T: Forward<F>> Forward<Many<F>> for Vec<T> {
    type Item = T::Item;
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure> {
        self.into_iter().try_for_each(|value| value.write(to))
    }
}

impl<F, T: Forward<F>> Forward<Own<F>> for Outgoing<T> {
    type Item = T::Item;
    fn write(self, to: &mut Envelope<'_>) -> Result<(), Failure> {
        let before = std::mem::replace(&mut to.own, self.own);
        let written = match self.value {
            Some(value) => value.write(to),
            None => to.add(|record| Ok(record.tombstone())),
        };
        to.own = before;
        written
    }
}

/// Encodes what the handler returned, for the macro's code: whoever dispatches finds it in the delivery's outbox.
/// `form` chooses how, `_to` has the type that the topic has.
///
/// # Errors
/// The handler's, or that a value cannot be written: then there is nothing to send.
pub fn forward<R: Forward<F>, F: Sends, D: Destination<R::Item>>(
    returned: R,
    _form: F,
    _to: D,
    delivery: &Delivery<'_>,
) -> Result<(), Failure> {
    let mut envelope = Envelope::of(delivery);
    returned.write(&mut envelope)?;
    if let Some(outbox) = delivery.outbox {
        outbox.put(delivery.record.offset, envelope.records);
    }
    Ok(())
}

/// What a batch listener with `send_to` or `reply` may return, in the form `F`: a value for each record.
#[diagnostic::on_unimplemented(
    message = "a batch listener with `send_to` or `reply` cannot return `{Self}`",
    label = "no value for each record",
    note = "return `Vec<T>` or `Result<Vec<T>, E>` with one `T` for each record of the batch, in order, where `T` is what a \
            single record's listener may return: `Option<T>` sends nothing for some of them, `Vec<T>` several"
)]
pub trait ForwardBatch<F> {
    /// What one record leads to.
    type One: Forward<Self::Form>;
    /// Its form.
    type Form;

    /// The values.
    ///
    /// # Errors
    /// The handler's.
    fn values(self) -> Result<Vec<Self::One>, Failure>;
}

impl<F, T: Forward<F>> ForwardBatch<Many<F>> for Vec<T> {
    type One = T;
    type Form = F;
    fn values(self) -> Result<Self, Failure> {
        Ok(self)
    }
}

impl<F, R: ForwardBatch<F>, E: IntoError> ForwardBatch<Tried<F>> for Result<R, E> {
    type One = R::One;
    type Form = R::Form;
    fn values(self) -> Result<Vec<R::One>, Failure> {
        self.map_err(IntoError::into_failure)?.values()
    }
}

/// What goes out because of one record of a batch.
type ItemOf<R, F> = <<R as ForwardBatch<F>>::One as Forward<<R as ForwardBatch<F>>::Form>>::Item;

/// [`forward`] for a batch.
///
/// # Errors
/// The handler's, what ended the batch, that there are too few or too many values, or that one cannot be written.
pub fn forward_batch<R: ForwardBatch<F>, F: Sends, D: Destination<ItemOf<R, F>>>(
    returned: R,
    _form: F,
    _to: D,
    settling: Settling<'_>,
) -> Result<(), BatchFailure> {
    let written = write_batch(returned, &settling);
    settling.finish(written)
}

fn write_batch<R: ForwardBatch<F>, F>(returned: R, settling: &Settling<'_>) -> Result<(), BatchFailure> {
    let at = |index| move |failure| BatchFailure { index, failure };
    let values = returned.values().map_err(at(0))?;
    let handed = settling.handed();
    if values.len() != handed.records.len() {
        let (values, records) = (values.len(), handed.records.len());
        let what = format!(
            "the handler returned {values} values for a batch of {records} records: it has to return one for each, \
             `None` where there is nothing to send"
        );
        return Err(at(0)(Failure::Handler(HandlerError::from(Fatal::new(what)))));
    }
    for (index, (value, record)) in values.into_iter().zip(handed.records).enumerate() {
        let delivery = handed.single(*record);
        let mut envelope = Envelope::of(&delivery);
        value.write(&mut envelope).map_err(at(index))?;
        let Some(outbox) = delivery.outbox else { continue };
        outbox.put(delivery.record.offset, envelope.records);
    }
    Ok(())
}
