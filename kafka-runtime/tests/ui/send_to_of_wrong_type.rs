use kafka_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Order;
#[derive(Serialize)]
struct Invoice;

const INVOICES: Topic<Invoice> = Topic::new("invoices");

#[kafka_listener(topic = "orders", send_to = INVOICES)]
async fn bill(order: Order) -> Result<Option<Order>, std::io::Error> {
    Ok(Some(order))
}

fn main() {}
