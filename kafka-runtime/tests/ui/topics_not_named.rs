use kafka_runtime::prelude::*;

const ORDERS: Topic<String> = Topic::new("orders");

#[kafka_listener(topics = [ORDERS, 42])]
async fn listener_0(_: String) {}

#[kafka_listener(topics = ["orders", 1 + 1])]
async fn listener_1(_: String) {}

#[kafka_listener(topics = [ORDERS.name()])]
async fn listener_2(_: String) {}

#[kafka_listener(topics = ORDERS)]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
