use kafka_runtime::prelude::*;

#[derive(Deserialize)]
struct Order;

#[kafka_listener(topic = "orders")]
async fn listener(_: &Order) {}

fn main() {}
