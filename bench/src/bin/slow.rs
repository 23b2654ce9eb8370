//! What part of the ideal rate handlers of 10 ms come to, with `ordering = "key"`: `slow CONCURRENCY PARTITIONS SECONDS`,
//! against the cluster in `BENCH_SERVERS`. It fills a topic of its own with the orders of the other contestants (10,007
//! customers), then handles them.
//!
//! ```text
//! scripts/with-kafka -s group.initial.rebalance.delay.ms=0 bench/target/release/slow 64 4 10
//! ```
//!
//! The ideal is `CONCURRENCY` handlers that are never without a record. A handler waits for a service that answers after
//! 10 ms sharp; what it took by its own clock is printed too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[path = "../../../tests/src/downstream.rs"]
mod downstream;

use bench::{Order, order};
use downstream::Downstream;
use kafka_runtime::prelude::*;
use tokio::sync::Notify;

struct Watch {
    service: Downstream,
    records: AtomicU64,
    nanos: AtomicU64,
    first: std::sync::OnceLock<Instant>,
    wanted: AtomicU64,
    done: Notify,
}

#[kafka_listener(
    ordering = "key",
    concurrency = "${slow.concurrency}",
    topic = "${slow.topic}",
    group = "${slow.topic}"
)]
async fn slow(order: Order, watch: &State<Watch>) {
    let begin = Instant::now();
    watch.first.get_or_init(|| begin);
    watch.service.call().await;
    std::hint::black_box(order.total_cents);
    watch.nanos.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
    if watch.records.fetch_add(1, Ordering::Relaxed) + 1 == watch.wanted.load(Ordering::Relaxed) {
        watch.done.notify_one();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (concurrency, partitions, seconds) = (next(64)?, next(4)?, next(10)?);
    let records = concurrency * 100 * seconds;
    let servers = std::env::var("BENCH_SERVERS").or_else(|_| std::env::var("KAFKA_BOOTSTRAP_SERVERS"))?;
    let topic = format!("slow-{concurrency}-{partitions}-{}", std::process::id());
    let yaml = format!(
        "spring: {{kafka: {{bootstrap-servers: '{servers}', consumer: {{auto-offset-reset: earliest}}, producer: {{compression-type: lz4}}}}}}\nslow: {{topic: {topic}, concurrency: {concurrency}}}\n"
    );
    fill(&yaml, &topic, partitions, records).await?;

    let watch = Watch {
        service: Downstream::new(Duration::from_millis(10)),
        records: AtomicU64::new(0),
        nanos: AtomicU64::new(0),
        first: std::sync::OnceLock::new(),
        wanted: AtomicU64::new(records),
        done: Notify::new(),
    };
    let app = App::from_yaml(&yaml)?.only(["slow"]).state(watch).start().await?;
    let watch = app.get_state::<Watch>().ok_or("no watch")?;
    watch.done.notified().await;
    let took = watch.first.get().ok_or("no first record")?.elapsed().as_secs_f64();
    let mean = watch.nanos.load(Ordering::Relaxed) as f64 / 1e9 / records as f64;
    let rate = records as f64 / took;
    println!(
        "concurrency {concurrency}, {partitions} partitions: {records} records in {took:.2} s, {rate:.0} a second; {:.1} % of the ideal; handlers took {:.2} ms",
        rate / concurrency as f64,
        mean * 1e3,
    );
    app.stop().await?;
    Ok(())
}

async fn fill(
    yaml: &str,
    topic: &str,
    partitions: u64,
    records: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let app = App::from_yaml(yaml)?.only([]).start().await?;
    let template = app.template();
    let config = kafka_client::config::ClientConfig {
        bootstrap_servers: vec![
            std::env::var("BENCH_SERVERS").or_else(|_| std::env::var("KAFKA_BOOTSTRAP_SERVERS"))?,
        ],
        ..Default::default()
    };
    let admin = kafka_client::Client::new(config)?.admin();
    let new = kafka_client::admin::NewTopic {
        name: topic.to_owned(),
        partitions: Some(i32::try_from(partitions)?),
        replication: Some(1),
        config: Default::default(),
    };
    for (topic, created) in admin.create_topics(&[new], Duration::from_secs(30)).await? {
        created.map_err(|error| format!("{topic}: {error}"))?;
    }
    for n in 0..records {
        let order = order(n);
        drop(template.enqueue(topic, &order.customer, &order).await?);
    }
    template.flush().await?;
    app.stop().await?;
    Ok(())
}
