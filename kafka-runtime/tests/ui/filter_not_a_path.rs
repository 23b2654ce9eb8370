use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", filter = "by_value")]
async fn listener(_: String) {}

fn main() {
    drop(listener(String::new()));
}
