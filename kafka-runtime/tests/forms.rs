//! Every form of a listener compiles, in a crate that forbids unsafe code and denies every warning.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, clippy::all)]
use kafka_runtime::prelude::*;
use std::borrow::Cow;

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
}
#[derive(Debug, Deserialize)]
struct Tick<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}
type Alias = Option<Order>;

#[kafka_listener]
async fn plain(order: Order) {
    let _ = order.id;
}
#[kafka_listener(topic = "ticks", group = "a", concurrency = 4)]
async fn borrowed(tick: Tick<'_>) {
    let _ = tick.symbol;
}
#[kafka_listener(topic = "ticks")]
async fn named<'a>(tick: Tick<'a>, key: Key<&'a str>) -> Result<(), String> {
    let _ = (tick, key);
    tokio::task::yield_now().await;
    Ok(())
}
#[kafka_listener(topic = "t")]
async fn alias(order: Alias) {
    let _ = order;
}
#[kafka_listener(topic = "t")]
async fn every_argument(
    order: Option<&str>,
    key: Key<Option<String>>,
    headers: Headers,
    view: HeadersView<'_>,
    #[header("trace")] trace: Option<&str>,
    meta: Metadata,
    state: &State<u32>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    tokio::task::yield_now().await;
    let _ = (order, key, headers, view, trace, meta, state);
    Ok(())
}
#[kafka_listener(topic = "t", batch)]
async fn vec(
    orders: Vec<Order>,
    state: &State<u32>,
    meta: Metadata,
) -> Result<(), BatchError<std::io::Error>> {
    let _ = (orders, state, meta);
    Ok(())
}
#[kafka_listener(topic = "t", batch)]
async fn batch(state: &State<u32>, #[payload] orders: Batch<Tick<'_>>) {
    let _ = (orders, state);
}
#[kafka_listener(topic = "t", batch)]
async fn slice(orders: &[&str]) -> Result<(), std::io::Error> {
    tokio::task::yield_now().await;
    let _ = orders;
    Ok(())
}
#[kafka_listener(topic = "t", ack = "manual")]
async fn manual(_: Order, ack: Ack) {
    let _ = ack.ack();
}
#[kafka_listener(partitions("orders", "0-3", from = "earliest"), partitions(("a", 0), ("b", "*", from = 42)), properties("max.poll.records" = 10), commit = "sync", commit_every(records = 500, time = "2s"), auto_startup = false, client_id = "x", members = "${n:2}")]
async fn many(_: Bytes) {}
