//! The consumer against a broker: set `KAFKA_BOOTSTRAP_SERVERS` (`scripts/with-kafka cargo test -p kafka-client`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod groups;
mod reading;
mod support;
