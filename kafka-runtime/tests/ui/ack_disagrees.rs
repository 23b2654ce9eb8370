use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", ack = "manual")]
async fn nobody_acknowledges(_: String) {}

#[kafka_listener(topic = "orders", ack = "auto")]
async fn both_acknowledge(_: String, _ack: Ack) {}

// The mode may come from the configuration: checked at the start.
#[kafka_listener(topic = "orders")]
async fn configured(_: String, _ack: Ack) {}

fn main() {}
