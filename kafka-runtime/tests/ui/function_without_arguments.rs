use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn listener() {}

fn main() {
    drop(listener());
}
