//! Zstandard. Frames from Java mostly carry no content size, so they are opened block by block.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::{Output, Reason, take};

pub(super) fn decompress(mut input: &[u8], output: &mut Output) -> Result<(), Reason> {
    while !input.is_empty() {
        // Used again, a decoder reserves the whole window that the next frame claims; a new one grows as it decodes.
        let mut decoder = FrameDecoder::new();
        match decoder.reset(&mut input) {
            Ok(()) => open_frame(&mut decoder, &mut input, output)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                take(&mut input, usize::try_from(length).unwrap_or(usize::MAX))?;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Opens a frame whose header was read. What the decoder holds back while the frame goes on, in case a block refers
/// to it, comes on top of the limit: a window, which it bounds itself (128 MiB, as zstd's own reader).
fn open_frame(decoder: &mut FrameDecoder, input: &mut &[u8], output: &mut Output) -> Result<(), Reason> {
    while !decoder.is_finished() {
        decoder
            .decode_blocks(&mut *input, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|error| error.to_string())?;
        if decoder.can_collect() > output.allowance() {
            return Err(output.too_large());
        }
        decoder.collect_to_writer(&mut output.bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A frame of ruzstd's one level, near zstd's level 1, with a content checksum.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.append(&mut compress_to_vec(input, CompressionLevel::Fastest));
}
