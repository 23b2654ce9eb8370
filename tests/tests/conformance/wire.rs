//! A connection that does nothing by itself.

use bytes::Bytes;
use kafka_client::wire::{decode, decode_part, request_frame};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{HeaderVersion, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::asked::text;

/// One connection to one broker.
pub(crate) struct Wire {
    stream: TcpStream,
    correlation: i32,
}

impl Wire {
    pub(crate) async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        Self { stream, correlation: 0 }
    }

    /// Sends a request in `version` and waits for its answer.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    /// Sends a request without waiting.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation += 1;
        let frame = request_frame(request, version, self.correlation, &text("conformance"));
        let frame = frame.unwrap_or_else(|error| panic!("cannot be asked so: {error}"));
        self.write(&frame).await;
    }

    /// The answer to the oldest request that has none yet.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.frame().await.expect("the broker closed the connection");
        let header: ResponseHeader = decode_part(&mut frame, R::Response::header_version(version)).unwrap();
        assert!(header.correlation_id <= self.correlation, "an answer to nothing");
        decode(frame, version).unwrap()
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, header included; `None` where the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }
}
