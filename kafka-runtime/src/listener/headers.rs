//! A record's headers: all of them, or one as an argument.

use kafka_client::consumer::ChunkBatch;
use kafka_client::records::{Header, HeadersView};

use super::Delivery;
use super::delivery::Part;
use super::failure::Failure;
use super::part::{PartName, PartProblem, PartRejection};
use super::raw::{RawValue, for_each_raw_form};

/// A record's headers, in order, duplicates kept. It shares the record's memory (one count, no copy), so that it can
/// be kept and moved; while it is, so is the memory of its batch.
///
/// Where that is not needed, [`HeadersView<'_>`](HeadersView) is the same for nothing. A single header is an argument
/// of its own: `#[header("trace-id")] trace: Option<&str>`, see [`FromHeader`].
///
/// ```
/// # use kafka_runtime::prelude::*;
/// #[kafka_listener(topic = "orders", group = "audit")]
/// async fn audit(order: String, headers: Headers) {
///     for header in headers.iter() {
///         println!("{} = {:?}", header.name, header.value);
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Headers {
    batch: ChunkBatch,
    position: usize,
}

impl Headers {
    pub(crate) fn of(delivery: &Delivery<'_>) -> Self {
        Self { batch: delivery.batch.clone(), position: delivery.record.position }
    }

    /// The headers as a borrowed view.
    #[must_use]
    pub fn view(&self) -> HeadersView<'_> {
        // The record was read before, so it can be read again.
        self.batch.batch().record_at(self.position).map(|record| record.headers).unwrap_or_default()
    }

    /// All of them, in order.
    #[allow(clippy::iter_not_returning_iterator)]
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        self.view().iter()
    }

    /// The last header of this name, as Kafka's `lastHeader`.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Header<'_>> {
        self.view().last(name)
    }

    /// The value of the last header of this name, if that is text; see [`Headers::last`] for its bytes.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.last(name)?.value?).ok()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }
}

/// What a header's value can be taken as, by `#[header("name")]` on an argument: `&str`, `String`, `&[u8]`, `Vec<u8>`,
/// `Bytes`; numbers and `bool` from their text; `Option` of these where the header may be absent or null; or a type
/// of your own. Of several headers of the name, the last counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a header",
    label = "not a form that a header can be taken as",
    note = "`#[header(\"name\")]` goes on `&str`, `String`, `&[u8]`, `Vec<u8>`, `Bytes`, a number or `bool` (from its \
            text), an `Option` of these, or a type of your own that implements `FromHeader`"
)]
pub trait FromHeader<'r>: Sized {
    /// The value from its bytes; `None` if the header is absent or null.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_header(value: Option<Part<'r>>) -> Result<Self, PartProblem>;
}

macro_rules! raw_header {
    ($form:ty) => {
        impl<'r> FromHeader<'r> for $form {
            fn from_header(value: Option<Part<'r>>) -> Result<Self, PartProblem> {
                Ok(Self::from_part(value.ok_or(PartProblem::Absent)?)?)
            }
        }
    };
}
for_each_raw_form!(raw_header);

macro_rules! parsed_header {
    ($($number:ty),*) => {$(
        impl<'r> FromHeader<'r> for $number {
            fn from_header(value: Option<Part<'r>>) -> Result<Self, PartProblem> {
                let text = <&str>::from_header(value)?;
                text.trim().parse().map_err(|error| PartProblem::Other(format!("{error}")))
            }
        }
    )*};
}
parsed_header!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64, bool);

impl<'r, T: FromHeader<'r>> FromHeader<'r> for Option<T> {
    fn from_header(value: Option<Part<'r>>) -> Result<Self, PartProblem> {
        value.map(|part| T::from_header(Some(part))).transpose()
    }
}

/// A single header, for the macro's code.
///
/// # Errors
/// The record has not got it, or not in this form.
pub fn header<'r, T: FromHeader<'r>>(delivery: &Delivery<'r>, name: &'static str) -> Result<T, Failure> {
    let value = delivery.record.headers.last(name).and_then(|header| header.value);
    T::from_header(value.map(|bytes| delivery.part(bytes))).map_err(|problem| {
        PartRejection::new::<T>(PartName::Header(name), delivery.place(), problem, value).into()
    })
}
