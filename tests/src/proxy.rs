//! Proxies between clients and the brokers: connections are cut, or go silent, as a network does it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
    waits: Waits,
    task: JoinHandle<()>,
}

/// What was asked on connections while they were silent, by the API's key; when, and how long it waited until the client gave
/// its connection up, or the silence ended.
type Waits = Arc<Mutex<Vec<(i16, Instant, Duration)>>>;

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
            let waits = Waits::default();
            let task = tokio::spawn(serve(listener, broker.to_owned(), line.subscribe(), Arc::clone(&waits)));
            proxies.push(Proxy { address: address.to_owned(), line, waits, task });
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

    /// The same for all nodes at once.
    pub async fn silence_all(&self, time: Duration) {
        let silent =
            |silent| self.0.iter().for_each(|proxy| proxy.line.send_modify(|line| line.silent = silent));
        silent(true);
        tokio::time::sleep(time).await;
        silent(false);
    }

    /// What clients asked since then in the silence and nothing answered: the key of the API that was asked first on a connection,
    /// and how long it waited for that, until it was given up or the silence ended.
    pub fn waits(&self, since: Instant) -> Vec<(i16, Duration)> {
        let all = self.0.iter().flat_map(|proxy| proxy.waits.lock().unwrap().clone());
        all.filter(|(_, asked, _)| *asked >= since).map(|(api, _, waited)| (api, waited)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, broker: String, line: watch::Receiver<Line>, waits: Waits) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, broker.clone(), line.clone(), Arc::clone(&waits)));
    }
}

async fn carry(client: TcpStream, broker: String, mut line: watch::Receiver<Line>, waits: Waits) {
    let cuts = line.borrow().cuts;
    let (one, other) = (line.clone(), line.clone());
    let through = async {
        // A broker that is down refuses; so does its proxy, by closing.
        let Ok(broker) = TcpStream::connect(broker).await else { return };
        if client.set_nodelay(true).and(broker.set_nodelay(true)).is_err() {
            return;
        }
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        let waited = |api, asked: Instant| waits.lock().unwrap().push((api, asked, asked.elapsed()));
        tokio::select! {
            () = pump(from_client, to_broker, one, waited) => {}
            () = pump(from_broker, to_client, other, |_, _| {}) => {}
        }
    };
    tokio::select! {
        _ = line.wait_for(|line| line.cuts > cuts) => {}
        () = through => {}
    }
}

/// Carries bytes until one side ends. `waited` is told what came first into a silence, and when, once that has an end.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    waited: impl Fn(i16, Instant),
) {
    let (mut buffer, mut more) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut held = buffer[..length].to_vec();
        // What is read here begins with a request, mostly: its length, its API.
        let (api, asked, is_silent) = (api_of(&held), Instant::now(), line.borrow().silent);
        while line.borrow().silent {
            tokio::select! {
                // Ended or not, it is looked at above.
                _ = line.wait_for(|line| !line.silent) => {}
                read = from.read(&mut more) => match read {
                    Ok(length @ 1..) => {
                        held.extend_from_slice(&more[..length]);
                    }
                    // Whoever sent it had enough of the silence.
                    _ => return waited(api, asked),
                },
            }
        }
        if is_silent {
            waited(api, asked);
        }
        if to.write_all(&held).await.is_err() {
            break;
        }
    }
}

fn api_of(request: &[u8]) -> i16 {
    request.get(4..6).map_or(-1, |key| i16::from_be_bytes([key[0], key[1]]))
}
