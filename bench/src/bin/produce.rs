//! Sends the orders and waits until all are acknowledged: `CLIENT WAY`, with CLIENT `ours`, `client` (our client without
//! the template) or `librdkafka`, and WAY `many` (as fast as it can), `one` (each waits for the one before) or `tasks` (a
//! thousand tasks that each wait). Prints `filled N SUM BYTES` at the end, and in the waiting ways `latency P50 P99` in
//! microseconds before it. With acks all and idempotence; everything else is at its default, unless `BENCH_CODEC` names a
//! codec: then batches of 64 KB are compressed with it, on both sides, since a codec's ratio follows from its batches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bench::{Order, Task, order, wait_for_the_end};
use kafka_client::config::ProducerConfig;
use kafka_client::producer::{Outgoing, Producer};
use kafka_runtime::prelude::*;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer as _};

const TASKS: u64 = 1000;
/// `batch.size` where codecs are compared.
const PACKED_BATCH: usize = 64 << 10;

/// Orders that are sent again and again, so that making them is not measured.
static ORDERS: LazyLock<Vec<Order>> = LazyLock::new(|| (0..10_000).map(order).collect());

fn prepared(n: u64) -> &'static Order {
    &ORDERS[(n % ORDERS.len() as u64) as usize]
}

/// Sends one record after the other, `send` waiting for each; from one task or from a thousand.
async fn waiting<S, F>(task: &Task, tasks: u64, send: S)
where
    S: Fn(&'static Order) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let records = task.records;
    let workers = (0..tasks).map(|_| {
        let (send, next) = (send.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            let mut figures = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= records {
                    return figures;
                }
                let started = Instant::now();
                send(prepared(n)).await;
                figures.push(started.elapsed().as_micros());
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut figures = Vec::new();
    for worker in workers {
        figures.extend(worker.await.expect("a worker"));
    }
    figures.sort_unstable();
    println!("latency {} {}", figures[figures.len() / 2], figures[figures.len() * 99 / 100]);
}

fn done(task: &Task) {
    println!("filled {}", task.records);
    wait_for_the_end();
}

/// `BENCH_CODEC`.
fn codec() -> Option<String> {
    std::env::var("BENCH_CODEC").ok()
}

async fn ours(task: &Task, way: &str) {
    let producer = codec().map_or_else(String::new, |codec| {
        format!(", producer: {{compression-type: {codec}, batch-size: {PACKED_BATCH}}}")
    });
    let yaml = format!("spring: {{kafka: {{bootstrap-servers: '{}'{producer}}}}}\n", task.servers);
    let app = App::from_yaml(yaml).expect("yaml").only([]).start().await.expect("start");
    let template = app.template();
    if way == "many" {
        for n in 0..task.records {
            let order = prepared(n);
            drop(template.enqueue(&task.topic, &order.customer, order).await.expect("enqueued"));
        }
        template.flush().await.expect("flush");
        assert_eq!(template.stats().records, task.records);
    } else {
        let topic = task.topic.clone();
        let send = move |order: &'static Order| {
            let (template, topic) = (template.clone(), topic.clone());
            async move { _ = template.send(&topic, &order.customer, order).await.expect("sent") }
        };
        waiting(task, if way == "one" { 1 } else { TASKS }, send).await;
    }
    done(task);
}

async fn client(task: &Task) {
    let client = bench::client(&task.servers).expect("client");
    let producer: Producer = client.producer(ProducerConfig::default()).expect("producer");
    let topic = task.topic.as_str().into();
    let mut json = Vec::new();
    for n in 0..task.records {
        let order = prepared(n);
        json.clear();
        serde_json::to_writer(&mut json, order).expect("json");
        let record = Outgoing {
            topic,
            partition: None,
            timestamp: None,
            key: Some(order.customer.as_bytes()),
            value: Some(&json),
            headers: &[],
        };
        drop(producer.enqueue(record).await.expect("enqueued"));
    }
    producer.flush(Duration::from_secs(120)).await.expect("flush");
    done(task);
}

fn config(task: &Task) -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &task.servers).set("enable.idempotence", "true");
    if let Some(codec) = codec() {
        config.set("compression.type", codec).set("batch.size", PACKED_BATCH.to_string());
    }
    config
}

fn librdkafka(task: &Task) {
    let producer: BaseProducer = config(task).create().expect("producer");
    for n in 0..task.records {
        let order = prepared(n);
        let json = serde_json::to_vec(order).expect("json");
        let mut record = BaseRecord::to(&task.topic).key(&order.customer).payload(&json);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120)).expect("flush");
    done(task);
}

async fn librdkafka_waiting(task: &Task, tasks: u64) {
    let producer: FutureProducer = config(task).create().expect("producer");
    let topic = task.topic.clone();
    let send = move |order: &'static Order| {
        let (producer, topic) = (producer.clone(), topic.clone());
        async move {
            let json = serde_json::to_vec(order).expect("json");
            let record = FutureRecord::to(&topic).key(&order.customer).payload(&json);
            producer.send(record, Duration::from_secs(10)).await.expect("sent");
        }
    };
    waiting(task, tasks, send).await;
    done(task);
}

#[tokio::main]
async fn main() {
    let task = Task::read();
    let (client_name, way) = task.mode.split_once(' ').expect("CLIENT WAY");
    match (client_name, way) {
        ("ours", way) => ours(&task, way).await,
        ("client", _) => client(&task).await,
        (_, "many") => librdkafka(&task),
        (_, "one") => librdkafka_waiting(&task, 1).await,
        _ => librdkafka_waiting(&task, TASKS).await,
    }
}
