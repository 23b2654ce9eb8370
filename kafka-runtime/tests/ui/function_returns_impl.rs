use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders")]
async fn listener(_: String) -> impl Send {}

#[kafka_listener(topic = "orders")]
async fn never(_: String) -> ! {
    loop {}
}

fn main() {}
