//! Brokers of a test: in-memory streams behind a [`Transport`], answering as a script says.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::config::{Backoff, ClientConfig};
use crate::seams::{Connecting, Rng, Seams, Stream, SystemClock, Transport};
use crate::{watch, wire};

/// A request as it reached a broker.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `host:port` that was connected to.
    pub(crate) peer: String,
    /// The how-manieth connection this is, over all.
    pub(crate) connection: usize,
    pub(crate) api_key: i16,
    pub(crate) version: i16,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn is<R: Request>(&self) -> bool {
        self.api_key == R::KEY
    }

    pub(crate) fn read<R: Request>(&self) -> R {
        wire::decode(self.body.clone(), self.version).unwrap()
    }

    /// An answer to it.
    pub(crate) fn answer<M: Encodable + HeaderVersion>(&self, message: &M) -> Reply {
        let mut body = BytesMut::new();
        wire::encode(message, self.version, &mut body).unwrap();
        Reply::Body(M::header_version(self.version), body.freeze())
    }
}

/// What a broker does about a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Answers; the version of the header and the body.
    Body(i16, Bytes),
    After(Duration, Box<Reply>),
    /// Never answers.
    Silence,
    /// Ends the connection.
    Close,
    /// Writes something else.
    Raw(&'static [u8]),
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The brokers. What is not in the script's mind goes on as usual: versions are answered.
pub(crate) struct Fake {
    script: Arc<Script>,
    connections: AtomicUsize,
    /// Addresses where nobody listens.
    down: Mutex<Vec<String>>,
    /// Addresses whose connections end.
    killed: watch::Sender<Vec<String>>,
    pub(crate) log: Arc<Mutex<Vec<(String, i16)>>>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    pub(crate) fn new(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Arc::new(script),
            connections: AtomicUsize::new(0),
            down: Mutex::default(),
            killed: watch::Sender::default(),
            log: Arc::default(),
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn take_down(&self, addresses: &[&str]) {
        *self.down.lock().unwrap() = addresses.iter().map(ToString::to_string).collect();
    }

    /// As [`Fake::take_down`], and all connections there end.
    pub(crate) fn kill(&self, addresses: &[&str]) {
        self.take_down(addresses);
        self.killed.send_replace(addresses.iter().map(ToString::to_string).collect());
    }

    /// How often this API was asked.
    pub(crate) fn count(&self, api: ApiKey) -> usize {
        self.log.lock().unwrap().iter().filter(|(_, key)| *key == api as i16).count()
    }

    pub(crate) fn seams(self: &Arc<Self>) -> Seams {
        Seams {
            transport: Arc::clone(self) as Arc<dyn Transport>,
            clock: Arc::new(SystemClock),
            rng: Arc::new(Rng::seeded(1)),
        }
    }

    async fn serve(
        mut stream: DuplexStream,
        peer: String,
        connection: usize,
        script: Arc<Script>,
        log: Arc<Mutex<Vec<(String, i16)>>>,
    ) {
        while let Ok(length) = stream.read_i32().await {
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut frame).await.unwrap();
            let mut frame = Bytes::from(frame);
            let key = i16::from_be_bytes([frame[0], frame[1]]);
            let version = i16::from_be_bytes([frame[2], frame[3]]);
            let header_version = ApiKey::try_from(key).unwrap().request_header_version(version);
            let header: RequestHeader = wire::decode_part(&mut frame, header_version).unwrap();
            log.lock().unwrap().push((peer.clone(), key));
            let asked = Asked { peer: peer.clone(), connection, api_key: key, version, body: frame };
            let mut reply = script(&asked);
            while let Reply::After(wait, then) = reply {
                tokio::time::sleep(wait).await;
                reply = *then;
            }
            let bytes = match reply {
                Reply::Body(header_version, body) => framed(header.correlation_id, header_version, &body),
                Reply::Raw(bytes) => Bytes::from_static(bytes),
                Reply::Silence => continue,
                Reply::Close | Reply::After(..) => return,
            };
            // What came before the peer went is read and done all the same, as brokers do.
            let _ = stream.write_all(&bytes).await;
        }
    }
}

fn framed(correlation_id: i32, header_version: i16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    wire::encode(&header, header_version, &mut frame).unwrap();
    frame.extend_from_slice(body);
    let mut out = BytesMut::new();
    out.put_i32(i32::try_from(frame.len()).unwrap());
    out.extend_from_slice(&frame);
    out.freeze()
}

impl Transport for Fake {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let peer = format!("{host}:{port}");
            let connection = self.connections.fetch_add(1, Ordering::SeqCst);
            if self.down.lock().unwrap().contains(&peer) {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let (script, log, mut killed) =
                (Arc::clone(&self.script), Arc::clone(&self.log), self.killed.subscribe());
            tokio::spawn(async move {
                let served = Self::serve(theirs, peer.clone(), connection, script, log);
                tokio::select! {
                    biased;
                    _ = killed.wait_for(|killed| killed.contains(&peer)) => {}
                    () = served => {}
                }
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

/// All versions that this client speaks.
pub(crate) fn versions(asked: &Asked) -> Reply {
    let apis = (0..100i16).filter_map(|key| wire::supported(key).map(|range| (key, range)));
    let apis = apis.map(|(key, range)| {
        ApiVersion::default().with_api_key(key).with_min_version(range.min).with_max_version(range.max)
    });
    asked.answer(&ApiVersionsResponse::default().with_api_keys(apis.collect()))
}

/// `script`, with versions answered.
pub(crate) fn negotiating(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Arc<Fake> {
    Fake::new(move |asked| if asked.is::<ApiVersionsRequest>() { versions(asked) } else { script(asked) })
}

/// A configuration with short times.
pub(crate) fn config(bootstrap: &[&str]) -> ClientConfig {
    ClientConfig {
        bootstrap_servers: bootstrap.iter().map(ToString::to_string).collect(),
        request_timeout: Duration::from_secs(5),
        reconnect_backoff: Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) },
        ..ClientConfig::default()
    }
}
