use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
struct Listener;

fn main() {
    let _ = Listener;
}
