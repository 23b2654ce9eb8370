//! Message bytes: what `kafka-protocol` encodes and decodes, guarded, and the versions this client speaks.

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, VersionRange};

/// Why a message could not be decoded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Decodes a message of `version` from `bytes`, without ever panicking or reserving more memory than the bytes
/// can justify. Byte fields of the result are slices of `bytes`, not copies.
///
/// # Errors
/// Whatever is malformed, truncated or left over.
pub fn decode<M: Decodable>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let _ = (bytes, version);
    todo!()
}

/// The versions of request `api_key` that this client may use, `None` for an API it does not speak.
#[must_use]
pub fn supported(api_key: i16) -> Option<VersionRange> {
    let _ = api_key;
    todo!()
}
