//! Snappy: Java's xerial framing, and the raw blocks that other clients write.
//!
//! ```text
//!   82 'S' 'N' 'A' 'P' 'P' 'Y' 00 │ version 4 │ compatible 4 │ { length 4 │ raw block }...
//! ```

use super::{Output, Reason, take, take_array};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Version and the least compatible version, as Java writes and expects them.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed bytes of a block, as Java's default.
const BLOCK: usize = 32 << 10;
/// A copy of 64 bytes takes 3: a block that claims to open to more than this is lying.
const LARGEST_RATIO: usize = 22;

pub(super) fn decompress(mut input: &[u8], output: &mut Output) -> Result<(), Reason> {
    let mut decoder = snap::raw::Decoder::new();
    if !input.starts_with(&MAGIC) {
        return open_block(&mut decoder, input, output);
    }
    while !input.is_empty() {
        // Streams can stand one behind the other, each with its header.
        if input.starts_with(&MAGIC) {
            take(&mut input, MAGIC.len() + VERSIONS.len())?;
            continue;
        }
        let length = u32::from_be_bytes(take_array(&mut input)?);
        let block = take(&mut input, usize::try_from(length).unwrap_or(usize::MAX))?;
        open_block(&mut decoder, block, output)?;
    }
    Ok(())
}

fn open_block(decoder: &mut snap::raw::Decoder, block: &[u8], output: &mut Output) -> Result<(), Reason> {
    if block.is_empty() {
        return Err("an empty block".to_owned());
    }
    let length = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    if length > block.len().saturating_mul(LARGEST_RATIO) {
        return Err(format!("a block of {} bytes cannot open to {length}", block.len()));
    }
    let (_, room) = output.room(length)?;
    // The decoder refuses a block that opens to another length than it claims.
    decoder.decompress(block, room).map(|_| ()).map_err(|error| error.to_string())
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    let mut room = vec![0; snap::raw::max_compress_len(input.len().min(BLOCK))];
    for block in input.chunks(BLOCK) {
        let length = encoder.compress(block, &mut room).map_err(|error| error.to_string())?;
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(room.get(..length).unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(input: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut output = Output::for_input(input.len());
        decompress(input, &mut output).map(|()| output.bytes)
    }

    #[test]
    fn blocks_are_those_of_java() {
        let mut compressed = Vec::new();
        compress(&vec![7; 3 * BLOCK + 1], &mut compressed).unwrap();
        let mut rest = &compressed[16..];
        let mut opened = Vec::new();
        while let Ok(length) = take_array::<4>(&mut rest) {
            let block = take(&mut rest, u32::from_be_bytes(length) as usize).unwrap();
            opened.push(snap::raw::decompress_len(block).unwrap());
        }
        assert_eq!(opened, [BLOCK, BLOCK, BLOCK, 1]);
    }

    #[test]
    fn streams_one_behind_the_other_are_read() {
        let mut compressed = Vec::new();
        compress(b"one ", &mut compressed).unwrap();
        compress(b"two", &mut compressed).unwrap();
        assert_eq!(open(&compressed).unwrap(), b"one two");
    }

    #[test]
    fn a_length_that_cannot_be_true_reserves_nothing() {
        // A raw block that claims 4 GB.
        let refused = open(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]).unwrap_err();
        assert!(refused.contains("cannot open to 4294967295"), "{refused}");
    }
}
