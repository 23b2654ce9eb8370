//! The old formats (magic 0 and 1): a message is a batch of one, or with compression a wrapper around a set of
//! messages of the same format.
//!
//! ```text
//!   offset 8 │ length 4 │ crc 4 │ magic 1 │ attributes 1 │ [timestamp 8: magic 1] │ key 4+n │ value 4+n
//! ```
//!
//! Inner offsets of magic 0 are absolute. Those of magic 1 are relative, and the wrapper has the last one's: the base
//! is the difference, but for a wrapper at offset 0, whose producer did not know the last.

use bytes::{Buf, Bytes};
use flate2::Crc;

use super::header::{Codec, LOG_OVERHEAD, TimestampType};
use super::headers::HeadersView;
use super::record::{Base, Record};
use super::{BatchHeader, Flaw, RecordError, compress, take};

/// The checksum covers what follows it.
const CHECKED_FROM: usize = LOG_OVERHEAD + 4;

/// What stands before a message's key.
struct Prefix {
    offset: i64,
    crc: u32,
    magic: i8,
    attributes: i8,
    timestamp: i64,
}

/// An opened batch: messages one behind the other, and how to read them.
pub(super) struct Opened {
    pub(super) messages: Bytes,
    pub(super) count: u32,
    /// What the messages' offsets are relative to.
    pub(super) base: i64,
    pub(super) first_offset: i64,
    pub(super) detached: bool,
}

fn read_prefix<'b>(bytes: &mut &'b [u8]) -> Result<(Prefix, &'b [u8]), Flaw> {
    const CUT: Flaw = Flaw("a message cut off");
    let mut start = *bytes;
    let offset = start.try_get_i64().map_err(|_| CUT)?;
    let length = start.try_get_i32().map_err(|_| CUT)?;
    let length = usize::try_from(length).map_err(|_| Flaw("a negative length"))?;
    let mut message = take(&mut start, length)?;
    let crc = message.try_get_u32().map_err(|_| CUT)?;
    let magic = message.try_get_i8().map_err(|_| CUT)?;
    let attributes = message.try_get_i8().map_err(|_| CUT)?;
    let timestamp = if magic == 0 { -1 } else { message.try_get_i64().map_err(|_| CUT)? };
    *bytes = start;
    Ok((Prefix { offset, crc, magic, attributes, timestamp }, message))
}

fn read_nullable<'b>(bytes: &mut &'b [u8]) -> Result<Option<&'b [u8]>, Flaw> {
    let length = bytes.try_get_i32().map_err(|_| Flaw("a message cut off"))?;
    usize::try_from(length).ok().map(|length| take(bytes, length)).transpose()
}

pub(super) fn parse_header(batch: &[u8]) -> Result<BatchHeader, RecordError> {
    let (prefix, _) = read_prefix(&mut { batch }).map_err(|flaw| flaw.in_the("message", 0))?;
    let attributes = i16::from(prefix.attributes);
    Ok(BatchHeader {
        base_offset: prefix.offset,
        last_offset: prefix.offset,
        magic: prefix.magic,
        crc: prefix.crc,
        size: batch.len(),
        codec: Codec::from_attributes(attributes),
        timestamp_type: match prefix.magic {
            0 => TimestampType::None,
            _ => TimestampType::from_attributes(attributes),
        },
        base_timestamp: prefix.timestamp,
        max_timestamp: prefix.timestamp,
        record_count: -1,
        ..BatchHeader::EMPTY
    })
}

pub(super) fn checksum(message: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(message.get(CHECKED_FROM..).unwrap_or_default());
    crc.sum()
}

/// Opens the message or wrapper that `batch` is, whose own checksum stands.
pub(super) fn open(header: &BatchHeader, batch: Bytes, check_crcs: bool) -> Result<Opened, RecordError> {
    if header.codec == Codec::None {
        let first_offset = header.base_offset;
        return Ok(Opened { messages: batch, count: 1, base: 0, first_offset, detached: false });
    }
    let value = read_prefix(&mut batch.as_ref())
        .and_then(|(_, mut message)| {
            read_nullable(&mut message)?;
            read_nullable(&mut message)
        })
        .map_err(|flaw| flaw.in_the("wrapper", 0))?
        .ok_or_else(|| RecordError::Malformed("a compressed message without a value".to_owned()))?;
    let messages = compress::decompress(header.codec, value)?;
    survey(header, messages, check_crcs)
}

/// Verifies the inner messages and finds out what their offsets are relative to.
fn survey(header: &BatchHeader, mut messages: Bytes, check_crcs: bool) -> Result<Opened, RecordError> {
    let mut rest = messages.as_ref();
    let (mut count, mut first, mut last) = (0, 0, 0);
    loop {
        let position = messages.len() - rest.len();
        // As in a fetch answer, a partial message at the end is no error.
        let Some(inner) = BatchHeader::parse(rest)? else { break };
        if inner.magic != header.magic || inner.codec != Codec::None {
            let flaw = Flaw("another format than the wrapper's, or a wrapper");
            return Err(flaw.in_the("inner message", position));
        }
        if check_crcs {
            inner.verify(rest)?;
        }
        (first, last) =
            if count == 0 { (inner.last_offset, inner.last_offset) } else { (first, inner.last_offset) };
        count += 1;
        rest = rest.get(inner.size..).unwrap_or_default();
    }
    if count == 0 {
        return Err(RecordError::Malformed("a compressed message with no messages in it".to_owned()));
    }
    messages.truncate(messages.len() - rest.len());
    let base = match (header.magic, header.last_offset) {
        (0, _) | (_, 0) => 0,
        (_, wrapper) => wrapper.wrapping_sub(last),
    };
    Ok(Opened { messages, count, base, first_offset: base.wrapping_add(first), detached: true })
}

/// Reads the message at the front of `bytes`, which lies at `position` of its batch.
#[inline(never)]
pub(super) fn read_message<'b>(
    bytes: &mut &'b [u8],
    base: &Base,
    position: usize,
) -> Result<Record<'b>, Flaw> {
    let (prefix, mut message) = read_prefix(bytes)?;
    Ok(Record {
        offset: base.offset.wrapping_add(prefix.offset),
        timestamp: base.append_time.unwrap_or(prefix.timestamp),
        key: read_nullable(&mut message)?,
        value: read_nullable(&mut message)?,
        headers: HeadersView::default(),
        position,
    })
}
