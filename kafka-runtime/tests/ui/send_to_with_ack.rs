use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", send_to = "enriched", ack = "manual")]
async fn by_hand(order: String, _: Ack) -> String {
    order
}

#[kafka_listener(topic = "orders", send_to = "enriched")]
async fn takes_one(order: String, _: Ack) -> String {
    order
}

fn main() {}
