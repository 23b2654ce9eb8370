//! Zstandard. Frames from Java mostly carry no content size, so they are opened block by block.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

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

#[cfg(feature = "zstd-c")]
pub(super) use self::in_c::compress;
#[cfg(not(feature = "zstd-c"))]
pub(super) use self::in_rust::compress;

// In tests beside the other, whose library is the one that Java's and librdkafka's readers have.
#[cfg(any(test, not(feature = "zstd-c")))]
mod in_rust {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::Reason;

    /// A frame of ruzstd's one level, near zstd's level 1, with a content checksum.
    #[allow(clippy::unnecessary_wraps)]
    pub(in super::super) fn compress(
        _level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        out.append(&mut compress_to_vec(input, CompressionLevel::Fastest));
        Ok(())
    }
}

#[cfg(feature = "zstd-c")]
mod in_c {
    use std::cell::RefCell;

    use zstd::bulk::Compressor;

    use super::Reason;

    /// Kafka's default.
    const USUAL: i32 = 3;

    thread_local! {
        /// The context of this thread's last batch, with its level: a megabyte and more, which costs more to make than a
        /// batch costs to compress.
        static LAST: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    }

    /// A frame of zstd's own library.
    pub(in super::super) fn compress(
        level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        let level = level.unwrap_or(USUAL);
        let frame = LAST.with_borrow_mut(|last| {
            if last.as_ref().is_none_or(|(of, _)| *of != level) {
                *last = Some((level, Compressor::new(level)?));
            }
            last.as_mut().map(|(_, context)| context.compress(input)).transpose()
        });
        let frame = frame.map_err(|error: std::io::Error| error.to_string())?;
        out.append(&mut frame.unwrap_or_default());
        Ok(())
    }
}

#[cfg(all(test, feature = "zstd-c"))]
mod tests {
    use crate::seams::Rng;

    use super::*;

    /// Some that compress well, less, or not at all; shorter and longer than a block of 128 KiB.
    fn inputs() -> impl Iterator<Item = Vec<u8>> {
        let rng = Rng::seeded(7);
        let lengths = [0, 1, 2, 100, 4_000, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 1 << 20];
        lengths.into_iter().flat_map(move |length| {
            let noise: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
            let few = noise.iter().map(|byte| b"order"[usize::from(*byte) % 5]).collect();
            let text = (0..u32::MAX).flat_map(|n| format!("{{\"n\":{n},\"open\":true}}").into_bytes());
            [vec![b'x'; length], few, text.take(length).collect(), noise]
        })
    }

    #[test]
    fn what_is_compressed_in_rust_is_read_by_zstds_own_library() {
        for input in inputs() {
            let mut frame = Vec::new();
            in_rust::compress(None, &input, &mut frame).unwrap();
            let read = zstd::bulk::decompress(&frame, input.len()).unwrap();
            assert!(read == input, "{} bytes", input.len());
        }
    }
}
