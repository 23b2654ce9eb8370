use kafka_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Order;
#[derive(Serialize, Deserialize)]
struct Refund;

const ORDERS: Topic<Order> = Topic::new("orders");
const REFUNDS: Topic<Refund> = Topic::new("refunds");

#[kafka_listener(topics = [ORDERS, "returns", REFUNDS], group = "billing")]
async fn listener(_: Order) {}

fn main() {}
