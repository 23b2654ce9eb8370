//! What every contestant does: decode the same order, sum a field, say when the first and the last record came.
//!
//! A contestant is a process. It finds its task in the environment (`BENCH_SERVERS`, `BENCH_TOPIC`, `BENCH_GROUP`,
//! `BENCH_RECORDS`, `BENCH_PARTITIONS`), prints `first` at its first record and `done COUNT SUM` at its last, and lives
//! on until its standard input ends, so that its CPU time and peak memory can be read from outside.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The order that all decode.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Order {
    pub id: u64,
    pub customer: String,
    pub currency: String,
    pub total_cents: u64,
    pub created_at: String,
    pub note: Option<String>,
    pub items: Vec<Item>,
}

/// A line of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
    pub cents: u64,
}

/// The same, borrowing from the record.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct BorrowedOrder<'a> {
    pub id: u64,
    #[serde(borrow)]
    pub customer: Cow<'a, str>,
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
    pub total_cents: u64,
    #[serde(borrow)]
    pub created_at: Cow<'a, str>,
    #[serde(borrow)]
    pub note: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub items: Vec<BorrowedItem<'a>>,
}

/// A line of a borrowed order.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct BorrowedItem<'a> {
    #[serde(borrow)]
    pub sku: Cow<'a, str>,
    pub quantity: u32,
    pub cents: u64,
}

/// The n-th order of the filled topics: about 290 bytes of JSON.
pub fn order(n: u64) -> Order {
    Order {
        id: 1_000_000 + n,
        customer: format!("customer-{:05}", (n * 7919) % 10_007),
        currency: "EUR".into(),
        total_cents: 100 + n % 9_000,
        created_at: "2026-11-21T10:15:30.123Z".into(),
        note: n.is_multiple_of(3).then(|| "leave \"at the door\"\nring twice".into()),
        items: (0..3)
            .map(|line| Item {
                sku: format!("SKU-{:06}", (n * 31 + line) % 999_983),
                quantity: 1 + (line as u32),
                cents: 10 + (n + line) % 3_000,
            })
            .collect(),
    }
}

/// What a contestant is told.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Task {
    pub servers: String,
    pub topic: String,
    pub group: String,
    pub records: u64,
    pub partitions: i32,
    pub mode: String,
}

impl Task {
    /// From the environment and the first argument.
    pub fn read() -> Self {
        let get = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        Self {
            servers: get("BENCH_SERVERS"),
            topic: get("BENCH_TOPIC"),
            group: get("BENCH_GROUP"),
            records: get("BENCH_RECORDS").parse().expect("BENCH_RECORDS"),
            partitions: get("BENCH_PARTITIONS").parse().expect("BENCH_PARTITIONS"),
            mode: std::env::args().nth(1).unwrap_or_default(),
        }
    }
}

/// Counts and sums. One per process (or one per partition, merged by the contestant).
#[derive(Debug, Default)]
pub struct Tally {
    count: AtomicU64,
    sum: AtomicU64,
}

impl Tally {
    /// One more order with this total; whether it was the last of `records`.
    pub fn add(&self, total_cents: u64, records: u64) -> bool {
        self.sum.fetch_add(total_cents, Ordering::Relaxed);
        let count = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        if count == 1 {
            say("first");
        }
        if count == records {
            say(&format!("done {count} {}", self.sum.load(Ordering::Acquire)));
        }
        count == records
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Blocks until standard input ends.
pub fn wait_for_the_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
