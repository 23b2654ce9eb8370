use kafka_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Order;
#[derive(Deserialize)]
struct Refund;

const ORDERS: Topic<Order> = Topic::new("orders");

#[kafka_listener(topic = ORDERS, group = "billing")]
async fn single(_: Refund) {}

#[kafka_listener(topic = ORDERS, group = "billing", batch)]
async fn many(_: Vec<Refund>) {}

#[kafka_listener(topic = ORDERS, group = "billing", batch)]
async fn slice(_: &[Refund]) {}

#[kafka_listener(topic = ORDERS, group = "billing")]
async fn letter(_: DeadLetter<Refund>) {}

fn main() {}
