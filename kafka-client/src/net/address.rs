//! `host:port`.

use std::fmt;

use crate::error::{Error, Result};

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `host:port`, `[v6]:port`, and either behind `PROTOCOL://`, as `bootstrap.servers` has them.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::Config(format!(
                "bootstrap server {text:?} {why}: host:port is needed, localhost:9092 for example"
            ))
        };
        let plain = text.trim().rsplit_once("://").map_or(text.trim(), |(_, rest)| rest);
        let (host, port) = plain.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| bad("has no valid port"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(|| bad("has an open bracket"))?,
            None => host,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/,[]".contains(c)) {
            return Err(bad("has no valid host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, host, port) in [
            ("localhost:9092", "localhost", 9092),
            (" kafka-1.example.org:19092 ", "kafka-1.example.org", 19092),
            ("[::1]:9092", "::1", 9092),
            ("PLAINTEXT://broker:9092", "broker", 9092),
        ] {
            assert_eq!(Address::parse(text).unwrap(), Address { host: host.into(), port });
        }
        for text in [
            "localhost",
            "localhost:",
            ":9092",
            "a b:1",
            "a:0",
            "a:70000",
            "[::1:9092",
            "a:1,b:2",
            "http://x/y:1",
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!(Address::parse("[::1]:9092").unwrap().to_string(), "[::1]:9092");
    }
}
