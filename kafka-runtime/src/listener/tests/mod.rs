//! Generated handlers, called with records as they come off the wire.

mod arguments;
mod batches;
mod harness;
mod payloads;

pub(crate) use harness::kafka;
