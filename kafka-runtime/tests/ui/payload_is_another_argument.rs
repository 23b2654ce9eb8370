use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn metadata_first(_: Metadata, _: String) {}

#[kafka_listener(topic = "orders")]
async fn key_first(_: Key<String>) {}

#[kafka_listener(topic = "orders")]
async fn state_first(_: &State<String>) {}

fn main() {}
