//! The golden vectors of Kafka's own classes, for tests of any module: `tests/vectors`, whose README says what they are.

use bytes::Bytes;
use serde_json::Value;

/// The lines of a file.
pub(crate) fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes in hex, or long ones in base64; null is none.
pub(crate) fn bytes(value: &Value) -> Option<Bytes> {
    let text = value.as_str()?;
    let hex = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    Some(match text.strip_prefix("base64:") {
        Some(base64) => from_base64(base64).into(),
        None => (0..text.len()).step_by(2).map(hex).collect(),
    })
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|&byte| byte != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|&letter| letter == byte).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}
