//! Record batches as they lie in a fetch answer, read as borrowed views; and their encoding.
//!
//! ```text
//!   fetch answer (Bytes)
//!     │ Batches::peek_header   header.rs    delimited, nothing verified
//!     │ Batches::next_batch    batches.rs   checksum, decompression (compress/), old formats (legacy.rs)
//!     ▼
//!   Batch                      cheap to clone: a counted slice of the answer, or bytes of its own
//!     │ Batch::records         record.rs    delimited one by one, nothing allocated
//!     ▼
//!   Record<'_>                 key, value, HeadersView (headers.rs) borrow from the batch
//!
//!   BatchBuilder ─▶ Bytes      encode.rs    what a producer sends
//!   Bytes ─▶ appended batch    append.rs    what a broker checks and stamps
//! ```
//!
//! A record borrows key, value and headers from the answer's bytes, or from its batch's once that is decompressed.
//! Nothing is allocated per record. Checksums are verified, and batches decompressed, one at a time when they are
//! asked for: on the thread that handles the records, not on the I/O thread.

pub mod append;
mod batches;
mod compress;
pub mod control;
pub mod encode;
mod header;
mod headers;
mod legacy;
mod record;
#[cfg(test)]
mod tests;
mod varint;

pub use batches::{Batch, Batches};
pub use header::{BATCH_OVERHEAD, BatchHeader, Codec, TimestampType, add_to_sequence};
pub use headers::{Header, HeadersView};
pub use record::{Record, Records, RecordsMark};

/// What is wrong with a batch or a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The stored checksum does not fit the bytes.
    #[error("checksum mismatch (stored {stored:08x}, computed {computed:08x})")]
    Checksum {
        /// As stored.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The bytes do not follow the format.
    #[error("malformed records: {0}")]
    Malformed(String),
    /// The compressed bytes cannot be opened, or open to more than the bounds allow.
    #[error("cannot decompress ({codec}): {reason}")]
    Decompress {
        /// The codec's name.
        codec: &'static str,
        /// The decoder's words.
        reason: String,
    },
}

/// Why bytes are not what they should be: small and `Copy`, so that the path without errors pays nothing for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flaw(&'static str);

impl Flaw {
    /// The flaw as an error that says where: `what` and the byte at which it begins.
    #[cold]
    fn in_the(self, what: &str, position: usize) -> RecordError {
        RecordError::Malformed(format!("{} in the {what} at byte {position}", self.0))
    }
}

/// The next `length` bytes, taken off the front.
#[inline]
fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], Flaw> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Flaw("a length beyond the end"))?;
    *bytes = rest;
    Ok(taken)
}
