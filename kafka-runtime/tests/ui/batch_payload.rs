use kafka_runtime::prelude::*;

struct Order;

#[kafka_listener(topic = "orders", batch)]
async fn single(_: String) {}

#[kafka_listener(topic = "orders", batch)]
async fn not_deserialize(_: Vec<Order>) {}

#[kafka_listener(topic = "orders", batch)]
async fn not_deserialize_with_items(_: Batch<Order>) {}

#[kafka_listener(topic = "orders", batch)]
async fn not_deserialize_slice(_: &[Order]) {}

#[kafka_listener(topic = "orders")]
async fn no_batch(_: Batch<String>) {}

fn main() {}
