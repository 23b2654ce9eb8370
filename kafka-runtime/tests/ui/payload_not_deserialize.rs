use kafka_runtime::prelude::*;

struct Order;

#[kafka_listener(topic = "orders")]
async fn plain(_: Order) {}

#[kafka_listener(topic = "orders")]
async fn optional(_: Option<Order>) {}

#[kafka_listener(topic = "orders")]
async fn nested(_: Vec<Order>) {}

fn main() {}
