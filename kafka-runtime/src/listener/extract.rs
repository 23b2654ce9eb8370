//! How everything but the payload becomes an argument: one trait for records, one for batches.

use std::fmt;

use kafka_client::records::HeadersView;

use super::failure::Failure;
use super::handler::{Preparation, Slot};
use super::headers::Headers;
use super::metadata::Metadata;
use super::state::{self, State, StateRejection};
use super::{BatchDelivery, Delivery};
use crate::container::{Ack, AckIssuer};
use crate::template::Tx;

/// Makes an argument of a listener from a record.
///
/// Implemented for [`Key`](super::Key), [`Headers`], [`HeadersView`], [`Metadata`], [`State`], `&State<T>`, [`Ack`] and
/// `&`[`Tx`]; implement it for a type of your own to use that as an argument, after the payload and in any order:
///
/// ```
/// use kafka_runtime::prelude::*;
/// use kafka_runtime::listener::{Delivery, Failure, FromDelivery, Slot};
///
/// struct Tenant(String);
///
/// impl<'r> FromDelivery<'r> for Tenant {
///     type Rejection = Failure;
///     fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, Failure> {
///         let (tenant, _) = delivery.partition.topic.as_str().split_once('.').unwrap_or_default();
///         Ok(Self(tenant.to_owned()))
///     }
/// }
///
/// #[kafka_listener(pattern = ".*[.]orders", group = "billing")]
/// async fn bill(order: String, tenant: Tenant) {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a listener",
    label = "not an argument that can be made from a record",
    note = "the first argument is the payload (or the one marked `#[payload]`); the others are `Key<K>`, `Headers`, \
            `HeadersView<'_>`, `#[header(\"name\")] x: T`, `Metadata`, `State<T>`, `&State<T>`, `Ack`, `&Tx`, or a \
            type of your own that implements `FromDelivery`",
    note = "for a value of the application write `State<{Self}>` and give it with `.state(..)`"
)]
pub trait FromDelivery<'r>: Sized {
    /// What is wrong when it cannot be made.
    type Rejection: Into<Failure>;

    /// Looks up, once before the first record, what every call needs. Nothing unless implemented.
    #[must_use]
    fn prepare(preparation: &mut Preparation<'_>) -> Slot {
        let _ = preparation;
        Slot::default()
    }

    /// Makes the argument. `slot` is what [`FromDelivery::prepare`] looked up.
    ///
    /// # Errors
    /// The record has not got it, or not in this form.
    fn from_delivery(delivery: &Delivery<'r>, slot: &'r Slot) -> Result<Self, Self::Rejection>;
}

/// Makes an argument of a batch listener. Keys and headers belong to single records: take
/// [`Batch`](super::Batch), whose items have them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a batch listener",
    label = "not an argument that can be made from a batch",
    note = "the first argument is the payload, `Vec<T>`, `Batch<T>` or `&[T]`; the others are `Metadata`, \
            `State<T>`, `&State<T>`, `Ack`, `&Tx`, or a type of your own that implements `FromBatch`",
    note = "keys and headers belong to single records: take the payload as `Batch<T>`, whose `items()` have them"
)]
pub trait FromBatch<'r>: Sized {
    /// What is wrong when it cannot be made.
    type Rejection: Into<Failure>;

    /// As [`FromDelivery::prepare`].
    #[must_use]
    fn prepare(preparation: &mut Preparation<'_>) -> Slot {
        let _ = preparation;
        Slot::default()
    }

    /// Makes the argument. The batch is what the handler gets: never empty, and all of it decoded.
    ///
    /// # Errors
    /// The batch has not got it.
    fn from_batch(batch: &BatchDelivery<'r>, slot: &'r Slot) -> Result<Self, Self::Rejection>;
}

impl<'r> FromDelivery<'r> for Metadata {
    type Rejection = Failure;
    fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, Failure> {
        Ok(Self::of(delivery))
    }
}

impl<'r> FromBatch<'r> for Metadata {
    type Rejection = BatchRejection;
    fn from_batch(batch: &BatchDelivery<'r>, _: &'r Slot) -> Result<Self, BatchRejection> {
        let first = batch.records.first().ok_or(BatchRejection)?;
        Ok(Self::of(&batch.single(*first)))
    }
}

