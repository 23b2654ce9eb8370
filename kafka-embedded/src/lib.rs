//! An in-process Kafka broker for development and tests: any Kafka client can connect.
//!
//! ```no_run
//! # async fn run() -> Result<(), kafka_embedded::Error> {
//! use kafka_embedded::EmbeddedKafka;
//!
//! let kafka = EmbeddedKafka::builder().brokers(3).topic("orders", 6).start().await?;
//! println!("bootstrap.servers={}", kafka.bootstrap_servers());
//! # Ok(())
//! # }
//! ```
//!
//! Everything is held in memory and ends with the value. For production there is Apache Kafka.
//!
//! # Layout, in the order that a request flows
//!
//! ```text
//! builder     what can be chosen, and the start
//! running     the started cluster: its thread, its address, its end; operations: what can be done to it
//! transport   connections over pipes in memory instead of TCP
//! server      frames, header, version table, answers
//! api         one handler per request, one file per family
//! faults      what goes wrong on request
//! cluster     what all brokers share: nodes, topics, groups, producer ids
//! brokers     which of them live; coordinators, replicas: who serves what (pure); failover: what follows when one goes
//! topics      topics and partitions; configs: what is set on them; named_configs: on groups and brokers
//! partition   what is written to a partition and read from it
//! log         its batches as received; producers: their sequences and open transactions
//! group       both group protocols (classic, KIP-848) as pure machines, their timers, committed offsets
//! transaction the transaction coordinator: a pure machine for each transactional id, its timers, the markers
//! alarm       one task for many deadlines; housekeeping: retention and compaction
//! ```
//!
//! State is shared behind small locks (one per partition, one per group) that are never held across an await, so the
//! brokers of one cluster are views of the same data: a leader is a number. All timers are tokio's.

mod alarm;
mod api;
mod brokers;
mod builder;
mod cluster;
mod configs;
mod coordinators;
mod failover;
mod faults;
mod group;
mod housekeeping;
mod log;
mod named_configs;
mod operations;
mod partition;
mod producers;
mod replicas;
mod running;
mod server;
mod topics;
mod transaction;
mod transport;

pub use builder::{Builder, Error, InMemory};
pub use faults::{Fault, Faults, On};
pub use housekeeping::CompactError;
/// A Kafka error code, by name.
pub use kafka_protocol::ResponseError as ErrorCode;
/// A Kafka API, by name.
pub use kafka_protocol::messages::ApiKey as Api;
pub use running::EmbeddedKafka;
pub use server::connection::RequestSeen;
pub use transport::InMemoryTransport;
