//! A connection that does nothing by itself.

use bytes::Bytes;
use kafka_client::wire::{decode, decode_part, request_frame};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection to one broker.
pub struct Wire {
    stream: TcpStream,
    correlation: i32,
}

impl Wire {
    /// A connection to the broker at `host:port`.
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        Self { stream, correlation: 0 }
    }

    /// Sends a request in `version` and waits for its answer.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    /// Sends a request without waiting.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation += 1;
        let frame = request_frame(request, version, self.correlation, &StrBytes::from_static_str("tests"));
        let frame = frame.unwrap_or_else(|error| panic!("cannot be asked so: {error}"));
        self.write(&frame).await;
    }

    /// The answer to the oldest request that has none yet.
    pub async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.frame().await.expect("the broker closed the connection");
        let header: ResponseHeader = decode_part(&mut frame, R::Response::header_version(version)).unwrap();
        assert!(header.correlation_id <= self.correlation, "an answer to nothing");
        decode(frame, version).unwrap()
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, header included; `None` where the broker closed the connection.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }
}
