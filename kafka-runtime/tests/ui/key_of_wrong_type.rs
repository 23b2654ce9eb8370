use kafka_runtime::prelude::*;

struct CustomerId;

#[kafka_listener(topic = "orders")]
async fn listener(_: String, _: Key<CustomerId>) {}

#[kafka_listener(topic = "orders")]
async fn optional(_: String, _: Key<Option<u64>>) {}

fn main() {}
