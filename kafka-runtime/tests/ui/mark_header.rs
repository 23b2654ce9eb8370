use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn no_name(_: String, #[header] trace: &str, #[header(trace)] other: &str) {
    let _ = (trace, other);
}

#[kafka_listener(topic = "orders")]
async fn wrong_name(_: String, #[header("")] empty: &str, #[header("${a}")] configured: &str) {
    let _ = (empty, configured);
}

#[kafka_listener(topic = "orders")]
async fn two_names(_: String, #[header("a")] #[header("b")] trace: &str) {
    let _ = trace;
}

fn main() {}
