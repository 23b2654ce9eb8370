//! Connections over pipes in memory.

use std::io;
use std::sync::Arc;

use kafka_client::seams::{Connecting, Stream, Transport};
use kafka_protocol::protocol::StrBytes;
use tokio::io::duplex;
use tokio::sync::watch;

use crate::brokers::Mode;
use crate::cluster::{Cluster, Node};
use crate::server::connection::serve;

const PORT: u16 = 9092;
/// Bytes under way in each direction before the writer waits.
const PIPE: usize = 256 * 1024;

/// Connects to an embedded cluster without a socket. Clones reach the same cluster.
#[derive(Debug, Clone)]
pub struct InMemoryTransport {
    cluster: Arc<Cluster>,
    stopped: watch::Receiver<()>,
}

impl InMemoryTransport {
    pub(crate) fn new(cluster: Arc<Cluster>, stopped: watch::Receiver<()>) -> Self {
        Self { cluster, stopped }
    }

    /// The names that brokers have in memory.
    pub(crate) fn nodes(count: u16) -> Vec<Node> {
        let node = |id: i32| Node {
            id,
            host: StrBytes::from_string(format!("kafka-{id}.embedded")),
            port: PORT,
            rack: None,
        };
        (1..=i32::from(count)).map(node).collect()
    }

    fn open(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let known = self.cluster.nodes.iter().find(|node| &*node.host == host && node.port == port);
        let open = |node: &&Node| self.cluster.brokers.mode(node.id) != Some(Mode::Stopped);
        let node = known.filter(|_| self.stopped.has_changed().is_ok()).filter(open);
        let node = node.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        let (ours, theirs) = duplex(PIPE);
        let peer = StrBytes::from_static_str("/in-memory");
        tokio::spawn(serve(theirs, Arc::clone(&self.cluster), node.id, peer, self.stopped.clone()));
        Ok(Box::new(ours))
    }
}

impl Transport for InMemoryTransport {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move { self.open(host, port) })
    }
}
