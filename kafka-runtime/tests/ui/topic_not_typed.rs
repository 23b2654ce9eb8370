use kafka_runtime::prelude::*;

const ORDERS: &str = "orders";

#[kafka_listener(topic = ORDERS, group = "billing")]
async fn listener(_: String) {}

fn main() {}
