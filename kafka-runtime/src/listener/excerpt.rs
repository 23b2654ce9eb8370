//! A few bytes of a record for an error's text: shortened, and escaped so that any bytes can stand in a log line.

use std::fmt;

/// Bytes shown before the place.
const BEFORE: usize = 56;
/// Bytes shown from the place on.
const AFTER: usize = 24;

/// At most 80 bytes around a place, as text on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt(String);

impl Excerpt {
    /// The bytes around index `at`.
    pub(super) fn around(bytes: &[u8], at: usize) -> Self {
        let at = at.min(bytes.len());
        let from = at.saturating_sub(BEFORE);
        let to = from.saturating_add(BEFORE + AFTER).min(bytes.len());
        let mut text = String::from(if from > 0 { "`…" } else { "`" });
        escape(whole_characters(bytes, from, to), &mut text);
        text.push_str(if to < bytes.len() { "…`" } else { "`" });
        Self(text)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The range without the halves of characters that it cuts.
fn whole_characters(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    // A character has at most three continuation bytes; more than that is not text, and shown as it is.
    let from = (from..to).take(4).find(|&at| !continues(at)).unwrap_or(from);
    let to = (from..=to).rev().take(4).find(|&at| !continues(at)).unwrap_or(to);
    bytes.get(from..to).unwrap_or_default()
}

fn escape(bytes: &[u8], text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                _ if character.is_control() => text.extend(character.escape_default()),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
}

/// `text` with its middle left out where it is longer than `most` bytes: decoders quote what they found, and that
/// can be megabytes.
pub(super) fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let head = (0..=most / 2).rev().find_map(|at| text.get(..at)).unwrap_or_default();
    let tail = (text.len() - most / 2..=text.len()).find_map(|at| text.get(at..)).unwrap_or_default();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(bytes: &[u8], at: usize) -> String {
        Excerpt::around(bytes, at).to_string()
    }

    #[test]
    fn short_values_are_shown_whole() {
        assert_eq!(around(b"", 0), "``");
        assert_eq!(around(br#"{"a":1}"#, 3), r#"`{"a":1}`"#);
        assert_eq!(around(b"abc", 99), "`abc`");
    }

    #[test]
    fn long_values_are_cut_on_both_sides() {
        let bytes: Vec<u8> = (b'a'..=b'z').cycle().take(1000).collect();
        let text = around(&bytes, 500);
        assert!(text.starts_with("`…") && text.ends_with("…`"), "{text}");
        assert_eq!(text.chars().filter(char::is_ascii_lowercase).count(), BEFORE + AFTER);
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(around(b"a\xff\x00\n\"", 1), "`a\\xff\\u{0}\\n\"`");
    }

    #[test]
    fn characters_are_not_cut_in_half() {
        let bytes = "ü".repeat(100);
        for at in 0..200 {
            assert!(!around(bytes.as_bytes(), at).contains("\\x"));
        }
    }

    #[test]
    fn long_messages_lose_their_middle() {
        assert_eq!(shortened("short".into(), 10), "short");
        assert_eq!(shortened("0123456789abcdef".into(), 8), "0123…cdef");
        assert_eq!(shortened("üüüüüü".into(), 6), "ü…ü");
    }
}
