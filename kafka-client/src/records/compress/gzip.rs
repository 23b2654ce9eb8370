//! gzip (RFC 1952), several members one behind the other included, as Java reads it.

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Output, Reason};

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), Reason> {
    let allowance = output.allowance();
    let beyond = (allowance as u64).saturating_add(1);
    let opened = MultiGzDecoder::new(input)
        .take(beyond)
        .read_to_end(&mut output.bytes)
        .map_err(|error| error.to_string())?;
    if opened > allowance { Err(output.too_large()) } else { Ok(()) }
}

/// At a level from 1 to 9; without one at zlib's usual, 6.
pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let level = level.and_then(|level| u32::try_from(level).ok());
    let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(input).and_then(|()| encoder.try_finish()).map_err(|error| error.to_string())
}
