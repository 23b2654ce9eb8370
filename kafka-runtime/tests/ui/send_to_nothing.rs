use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", send_to = "enriched")]
async fn nothing(_: String) {}

#[kafka_listener(topic = "orders", reply)]
async fn nothing_or_an_error(_: String) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {}
