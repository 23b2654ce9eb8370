//! Where in a JSON text an error is, as a path: `$.items[2].price`.
//!
//! Decoding keeps no path, since that would cost every record; when it fails, the text is read once more up to the
//! byte where the decoder stopped. The text may be malformed from there on, and the path is that of the value which
//! the last byte read belongs to or completes.

use std::fmt::Write as _;

use super::excerpt::shortened;

/// Deeper levels are counted, not kept. The decoder itself refuses more than 128.
const MAX_DEPTH: usize = 256;
/// Longest path in bytes; longer ones lose their middle.
const MAX_LENGTH: usize = 200;

/// The path of the value at the end of `json[..consumed]`.
pub(super) fn path_at(json: &[u8], consumed: usize) -> String {
    let read = json.get(..consumed).unwrap_or(json);
    let mut scan = Scan { bytes: read, at: 0, levels: Vec::new(), unkept: 0 };
    while scan.step() {}
    scan.render()
}

/// The index after the byte that a decoder means by `line` (from 1) and `column` (bytes read of that line).
pub(super) fn index_of(json: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line {
        0 | 1 => 0,
        _ => json
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(line - 2)
            .map_or(json.len(), |(newline, _)| newline + 1),
    };
    line_start.saturating_add(column).min(json.len())
}

/// A container that the scan is inside of.
enum Level<'j> {
    /// The bytes of the key whose value is being read, between its quotes; `None` before a key.
    Object { key: Option<&'j [u8]> },
    /// The element that is being read.
    Array { index: usize },
}

struct Scan<'j> {
    bytes: &'j [u8],
    at: usize,
    levels: Vec<Level<'j>>,
    unkept: usize,
}

impl<'j> Scan<'j> {
    /// Reads one token; `false` at the end.
    fn step(&mut self) -> bool {
        let Some(&byte) = self.bytes.get(self.at) else { return false };
        self.at += 1;
        match byte {
            b'{' => self.enter(Level::Object { key: None }),
            b'[' => self.enter(Level::Array { index: 0 }),
            b'}' | b']' => self.leave(),
            b',' => self.next_element(),
            b'"' => self.string(),
            _ => {}
        }
        true
    }

    fn enter(&mut self, level: Level<'j>) {
        match self.levels.len() < MAX_DEPTH {
            true => self.levels.push(level),
            false => self.unkept += 1,
        }
    }

    fn leave(&mut self) {
        match self.unkept {
            0 => drop(self.levels.pop()),
            _ => self.unkept -= 1,
        }
    }

    fn next_element(&mut self) {
        match self.innermost() {
            Some(Level::Object { key }) => *key = None,
            Some(Level::Array { index }) => *index += 1,
            None => {}
        }
    }

    /// The level that tokens belong to, unless it is too deep to be kept.
    fn innermost(&mut self) -> Option<&mut Level<'j>> {
        match self.unkept {
            0 => self.levels.last_mut(),
            _ => None,
        }
    }

    /// Reads to the closing quote; the first string of an object's member is its key.
    fn string(&mut self) {
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        let closed = self.at < self.bytes.len();
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        self.at += 1;
        if let Some(Level::Object { key: key @ None }) = self.innermost()
            && closed
        {
            *key = Some(text);
        }
    }

    fn render(&self) -> String {
        let mut path = String::from("$");
        for level in &self.levels {
            match level {
                Level::Object { key: None } => {}
                Level::Object { key: Some(key) } => push_key(key, &mut path),
                // Writing to a String cannot fail.
                Level::Array { index } => drop(write!(path, "[{index}]")),
            }
        }
        if self.unkept > 0 {
            path.push('…');
        }
        shortened(path, MAX_LENGTH)
    }
}

fn push_key(key: &[u8], path: &mut String) {
    let key = String::from_utf8_lossy(key);
    let plain = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
    match !key.is_empty() && key.chars().all(plain) {
        true => drop(write!(path, ".{key}")),
        false => drop(write!(path, "[\"{}\"]", key.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Order {
        id: u64,
        items: Vec<Item>,
        #[serde(default)]
        tags: std::collections::BTreeMap<String, u8>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Item {
        sku: String,
        price: u32,
    }

    fn path_of_error(json: &str) -> String {
        let error = serde_json::from_str::<Order>(json).unwrap_err();
        path_at(json.as_bytes(), index_of(json.as_bytes(), error.line(), error.column()))
    }

    #[test]
    fn the_value_of_the_wrong_type() {
        assert_eq!(path_of_error(r#"{"id":"x","items":[]}"#), "$.id");
        assert_eq!(path_of_error(r#"{"id":-1,"items":[]}"#), "$.id");
        assert_eq!(path_of_error(r#"{"id":1,"items":{}}"#), "$.items");
        assert_eq!(
            path_of_error(r#"{"items":[{"sku":"a","price":1},{"sku":"b","price":"2"}]}"#),
            "$.items[1].price"
        );
        assert_eq!(
            path_of_error(r#"{"items":[{"sku":"a","price":1},{"price":2,"sku":null}]}"#),
            "$.items[1].sku"
        );
        assert_eq!(path_of_error("\"text\""), "$");
    }

    #[test]
    fn the_place_over_several_lines() {
        let json = "{\n  \"id\": 1,\n  \"items\": [\n    {\"sku\": \"a\",\n     \"price\": true}\n  ]\n}";
        assert_eq!(path_of_error(json), "$.items[0].price");
    }

    #[test]
    fn the_struct_that_lacks_a_field() {
        assert_eq!(path_of_error(r#"{"id":1,"items":[{"sku":"a","price":1},{"sku":"b"}]}"#), "$.items[1]");
        assert_eq!(path_of_error(r#"{"id":1}"#), "$");
    }

    #[test]
    fn the_field_that_is_unknown() {
        assert_eq!(path_of_error(r#"{"id":1,"itms":[]}"#), "$.itms");
    }

    #[test]
    fn text_that_ends_or_breaks() {
        assert_eq!(path_of_error(""), "$");
        assert_eq!(path_of_error(r#"{"id":1,"items":[{"sku":"a"#), "$.items[0].sku");
        assert_eq!(path_of_error(r#"{"id":1,"items":[{"sku" "a"}]}"#), "$.items[0].sku");
        assert_eq!(path_of_error(r#"{"id":1,"items":[}"#), "$.items");
    }

    #[test]
    fn keys_that_need_quotes() {
        assert_eq!(path_of_error(r#"{"tags":{"a b":"x"}}"#), r#"$.tags["a b"]"#);
        assert_eq!(path_of_error(r#"{"tags":{"q\"{":1,"":true}}"#), r#"$.tags[""]"#);
        assert_eq!(path_of_error(r#"{"tags":{"straße":300}}"#), "$.tags.straße");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = "[".repeat(1_000_000);
        assert!(path_at(deep.as_bytes(), deep.len()).len() < MAX_LENGTH + 8);
        let long = format!("{{\"{}\":", "k".repeat(10_000));
        assert!(path_at(long.as_bytes(), long.len()).len() < MAX_LENGTH + 8);
        let there_and_back = format!("{{\"a\":{}{},\"b\":1", "[".repeat(300), "]".repeat(300));
        assert_eq!(path_at(there_and_back.as_bytes(), there_and_back.len()), "$.b");
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_path(bytes: Vec<u8>, consumed: usize, line: usize, column: usize) {
            let _ = path_at(&bytes, consumed);
            prop_assert!(index_of(&bytes, line, column) <= bytes.len());
        }
    }
}
