//! What a broker takes and gives, without a client's own work: requests that were encoded once, on a connection for each
//! partition. `produce` sends batches of 50 orders, five requests under way (acks all); `fetch` reads them, a MiB at a
//! time; `one` sends a batch of one order and waits for the answer before the next.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bench::{Task, order, wait_for_the_end};
use bytes::{Bytes, BytesMut};
use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::records::{BATCH_OVERHEAD, BatchHeader};
use kafka_client::wire::{decode, encode};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// Versions that all brokers have, by name.
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const IN_A_BATCH: u64 = 50;
const UNDER_WAY: usize = 5;

struct Connection(TcpStream);

impl Connection {
    fn open(task: &Task) -> Self {
        let stream = TcpStream::connect(task.servers.split(',').next().expect("a server")).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        Self(stream)
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.write_all(frame).expect("write");
    }

    fn answer<R: Decodable + HeaderVersion>(&mut self, version: i16) -> R {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).expect("an answer");
        let mut frame = Bytes::from(frame);
        ResponseHeader::decode(&mut frame, R::header_version(version)).expect("header");
        decode(frame, version).expect("answer")
    }
}

fn frame<R: Request + Encodable>(request: &R, version: i16) -> Bytes {
    let mut frame = BytesMut::from(&[0; 4][..]);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("wire")));
    encode(&header, R::header_version(version), &mut frame).expect("header");
    encode(request, version, &mut frame).expect("request");
    let length = u32::try_from(frame.len() - 4).expect("length");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

fn topic(task: &Task) -> TopicName {
    TopicName(StrBytes::from_string(task.topic.clone()))
}

fn produce_request(task: &Task, partition: i32, records: u64) -> Bytes {
    let mut batch = BatchBuilder::new(64 * 1024);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("clock").as_millis() as i64;
    for n in 0..records {
        let order = order(n);
        let json = serde_json::to_vec(&order).expect("json");
        batch.append(RecordToWrite {
            timestamp: now,
            key: Some(order.customer.as_bytes()),
            value: Some(&json),
            headers: &[],
        });
    }
    let batch = batch.build(Compression::None, ProducerStamp::NONE).expect("batch");
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic(task)).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
    frame(&request, PRODUCE)
}

fn acknowledged(connection: &mut Connection) {
    let answer: ProduceResponse = connection.answer(PRODUCE);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
}

fn produce(task: &Task, partition: i32) {
    let request = produce_request(task, partition, IN_A_BATCH);
    let count = task.records / IN_A_BATCH / u64::try_from(task.partitions).expect("partitions");
    let mut connection = Connection::open(task);
    let mut under_way = 0;
    for _ in 0..count {
        if under_way == UNDER_WAY {
            acknowledged(&mut connection);
            under_way -= 1;
        }
        connection.send(&request);
        under_way += 1;
    }
    (0..under_way).for_each(|_| acknowledged(&mut connection));
}

fn fetch(task: &Task, partition: i32) {
    let mut connection = Connection::open(task);
    let mut offset = 0;
    loop {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(topic(task)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(50 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        connection.send(&frame(&request, FETCH));
        let answer: FetchResponse = connection.answer(FETCH);
        let part = &answer.responses[0].partitions[0];
        assert_eq!(part.error_code, 0, "{answer:?}");
        let mut records = part.records.clone().unwrap_or_default();
        while records.len() >= BATCH_OVERHEAD {
            let Some(header) = BatchHeader::parse(&records).expect("a batch") else { break };
            if header.size > records.len() {
                break;
            }
            offset = header.last_offset + 1;
            records = records.slice(header.size..);
        }
        if offset >= part.high_watermark {
            return;
        }
    }
}

fn one(task: &Task) {
    let request = produce_request(task, 0, 1);
    let mut connection = Connection::open(task);
    let mut figures = Vec::new();
    for _ in 0..task.records {
        let started = Instant::now();
        connection.send(&request);
        acknowledged(&mut connection);
        figures.push(started.elapsed().as_micros());
    }
    figures.sort_unstable();
    println!("latency {} {}", figures[figures.len() / 2], figures[figures.len() * 99 / 100]);
}

fn main() {
    let task = Task::read();
    let work: fn(&Task, i32) = match task.mode.as_str() {
        "produce" => produce,
        "fetch" => fetch,
        _ => {
            one(&task);
            return wait_for_the_end();
        }
    };
    println!("first");
    std::thread::scope(|scope| {
        for partition in 0..task.partitions {
            let task = &task;
            scope.spawn(move || work(task, partition));
        }
    });
    println!("done {} 0", task.records);
    wait_for_the_end();
}
