//! A Kafka client in pure Rust: borrowed records, consumer groups, an idempotent producer, admin.
//!
//! # Layout, in the order that data flows
//!
//! ```text
//! seams     what comes from outside: transport, clock, chance
//! wire      message bytes: guarded decoding, one table of version caps
//! net       a connection (pipelining, deadlines), a pool of them by broker and purpose
//! cluster   metadata: brokers, leaders, topic ids; refreshed by age and by error
//! fetch     one loop per broker: sessions, prefetch budget, positions
//! records   batches and records as borrowed views; compression; encoding
//! group     assignors, protocol bytes, the pure membership, its driver, offsets
//! consumer  all of that as events: Assigned, Revoked, Lost, and a stream of chunks per partition
//! producer  accumulator, sender, idempotence, partitioner
//! admin     topics and their configuration, offsets
//! client    the I/O thread, and the handles to all of the above
//! watch     a value, and those who wait for it to change
//! ```

pub mod admin;
mod client;
mod cluster;
pub mod config;
pub mod consumer;
mod error;
mod fetch;
pub mod group;
mod ids;
mod net;
pub mod producer;
pub mod records;
pub mod seams;
#[cfg(test)]
mod vectors;
pub mod watch;
pub mod wire;

pub use client::{Client, Io};
pub use cluster::{Broker, ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use error::{At, Error, ResponseError, Result};
pub use ids::{TopicName, TopicPartition};
