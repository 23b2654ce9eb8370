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
    given_up: GivenUp,
    task: JoinHandle<()>,
}

/// What was asked on connections that a client gave up while they were silent, by the API's key; when, and how long it
/// waited.
type GivenUp = Arc<Mutex<Vec<(i16, Instant, Duration)>>>;

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
            let given_up = GivenUp::default();
            let task =
                tokio::spawn(serve(listener, broker.to_owned(), line.subscribe(), Arc::clone(&given_up)));
            proxies.push(Proxy { address: address.to_owned(), line, given_up, task });
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

    /// What clients gave up, of what they asked since then, because nothing was answered: the key of the API that was asked
    /// first in the silence, and how long its connection waited for that.
    pub fn given_up(&self, since: Instant) -> Vec<(i16, Duration)> {
        let all = self.0.iter().flat_map(|proxy| proxy.given_up.lock().unwrap().clone());
        all.filter(|(_, asked, _)| *asked >= since).map(|(api, _, waited)| (api, waited)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, broker: String, line: watch::Receiver<Line>, given_up: GivenUp) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, broker.clone(), line.clone(), Arc::clone(&given_up)));
    }
}

async fn carry(client: TcpStream, broker: String, mut line: watch::Receiver<Line>, given_up: GivenUp) {
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
            ended = pump(from_client, to_broker, one) => if let Ended::Silent(api, asked) = ended {
                given_up.lock().unwrap().push((api, asked, asked.elapsed()));
            },
            _ = pump(from_broker, to_client, other) => {}
        }
    };
    tokio::select! {
        _ = line.wait_for(|line| line.cuts > cuts) => {}
        () = through => {}
    }
}

/// Why bytes go no further.
enum Ended {
    Closed,
    /// Whoever sent them had enough of the silence; this is the API that it asked first in it, and when.
    Silent(i16, Instant),
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) -> Ended {
    let (mut buffer, mut more) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut held = buffer[..length].to_vec();
        // What is read here begins with a request, mostly: its length, its API.
        let (api, asked) = (api_of(&held), Instant::now());
        while line.borrow().silent {
            tokio::select! {
                // Ended or not, it is looked at above.
                _ = line.wait_for(|line| !line.silent) => {}
                read = from.read(&mut more) => match read {
                    Ok(length @ 1..) => {
                        held.extend_from_slice(&more[..length]);
                    }
                    _ => return Ended::Silent(api, asked),
                },
            }
        }
        if to.write_all(&held).await.is_err() {
            break;
        }
    }
    Ended::Closed
}

fn api_of(request: &[u8]) -> i16 {
    request.get(4..6).map_or(-1, |key| i16::from_be_bytes([key[0], key[1]]))
}
