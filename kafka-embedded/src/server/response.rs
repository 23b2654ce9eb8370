//! An answer on its way out: encoded text, and stored batches attached to it without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::faults::Delivery;

/// From this size on a part is attached, not copied.
const ATTACH_FROM: usize = 2048;
const LENGTH: usize = 4;

/// An answer that is being written. It begins with room for the frame's length.
#[derive(Debug)]
pub(crate) struct Response {
    text: BytesMut,
    /// Parts to be sent before the byte of `text` at that index.
    attached: Vec<(usize, Bytes)>,
    delivery: Delivery,
    mute: Option<Duration>,
}

impl Response {
    pub(crate) fn new() -> Self {
        let mut text = BytesMut::with_capacity(256);
        text.put_bytes(0, LENGTH);
        Self { text, attached: Vec::new(), delivery: Delivery::Whole, mute: None }
    }

    /// Where text is encoded to.
    pub(crate) fn text(&mut self) -> &mut BytesMut {
        &mut self.text
    }

    /// Appends `part`.
    pub(crate) fn attach(&mut self, part: &Bytes) {
        if part.len() < ATTACH_FROM {
            self.text.put_slice(part);
        } else {
            self.attached.push((self.text.len(), part.clone()));
        }
    }

    /// How it is to be sent.
    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// For how long nothing is to be read after it.
    pub(crate) fn mute(&self) -> Option<Duration> {
        self.mute
    }

    /// Only so many bytes of it leave.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.delivery = Delivery::Cut(bytes);
        self
    }

    /// Each byte of it leaves by itself.
    pub(crate) fn byte_by_byte(mut self) -> Self {
        self.delivery = Delivery::ByteByByte;
        self
    }

    /// Nothing is read for `time` after it.
    pub(crate) fn muted(mut self, time: Duration) -> Self {
        self.mute = Some(time);
        self
    }

    /// Muted, and the four bytes at `at` of the frame say so.
    pub(crate) fn throttled(mut self, at: usize, millis: i32, time: Duration) -> Self {
        if let Some(field) = self.text.get_mut(at..at + 4) {
            field.copy_from_slice(&millis.to_be_bytes());
        }
        self.muted(time)
    }

    /// The same for four bytes that stand so many before the end.
    pub(crate) fn throttled_at_end(self, before: usize, millis: i32, time: Duration) -> Self {
        let at = self.text.len().saturating_sub(before);
        self.throttled(at, millis, time)
    }

    /// The whole frame, its length filled in.
    pub(crate) fn finish(mut self) -> Parts {
        let size = self.text.len() - LENGTH + self.attached.iter().map(|(_, part)| part.len()).sum::<usize>();
        let mut length = &mut self.text[..LENGTH];
        // No answer comes near 2 GiB: fetches are bounded.
        length.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
        let mut parts = VecDeque::with_capacity(2 * self.attached.len() + 1);
        let mut done = 0;
        let mut text = self.text.freeze();
        for (at, part) in self.attached {
            if at > done {
                parts.push_back(text.split_to(at - done));
                done = at;
            }
            parts.push_back(part);
        }
        if !text.is_empty() {
            parts.push_back(text);
        }
        Parts(parts)
    }
}

/// A frame as the parts that it is sent from.
#[derive(Debug)]
pub(crate) struct Parts(VecDeque<Bytes>);

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        !self.0.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let count = into.len().min(self.0.len());
        for (slot, part) in into.iter_mut().zip(&self.0) {
            *slot = IoSlice::new(part);
        }
        count
    }

    fn advance(&mut self, mut by: usize) {
        while let Some(part) = self.0.front_mut() {
            if by < part.len() {
                part.advance(by);
                return;
            }
            by -= part.len();
            self.0.pop_front();
        }
        debug_assert_eq!(by, 0, "advanced beyond the end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_parts_come_out_in_order() {
        let part = Bytes::from(vec![7; ATTACH_FROM]);
        let mut response = Response::new();
        response.text().put_slice(b"one");
        response.attach(&part);
        response.attach(&part);
        response.text().put_slice(b"two");
        response.attach(&Bytes::from_static(b"small"));
        let mut parts = response.finish();
        let size = 3 + 2 * ATTACH_FROM + 3 + 5;
        assert_eq!(parts.remaining(), LENGTH + size);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(parts.chunks_vectored(&mut slices), 4);
        let whole = parts.copy_to_bytes(parts.remaining());
        assert!(!parts.has_remaining());
        let expected =
            [&u32::try_from(size).unwrap().to_be_bytes()[..], b"one", &part, &part, b"twosmall"].concat();
        assert_eq!(whole, expected);
    }
}
