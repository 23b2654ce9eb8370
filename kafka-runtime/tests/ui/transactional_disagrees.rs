use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", transactional, ack = "manual")]
async fn by_hand(_: String, _ack: Ack) {}

#[kafka_listener(topic = "orders", transactional = true, commit = "async", ordering = "key", concurrency = 4)]
async fn out_of_order(_: String, _tx: &Tx) {}

#[kafka_listener(topic = "orders", transactional, retry_topics)]
async fn later(_: String) {}

#[kafka_listener(topic = "orders", transactional = "perhaps")]
async fn undecided(_: String) {}

// May come from the configuration: checked at the start.
#[kafka_listener(topic = "orders", transactional = "${exact:true}", ack = "manual")]
async fn configured(_: String, _ack: Ack) {}

#[kafka_listener(topic = "orders", transactional = false, commit = "async")]
async fn not_at_all(_: String) {}

fn main() {}
