use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", retry_topics = true)]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", retry_topics(attempts = "many", backof = "1s", names = "number"))]
async fn listener_1(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
}
