use kafka_runtime::prelude::*;

struct Trace;

#[kafka_listener(topic = "orders")]
async fn listener(_: String, #[header("trace")] _: Trace) {}

#[kafka_listener(topic = "orders")]
async fn optional(_: String, #[header("trace")] _: Option<Trace>) {}

fn main() {}
