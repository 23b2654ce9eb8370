use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn listener(_: String, _orders: Oders) {}

fn main() {}
