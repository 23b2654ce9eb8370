//! What `#[kafka_listener]` registers, and how a record becomes a handler's arguments.

mod delivery;
mod descriptor;
mod failure;
mod handler;

pub use delivery::{BatchDelivery, Delivery};
pub use descriptor::{Attributes, CommitEvery, ListenerDescriptor, PartitionsAttribute, SourceLocation};
pub use failure::{BatchFailure, Failure};
pub use handler::{BatchHandler, Handler, Preparation, Prepared};
