//! A record's headers, delimited with the record and parsed when asked for.

use super::{Flaw, take, varint};

/// A record's headers, in order, duplicates kept. They were delimited when the record was read, so that iterating
/// cannot fail; a header that breaks the format makes the whole record an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadersView<'b> {
    /// The count, then the headers: the end of the record. Empty means none (old formats).
    bytes: &'b [u8],
}

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// The name. Kafka's headers are UTF-8; a name that is not is an error of the record.
    pub name: &'b str,
    /// The value; `None` is null.
    pub value: Option<&'b [u8]>,
}

impl<'b> HeadersView<'b> {
    /// Takes the rest of a record as its headers, all of which must be whole.
    #[inline]
    pub(super) fn delimit(bytes: &'b [u8]) -> Result<Self, Flaw> {
        if bytes == [0] { Ok(Self::default()) } else { Self::walk(bytes) }
    }

    #[inline(never)]
    fn walk(bytes: &'b [u8]) -> Result<Self, Flaw> {
        let mut rest = bytes;
        let count = varint::read_i32(&mut rest)?;
        if count < 0 {
            return Err(Flaw("a negative number of headers"));
        }
        for _ in 0..count {
            read_header(&mut rest)?;
        }
        if rest.is_empty() { Ok(Self { bytes }) } else { Err(Flaw("bytes after the last header")) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.split().0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in order.
    #[allow(clippy::iter_not_returning_iterator)]
    pub fn iter(&self) -> impl Iterator<Item = Header<'b>> + use<'b> {
        let (count, mut rest) = self.split();
        (0..count).map_while(move |_| read_header(&mut rest).ok())
    }

    /// The last header of this name, as Kafka's `lastHeader`.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Header<'b>> {
        self.iter().filter(|header| header.name == name).last()
    }

    fn split(&self) -> (usize, &'b [u8]) {
        let mut rest = self.bytes;
        let count = varint::read_i32(&mut rest).unwrap_or(0);
        (usize::try_from(count).unwrap_or(0), rest)
    }
}

fn read_header<'b>(bytes: &mut &'b [u8]) -> Result<Header<'b>, Flaw> {
    let length = varint::read_i32(bytes)?;
    let length = usize::try_from(length).map_err(|_| Flaw("a header without a name"))?;
    let name =
        std::str::from_utf8(take(bytes, length)?).map_err(|_| Flaw("a header name that is not UTF-8"))?;
    Ok(Header { name, value: read_nullable(bytes)? })
}

/// Bytes behind a varint length; any negative length is null, as in Java.
#[inline]
pub(super) fn read_nullable<'b>(bytes: &mut &'b [u8]) -> Result<Option<&'b [u8]>, Flaw> {
    match usize::try_from(varint::read_i32(bytes)?) {
        Ok(length) => take(bytes, length).map(Some),
        Err(_) => Ok(None),
    }
}
