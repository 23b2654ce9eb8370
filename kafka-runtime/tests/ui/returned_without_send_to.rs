use kafka_runtime::prelude::*;

#[derive(Serialize)]
struct Enriched;

#[kafka_listener(topic = "orders")]
async fn plain(_: String) -> Enriched {
    Enriched
}

#[kafka_listener(topic = "orders")]
async fn tried(_: String) -> Result<Enriched, std::io::Error> {
    Ok(Enriched)
}

#[kafka_listener(topic = "orders", batch)]
async fn many(_: Vec<String>) -> Vec<Enriched> {
    Vec::new()
}

fn main() {}
