//! What every contestant does: decode the same order, sum a field, say when the first and the last record came.
//!
//! A contestant is a process. It finds its task in the environment (`BENCH_SERVERS`, `BENCH_TOPIC`, `BENCH_GROUP`,
//! `BENCH_RECORDS`, `BENCH_PARTITIONS`), prints `first` at its first record and `done COUNT SUM` at its last, and lives
//! on until its standard input ends, so that its CPU time and peak memory can be read from outside.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use kafka_client::Client;
use kafka_client::config::ClientConfig;
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

/// Threads that count by themselves.
const SHARDS: usize = 16;
/// After how many records a thread tells the others.
const TOLD_EACH: u64 = 64;

/// Counts and sums, each thread for itself: what is measured is not how cores share a counter.
#[derive(Debug, Default)]
pub struct Tally {
    shards: [Shard; SHARDS],
    /// At least so many were counted.
    told: AtomicU64,
    begun: AtomicBool,
    done: AtomicBool,
}

/// A thread's part, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    count: AtomicU64,
    sum: AtomicU64,
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Tally {
    /// One more order with this total; whether it was the last of `records`.
    pub fn add(&self, total_cents: u64, records: u64) -> bool {
        let shard = &self.shards[SHARD.with(|index| *index)];
        shard.sum.fetch_add(total_cents, Ordering::SeqCst);
        let count = shard.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count == 1 && !self.begun.swap(true, Ordering::SeqCst) {
            say("first");
        }
        if count.is_multiple_of(TOLD_EACH) {
            self.told.fetch_add(TOLD_EACH, Ordering::SeqCst);
        }
        // Near the end everybody looks at all: whoever counted the last one sees it.
        let is_near = self.told.load(Ordering::SeqCst) + TOLD_EACH * SHARDS as u64 >= records;
        is_near && self.is_done(records)
    }

    fn is_done(&self, records: u64) -> bool {
        let all = |part: fn(&Shard) -> &AtomicU64| -> u64 {
            self.shards.iter().map(|shard| part(shard).load(Ordering::SeqCst)).sum()
        };
        let count = all(|shard| &shard.count);
        let is_done = count >= records && !self.done.swap(true, Ordering::SeqCst);
        if is_done {
            say(&format!("done {count} {}", all(|shard| &shard.sum)));
        }
        is_done
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Our client at its defaults, for these servers (`host:port,..`).
///
/// # Errors
/// An address that is none.
pub fn client(servers: &str) -> kafka_client::Result<Client> {
    Client::new(ClientConfig {
        bootstrap_servers: servers.split(',').map(str::to_owned).collect(),
        ..ClientConfig::default()
    })
}

/// Blocks until standard input ends.
pub fn wait_for_the_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
