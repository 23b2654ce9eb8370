use kafka_runtime::prelude::*;

const TOPIC: &str = "orders";

#[kafka_listener(topic = TOPIC, group = concat!("a", "b"), concurrency = -1)]
async fn listener(_: String) {}

fn main() {
    drop(listener(TOPIC.to_owned()));
}
