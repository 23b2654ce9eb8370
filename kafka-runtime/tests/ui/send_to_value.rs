use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", send_to = ["a", "b"])]
async fn listener_0(order: String) -> String { order }

#[kafka_listener(topic = "orders", send_to = "no topic")]
async fn listener_1(order: String) -> String { order }

#[kafka_listener(topic = "orders", send_to)]
async fn listener_2(order: String) -> String { order }

#[kafka_listener(topic = "orders", reply = "answers")]
async fn listener_3(order: String) -> String { order }

fn main() {
    drop((listener_0(String::new()), listener_1(String::new()), listener_2(String::new())));
    drop(listener_3(String::new()));
}
