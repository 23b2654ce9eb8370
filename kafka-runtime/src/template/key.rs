//! What can be a record's key.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::listener::Key;

/// A record's key: text and bytes as they are, integers as decimal text, `()` and `None` as null.
///
/// The key's bytes choose the partition, so two writers of a topic must write keys alike; decimal text is what a
/// listener's `Key<u64>` reads, and what Java's `StringSerializer` writes for a number's text.
pub trait AsKey {
    /// The bytes; `None` is null.
    fn as_key(&self) -> Option<Cow<'_, [u8]>>;
}

impl<T: AsKey + ?Sized> AsKey for &T {
    fn as_key(&self) -> Option<Cow<'_, [u8]>> {
        (**self).as_key()
    }
}

impl<T: AsKey> AsKey for Option<T> {
    fn as_key(&self) -> Option<Cow<'_, [u8]>> {
        self.as_ref()?.as_key()
    }
}

impl<T: AsKey> AsKey for Key<T> {
    fn as_key(&self) -> Option<Cow<'_, [u8]>> {
        (**self).as_key()
    }
}

impl AsKey for () {
    fn as_key(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
}

impl<const N: usize> AsKey for [u8; N] {
    fn as_key(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self))
    }
}

macro_rules! as_bytes {
    ($($type:ty),*) => {$(
        impl AsKey for $type {
            fn as_key(&self) -> Option<Cow<'_, [u8]>> {
                Some(Cow::Borrowed(self.as_ref()))
            }
        }
    )*};
}
as_bytes!([u8], Vec<u8>, Bytes);

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl AsKey for $type {
            fn as_key(&self) -> Option<Cow<'_, [u8]>> {
                Some(Cow::Borrowed(self.as_bytes()))
            }
        }
    )*};
}
as_text!(str, String, Box<str>, Arc<str>, Cow<'_, str>);

macro_rules! as_decimal {
    ($($type:ty),*) => {$(
        impl AsKey for $type {
            fn as_key(&self) -> Option<Cow<'_, [u8]>> {
                Some(Cow::Owned(self.to_string().into_bytes()))
            }
        }
    )*};
}
as_decimal!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: impl AsKey) -> Option<Vec<u8>> {
        key.as_key().map(Cow::into_owned)
    }

    #[test]
    fn keys_are_what_they_look_like() {
        assert_eq!(bytes("k"), Some(b"k".to_vec()));
        assert_eq!(bytes(String::from("k")), Some(b"k".to_vec()));
        assert_eq!(bytes(b"k"), Some(b"k".to_vec()));
        assert_eq!(bytes(-42), Some(b"-42".to_vec()));
        assert_eq!(bytes(Some(7u64)), Some(b"7".to_vec()));
        assert_eq!(bytes(()), None);
        assert_eq!(bytes(None::<&str>), None);
        assert_eq!(bytes(Bytes::new()), Some(Vec::new()), "empty is not null");
    }
}
