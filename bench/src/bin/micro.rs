//! What each step of a record's way costs by itself, on one thread, in memory: the budget of DESIGN.md.
//! `cargo run --release --bin micro` prints nanoseconds a record: the best of many passes, which noise only raises.

use std::hint::black_box;
use std::time::Instant;

use bench::{BorrowedOrder, Order, order};
use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::Batches;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};

const RECORDS: usize = 4_000;
const PASSES: usize = 60;

/// The best pass, in nanoseconds a record.
fn best(mut pass: impl FnMut() -> u64) -> f64 {
    let timed = |_| {
        let started = Instant::now();
        black_box(pass());
        started.elapsed().as_secs_f64()
    };
    (0..PASSES).map(timed).fold(f64::MAX, f64::min) * 1e9 / RECORDS as f64
}

fn show(step: &str, nanoseconds: f64) {
    println!("| {step} | {nanoseconds:.0} |");
}

fn batch(orders: &[(String, Vec<u8>)], compression: Compression) -> Bytes {
    let mut batch = BatchBuilder::new(1 << 20);
    for (key, json) in orders {
        let (key, value) = (Some(key.as_bytes()), Some(json.as_slice()));
        batch.append(RecordToWrite { timestamp: 1_800_000_000_000, key, value, headers: &[] });
    }
    batch.build(compression, ProducerStamp::NONE).expect("a batch")
}

/// Opens the batch and gives every value to `each`.
fn walk(bytes: &Bytes, check: bool, mut each: impl FnMut(&[u8]) -> u64) -> u64 {
    let mut batches = Batches::new(bytes.clone(), check);
    let mut sum = 0;
    while let Some(batch) = batches.next_batch().expect("batch") {
        for record in batch.records() {
            sum += each(record.expect("record").value.expect("value"));
        }
    }
    sum
}

fn main() {
    let orders: Vec<Order> = (0..RECORDS as u64).map(order).collect();
    let json: Vec<(String, Vec<u8>)> = orders
        .iter()
        .map(|order| (order.customer.clone(), serde_json::to_vec(order).expect("json")))
        .collect();
    let plain = batch(&json, Compression::None);
    let length = |value: &[u8]| value.len() as u64;
    let text = |value: &[u8]| std::str::from_utf8(value).map_or(0, str::len) as u64;
    println!("| step | ns a record |\n|---|---|");
    show("checksum of the batch", best(|| walk(&plain, true, length)) - best(|| walk(&plain, false, length)));
    show("walk over the records", best(|| walk(&plain, false, length)));
    for (name, compression) in [
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        let packed = batch(&json, compression);
        show(
            &format!("opening {name} ({:.1} to 1)", plain.len() as f64 / packed.len() as f64),
            best(|| walk(&packed, true, length)),
        );
        show(&format!("packing {name}, with encoding"), best(|| batch(&json, compression).len() as u64));
    }
    let values: Vec<&[u8]> = json.iter().map(|(_, json)| json.as_slice()).collect();
    let each = |decode: fn(&[u8]) -> u64| best(|| values.iter().map(|value| decode(value)).sum());
    show("whether it is text", best(|| values.iter().map(|value| text(value)).sum()));
    show(
        "JSON, owned, from bytes",
        each(|value| serde_json::from_slice::<Order>(value).expect("json").total_cents),
    );
    show(
        "JSON, borrowed, from bytes",
        each(|value| serde_json::from_slice::<BorrowedOrder<'_>>(value).expect("json").total_cents),
    );
    show("JSON, owned, as text", each(|value| from_text::<Order>(value).total_cents));
    show("JSON, borrowed, as text", each(|value| from_text::<BorrowedOrder<'_>>(value).total_cents));
    show("encoding a record into a batch", best(|| batch(&json, Compression::None).len() as u64));
    show(
        "JSON of an order",
        best(|| orders.iter().map(|order| serde_json::to_vec(order).expect("json").len() as u64).sum()),
    );
}

fn from_text<'a, T: serde::Deserialize<'a>>(value: &'a [u8]) -> T {
    serde_json::from_str(std::str::from_utf8(value).expect("text")).expect("json")
}
