use kafka_runtime::prelude::*;

use std::cell::Cell;

#[kafka_listener(topic = "orders")]
async fn listener(_: String, _: State<Cell<u8>>) {}

fn main() {}
