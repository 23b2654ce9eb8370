//! What the suites stand on: a cluster to run against, topics of their own, other clients as peers, and a probe in the
//! handlers.
//!
//! The same tests run on the embedded broker and, when `KAFKA_BOOTSTRAP_SERVERS` names one (`scripts/with-kafka` does),
//! on a cluster of Apache Kafka.

mod cluster;
mod committed;
mod counting;
mod downstream;
mod events;
mod fleet;
mod generation;
mod letters;
mod logging;
mod nodes;
mod peer;
mod probe;
mod proxy;
mod tools;
mod wire;

pub use cluster::{Cluster, eventually, unique};
pub use committed::committed_values;
pub use counting::Counting;
pub use downstream::Downstream;
pub use events::event;
pub use fleet::{Fleet, PARTITIONS};
pub use letters::{dead_letters, fails_for_good};
pub use logging::log_to_stderr;
pub use nodes::{Frozen, Nodes};
pub use peer::{Line, Peer, PeerKind, bytes_of};
pub use probe::{Probe, Seen};
pub use proxy::Proxies;
pub use tools::{go_peer, java_tool};
pub use wire::Wire;
