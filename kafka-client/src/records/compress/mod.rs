//! Compression codecs, bounded: no length that the sender chose makes this side allocate what it likes.

use bytes::Bytes;

use super::{Codec, RecordError};
use crate::config::{Compression, Packing};

mod gzip;
mod lz4;
mod snappy;
mod zstd;

/// What any batch may open to, however small it was. Far more than a producer puts into one, so that the ratio only
/// matters for what is suspicious by its size, too.
pub(super) const ALWAYS_ALLOWED: usize = 64 << 20;
/// Above [`ALWAYS_ALLOWED`], how many times its compressed size a batch may open to. Repetitive JSON reaches 1000:1
/// with zstd; a bomb of one run of bytes reaches more than 30000:1.
pub(super) const MAX_RATIO: usize = 1024;
/// What no batch may open to more than.
pub(super) const MAX_OUTPUT: usize = 1 << 30;

/// The first guess of how much larger a batch gets; memory beyond it is taken as it is needed.
const USUAL_RATIO: usize = 4;
const LARGEST_GUESS: usize = 4 << 20;

/// Why a codec gave up, in its own words.
type Reason = String;

/// Opens `input`.
pub(super) fn decompress(codec: Codec, input: &[u8]) -> Result<Bytes, RecordError> {
    let mut output = Output::for_input(input.len());
    let opened = match codec {
        Codec::None => output.extend(input),
        Codec::Gzip => gzip::decompress(input, &mut output),
        Codec::Snappy => snappy::decompress(input, &mut output),
        Codec::Lz4 => lz4::decompress(input, &mut output),
        Codec::Zstd => zstd::decompress(input, &mut output),
        Codec::Unknown(id) => Err(format!("there is no codec {id}")),
    };
    match opened {
        Ok(()) => Ok(output.finish()),
        Err(reason) => Err(RecordError::Decompress { codec: codec.name(), reason }),
    }
}

/// Appends `input`, compressed, to `out`, as the Java client would read it.
pub(super) fn compress(packing: Packing, input: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let done = match packing.codec() {
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Compression::Gzip => gzip::compress(packing.level(), input, out),
        Compression::Snappy => snappy::compress(input, out),
        Compression::Lz4 => lz4::compress(input, out),
        Compression::Zstd => zstd::compress(packing.level(), input, out),
    };
    done.map_err(|reason| RecordError::Malformed(format!("cannot compress ({}): {reason}", packing.codec())))
}

/// The codec that stands in a batch's attributes.
pub(super) fn codec_of(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// How to compress with the codec of a batch's attributes.
pub(super) fn compression_of(codec: Codec) -> Result<Compression, RecordError> {
    Ok(match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
        Codec::Unknown(id) => return Err(RecordError::Malformed(format!("there is no codec {id}"))),
    })
}

/// Where decompressed bytes go, up to a limit.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

impl Output {
    fn for_input(input: usize) -> Self {
        let limit = input.saturating_mul(MAX_RATIO).clamp(ALWAYS_ALLOWED, MAX_OUTPUT);
        let guess = input.saturating_mul(USUAL_RATIO).min(LARGEST_GUESS);
        Self { bytes: Vec::with_capacity(guess), limit }
    }

