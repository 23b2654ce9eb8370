//! A record's key.

use std::fmt;
use std::ops::Deref;

use super::Delivery;
use super::delivery::Part;
use super::extract::FromDelivery;
use super::handler::Slot;
use super::part::{PartName, PartProblem, PartRejection};
use super::raw::{RawValue, for_each_raw_form};

/// The record's key as a `K`: `String`, `&str`, `&[u8]`, `Vec<u8>`, `Bytes`; `i32` and `i64` as Kafka's
/// `IntegerSerializer` and `LongSerializer` write them (4 and 8 bytes, big-endian); `Option` of these where a key may
/// be null; or a type of your own that implements [`FromKey`].
///
/// ```
/// # use kafka_runtime::prelude::*;
/// #[kafka_listener(topic = "customers", group = "cache")]
/// async fn cache(customer: Option<String>, key: Key<Option<&str>>) {
///     let known = key.is_some();
/// }
///
/// // The key can be taken apart in place:
/// #[kafka_listener(topic = "orders", group = "audit")]
/// async fn audit(order: String, Key(customer): Key<String>) {
///     println!("{customer}: {order}");
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key<K>(pub K);

impl<K> Key<K> {
    /// The key itself.
    pub fn into_inner(self) -> K {
        self.0
    }
}

impl<K> Deref for Key<K> {
    type Target = K;
    fn deref(&self) -> &K {
        &self.0
    }
}

impl<K: fmt::Display> fmt::Display for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key can be taken as.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a record",
    label = "`Key<K>` cannot be made from a record with this `K`",
    note = "a key is taken as `String`, `&str`, `&[u8]`, `Vec<u8>`, `Bytes`, `i32`, `i64` (big-endian, as Kafka's \
            serializers write them), an `Option` of these, or a type of your own that implements `FromKey`"
)]
pub trait FromKey<'r>: Sized {
    /// The key from its bytes; `None` is Kafka's null.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_key(key: Option<Part<'r>>) -> Result<Self, PartProblem>;
}

macro_rules! raw_key {
    ($form:ty) => {
        impl<'r> FromKey<'r> for $form {
            fn from_key(key: Option<Part<'r>>) -> Result<Self, PartProblem> {
                Ok(Self::from_part(key.ok_or(PartProblem::Absent)?)?)
            }
        }
    };
}
for_each_raw_form!(raw_key);

macro_rules! integer_key {
    ($number:ty) => {
        impl<'r> FromKey<'r> for $number {
            fn from_key(key: Option<Part<'r>>) -> Result<Self, PartProblem> {
                let Part { bytes, .. } = key.ok_or(PartProblem::Absent)?;
                bytes.try_into().map(Self::from_be_bytes).map_err(|_| {
                    PartProblem::Other(format!(
                        "it has {} bytes instead of {}",
                        bytes.len(),
                        size_of::<Self>()
                    ))
                })
            }
        }
    };
}
integer_key!(i32);
integer_key!(i64);

impl<'r, K: FromKey<'r>> FromKey<'r> for Option<K> {
    fn from_key(key: Option<Part<'r>>) -> Result<Self, PartProblem> {
        key.map(|part| K::from_key(Some(part))).transpose()
    }
}

impl<'r, K: FromKey<'r>> FromDelivery<'r> for Key<K> {
    type Rejection = PartRejection;
    fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, PartRejection> {
        let key = delivery.record.key;
        K::from_key(key.map(|bytes| delivery.part(bytes)))
            .map(Self)
            .map_err(|problem| PartRejection::new::<K>(PartName::Key, delivery.place(), problem, key))
    }
}
