use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", id = "${app.id}")]
async fn configured(_: String) {}

#[kafka_listener(topic = "orders", id = "billing.orders")]
async fn with_a_dot(_: String) {}

#[kafka_listener(topic = "orders", id = 5)]
async fn number(_: String) {}

fn main() {}
