use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", commit_every(record = 500))]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", commit_every(records = 0, time = "2 parsecs"))]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", commit_every(records = 1, records = 2))]
async fn listener_2(_: String) {}

#[kafka_listener(topic = "orders", commit_every())]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
