//! What a value is on the wire: text and bytes as they are, owned, borrowed or held by a box, everything else as JSON. A
//! listener's payload of text or bytes reads what was written, and `send_to` writes the same (`listener::raw` and `listener::forward` find it by the
//! compiler's rules for methods, which need the type itself; here it is a parameter).

use std::any::type_name;
use std::fmt;
use std::io::Write as _;

use serde::Serialize;
use serde::de::value::SeqDeserializer;
use serde::de::{DeserializeOwned, Error as _, IntoDeserializer as _};

use super::buffers;

enum Form {
    Text,
    Bytes,
    Json,
}

/// The form of a `V`: of what is left of it without references and what else only holds a value. Its name is asked for, since
/// a `TypeId` has only what lives for ever. No other type has one of these names: they begin with the type's crate.
fn form<V: ?Sized>() -> Form {
    let mut name = type_name::<V>();
    while let Some(held) = held(name) {
        name = held;
    }
    match name {
        "str" | "alloc::string::String" => Form::Text,
        "[u8]" | "alloc::vec::Vec<u8>" | "bytes::bytes::Bytes" => Form::Bytes,
        _ if name.starts_with("[u8; ") => Form::Bytes,
        _ => Form::Json,
    }
}

/// What a reference, a box, a count or a `Cow` holds, by their names. (Some compilers name a lifetime, others do not.)
fn held(name: &str) -> Option<&str> {
    let held = match name.strip_prefix('&') {
        Some(held) => held,
        None => {
            let holder = name.strip_prefix("alloc::")?.strip_suffix('>')?;
            let holders = ["boxed::Box<", "sync::Arc<", "rc::Rc<", "borrow::Cow<"];
            holders.iter().find_map(|known| holder.strip_prefix(known))?
        }
    };
    let held = held.strip_prefix("'_").map_or(held, |held| held.trim_start_matches([',', ' ']));
    Some(held.strip_prefix("mut ").unwrap_or(held))
}

/// JSON, whatever the type.
pub(super) fn to_json<V: Serialize + ?Sized>(value: &V) -> serde_json::Result<Vec<u8>> {
    let mut json = buffers::take();
    match serde_json::to_writer(&mut json, value) {
        Ok(()) => Ok(json),
        Err(error) => {
            buffers::give_back(json);
            Err(error)
        }
    }
}

/// The value's bytes.
pub(super) fn encode<V: Serialize + ?Sized>(value: &V) -> serde_json::Result<Vec<u8>> {
    match form::<V>() {
        Form::Text => {
            let mut text = buffers::take();
            write!(text, "{}", AsText(value)).map_err(serde_json::Error::custom)?;
            Ok(text)
        }
        // Nobody but serde can be asked for what is in a `V`, and this is its answer for bytes.
        Form::Bytes => {
            let json = to_json(value)?;
            let bytes = serde_json::from_slice(&json);
            buffers::give_back(json);
            bytes
        }
        Form::Json => to_json(value),
    }
}

/// Text as serde hands it over; it takes a formatter for a serializer.
struct AsText<'a, V: ?Sized>(&'a V);

impl<V: Serialize + ?Sized> fmt::Display for AsText<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

