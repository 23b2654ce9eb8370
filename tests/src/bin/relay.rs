//! A service for tests to kill: it sends on what it reads, by the configuration in `RELAY_YAML`.

use kafka_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Numbered {
    n: u64,
}

#[kafka_listener(send_to = "${relay.to}")]
async fn relay(record: Numbered) -> Numbered {
    record
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tests::log_to_stderr();
    App::from_yaml(&std::env::var("RELAY_YAML")?)?.run().await?;
    Ok(())
}
