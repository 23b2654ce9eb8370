//! Errors by the names of their types, as a configuration writes them (pure).
//!
//! An error has no name at run time. What is known of it and of each of its causes is the word that its `Debug` begins
//! with, which a derived one takes from the struct or from the enum's variant; and a path, where it is what the handler
//! returned or of a type that the attribute names. So a name of one word can be either, and one of several is found
//! only where the path is known: `BankError::Closed` is not any `Closed`.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::listener::{Failure, HandlerError, hiding};

/// Whether one of `names` is the error's, or that of one of its causes.
pub(super) fn any_fits(names: &[String], error: &HandlerError) -> bool {
    error.chain().any(|(path, error)| {
        let word = word(error);
        names.iter().any(|name| {
            path.is_some_and(|path| fits(name, path, None))
                || fits(name, path.unwrap_or_default(), Some(&word))
        })
    })
}

/// What is known of an error whose type is hidden by the one that the handler returns: the word that its `Debug` begins with, if
/// that looks like a type's name.
pub(super) fn of_hidden(failure: &Failure) -> Option<String> {
    let Failure::Handler(error) = failure else { return None };
    hiding(error.type_name())?;
    Some(word(error.error())).filter(|word| word.starts_with(char::is_uppercase))
}

/// `name` has the path's last part last, and its other parts in the path's order: `std::io::Error` is
/// `std::io::error::Error`.
fn fits(name: &str, path: &str, variant: Option<&str>) -> bool {
    let path = path.split('<').next().unwrap_or(path).trim_start_matches('&');
    let mut parts = variant.into_iter().chain(path.rsplit("::"));
    let mut wanted = name.trim().rsplit("::");
    let (Some(last), Some(own)) = (wanted.next(), parts.next()) else { return false };
    !last.is_empty() && last == own && wanted.all(|part| parts.any(|own| own == part))
}

/// The word that `Debug` begins with: for a derived one a struct's name, or that of an enum's variant. It is the user's code: one
/// that panics says nothing.
pub(super) fn word(error: &(dyn StdError + 'static)) -> String {
    let told = catch_unwind(AssertUnwindSafe(|| {
        let mut start = Start(String::new());
        // It ends with an error on purpose, as soon as the word is over. Without `#`, `anyhow` and `eyre` show the message.
        let _ = write!(start, "{error:#?}");
        start.0
    }));
    told.unwrap_or_default()
}

struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if !(character.is_alphanumeric() || character == '_') || self.0.len() > 64 {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_paths_from_behind() {
        let io = std::any::type_name::<std::io::Error>();
        for name in ["Error", "io::Error", "std::io::Error", io] {
            assert!(fits(name, io, None), "{name}");
        }
        for name in ["", "io", "rror", "fmt::Error", "std::io::error", "Error::std"] {
            assert!(!fits(name, io, None), "{name}");
        }
        assert!(fits("BankError::Closed", "app::bank::BankError", Some("Closed")));
        assert!(!fits("BankError::Open", "app::bank::BankError", Some("Closed")));
        assert!(fits("Refused", "app::Refused<alloc::string::String>", None));
    }

    #[test]
    fn the_word_is_what_debug_begins_with() {
        #[derive(Debug)]
        enum E {
            Closed(#[allow(dead_code)] u32),
        }
        impl fmt::Display for E {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Ok(())
            }
        }
        impl StdError for E {}
        assert_eq!(word(&E::Closed(1)), "Closed");
        assert_eq!(word(&Unspeakable), "", "a panic says nothing");
        let boxed = Failure::Handler(crate::listener::BoxError::from(E::Closed(1)).into());
        assert_eq!(of_hidden(&boxed).as_deref(), Some("Closed"));
        let known = [Failure::Handler(E::Closed(1).into()), Failure::Decode("no JSON".into())];
        assert!(known.iter().all(|failure| of_hidden(failure).is_none()));
        assert_eq!(word(HandlerError::from("in words").error()), "");
    }

    struct Unspeakable;

    impl fmt::Debug for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose")
        }
    }

    impl fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }

    impl StdError for Unspeakable {}
}
