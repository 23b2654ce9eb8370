use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", dead_letter = "orders dlt")]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", dead_letter(name = "orders-dlt", partitions = 0))]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", dead_letter, on_exhausted = "ignore", handler_timeout = "long")]
async fn listener_2(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
}
