use kafka_runtime::prelude::*;

#[derive(Deserialize)]
struct Order;
struct Pool;

#[kafka_listener(topic = "orders")]
async fn two_payloads(_: Order, _: Order) {}

#[kafka_listener(topic = "orders")]
async fn bare_state(_: Order, _key: Key<String>, _pool: Pool) {}

#[kafka_listener(topic = "orders")]
async fn borrowed_state(_: Order, _pool: &Pool) {}

fn main() {}
