//! The payload: a record's value as what the handler's first argument says.
//!
//! ```text
//! &str, String, &[u8], Vec<u8>, Bytes    Raw              the bytes; text must be UTF-8
//! Option<any of the others>              Optional<..>     None for a tombstone
//! any other T: Deserialize               Json
//! ```
//!
//! Which form a type has is found by the compiler's own rules for methods, on [`FormOf`]: an inherent method wins over
//! a trait's, and a trait of `FormOf<Option<T>>` over one of `&FormOf<T>`. So it is the type that decides, not how it
//! is written, and the forms cannot overlap.

use std::fmt;
use std::marker::PhantomData;
use std::str::Utf8Error;

use serde::Deserialize;

use super::Delivery;
use super::delivery::{Part, RecordPlace};
use super::excerpt::{Excerpt, shortened};
use super::failure::Failure;
use super::json_path;
use super::raw::{RawValue, for_each_holder, for_each_raw_form};
use crate::json;

/// The bytes as they are.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

/// JSON, by serde.
#[derive(Debug, Clone, Copy)]
pub struct Json;

/// `None` for a tombstone, else the inner form.
#[derive(Debug, Clone, Copy)]
pub struct Optional<F>(F);

/// Asks for the form of `T`.
#[derive(Debug)]
pub struct FormOf<T>(PhantomData<fn() -> T>);

impl<T> FormOf<T> {
    /// The question.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

macro_rules! raw_payload {
    ($form:ty) => {
        #[allow(clippy::extra_unused_lifetimes)]
        impl<'r> FormOf<$form> {
            /// As it is.
            #[must_use]
            pub fn __kafka_form(&self) -> Raw {
                Raw
            }
        }
        #[allow(clippy::extra_unused_lifetimes)]
        impl<'r> FormOf<Option<$form>> {
            /// As it is, or a tombstone.
            #[must_use]
            pub fn __kafka_form(&self) -> Optional<Raw> {
                Optional(Raw)
            }
        }
    };
}
for_each_raw_form!(raw_payload);
for_each_holder!(raw_payload);

/// `Option<T>` of everything that is not raw.
pub trait OptionalForm {
    /// JSON, or a tombstone.
    fn __kafka_form(&self) -> Optional<Json> {
        Optional(Json)
    }
}
impl<T> OptionalForm for FormOf<Option<T>> {}

/// Everything else.
pub trait JsonForm {
    /// JSON.
    fn __kafka_form(&self) -> Json {
        Json
    }
}
impl<T> JsonForm for &FormOf<T> {}

/// A payload that can be made from a record's value in the form `F`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the payload of a listener",
    label = "neither raw bytes or text, nor `serde::Deserialize`",
    note = "the first argument is the payload (another can be marked `#[payload]`): `&str`, `String`, `&[u8]`, \
            `Vec<u8>` and `Bytes` are the raw value, `Option<T>` is `None` for a tombstone, every other type is \
            decoded from JSON and must implement `Deserialize`: add `#[derive(Deserialize)]`",
    note = "`Batch<T>` is for listeners with the setting `batch`"
)]
pub trait Decode<'r, F>: Sized {
    /// The payload from the value's bytes; `None` is a tombstone.
    ///
    /// # Errors
    /// The value is not such a payload.
    fn decode(value: Option<Part<'r>>) -> Result<Self, Undecodable>;

    /// The payload from the whole record: by default, from its value.
    ///
    /// # Errors
    /// The record is not such a payload.
    #[inline]
    fn decode_record(delivery: &Delivery<'r>) -> Result<Self, Undecodable> {
        Self::decode(delivery.record.value.map(|bytes| delivery.part(bytes)))
    }
}

#[diagnostic::do_not_recommend]
impl<'r, T: RawValue<'r>> Decode<'r, Raw> for T {
    fn decode(value: Option<Part<'r>>) -> Result<Self, Undecodable> {
        T::from_part(value.ok_or(Undecodable::Tombstone)?).map_err(Undecodable::NotUtf8)
    }
}

#[diagnostic::do_not_recommend]
impl<'r, T: Deserialize<'r>> Decode<'r, Json> for T {
    #[inline]
    fn decode(value: Option<Part<'r>>) -> Result<Self, Undecodable> {
        let part = value.ok_or(Undecodable::Tombstone)?;
        json::from_slice(part.bytes).map_err(Undecodable::Json)
    }
}

#[diagnostic::do_not_recommend]
impl<'r, F, T: Decode<'r, F>> Decode<'r, Optional<F>> for Option<T> {
    fn decode(value: Option<Part<'r>>) -> Result<Self, Undecodable> {
        value.map(|part| T::decode(Some(part))).transpose()
    }
}

/// The payload of a record, for the macro's code. `_form` chooses how.
///
/// # Errors
/// The value is not such a payload.
#[inline]
pub fn payload<'r, T: Decode<'r, F>, F>(_form: F, delivery: &Delivery<'r>) -> Result<T, Failure> {
    decode_value(delivery).map_err(Failure::from)
}

#[inline]
pub(super) fn decode_value<'r, T: Decode<'r, F>, F>(delivery: &Delivery<'r>) -> Result<T, PayloadRejection> {
    T::decode_record(delivery).map_err(|problem| PayloadRejection::new::<T>(delivery, problem))
}

/// Why a value is not the payload.
#[derive(Debug)]
pub enum Undecodable {
    /// It is null, and the payload is not an `Option`.
    Tombstone,
    /// It is not text.
    NotUtf8(Utf8Error),
    /// It is not JSON, or not of the payload's shape.
    Json(serde_json::Error),
}

/// A record's value is not what the handler takes.
#[derive(Debug)]
pub struct PayloadRejection(Box<Details>);

#[derive(Debug)]
struct Details {
    place: RecordPlace,
    wanted: &'static str,
    problem: Undecodable,
    at: Option<(String, Excerpt)>,
}

impl PayloadRejection {
    #[cold]
    fn new<T>(delivery: &Delivery<'_>, problem: Undecodable) -> Self {
        let bytes = delivery.record.value.unwrap_or_default();
        let at = match &problem {
            Undecodable::Tombstone => None,
            Undecodable::NotUtf8(error) => {
                let at = error.valid_up_to();
                Some((format!("byte {at}"), Excerpt::around(bytes, at)))
            }
            Undecodable::Json(error) => {
                let at = json_path::index_of(bytes, error.line(), error.column());
                Some((format!("`{}`", json_path::path_at(bytes, at)), Excerpt::around(bytes, at)))
            }
        };
        let wanted = std::any::type_name::<T>();
        Self(Box::new(Details { place: delivery.place(), wanted, problem, at }))
    }
}

/// A decoder's message quotes what it found, whatever its length.
const MAX_MESSAGE: usize = 240;

impl fmt::Display for PayloadRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { place, wanted, problem, at } = &*self.0;
        write!(f, "the value of {place} cannot be decoded as `{wanted}`: ")?;
        match problem {
            Undecodable::Tombstone => {
                f.write_str("it is null (a tombstone); take `Option<..>` where that may be")?
            }
            Undecodable::NotUtf8(_) => f.write_str("it is not UTF-8")?,
            Undecodable::Json(error) => f.write_str(&shortened(error.to_string(), MAX_MESSAGE))?,
        }
        match at {
            Some((path, excerpt)) => write!(f, ", at {path}, near {excerpt}"),
            None => Ok(()),
        }
    }
}
