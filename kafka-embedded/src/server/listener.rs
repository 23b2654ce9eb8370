//! Ports, and the connections that come to them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::connection::serve;
use crate::builder::Error;
use crate::cluster::{Cluster, Node};
use crate::failover::run_session;

/// A bound port that is not served yet.
pub(crate) type Listener = StdListener;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Opens a port for each of `brokers`.
pub(crate) fn bind(address: &str, brokers: u16) -> Result<Vec<(Node, Listener)>, Error> {
    let wrong = |reason: String| Error::Address { address: address.to_owned(), reason };
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("it is not host:port".to_owned()))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err(wrong("an IPv6 address stands in brackets: [::1]:9092".to_owned()));
    }
    let host = bare.unwrap_or(host);
    if host.is_empty() {
        return Err(wrong("it has no host".to_owned()));
    }
    let port: u16 = port.parse().map_err(|_| wrong(format!("'{port}' is not a port")))?;
    if port != 0 && port.checked_add(brokers - 1).is_none() {
        return Err(wrong(format!("there are no {brokers} ports from {port} on")));
    }
    (0..brokers)
        .map(|at| {
            let port = if port == 0 { 0 } else { port + at };
            let addresses = (host, port).to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
            let failed = |source| Error::Bind { address: format!("{host}:{port}"), source };
            let (listener, bound) = listen(&addresses.collect::<Vec<_>>()).map_err(failed)?;
            let told = if bound.ip().is_unspecified() { "127.0.0.1" } else { host };
            let host = StrBytes::from_string(told.to_owned());
            Ok((Node { id: i32::from(at) + 1, host, port: bound.port(), rack: None }, listener))
        })
        .collect()
}

fn listen(addresses: &[SocketAddr]) -> io::Result<(Listener, SocketAddr)> {
    let listener = StdListener::bind(addresses)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// What is asked of the port of a broker that runs.
#[derive(Debug)]
pub(crate) enum Door {
    /// Refuse connections, until it is opened again.
    Close(oneshot::Sender<()>),
    /// Accept connections again.
    Open(oneshot::Sender<io::Result<()>>),
}

/// A broker's port and what is asked of it.
type Doorway = (Node, Listener, mpsc::UnboundedReceiver<Door>);

/// Serves until `stopped`.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    listeners: Vec<Doorway>,
    mut stopped: watch::Receiver<()>,
    ready: oneshot::Sender<Result<(), Error>>,
) {
    for (node, listener, doors) in listeners {
        let address = node.address();
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::spawn(run_session(Arc::clone(&cluster), node.id, stopped.clone()));
                tokio::spawn(serve_port(Arc::clone(&cluster), node.id, listener, doors, stopped.clone()));
            }
            Err(source) => return drop(ready.send(Err(Error::Bind { address, source }))),
        };
    }
    let _ = ready.send(Ok(()));
    tokio::select! {
        biased;
        () = cluster.run_timers() => {}
        _ = stopped.changed() => {}
    }
}

async fn serve_port(
    cluster: Arc<Cluster>,
    node: i32,
    mut listener: TcpListener,
    mut doors: mpsc::UnboundedReceiver<Door>,
    stopped: watch::Receiver<()>,
) {
    loop {
        let door = tokio::select! {
            biased;
            door = doors.recv() => door,
            () = accept(&cluster, node, &listener, &stopped) => None,
        };
        match door {
            Some(Door::Open(done)) => drop(done.send(Ok(()))),
            Some(Door::Close(done)) => match closed(listener, done, &mut doors).await {
                Some(opened) => listener = opened,
                None => return,
            },
            None => return,
        }
    }
}

/// Accepts connections, for ever.
async fn accept(cluster: &Arc<Cluster>, node: i32, listener: &TcpListener, stopped: &watch::Receiver<()>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                prepare(&stream);
                let peer = StrBytes::from_string(format!("/{}", peer.ip()));
                tokio::spawn(serve(stream, Arc::clone(cluster), node, peer, stopped.clone()));
            }
            Err(error) => {
                // Out of descriptors, or a peer that gave up: others can still come.
                tracing::warn!(node, %error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The port is closed until it is opened again; `None` where the cluster has ended.
async fn closed(
    listener: TcpListener,
    done: oneshot::Sender<()>,
    doors: &mut mpsc::UnboundedReceiver<Door>,
) -> Option<TcpListener> {
    let address = listener.local_addr().ok()?;
    drop(listener);
    let mut kept = keep(address).ok();
    let _ = done.send(());
    loop {
        match doors.recv().await? {
            Door::Close(done) => drop(done.send(())),
            Door::Open(done) => {
                let socket = kept.take().map_or_else(|| keep(address), Ok);
                match socket.and_then(|socket| socket.listen(BACKLOG)) {
                    Ok(listener) => {
                        let _ = done.send(Ok(()));
                        return Some(listener);
                    }
                    Err(error) => drop(done.send(Err(error))),
                }
            }
        }
    }
}

/// Holds a port without accepting connections, so that no other process is given it meanwhile.
fn keep(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
