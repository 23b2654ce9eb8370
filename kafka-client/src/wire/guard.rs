//! A buffer that `kafka-protocol` decodes from, which keeps it from believing lengths that the bytes cannot justify.
//!
//! The decoders reserve memory for as many elements as an array's length says, before they read any: four bytes of
//! garbage would ask for gigabytes, and a failed allocation ends the process. A buffer cannot see whether an integer
//! is a length, but it can see what follows:
//!
//! - An `i32` larger than what is left is no length. The first pass answers it with -2, which every length refuses
//!   and every plain field takes; when that pass succeeds, a second one reads the true values.
//! - An `i32` above [`MOST_ELEMENTS`] that is not larger than what is left may be the length of bytes, where the
//!   very next call takes them: it is answered with 0, and the true number of bytes given when they are asked for.
//!   If they are not, it is a plain field or an array beyond all reason: another pass answers it with -2.
//! - Unsigned varints are lengths (plus one), counts and tags, never plain fields: too large a one is refused at
//!   once, or, above [`MOST_ELEMENTS`], unless bytes are taken by the next call.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};

/// The longest array that is read. Nothing a broker says has as many elements.
const MOST_ELEMENTS: usize = 1_000_000;

/// Numbers up to this are harmless as lengths (some megabytes are reserved) and are not looked into. Real tags,
/// ports and broker ids lie below it.
const HARMLESS: usize = 65_536;

/// What a plain field can be and a length cannot.
const NO_LENGTH: i32 = -2;

/// How lengths are treated.
#[derive(Debug)]
pub(super) enum Pass {
    /// Suspicious values are replaced and noted.
    Probe,
    /// The values at these positions turned out not to be lengths of bytes: as lengths of arrays they are refused.
    Refuse(Vec<usize>),
    /// All values are read as they are: no array can be longer than its bytes.
    Truthful,
}

/// A large number that was answered with a small one, until the next call tells what it is.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Word { position: usize, value: usize },
    Varint { value: usize },
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Guarded {
    bytes: Bytes,
    length: usize,
    pass: Pass,
    pending: Option<Pending>,
    /// Whether a value was replaced.
    replaced: bool,
    /// Positions of replaced values that are not lengths of bytes.
    doubtful: Vec<usize>,
    refused: Option<&'static str>,
}

impl Guarded {
    pub(super) fn new(bytes: Bytes, pass: Pass) -> Self {
        let length = bytes.len();
        Self { bytes, length, pass, pending: None, replaced: false, doubtful: Vec::new(), refused: None }
    }

    pub(super) fn position(&self) -> usize {
        self.length - self.bytes.len()
    }

    /// To be called after the last read.
    pub(super) fn finish(&mut self) -> Result<(), &'static str> {
        self.settle();
        self.refused.map_or(Ok(()), Err)
    }

    /// Where values were replaced that may be lengths of arrays; `None` if all values were read as they are.
    pub(super) fn doubtful(&mut self) -> Option<Vec<usize>> {
        self.replaced.then(|| std::mem::take(&mut self.doubtful))
    }

    pub(super) fn into_rest(self) -> Bytes {
        self.bytes
    }

    /// The call after a replaced value was not one that takes bytes.
    fn settle(&mut self) {
        match self.pending.take() {
            None => {}
            Some(Pending::Word { position, .. }) => {
                self.replaced = true;
                self.doubtful.push(position);
            }
            Some(Pending::Varint { .. }) => self.refuse("an array or tag beyond all reason"),
        }
    }

    fn refuse(&mut self, reason: &'static str) {
        self.refused = Some(reason);
        self.bytes.clear();
    }

    fn word(&mut self, position: usize, value: i32) -> i32 {
        let left = self.bytes.len();
        let Ok(size) = usize::try_from(value) else { return value };
        if size <= HARMLESS || (size <= MOST_ELEMENTS && size <= left) {
            return value;
        }
        match &self.pass {
            Pass::Truthful => value,
            Pass::Refuse(positions) if size > left || positions.contains(&position) => NO_LENGTH,
            Pass::Refuse(_) => value,
            Pass::Probe if size > left => {
                self.replaced = true;
                NO_LENGTH
            }
            Pass::Probe => {
                self.pending = Some(Pending::Word { position, value: size });
                0
            }
        }
    }

    /// The varint that starts here, if it is more than a harmless number: its value and its length.
    fn large_varint(&self) -> Option<(usize, usize)> {
        let mut value = 0usize;
        for (index, byte) in self.bytes.iter().take(5).enumerate() {
            value |= usize::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                return (value > HARMLESS).then_some((value, index + 1));
            }
        }
        // Cut off (the decoder will notice), or longer than any varint.
        (self.bytes.len() >= 5).then_some((usize::MAX, 5))
    }

    /// Every byte with a high bit is looked at as if a varint started there. In the middle of one, that is a part of
    /// a value which was found harmless at its start, and so harmless itself.
    fn varint_byte(&mut self, first: u8) -> u8 {
        let Some((value, length)) = self.large_varint() else { return first };
        let left = self.bytes.len() - length;
        if value > left.saturating_add(1) {
            self.refuse("a length larger than the bytes that are left");
            return 0;
        }
        if value <= MOST_ELEMENTS {
            return first;
        }
        // The last byte of it is consumed by the caller.
        self.bytes.advance(length - 1);
        self.pending = Some(Pending::Varint { value });
        1
    }

    /// How many bytes are meant by a call that asks for `size`.
    fn meant(&mut self, size: usize) -> usize {
        match (self.pending, size) {
            (Some(Pending::Word { value, .. }), 0) | (Some(Pending::Varint { value }), 1) => {
                self.pending = None;
                value
            }
            (Some(Pending::Varint { value }), 0) => {
                self.pending = None;
                value.saturating_sub(1)
            }
            _ => {
                self.settle();
                size
            }
        }
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.settle();
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        self.settle();
        let Some(mut byte) = self.bytes.first().copied() else {
            return Err(TryGetError { requested: 1, available: 0 });
        };
        if byte >= 0x80 {
            byte = self.varint_byte(byte);
        }
        // A refusal has emptied the buffer.
        self.bytes.advance(self.bytes.len().min(1));
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        self.settle();
        let position = self.position();
        let value = self.bytes.try_get_i32()?;
        Ok(self.word(position, value))
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        let end = range.end.min(self.bytes.len());
        self.bytes.slice(range.start.min(end)..end)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        let size = self.meant(size);
        self.bytes.split_to(size.min(self.bytes.len()))
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        let size = self.meant(size);
        if self.bytes.len() < size { Err(NotEnoughBytesError) } else { Ok(self.bytes.split_to(size)) }
    }
}
