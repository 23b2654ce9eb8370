use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async unsafe fn dangerous(_: String) {}

#[kafka_listener(topic = "orders")]
async extern "C" fn foreign(_: String) {}

fn main() {}
