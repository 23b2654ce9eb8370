//! Dead letters: what is written with a record that failed for good, and what is read of it.
//!
//! ```text
//! headers   names and bytes, as Spring Kafka has them (pure)
//! letter    DeadLetter<T>, a payload that knows why it is there
//! replay    dead letters sent back, each at most once; done: which were (pure)
//! ```

mod done;
pub(crate) mod headers;
mod letter;
pub(crate) mod replay;

use kafka_client::config::{Acks, ProducerConfig};

pub use self::letter::{DeadLetter, FailureKind, Origin};
pub use self::replay::{Replay, ReplayError, Replayed};

/// A broker decides what is too large, not this client: the record was in Kafka before.
const LARGEST: usize = 64 * 1024 * 1024;

/// The template's settings, made safe for records that nobody has elsewhere: on their way out, and back.
pub(crate) fn careful(template: &ProducerConfig) -> ProducerConfig {
    ProducerConfig {
        acks: Acks::All,
        idempotence: true,
        retries: template.retries.max(1),
        max_in_flight: template.max_in_flight.clamp(1, 5),
        max_request_size: template.max_request_size.max(LARGEST),
        buffer_memory: template.buffer_memory.max(LARGEST),
        ..template.clone()
    }
}
