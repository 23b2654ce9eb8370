use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn two(#[payload] _a: String, #[payload] _b: String) {}

#[kafka_listener(topic = "orders")]
async fn none(#[header("a")] _a: String, _b: Metadata) {}

#[kafka_listener(topic = "orders")]
async fn with_value(#[payload = "x"] _a: String) {}

#[kafka_listener(topic = "orders", batch)]
async fn header_of_batch(_: Vec<String>, #[header("a")] _a: &str) {}

fn main() {}
