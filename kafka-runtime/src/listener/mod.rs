//! What `#[kafka_listener]` registers, and how a record becomes a handler's arguments.
//!
//! ```text
//! descriptor   the attribute as a constant, registered
//! handler      what the macro implements: prepare once, call per record
//! delivery     a record, or a batch, on its way in
//! payload      value -> first argument: raw, optional, JSON        json_path, excerpt: what its errors show
//! letter       a dead letter as a payload
//! batch        values -> first argument of a batch listener: batch_payload decodes, Batch keeps
//! extract      everything else: key, headers, metadata, state, ack
//! outcome      what a handler returned -> Ok or failure; sort: by the types of errors that the attribute names
//! forward      what a handler returned -> records to send (Outgoing: with a key of its own); outbox: where they wait
//! typed        a topic's type is the payload's
//! generated    what the macro's code calls
//! ```

mod batch;
mod batch_payload;
mod delivery;
mod descriptor;
mod excerpt;
mod extract;
mod failure;
mod forward;
pub(crate) mod generated;
mod handler;
mod headers;
mod json_path;
mod key;
mod letter;
mod metadata;
mod outbox;
mod outcome;
mod outgoing;
mod part;
mod payload;
pub(crate) mod raw;
mod sort;
mod state;
#[cfg(test)]
mod tests;
mod typed;

pub use batch::{Batch, BatchItem};
pub use batch_payload::{DecodeBatch, Settling};
pub use delivery::{BatchDelivery, Delivery, Part, RecordPlace};
pub use descriptor::{
    Attributes, CommitEvery, ControlsAttribute, DeadLetterAttribute, ListenerDescriptor, PartitionsAttribute,
    RetryAttribute, RetryTopicsAttribute, SourceLocation,
};
pub use extract::{AckRejection, BatchRejection, FromBatch, FromDelivery, TxRejection};
pub(crate) use failure::hiding;
pub use failure::{BatchFailure, BoxError, Failure, Fatal, HandlerError};
pub use forward::{Forward, ForwardBatch};
pub use handler::{BatchHandler, Handler, Preparation, Prepared, Site, Slot, States};
pub use headers::{FromHeader, Headers};
pub use key::{FromKey, Key};
pub use metadata::Metadata;
pub use outbox::Outbox;
pub(crate) use outbox::Returned;
pub use outcome::{BatchError, IntoBatchOutcome, IntoOutcome};
pub use outgoing::Outgoing;
pub use part::{PartProblem, PartRejection};
pub use payload::{Decode, PayloadRejection, Undecodable};
pub use raw::RawValue;
pub(crate) use sort::causes;
pub use state::{State, StateRejection};

/// The names that the macro's code uses.
#[doc(hidden)]
pub mod __private {
    pub use super::batch_payload::{BatchOf, NotABatch, batch};
    pub use super::forward::{Layer, NoLayer, ReturnedOf, SentAsJson, SentOf, forward, forward_batch};
    pub use super::generated::{
        AckOr, ErrorTypeOf, NoErrorType, NotAck, NotTx, PrepareArgument, PrepareBatchArgument,
        PrepareNothing, Preparing, SlotOf, TxOr, argument, batch_argument,
    };
    pub use super::headers::header;
    pub use super::letter::{LetterOf, NotALetter};
    pub use super::outcome::{batch_outcome, outcome};
    pub use super::payload::{FormOf, JsonForm, OptionalForm, payload};
    pub use super::sort::{ErrorOf, InnerError, NoDowncast, NoErrorOf, Root, Sort, Sortable, Sorts};
    pub use super::typed::{reads, reads_batch, topic_name};
}
