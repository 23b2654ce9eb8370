use kafka_runtime::prelude::*;

#[kafka_listener(partitions("orders"))]
async fn listener_0(_: String) {}

#[kafka_listener(partitions = "orders")]
async fn listener_1(_: String) {}

#[kafka_listener(partitions("orders", "0", from = "earliest", more = 1))]
async fn listener_2(_: String) {}

#[kafka_listener(partitions(("orders", "0"), "returns"))]
async fn listener_3(_: String) {}

#[kafka_listener(partitions("orders", "0", to = "latest"))]
async fn listener_4(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
    drop(listener_4(String::new()));
}
