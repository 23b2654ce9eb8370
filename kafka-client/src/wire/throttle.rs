//! `throttle_time_ms`, read from an answer's bytes: the reader of a connection knows no message types, and has to
//! extend the deadlines of all calls by it.

use kafka_protocol::messages::ApiKey;

use super::versions::api;

/// How long the broker will not answer this connection (KIP-219), by the body of an answer to `api_key`; 0 where it
/// says nothing.
#[must_use]
pub fn throttle_millis(api_key: i16, version: i16, body: &[u8]) -> u64 {
    let field = if api_key == ApiKey::Produce as i16 {
        at_the_end(version, body)
    } else {
        match api(api_key).and_then(|api| api.throttled_from) {
            Some(from) if version >= from => body.first_chunk::<4>(),
            _ => None,
        }
    };
    field.map_or(0, |bytes| u64::try_from(i32::from_be_bytes(*bytes)).unwrap_or(0))
}

/// Produce has it after the partitions: before the tagged fields from version 9 on, where a node's address may
/// follow (then it is not read: such an answer tells of a moved leader, not of a quota).
fn at_the_end(version: i16, body: &[u8]) -> Option<&[u8; 4]> {
    match (version, body.split_last()) {
        (..=8, _) => body.last_chunk::<4>(),
        (_, Some((0, fields))) => fields.last_chunk::<4>(),
        _ => None,
    }
}
