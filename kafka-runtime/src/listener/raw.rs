//! Bytes as they are, in the forms that values, keys and headers share: text and bytes, borrowed and owned.

use std::str::Utf8Error;

use bytes::Bytes;

use super::delivery::Part;

/// A form that raw bytes can take without decoding. Text is checked to be UTF-8.
pub trait RawValue<'r>: Sized {
    /// The value.
    ///
    /// # Errors
    /// The bytes are not UTF-8, and the form is text.
    fn from_part(part: Part<'r>) -> Result<Self, Utf8Error>;
}

impl<'r> RawValue<'r> for &'r [u8] {
    fn from_part(part: Part<'r>) -> Result<Self, Utf8Error> {
        Ok(part.bytes)
    }
}

impl<'r> RawValue<'r> for &'r str {
    fn from_part(part: Part<'r>) -> Result<Self, Utf8Error> {
        std::str::from_utf8(part.bytes)
    }
}

impl RawValue<'_> for String {
    fn from_part(part: Part<'_>) -> Result<Self, Utf8Error> {
        std::str::from_utf8(part.bytes).map(str::to_owned)
    }
}

impl RawValue<'_> for Vec<u8> {
    fn from_part(part: Part<'_>) -> Result<Self, Utf8Error> {
        Ok(part.bytes.to_vec())
    }
}

/// Shares the record's memory: no copy, one count.
impl RawValue<'_> for Bytes {
    fn from_part(part: Part<'_>) -> Result<Self, Utf8Error> {
        Ok(part.batch.batch().slice_of(part.bytes))
    }
}

/// Calls a macro once for each raw form, with its lifetime where it has one.
macro_rules! for_each_raw_form {
    ($macro:ident) => {
        $macro!(&'r str);
        $macro!(&'r [u8]);
        $macro!(String);
        $macro!(Vec<u8>);
        $macro!(bytes::Bytes);
    };
}
pub(crate) use for_each_raw_form;
