//! Errors by the names of their types, as a configuration writes them (pure).

use std::fmt::{self, Write as _};

use crate::listener::HandlerError;

/// Whether one of `names` is the error's.
pub(super) fn any_fits(names: &[String], error: &HandlerError) -> bool {
    let path = error.type_name();
    let variant = variant(error);
    names.iter().any(|name| fits(name, path, None) || fits(name, path, Some(&variant)))
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

/// The name that `Debug` begins with: for a derived one of an enum, the variant's.
fn variant(error: &HandlerError) -> String {
    let mut start = Start(String::new());
    // It ends with an error on purpose, as soon as the name is over.
    let _ = write!(start, "{:?}", error.error());
    start.0
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
    fn the_variant_is_what_debug_begins_with() {
        #[derive(Debug)]
        enum E {
            Closed(#[allow(dead_code)] u32),
        }
        impl fmt::Display for E {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Ok(())
            }
        }
        impl std::error::Error for E {}
        assert_eq!(variant(&E::Closed(1).into()), "Closed");
        assert_eq!(variant(&"in words".into()), "");
    }
}
