use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", send_to = "enriched", batch)]
async fn one_for_all(orders: Vec<String>) -> String {
    orders.concat()
}

#[kafka_listener(topic = "orders", send_to = "enriched", batch)]
async fn in_part(orders: Vec<String>) -> Result<Vec<String>, BatchError<std::io::Error>> {
    Ok(orders)
}

fn main() {}