/// The value of these bytes; a tombstone is `null`, so an `Option` of what is JSON takes both.
pub(crate) fn decode<T: DeserializeOwned>(value: Option<&[u8]>) -> serde_json::Result<T> {
    match (form::<T>(), value) {
        (Form::Text, Some(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
            T::deserialize(text.into_deserializer())
        }
        (Form::Bytes, Some(bytes)) => T::deserialize(SeqDeserializer::new(bytes.iter().copied())),
        (_, value) => crate::json::from_slice(value.unwrap_or(b"null")),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::listener::raw::{for_each_holder, for_each_raw_form};

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Name(String);

    fn written<V: Serialize + ?Sized>(value: &V) -> String {
        String::from_utf8(encode(value).unwrap()).unwrap()
    }

    #[test]
    fn text_and_bytes_are_written_as_they_are() {
        let text = "a \"quoted\"\nline, \u{e9}\u{1f600}\0";
        assert_eq!([written(text), written(&text), written(&text.to_owned())], [text; 3]);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&all).unwrap(), all);
        assert_eq!(encode(&*all).unwrap(), all);
        assert_eq!(encode(&&*all).unwrap(), all);
        assert_eq!([written(&&text), written(&Box::<str>::from(text))], [text; 2]);
        assert_eq!([written(&Cow::Borrowed(text)), written(&Cow::<str>::Owned(text.to_owned()))], [text; 2]);
        assert_eq!([written(&&text.to_owned()), written(&Box::new(text.to_owned()))], [text; 2]);
        assert_eq!(encode(b"a \xff").unwrap(), b"a \xff");
        assert_eq!(encode(&b"a \xff").unwrap(), b"a \xff");
        assert_eq!(encode(&[0u8; 0]).unwrap(), b"");
        assert_eq!(encode(&&all).unwrap(), all);
        assert_eq!(encode(&Box::<[u8]>::from(&*all)).unwrap(), all);
        assert_eq!(encode(&Cow::Borrowed(&*all)).unwrap(), all);
        assert_eq!((written(""), encode::<[u8]>(&[]).unwrap()), (String::new(), Vec::new()));
    }

    /// serde writes them with its feature `rc` only, which this crate does not ask for.
    #[test]
    fn shared_text_and_bytes_are_text_and_bytes() {
        assert!(matches!((form::<Arc<str>>(), form::<Rc<str>>()), (Form::Text, Form::Text)));
        assert!(matches!((form::<Arc<String>>(), form::<&mut Arc<str>>()), (Form::Text, Form::Text)));
        assert!(matches!((form::<Arc<[u8]>>(), form::<Arc<Vec<u8>>>()), (Form::Bytes, Form::Bytes)));
        assert!(matches!((form::<bytes::Bytes>(), form::<&bytes::Bytes>()), (Form::Bytes, Form::Bytes)));
        assert!(matches!((form::<&[u16]>(), form::<[u16; 2]>()), (Form::Json, Form::Json)));
        assert!(matches!((form::<Box<Name>>(), form::<Option<&str>>()), (Form::Json, Form::Json)));
    }

    #[test]
    fn everything_else_is_json() {
        assert_eq!(written(&Name("a".into())), "\"a\"");
        assert_eq!(written(&&Name("a".into())), "\"a\"");
        assert_eq!(written(&Some("a")), "\"a\"");
        assert_eq!(written(&vec![1u16, 2]), "[1,2]");
        assert_eq!(written(&'a'), "\"a\"");
    }

    #[test]
    fn what_was_written_is_read() {
        let text = "\"not JSON".to_owned();
        assert_eq!(decode::<String>(Some(&encode(&text).unwrap())).unwrap(), text);
        let bytes = vec![0u8, 255, 34];
        assert_eq!(decode::<Vec<u8>>(Some(&encode(&bytes).unwrap())).unwrap(), bytes);
        assert_eq!(decode::<Box<str>>(Some(&encode(&text).unwrap())).unwrap().as_ref(), text);
        assert_eq!(decode::<[u8; 3]>(Some(&encode(&[0u8, 255, 34]).unwrap())).unwrap(), *bytes);
        assert!(decode::<[u8; 2]>(Some(&bytes)).is_err(), "one too many");
        let name = Name("a".into());
        assert_eq!(decode::<Name>(Some(&encode(&name).unwrap())).unwrap(), name);
        assert_eq!(decode::<Option<u8>>(None).unwrap(), None);
        assert!(decode::<String>(None).is_err() && decode::<String>(Some(b"\xff")).is_err());
    }

    /// The forms that a payload takes raw are those that are written so.
    #[test]
    #[allow(clippy::extra_unused_lifetimes)]
    fn the_raw_forms_of_payloads_are_raw_here() {
        fn each<'r>() {
            macro_rules! is_raw {
                ($form:ty) => {
                    assert!(!matches!(form::<$form>(), Form::Json), stringify!($form));
                };
            }
            for_each_raw_form!(is_raw);
            for_each_holder!(is_raw);
        }
        each();
    }
}
