use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn listener(_: String, #[cfg(unix)] _key: Key<String>) {}

fn main() {}
