use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", send_to = "enriched")]
async fn listener_0(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
}
