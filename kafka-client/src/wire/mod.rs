//! Message bytes: what `kafka-protocol` encodes and decodes, guarded, and the versions this client speaks.
//!
//! ```text
//!   frame ──▶ header ──▶ decode (guarded) ──▶ message, its byte fields slices of the frame
//!   message ──▶ encode, at a version that `supported` and the broker have in common ──▶ frame
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use guard::{Guarded, Pass};

mod guard;
mod throttle;
mod versions;

#[cfg(test)]
mod tests;

pub use throttle::throttle_millis;
pub use versions::{Api, api, supported};
pub(crate) use versions::{KIP_890_FEATURE, highest_in_transaction};

/// Why a message could not be decoded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Why a message could not be encoded: a field that its version does not have, or a length beyond the format's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(pub String);

/// Decodes a message of `version` from `bytes`, without ever panicking or reserving more memory than the bytes
/// can justify. Byte fields of the result are slices of `bytes`, not copies.
///
/// # Errors
/// Whatever is malformed, truncated or left over.
pub fn decode<M: Decodable>(mut bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let message = decode_part(&mut bytes, version)?;
    match bytes.remaining() {
        0 => Ok(message),
        left => Err(DecodeError(format!("{} v{version}: {left} bytes are left over", name_of::<M>()))),
    }
}

/// [`decode`] of a message that others follow: a header before its body. `bytes` is moved past it.
///
/// # Errors
/// Whatever is malformed or truncated; `bytes` is as before then.
pub fn decode_part<M: Decodable>(bytes: &mut Bytes, version: i16) -> Result<M, DecodeError> {
    let (mut message, mut guard) = guarded_pass(bytes.clone(), version, Pass::Probe)?;
    if let Some(doubtful) = guard.doubtful() {
        if !doubtful.is_empty() {
            guarded_pass::<M>(bytes.clone(), version, Pass::Refuse(doubtful))?;
        }
        (message, guard) = guarded_pass(bytes.clone(), version, Pass::Truthful)?;
    }
    *bytes = guard.into_rest();
    Ok(message)
}

fn guarded_pass<M: Decodable>(bytes: Bytes, version: i16, pass: Pass) -> Result<(M, Guarded), DecodeError> {
    let length = bytes.len();
    let mut guard = Guarded::new(bytes, pass);
    let decoded = M::decode(&mut guard, version);
    let position = guard.position();
    let problem = match (guard.finish(), decoded) {
        (Ok(()), Ok(message)) => return Ok((message, guard)),
        (Err(refused), _) => refused.to_owned(),
        (Ok(()), Err(error)) => format!("{error:#}").trim_end().to_owned(),
    };
    Err(DecodeError(format!("{} v{version}: {problem} (byte {position} of {length})", name_of::<M>())))
}

/// Appends a message of `version` to `into`.
///
/// # Errors
/// A field is set that the version does not have, or too long.
pub fn encode<M: Encodable>(message: &M, version: i16, into: &mut BytesMut) -> Result<(), EncodeError> {
    let words =
        |error: &dyn std::fmt::Display| EncodeError(format!("{} v{version}: {error}", name_of::<M>()));
    into.reserve(message.compute_size(version).map_err(|error| words(&error))?);
    message.encode(into, version).map_err(|error| words(&error))
}

/// A whole request as it goes out: length, header, body.
///
/// # Errors
/// As [`encode`].
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    frame(&header, R::header_version(version), request, version)
}

/// A whole message as it goes out, of either side: length, header, body.
///
/// # Errors
/// As [`encode`].
pub fn frame<H: Encodable, M: Encodable + HeaderVersion>(
    header: &H,
    header_version: i16,
    body: &M,
    version: i16,
) -> Result<Bytes, EncodeError> {
    let size = |result: Result<usize, _>| result.unwrap_or_default();
    let expected = size(header.compute_size(header_version)) + size(body.compute_size(version));
    let mut out = BytesMut::with_capacity(4 + expected);
    out.put_i32(0);
    encode(header, header_version, &mut out)?;
    encode(body, version, &mut out)?;
    let length = i32::try_from(out.len() - 4)
        .map_err(|_| EncodeError(format!("{} v{version} is longer than 2 GiB", name_of::<M>())))?;
    if let Some(prefix) = out.get_mut(..4) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out.freeze())
}

/// `FetchRequest` rather than the whole path.
fn name_of<M>() -> &'static str {
    let path = std::any::type_name::<M>();
    path.rsplit("::").next().unwrap_or(path)
}
