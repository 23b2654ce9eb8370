use kafka_runtime::prelude::*;

const DEAD: Topic<String> = Topic::new("orders-dlt");

#[kafka_listener(topic = "orders", dead_letter(topic = DEAD, topic = "orders-dlt"))]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", dead_letter(topic = DEAD, topic = DEAD))]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", dead_letter(partitions = DEAD))]
async fn listener_2(_: String) {}

#[kafka_listener(topic = "orders", retry(topic = DEAD))]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
