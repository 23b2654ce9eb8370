use kafka_runtime::prelude::*;

#[kafka_listener(topic)]
async fn listener_0(_: String) {}

#[kafka_listener(topic =, group = "billing")]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", group)]
async fn listener_2(_: String) {}

#[kafka_listener(topic("orders"))]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