impl<'r> FromDelivery<'r> for Headers {
    type Rejection = Failure;
    fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, Failure> {
        Ok(Self::of(delivery))
    }
}

impl<'r> FromDelivery<'r> for HeadersView<'r> {
    type Rejection = Failure;
    fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, Failure> {
        Ok(delivery.record.headers)
    }
}

/// The state arguments are the same for records and batches.
macro_rules! from_state {
    ($trait:ident, $method:ident, $from:ty) => {
        impl<'r, T: Send + Sync + 'static> $trait<'r> for &'r State<T> {
            type Rejection = StateRejection;
            fn prepare(preparation: &mut Preparation<'_>) -> Slot {
                state::prepare::<T>(preparation)
            }
            fn $method(_: &$from, slot: &'r Slot) -> Result<Self, StateRejection> {
                state::lookup(slot)
            }
        }

        impl<'r, T: Send + Sync + 'static> $trait<'r> for State<T> {
            type Rejection = StateRejection;
            fn prepare(preparation: &mut Preparation<'_>) -> Slot {
                state::prepare::<T>(preparation)
            }
            fn $method(_: &$from, slot: &'r Slot) -> Result<Self, StateRejection> {
                state::lookup(slot).cloned()
            }
        }
    };
}

from_state!(FromDelivery, from_delivery, Delivery<'r>);
from_state!(FromBatch, from_batch, BatchDelivery<'r>);

impl<'r> FromDelivery<'r> for Ack {
    type Rejection = AckRejection;
    fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, AckRejection> {
        issue(delivery.acks, delivery.record.offset)
    }
}

/// Acknowledges every record of the batch.
impl<'r> FromBatch<'r> for Ack {
    type Rejection = AckRejection;
    fn from_batch(batch: &BatchDelivery<'r>, _: &'r Slot) -> Result<Self, AckRejection> {
        let (last, _) = batch.records.last().ok_or(AckRejection)?;
        issue(batch.acks, last.offset)
    }
}

/// The transaction of the records in hand, by both kinds of listeners.
fn transaction(tx: Option<&Tx>) -> Result<&Tx, TxRejection> {
    tx.ok_or(TxRejection)
}

impl<'r> FromDelivery<'r> for &'r Tx {
    type Rejection = TxRejection;
    fn from_delivery(delivery: &Delivery<'r>, _: &'r Slot) -> Result<Self, TxRejection> {
        transaction(delivery.tx)
    }
}

/// What is sent for the whole batch.
impl<'r> FromBatch<'r> for &'r Tx {
    type Rejection = TxRejection;
    fn from_batch(batch: &BatchDelivery<'r>, _: &'r Slot) -> Result<Self, TxRejection> {
        transaction(batch.tx)
    }
}

/// A transaction was asked for where the listener has none.
#[derive(Debug, Clone, Copy)]
pub struct TxRejection;

impl fmt::Display for TxRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the argument `&Tx` needs a transactional listener: `transactional` in its attribute")
    }
}

fn issue(acks: Option<&AckIssuer>, offset: i64) -> Result<Ack, AckRejection> {
    acks.map(|acks| acks.issue(offset)).ok_or(AckRejection)
}

/// An `Ack` was asked for where the listener acknowledges by its return.
#[derive(Debug, Clone, Copy)]
pub struct AckRejection;

impl fmt::Display for AckRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the argument `Ack` needs `ack = \"manual\"` or `ack = \"manual-immediate\"`")
    }
}

/// A batch without records.
#[derive(Debug, Clone, Copy)]
pub struct BatchRejection;

impl fmt::Display for BatchRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the batch is empty")
    }
}

/// Every rejection of ours becomes a failure that will not go away by trying again.
macro_rules! rejections {
    ($($rejection:ty),*) => {$(
        impl From<$rejection> for Failure {
            fn from(rejection: $rejection) -> Self {
                Self::Decode(rejection.to_string())
            }
        }
    )*};
}

rejections!(
    StateRejection,
    AckRejection,
    TxRejection,
    BatchRejection,
    super::part::PartRejection,
    super::payload::PayloadRejection
);
