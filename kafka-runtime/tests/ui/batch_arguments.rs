use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", batch)]
async fn key(_: Vec<String>, _: Key<String>) {}

#[kafka_listener(topic = "orders", batch)]
async fn headers(_: Vec<String>, _: Headers) {}

fn main() {}
