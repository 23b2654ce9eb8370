use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
fn listener(_: String) {}

fn main() {
    listener(String::new());
}
