//! Bytes as they are, in the forms that values, keys and headers share: text and bytes, borrowed and owned.

use std::borrow::Cow;
use std::str::Utf8Error;
use std::sync::Arc;

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

macro_rules! held {
    ($form:ty, $inner:ty) => {
        impl<'r> RawValue<'r> for $form {
            fn from_part(part: Part<'r>) -> Result<Self, Utf8Error> {
                <$inner>::from_part(part).map(Self::from)
            }
        }
    };
}
held!(Cow<'r, str>, &'r str);
held!(Cow<'r, [u8]>, &'r [u8]);

macro_rules! held_for_ever {
    ($form:ty, $inner:ty) => {
        impl RawValue<'_> for $form {
            fn from_part(part: Part<'_>) -> Result<Self, Utf8Error> {
                <$inner>::from_part(part).map(Self::from)
            }
        }
    };
}
held_for_ever!(Box<str>, &str);
held_for_ever!(Box<[u8]>, &[u8]);
held_for_ever!(Arc<str>, &str);
held_for_ever!(Arc<[u8]>, &[u8]);

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

/// The same for those that hold one of these, as values.
macro_rules! for_each_holder {
    ($macro:ident) => {
        $macro!(Box<str>);
        $macro!(Box<[u8]>);
        $macro!(std::sync::Arc<str>);
        $macro!(std::sync::Arc<[u8]>);
        $macro!(std::borrow::Cow<'r, str>);
        $macro!(std::borrow::Cow<'r, [u8]>);
    };
}
pub(crate) use for_each_holder;
