use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", pattern = "orders-.*")]
async fn listener_0(_: String) {}

#[kafka_listener(topics = ["a", "b"], partitions("orders", "0"))]
async fn listener_1(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
}
