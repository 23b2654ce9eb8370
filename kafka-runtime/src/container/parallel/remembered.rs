//! What is finished ahead of the committed offset, as text in the commit's metadata. Pure.
//!
//! ```text
//!   committed offset (base)
//!     ▼
//!   [open][finished][open][finished] ── nothing known
//!
//!   "kr1." base64url( form, leader epoch + 1, base, runs or bits, crc32c )
//! ```
//!
//! Runs are alternating lengths, open and finished; bits say it offset by offset. The shorter one is written; what does
//! not fit into the broker's `offset.metadata.max.bytes` is left out from the end, and would be handled again.
//!
//! Text of another client, of another version, or moved to another offset (by a tool that translates offsets between
//! clusters) does not decode, and is nothing. A record that took the place of a remembered one (an unclean leader
//! election) has a higher leader epoch than any that was there when it was remembered: see [`Remembered::take`].

use std::collections::VecDeque;
use std::ops::Range;

const VERSION: &str = "kr1.";
const RUNS: u8 = 0;
const BITS: u8 = 1;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// The offset that is committed with it.
    pub(crate) base: i64,
    /// The highest leader epoch of what was read so far.
    pub(crate) leader_epoch: i32,
    /// Bytes that the text may have.
    pub(crate) limit: usize,
}

/// Offsets that were finished ahead of a committed one, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Remembered {
    leader_epoch: i32,
    finished: VecDeque<Range<i64>>,
}

impl Remembered {
    /// What the metadata of a committed offset says; nothing if it is not of this version, whole, and for this offset.
    pub(crate) fn decode(text: &str, base: i64) -> Self {
        decode(text, base).unwrap_or_default()
    }

    /// Whether the record at `offset`, in a batch of this leader epoch, was finished. Asked in the order of offsets.
    pub(crate) fn take(&mut self, offset: i64, leader_epoch: i32) -> bool {
        while self.finished.front().is_some_and(|range| range.end <= offset) {
            self.finished.pop_front();
        }
        if leader_epoch > self.leader_epoch {
            // Nothing of what was read then can follow: what stands here now took its place.
            self.finished.clear();
        }
        self.finished.front().is_some_and(|range| range.contains(&offset))
    }

    /// The highest leader epoch of what was read by then, as long as any of it is left.
    pub(crate) fn leader_epoch(&self) -> i32 {
        if self.finished.is_empty() { -1 } else { self.leader_epoch }
    }

    /// What was not come to yet.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<i64>> {
        self.finished.iter().cloned()
    }

    /// Offsets that are left.
    pub(crate) fn len(&self) -> u64 {
        self.finished.iter().map(|range| range.end.abs_diff(range.start)).sum()
    }
}

/// Writes the `finished` ranges, which are in order, do not touch and begin above the base. The text, empty if there is
/// nothing to say, and the offset up to which it says all.
pub(crate) fn encode(frame: Frame, finished: impl Iterator<Item = Range<i64>>) -> (String, i64) {
    let room = frame.limit.saturating_sub(VERSION.len()) / 4 * 3;
    let mut head = vec![RUNS];
    put(&mut head, u64::from(frame.leader_epoch.max(-1).abs_diff(-1)));
    put(&mut head, frame.base.unsigned_abs());
    let Some(room) = room.checked_sub(head.len() + CHECK).filter(|_| frame.base >= 0) else {
        return (String::new(), frame.base);
    };
    let (mut runs, mut bits) = (Runs::new(frame.base), Bits::new(frame.base));
    for range in finished {
        let (runs_fit, bits_fit) = (runs.put(&range, room), bits.put(&range, room));
        if !runs_fit && !bits_fit {
            break;
        }
    }
    let bits_win = bits.end > runs.end || (bits.end == runs.end && bits.out.len() < runs.out.len());
    let (form, body, end) = match bits_win {
        true => (BITS, bits.out, bits.end),
        false => (RUNS, runs.out, runs.end),
    };
    if end == frame.base {
        return (String::new(), end);
    }
    if let Some(first) = head.first_mut() {
        *first = form;
    }
    head.extend(body);
    head.extend(crc32c::crc32c(&head).to_be_bytes());
    (text(&head), end)
}

