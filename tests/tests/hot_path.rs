//! What the hot path costs is counted, not timed: between the socket's buffer and the handler, and between a value and its
//! batch, nothing is allocated per record, and sockets are read and written by many records at a time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use kafka_runtime::prelude::*;
use tests::{Cluster, Counting};

#[derive(Default)]
struct Sum(AtomicU64);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-borrowed")]
async fn borrowed(value: &[u8], key: Key<Option<&str>>, meta: Metadata, sum: &State<Sum>) {
    let key = key.map_or(0, str::len);
    sum.0.fetch_add((value.len() + key) as u64 + u64::from(meta.attempt()), Ordering::Relaxed);
}

/// Sends `records` records without waiting for each.
async fn send_all(app: &RunningApp, topic: &str, records: u64) {
    for n in 0..records {
        let record = Record::to(topic).key("key").text(format!("value {n} of a record of some length"));
        drop(app.template().enqueue_record(record).await.unwrap());
    }
    app.template().flush().await.unwrap();
}

/// Allocations on the handlers' thread while a listener starts, handles `records` records and stops.
fn allocations(runtime: &tokio::runtime::Runtime, records: u64) -> u64 {
    let (cluster, topic) = runtime.block_on(async {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("hot", 1).await;
        let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
        send_all(&app, &topic, records).await;
        app.stop().await.unwrap();
        (cluster, topic)
    });
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let yaml = cluster.yaml(&format!("suite: {{topic: {topic}}}\n"));
            let app =
                App::from_yaml(yaml).unwrap().only(["borrowed"]).state(Sum::default()).start().await.unwrap();
            app.handled("borrowed", records).await;
            assert!(app.get_state::<Sum>().unwrap().0.load(Ordering::Relaxed) > records);
            app.stop().await.unwrap();
        });
    });
    counted.count_total
}

/// What a record more costs: many of them beside few, so that starts and stops do not count.
fn per_record(allocations: impl Fn(&tokio::runtime::Runtime, u64) -> u64) -> f64 {
    // One thread for all that is not the client's, so that the counter sees it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (few, many) = (1_000, 61_000);
    let base = allocations(&runtime, few);
    let more = allocations(&runtime, many).saturating_sub(base);
    let per_record = more as f64 / (many - few) as f64;
    println!("{per_record:.4} allocations a record ({more} for {})", many - few);
    per_record
}

#[test]
fn nothing_is_allocated_per_record() {
    let per_record = per_record(allocations);
    // A batch costs a handful: its future, its chunk.
    assert!(per_record < 0.1, "{per_record:.3} allocations a record");
}

#[derive(Serialize)]
struct Order<'a> {
    id: u64,
    customer: &'a str,
    note: Option<&'a str>,
    items: [u32; 3],
}

/// Allocations of a future on its own thread, its polls alone.
async fn counted(future: impl Future<Output = ()>) -> u64 {
    let mut future = pin!(future);
    let mut total = 0;
    poll_fn(|context| {
        let mut polled = Poll::Pending;
        total += allocation_counter::measure(|| polled = future.as_mut().poll(context)).count_total;
        polled
    })
    .await;
    total
}

/// Allocations on the sending thread while `records` orders go through the template.
fn allocations_of_sending(runtime: &tokio::runtime::Runtime, records: u64) -> u64 {
    runtime.block_on(async {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("sent", 4).await;
        let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
        let template = app.template();
        // The topic's metadata, and the buffers of this thread.
        template.send(&topic, "customer", "first").await.unwrap();
        let names: Vec<_> = (0..100).map(|n| format!("customer-{n}")).collect();
        let sending = async {
            for id in 0..records {
                let customer = names[id as usize % names.len()].as_str();
                let order = Order { id, customer, note: Some("a \"quoted\" note"), items: [1, 2, 3] };
                drop(template.enqueue(&topic, customer, &order).await.unwrap());
            }
        };
        let counted = counted(sending).await;
        template.flush().await.unwrap();
        app.stop().await.unwrap();
        counted
    })
}

#[test]
fn nothing_is_allocated_per_record_sent() {
    let per_record = per_record(allocations_of_sending);
    // A batch costs a handful: its buffer, which grows, and its receipt.
    assert!(per_record < 0.05, "{per_record:.3} allocations a record");
}

/// Twice per record (there and back) is what a client without batches has; a batch of 16 KiB holds some 300 of these.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_call_serves_many_records() {
    let records = 60_000;
    let cluster = Cluster::start().await;
    let topic = cluster.topic("calls", 1).await;
    let counting = Counting::default();
    let per_record = |calls: u64| calls as f64 / records as f64;
    let app =
        App::from_yaml(cluster.yaml("")).unwrap().only([]).over(counting.seams()).start().await.unwrap();
    send_all(&app, &topic, records).await;
    app.stop().await.unwrap();
    let sent = counting.calls();
    assert!(sent > 0 && per_record(sent) < 0.05, "{:.3} system calls a record sent", per_record(sent));
    let yaml = cluster.yaml(&format!("suite: {{topic: {topic}}}\n"));
    let app = App::from_yaml(yaml).unwrap().only(["borrowed"]).state(Sum::default());
    let app = app.over(counting.seams()).start().await.unwrap();
    app.handled("borrowed", records).await;
    app.stop().await.unwrap();
    let read = counting.calls() - sent;
    assert!(read > 0 && per_record(read) < 0.01, "{:.3} system calls a record read", per_record(read));
    println!("system calls a record: {:.4} sent, {:.4} read", per_record(sent), per_record(read));
}
