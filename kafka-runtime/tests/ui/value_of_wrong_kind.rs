use kafka_runtime::prelude::*;

#[kafka_listener(topic = 5)]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", concurrency = true)]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", auto_startup = 1)]
async fn listener_2(_: String) {}

#[kafka_listener(topic = "orders", group = b"billing")]
async fn listener_3(_: String) {}

#[kafka_listener(topic = "orders", concurrency = 4u8)]
async fn listener_4(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
    drop(listener_4(String::new()));
}