    /// How many more bytes are allowed.
    fn allowance(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    fn too_large(&self) -> Reason {
        format!("it opens to more than {} bytes, the most allowed for its size", self.limit)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        if bytes.len() > self.allowance() {
            return Err(self.too_large());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Room for `length` more bytes: what stands already, and the zeroed room to be written. What is not used of it
    /// must be given back with [`Output::truncate`].
    fn room(&mut self, length: usize) -> Result<(&[u8], &mut [u8]), Reason> {
        if length > self.allowance() {
            return Err(self.too_large());
        }
        let before = self.bytes.len();
        self.bytes.resize(before + length, 0);
        let (done, room) = self.bytes.split_at_mut(before);
        Ok((done, room))
    }

    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// The bytes. A batch may be held for long: if more than half of what was reserved for it is not used, that is
    /// given back. Not sooner: shrinking costs the next batch its warm memory (measured: half the speed of lz4).
    fn finish(mut self) -> Bytes {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        self.bytes.into()
    }
}

/// Takes `N` bytes off the front.
fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Reason> {
    let (taken, rest) = input.split_first_chunk().ok_or("the stream is cut off")?;
    *input = rest;
    Ok(*taken)
}

/// Takes `length` bytes off the front.
fn take<'i>(input: &mut &'i [u8], length: usize) -> Result<&'i [u8], Reason> {
    super::take(input, length).map_err(|_| "the stream is cut off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn open(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, Reason> {
        let mut output = Output { bytes: Vec::new(), limit };
        match codec {
            Codec::Gzip => gzip::decompress(input, &mut output)?,
            Codec::Snappy => snappy::decompress(input, &mut output)?,
            Codec::Lz4 => lz4::decompress(input, &mut output)?,
            _ => zstd::decompress(input, &mut output)?,
        }
        Ok(output.bytes)
    }

    #[test]
    fn the_limit_is_exact() {
        let input = b"so it goes, ".repeat(50_000);
        for compression in CODECS {
            let mut compressed = Vec::new();
            compress(compression.into(), &input, &mut compressed).unwrap();
            let codec = codec_of(compression);
            assert_eq!(open(codec, &compressed, input.len()).unwrap(), input, "{codec:?}");
            let refused = open(codec, &compressed, input.len() - 1).unwrap_err();
            assert!(refused.contains("opens to more than"), "{codec:?}: {refused}");
        }
    }

    /// How many bytes come of something like orders at each of the levels, which all can be read again.
    fn at_levels<const N: usize>(compression: Compression, levels: [i32; N]) -> [usize; N] {
        let input: Vec<u8> =
            (0..20_000u32).flat_map(|n| format!("order {}, ", n * n % 7919).into_bytes()).collect();
        levels.map(|level| {
            let mut packed = Vec::new();
            compress(compression.at_level(level).unwrap(), &input, &mut packed).unwrap();
            assert_eq!(decompress(codec_of(compression), &packed).unwrap(), input, "{compression} {level}");
            packed.len()
        })
    }

    #[test]
    fn gzip_has_levels() {
        let [fast, usual, small, default] = at_levels(Compression::Gzip, [1, 6, 9, -1]);
        assert!(small < fast, "{small} {fast}");
        assert_eq!(usual, default, "Kafka's default is 6");
    }

    #[test]
    fn zstd_has_the_levels_of_its_encoder() {
        let [fast] = at_levels(Compression::Zstd, [1]);
        if cfg!(feature = "zstd-c") {
            let [negative, usual, default, small] = at_levels(Compression::Zstd, [-50, 3, 0, 22]);
            assert!(small < usual && usual < negative, "{small} {usual} {negative}");
            assert_eq!(usual, default, "0 is zstd's own word for its default");
            assert!(small < fast, "{small} {fast}");
        }
    }

    #[test]
    fn repetition_is_no_bomb() {
        let input = br#"{"status":"ok","items":[]}"#.repeat(1 << 20);
        let mut compressed = Vec::new();
        compress(Compression::Zstd.into(), &input, &mut compressed).unwrap();
        assert!(compressed.len() * 1000 < input.len(), "{}", compressed.len());
        assert_eq!(decompress(Codec::Zstd, &compressed).unwrap(), input);
    }

    #[test]
    fn a_bomb_is_refused() {
        // Blocks of one byte 131072 times, four bytes each.
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        for last in (0..600).map(|block| u8::from(block == 599)) {
            bomb.extend_from_slice(&[0b10 | last, 0, 0b1_0000, b'x']);
        }
        let refused = decompress(Codec::Zstd, &bomb).unwrap_err().to_string();
        assert!(refused.contains("opens to more than 67108864 bytes"), "{refused}");
    }

    #[test]
    fn what_is_held_is_not_mostly_air() {
        let mut compressed = Vec::new();
        compress(Compression::Lz4.into(), &vec![1; 1000], &mut compressed).unwrap();
        let mut output = Output::for_input(1 << 20);
        lz4::decompress(&compressed, &mut output).unwrap();
        assert!(output.bytes.capacity() > 1 << 20);
        let held = output.finish();
        assert_eq!(held.len(), 1000);
        assert!(Vec::from(held).capacity() < 2000);
    }
}
