//! What the suites stand on: a cluster to run against, topics of their own, and other clients as peers.
//!
//! The same tests run on the embedded broker and, when `KAFKA_BOOTSTRAP_SERVERS` names one (`scripts/with-kafka` does),
//! on a cluster of Apache Kafka.

mod cluster;
mod peer;

pub use cluster::{Cluster, eventually, unique};
pub use peer::{Line, Peer, PeerKind};
