//! A client that does nothing by itself.

use bytes::{Buf, Bytes};
use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::records::{BatchHeader, Batches};
use kafka_client::seams::{Stream, Transport};
use kafka_client::wire::{decode, decode_part, request_frame};
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    FetchRequest, FindCoordinatorRequest, ProduceRequest, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// One connection.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    correlation: i32,
    /// The frames of the requests that were sent.
    pub(crate) sent: Vec<Bytes>,
}

impl Peer {
    /// Connects to broker `id`.
    pub(crate) async fn connect(kafka: &EmbeddedKafka, id: i32) -> Self {
        let servers = kafka.bootstrap_servers();
        let address = servers.split(',').nth(usize::try_from(id - 1).unwrap()).expect("no such broker");
        let (host, port) = address.rsplit_once(':').unwrap();
        let stream = kafka.transport().connect(host, port.parse().unwrap()).await.unwrap();
        Self { stream, correlation: 0, sent: Vec::new() }
    }

    /// Connects to `host:port` over TCP.
    pub(crate) async fn tcp(address: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        Self { stream: Box::new(stream), correlation: 0, sent: Vec::new() }
    }

    /// Connects to the coordinator of `group`.
    pub(crate) async fn coordinator(kafka: &EmbeddedKafka, group: &str) -> Self {
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        let found = Self::connect(kafka, 1).await.call(4, &find).await;
        Self::connect(kafka, found.coordinators[0].node_id.0).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Writes as far as the broker takes it; whether it took everything.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends a request without waiting.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation += 1;
        let frame = request_frame(request, version, self.correlation, &text("peer")).unwrap();
        self.write(&frame).await;
        self.sent.push(frame);
    }

    /// The answer to the request that was sent `back` requests before the last.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16, back: i32) -> R::Response {
        let mut frame = self.frame().await.expect("the broker closed the connection");
        let header: ResponseHeader = decode_part(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation - back, "answers come in the order of requests");
        decode(frame, version).unwrap()
    }

    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version, 0).await
    }

    /// What still comes before the broker closes the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // An end without farewell is an end.
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    /// The next frame, `None` where the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }
}

/// One record for each value, in one batch.
pub(crate) fn batch(values: &[&str], stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(256);
    for value in values {
        let value = Some(value.as_bytes());
        builder.append(RecordToWrite { timestamp: 1_000, key: None, value, headers: &[] });
    }
    builder.build(Compression::None, stamp).unwrap()
}

pub(crate) fn plain(values: &[&str]) -> Bytes {
    batch(values, ProducerStamp::NONE)
}

pub(crate) fn produce_request(name: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![data])
}

pub(crate) async fn produce(
    peer: &mut Peer,
    name: &str,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let mut answer = peer.call(9, &produce_request(name, partition, records)).await;
    answer.responses.remove(0).partition_responses.remove(0)
}

pub(crate) fn fetch_topic(name: &str, partitions: &[(i32, i64)]) -> FetchTopic {
    let partition = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    FetchTopic::default().with_topic(topic(name)).with_partitions(partitions.iter().map(partition).collect())
}

/// A fetch that does not wait, without a session.
pub(crate) fn fetch_request(name: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![fetch_topic(name, &[(partition, offset)])])
}

pub(crate) async fn fetch(peer: &mut Peer, request: &FetchRequest) -> PartitionData {
    let mut answer = peer.call(12, request).await;
    assert_eq!(answer.error_code, 0);
    answer.responses.remove(0).partitions.remove(0)
}

/// Offsets and values, every checksum verified.
pub(crate) fn records(data: &PartitionData) -> Vec<(i64, String)> {
    let mut batches = Batches::new(data.records.clone().unwrap_or_default(), true);
    let mut all = Vec::new();
    while let Some(batch) = batches.next_batch().unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            all.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    all
}

pub(crate) fn headers(data: &PartitionData) -> Vec<BatchHeader> {
    let mut bytes = data.records.clone().unwrap_or_default();
    let mut all = Vec::new();
    while let Some(header) = BatchHeader::parse(&bytes).unwrap() {
        bytes.advance(header.size);
        all.push(header);
    }
    all
}
