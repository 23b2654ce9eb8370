use kafka_runtime::prelude::*;

#[kafka_listener(topic = "a b", grup = "billing", concurrency = 0, commit = "never", retry(attempts = 3))]
async fn listener_0(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
}
