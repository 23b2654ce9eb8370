use kafka_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Order;
#[derive(Serialize, Deserialize)]
struct Refund;

const REFUNDS: Topic<Refund> = Topic::new("refunds-dlt");

#[kafka_listener(topic = "orders", group = "billing", dead_letter = REFUNDS)]
async fn single(_: Order) {}

#[kafka_listener(topic = "orders", group = "billing", batch, dead_letter(topic = REFUNDS, partitions = 3))]
async fn many(_: Vec<Order>) {}

fn main() {}
