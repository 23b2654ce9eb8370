//! What the embedded broker takes is counted, neither timed nor weighed: allocations on the one thread that a cluster in
//! memory runs on. The bounds are a little above what it takes today; whoever needs more says so here.

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use kafka_client::seams::{Stream, Transport};
use kafka_client::wire::request_frame;
use kafka_embedded::{Builder, EmbeddedKafka};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Starts a cluster whose tasks have begun, and what that took.
fn started(runtime: &Runtime, builder: Builder) -> (EmbeddedKafka, AllocationInfo) {
    let mut kafka = None;
    let counted = measure(|| {
        runtime.block_on(async {
            kafka = Some(builder.in_memory().start().await.unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    });
    (kafka.unwrap(), counted)
}

/// Fails where there were more than `count` allocations, or more than `bytes` at one time.
#[track_caller]
fn within(counted: &AllocationInfo, count: u64, bytes: u64, what: &str) {
    println!("{what}: {} allocations, {} bytes at most", counted.count_total, counted.bytes_max);
    assert!(counted.count_total <= count && counted.bytes_max <= bytes, "{what}: {counted:?}");
}

#[test]
fn a_cluster_starts_small() {
    let runtime = runtime();
    let builder = || EmbeddedKafka::builder().topic("orders", 1);
    // What the process and its runtime take once is not the cluster's.
    drop(started(&runtime, builder()));
    let (kafka, counted) = started(&runtime, builder());
    within(&counted, 60, 10_000, "a broker with a topic");
    drop(kafka);
    let (_, counted) = started(&runtime, builder().brokers(3));
    within(&counted, 80, 15_000, "three brokers with a topic");
}

/// Nor do they grow while nothing happens, however often the broker looks after them.
#[test]
fn idle_partitions_take_little() {
    const MANY: usize = 10_000;
    let runtime = runtime();
    let builder = || EmbeddedKafka::builder().brokers(3);
    drop(started(&runtime, builder().topic("warm", 1)));
    let (none, base) = started(&runtime, builder());
    drop(none);
    let (kafka, counted) = started(&runtime, builder().topic("many", MANY));
    let each = (counted.bytes_current - base.bytes_current) / i64::try_from(MANY).unwrap();
    let made = (counted.count_total - base.count_total) as f64 / MANY as f64;
    println!("an idle partition: {each} bytes, {made:.1} allocations");
    assert!(each <= 600 && made < 6.0, "{each} bytes, {made} allocations for each of {MANY} partitions");
    let day = Duration::from_secs(24 * 3600);
    let idle = measure(|| runtime.block_on(async { tokio::time::sleep(day).await }));
    assert!(idle.bytes_current <= 1024, "they grew in a day: {idle:?}");
    drop(kafka);
}

async fn asked(kafka: &EmbeddedKafka, frame: &[u8]) -> Box<dyn Stream> {
    let servers = kafka.bootstrap_servers();
    let (host, port) = servers.split_once(':').unwrap();
    let mut stream = kafka.transport().connect(host, port.parse().unwrap()).await.unwrap();
    stream.write_all(frame).await.unwrap();
    let size = stream.read_i32().await.unwrap();
    let mut left = size.unsigned_abs() as usize;
    let mut part = [0; 256];
    while left > 0 {
        left -= stream.read(&mut part).await.unwrap();
    }
    stream
}

/// A connection that has been answered and waits: both ends of its pipe, its task, its buffers. It leaves nothing behind.
#[test]
fn an_idle_connection_takes_little() {
    const MANY: usize = 1000;
    let count = i64::try_from(MANY).unwrap();
    let runtime = runtime();
    let (kafka, _) = started(&runtime, EmbeddedKafka::builder().topic("orders", 1));
    let client = StrBytes::from_static_str("client");
    let frame = request_frame(&ApiVersionsRequest::default(), 3, 1, &client).unwrap();
    let mut open = Vec::with_capacity(MANY);
    let connected = |open: &mut Vec<_>| {
        measure(|| {
            runtime.block_on(async {
                for _ in 0..MANY {
                    open.push(asked(&kafka, &frame).await);
                }
            });
        })
    };
    let ended = |open: &mut Vec<_>| {
        measure(|| {
            runtime.block_on(async {
                open.clear();
                tokio::time::sleep(Duration::from_secs(60)).await;
            });
        })
    };
    // Lists of all connections have grown after the first time.
    connected(&mut open);
    ended(&mut open);
    let taken = connected(&mut open);
    let each = taken.bytes_current / count;
    println!("an idle connection: {each} bytes");
    assert!(each <= 6000, "{each} bytes for each of {MANY} connections");
    let freed = ended(&mut open);
    let left = taken.bytes_current + freed.bytes_current;
    assert!(left <= 8 * count, "{left} bytes are left behind by {MANY} connections");
}
