//! Proxies between clients and the brokers: connections are cut, or go silent, as a network does it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy before each broker of the cluster that `scripts/with-kafka` started, at the addresses that its brokers
/// advertise to whoever comes through them.
#[derive(Debug)]
pub struct Proxies(Vec<Proxy>);

#[derive(Debug)]
struct Proxy {
    address: String,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

/// How it is with the connections of a proxy.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// How often they were cut.
    cuts: u64,
    /// Nothing goes through, and new ones are accepted all the same.
    silent: bool,
}

impl Proxies {
    /// From `KAFKA_PROXIES` (`address=broker,...`); `None` where it is not set, on the embedded broker.
    pub async fn start() -> Option<Self> {
        let pairs = std::env::var("KAFKA_PROXIES").ok()?;
        let mut proxies = Vec::new();
        for pair in pairs.split(',') {
            let (address, broker) = pair.split_once('=').expect("KAFKA_PROXIES: address=broker,...");
            let listener = TcpListener::bind(address).await.expect("the address of a proxy");
            let line = watch::Sender::new(Line::default());
            let task = tokio::spawn(serve(listener, broker.to_owned(), line.subscribe()));
            proxies.push(Proxy { address: address.to_owned(), line, task });
        }
        Some(Self(proxies))
    }

    /// `host:port,...` for clients.
    pub fn bootstrap(&self) -> String {
        self.0.iter().map(|proxy| &*proxy.address).collect::<Vec<_>>().join(",")
    }

    /// Cuts all connections to a node (from 1); new ones are taken at once.
    pub fn cut(&self, node: usize) {
        self.0[node - 1].line.send_modify(|line| line.cuts += 1);
    }

    /// For so long nothing goes to a node (from 1) or comes from it, while connections stand and are accepted.
    pub async fn silence(&self, node: usize, time: Duration) {
        let line = &self.0[node - 1].line;
        line.send_modify(|line| line.silent = true);
        tokio::time::sleep(time).await;
        line.send_modify(|line| line.silent = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, broker: String, line: watch::Receiver<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, broker.clone(), line.clone()));
    }
}

async fn carry(client: TcpStream, broker: String, mut line: watch::Receiver<Line>) {
    let cuts = line.borrow().cuts;
    let (one, other) = (line.clone(), line.clone());
    let through = async {
        // A broker that is down refuses; so does its proxy, by closing.
        let Ok(broker) = TcpStream::connect(broker).await else { return };
        if client.set_nodelay(true).and(broker.set_nodelay(true)).is_err() {
            return;
        }
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        tokio::select! {
            () = pump(from_client, to_broker, one) => {}
            () = pump(from_broker, to_client, other) => {}
        }
    };
    tokio::select! {
        _ = line.wait_for(|line| line.cuts > cuts) => {}
        () = through => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if line.wait_for(|line| !line.silent).await.is_err() || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
