use kafka_runtime::prelude::*;

struct Enriched;

#[kafka_listener(topic = "orders", send_to = "enriched")]
async fn plain(_: String) -> Enriched {
    Enriched
}

#[kafka_listener(topic = "orders", send_to = "enriched")]
async fn inside(_: String) -> Result<Vec<Enriched>, std::io::Error> {
    Ok(Vec::new())
}

fn main() {}