const CHECK: usize = 4;

struct Runs {
    out: Vec<u8>,
    /// It says all up to here.
    end: i64,
    full: bool,
}

impl Runs {
    fn new(base: i64) -> Self {
        Self { out: Vec::new(), end: base, full: false }
    }

    /// `false`: it does not fit, and nothing after it will.
    fn put(&mut self, range: &Range<i64>, room: usize) -> bool {
        let before = self.out.len();
        if !self.full {
            put(&mut self.out, range.start.abs_diff(self.end));
            put(&mut self.out, range.end.abs_diff(range.start));
            self.full = self.out.len() > room;
        }
        match self.full {
            true => self.out.truncate(before),
            false => self.end = range.end,
        }
        !self.full
    }
}

struct Bits {
    out: Vec<u8>,
    base: i64,
    end: i64,
}

impl Bits {
    fn new(base: i64) -> Self {
        Self { out: Vec::new(), base, end: base }
    }

    fn put(&mut self, range: &Range<i64>, room: usize) -> bool {
        let bytes = usize::try_from(range.end.abs_diff(self.base).div_ceil(8)).unwrap_or(usize::MAX);
        if bytes > room {
            return false;
        }
        self.out.resize(bytes, 0);
        for offset in range.clone() {
            let index = offset.abs_diff(self.base);
            if let Some(byte) = usize::try_from(index / 8).ok().and_then(|index| self.out.get_mut(index)) {
                *byte |= 1 << (index % 8);
            }
        }
        self.end = range.end;
        true
    }
}

fn decode(text: &str, base: i64) -> Option<Remembered> {
    let bytes = bytes(text.strip_prefix(VERSION)?)?;
    let (said, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    if crc32c::crc32c(said).to_be_bytes() != check {
        return None;
    }
    let (form, mut rest) = said.split_first()?;
    let leader_epoch = i32::try_from(i64::try_from(get(&mut rest)?).ok()? - 1).ok()?;
    if i64::try_from(get(&mut rest)?).ok()? != base {
        return None;
    }
    let finished = match *form {
        RUNS => of_runs(rest, base)?,
        BITS => of_bits(rest, base)?,
        _ => return None,
    };
    Some(Remembered { leader_epoch, finished })
}

fn of_runs(mut rest: &[u8], base: i64) -> Option<VecDeque<Range<i64>>> {
    let (mut finished, mut at) = (VecDeque::new(), base);
    while !rest.is_empty() {
        let start = at.checked_add_unsigned(get(&mut rest)?)?;
        at = start.checked_add_unsigned(get(&mut rest)?)?;
        finished.push_back(start..at);
    }
    Some(finished)
}

fn of_bits(bits: &[u8], base: i64) -> Option<VecDeque<Range<i64>>> {
    let mut finished: VecDeque<Range<i64>> = VecDeque::new();
    let set = (0..bits.len() * 8)
        .filter(|index| bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1));
    for index in set {
        let offset = base.checked_add(i64::try_from(index).ok()?)?;
        match finished.back_mut().filter(|range| range.end == offset) {
            Some(range) => range.end = offset.checked_add(1)?,
            None => finished.push_back(offset..offset.checked_add(1)?),
        }
    }
    Some(finished)
}

/// A varint, seven bits at a time, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64u32).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        let part = u64::from(byte & 0x7f);
        if part.leading_zeros() < shift {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Base64 for URLs, without padding.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(VERSION.len() + bytes.len().div_ceil(3) * 4);
    text.push_str(VERSION);
    for three in bytes.chunks(3) {
        let group =
            three.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let index = group >> (18 - 6 * digit) & 63;
            text.push(DIGITS.get(index as usize).copied().map_or('A', char::from));
        }
    }
    text
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.as_bytes().chunks(4) {
        let mut group = 0u32;
        for digit in four {
            let index = DIGITS.iter().position(|known| known == digit)?;
            group = group << 6 | u32::try_from(index).ok()?;
        }
        let [_, first, second, third] = (group << (6 * (4 - four.len()))).to_be_bytes();
        bytes.extend([first, second, third].get(..four.len().checked_sub(1)?)?);
    }
    Some(bytes)
}
