use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", commit = "asynch")]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", ack = "MANUAL_IMMEDIATE")]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", commit_every = "recrod")]
async fn listener_2(_: String) {}

#[kafka_listener(topic = "orders", commit = "sometimes")]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
