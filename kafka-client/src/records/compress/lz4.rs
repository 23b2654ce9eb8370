//! The LZ4 frame format, read here block by block straight into the batch.
//!
//! ```text
//!   04 22 4D 18 │ FLG │ BD │ [content size 8] │ [dictionary 4] │ HC │ { size 4 │ block │ [checksum 4] }... │ 0 4 │ [checksum 4]
//! ```
//!
//! None of the frame's own checksums are compared: the batch's covers them all, and that of the header is wrong on
//! purpose in magic 0 (Java hashed the wrong bytes, and every client since has to). lz4_flex's frame reader insists
//! on it, and takes a stream that was cut between two blocks for a whole one.

use std::io::Write;

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::{Output, Reason, take, take_array};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const VERSION: u8 = 0b01;
/// The bit of a block's size that says that it is stored as it was.
const STORED: u32 = 1 << 31;
/// How far back a block that depends on those before it can reach.
const WINDOW: usize = 64 << 10;
/// How many times its size a block may need: first what is usual, since a frame may allow blocks of 4 MB and hold
/// one of a hundred bytes; then what is possible, where a byte of a run's length stands for 255.
const RATIOS: [usize; 2] = [8, 255];
/// What a block's tokens can open to beyond that.
const LEAST_ROOM: usize = 64;

/// What a frame's descriptor says.
struct Frame {
    dependent: bool,
    block_checksums: bool,
    content_checksum: bool,
    largest_block: usize,
}

pub(super) fn decompress(mut input: &[u8], output: &mut Output) -> Result<(), Reason> {
    loop {
        let frame = Frame::read(&mut input)?;
        let start = output.bytes.len();
        while frame.open_block(&mut input, start, output)? {}
        if input.is_empty() {
            return Ok(());
        }
    }
}

impl Frame {
    fn read(input: &mut &[u8]) -> Result<Self, Reason> {
        if take_array(input)? != MAGIC {
            return Err("not the LZ4 frame format".to_owned());
        }
        let [flags, block_descriptor] = take_array(input)?;
        if flags >> 6 != VERSION {
            return Err(format!("unknown version {} of the LZ4 frame format", flags >> 6));
        }
        let has = |bit: u8| flags & 1 << bit != 0;
        if has(0) {
            return Err("a dictionary is needed".to_owned());
        }
        let content_size = if has(3) { 8 } else { 0 };
        let _size_and_header_checksum = take(input, content_size + 1)?;
        let largest_block = match block_descriptor >> 4 & 0b111 {
            size @ 4..=7 => 1 << (8 + 2 * u32::from(size)),
            size => return Err(format!("unknown block size {size}")),
        };
        Ok(Self { dependent: !has(5), block_checksums: has(4), content_checksum: has(2), largest_block })
    }

    /// Opens the next block of the frame whose output began at `start`; false at the frame's end.
    fn open_block(&self, input: &mut &[u8], start: usize, output: &mut Output) -> Result<bool, Reason> {
        let size = u32::from_le_bytes(take_array(input)?);
        if size == 0 {
            take(input, if self.content_checksum { 4 } else { 0 })?;
            return Ok(false);
        }
        let length = (size & !STORED) as usize;
        if length > self.largest_block {
            return Err(format!("a block of {length} bytes, more than the frame allows"));
        }
        let block = take(input, length)?;
        take(input, if self.block_checksums { 4 } else { 0 })?;
        if size & STORED == 0 {
            self.expand(block, start, output)?
        } else {
            output.extend(block)?
        }
        Ok(true)
    }

    fn expand(&self, block: &[u8], start: usize, output: &mut Output) -> Result<(), Reason> {
        let before = output.bytes.len();
        for ratio in RATIOS {
            let most = block.len().saturating_mul(ratio).saturating_add(LEAST_ROOM);
            let room = self.largest_block.min(most).min(output.allowance());
            let (done, room) = output.room(room)?;
            let opened = if self.dependent {
                let window = done.get(start.max(before.saturating_sub(WINDOW))..).unwrap_or_default();
                decompress_into_with_dict(block, room, window)
            } else {
                decompress_into(block, room)
            };
            output.truncate(before + opened.as_ref().copied().unwrap_or(0));
            match opened {
                Ok(_) => return Ok(()),
                Err(DecompressError::OutputTooSmall { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(match output.allowance() < self.largest_block {
            true => output.too_large(),
            false => {
                format!("a block opens to more than {} bytes, the most in its frame", self.largest_block)
            }
        })
    }
}

/// Writes independent blocks of 64 KB: the only frames that the Java client reads are of independent blocks.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(frame, out);
    encoder.write_all(input).map_err(|error| error.to_string())?;
    encoder.try_finish().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(frame: FrameInfo, input: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(input).unwrap();
        encoder.finish().unwrap()
    }

    fn open(input: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut output = Output::for_input(input.len());
        decompress(input, &mut output).map(|()| output.bytes)
    }

    /// Text that repeats itself further back than a block, but not than the window.
    fn text() -> Vec<u8> {
        (0..60_000u32).flat_map(|number| format!("order {}, ", number % 5000).into_bytes()).collect()
    }

    #[test]
    fn every_kind_of_frame_is_read() {
        let text = text();
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                for sums in [false, true] {
                    let frame = FrameInfo::new().block_size(size).block_mode(mode).block_checksums(sums);
                    let frame = frame.content_checksum(sums);
                    let sized = frame.clone().content_size(sums.then_some(text.len() as u64));
                    let mut two = frame_of(sized, &text);
                    two.extend(frame_of(frame, b"another frame"));
                    let opened = open(&two).unwrap();
                    assert!(opened.starts_with(&text) && opened.ends_with(b", another frame"));
                }
            }
        }
    }

    #[test]
    fn a_run_opens_beyond_the_usual_ratio() {
        let run = vec![b'x'; 300_000];
        let mut compressed = Vec::new();
        compress(&run, &mut compressed).unwrap();
        assert!(compressed.len() < run.len() / 100);
        assert_eq!(open(&compressed).unwrap(), run);
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        let whole = frame_of(FrameInfo::new().block_size(BlockSize::Max64KB), &text());
        for cut in (0..whole.len()).step_by(1999).chain(whole.len() - 8..whole.len()) {
            assert!(open(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
