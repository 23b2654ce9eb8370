use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", batch = "${batch}")]
async fn from_configuration(_: Vec<String>) {}

#[kafka_listener(topic = "orders", batch, commit_every = "record")]
async fn per_record(_: Vec<String>) {}

fn main() {}
