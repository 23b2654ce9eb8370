//! A listener at work.
//!
//! ```text
//! member    a group member (or a reader of fixed partitions): its events, its partitions, its commits
//! partition one value owns a partition: queue, order, in-flight, ledger
//! drive     the loop over a batch, generic per handler, boxed once per batch
//! ledger    settled offsets in, highest safe offset out (pure)
//! cadence   when to commit (pure)
//! commit    sync, async, combined
//! ack       acknowledgement by hand
//! ```

use crate::listener::{BatchHandler, Handler, Preparation};

/// A handler bound to its state, type-erased: one boxed future per batch.
#[derive(Debug)]
pub struct Bound {}

impl Bound {
    /// Binds a record handler.
    #[must_use]
    pub fn single<H: Handler>(preparation: &mut Preparation<'_>) -> Self {
        let _ = H::prepare(preparation);
        Self {}
    }
    /// Binds a batch handler.
    #[must_use]
    pub fn batch<H: BatchHandler>(preparation: &mut Preparation<'_>) -> Self {
        let _ = H::prepare(preparation);
        Self {}
    }
}

/// Makes `Ack`s for the records of one partition.
#[derive(Debug)]
pub struct AckIssuer {}

/// A record's acknowledgement, for `ack = "manual"`. Dropping it without a call is a failed outcome of the record.
#[derive(Debug)]
pub struct Ack {}

/// The partition was given away before the acknowledgement.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the partition was given away before this record was acknowledged: another member handles it again")]
pub struct AckError;

impl AckIssuer {
    /// An `Ack` for the record at `offset` (or, for a batch, for everything up to it).
    #[must_use]
    pub fn issue(&self, offset: i64) -> Ack {
        let _ = offset;
        todo!()
    }
}

impl Ack {
    /// The record is handled.
    ///
    /// # Errors
    /// The partition is not this member's any more.
    pub fn ack(self) -> Result<(), AckError> {
        todo!()
    }
    /// The record is not handled: a failed outcome with this reason.
    pub fn nack(self, reason: impl Into<String>) {
        let _ = reason.into();
        todo!()
    }
}
