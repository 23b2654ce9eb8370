//! Connections: one per broker and purpose, requests pipelined, each with its deadline.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::Request;

use crate::cluster::Cluster;
use crate::error::Result;

/// What a connection is for. A broker answers the requests of one connection in order and holds some of them
/// for long (a fetch until data comes, a join until the rebalance ends), so purposes do not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Fetch,
    Produce,
    /// JoinGroup and SyncGroup.
    Join,
    /// Heartbeats, offset commits and fetches, LeaveGroup.
    Commit,
    /// Metadata, admin, ListOffsets, OffsetForLeaderEpoch, FindCoordinator.
    Control,
}

/// A connection whose versions are negotiated. Closed when the last handle goes or the peer ends it; a call on a
/// closed connection fails with `Disconnected`, and the pool opens a new one at the next request for it.
#[derive(Debug)]
pub(crate) struct Connection {}

impl Connection {
    /// Sends what `build` makes for the negotiated version and waits for the answer. Calls are pipelined; the future
    /// may be dropped at any time (the answer is then thrown away, the connection stays usable).
    /// The deadline is extended by the broker's `throttle_time_ms`.
    pub(crate) async fn call<R: Request>(
        &self,
        deadline: Duration,
        build: impl FnOnce(i16) -> R,
    ) -> Result<Answer<R::Response>> {
        let _ = (deadline, build(0));
        todo!()
    }

    /// Sends a request that is never answered (Produce with acks 0).
    pub(crate) async fn send<R: Request>(&self, build: impl FnOnce(i16) -> R) -> Result<()> {
        let _ = build(0);
        todo!()
    }

    /// The version that `call::<R>` would use.
    pub(crate) fn version<R: Request>(&self) -> Result<i16> {
        todo!()
    }

    /// `host:port`, for errors.
    pub(crate) fn peer(&self) -> &str {
        todo!()
    }
}

/// An answer, and the version that it and its request were written in.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) version: i16,
    pub(crate) body: T,
}

/// The connections of one client, producer or group member.
#[derive(Debug)]
pub(crate) struct Pool {}

impl Pool {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let _ = cluster;
        todo!()
    }

    /// The connection to broker `id`, opened if need be; reconnecting waits as `reconnect_backoff` says.
    pub(crate) async fn broker(&self, id: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        let _ = (id, purpose);
        todo!()
    }

    /// A connection to any broker that answers: the known ones first, then the bootstrap list again (KIP-899).
    pub(crate) async fn any(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        let _ = purpose;
        todo!()
    }

    /// The cluster whose brokers these are.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        todo!()
    }
}
