use kafka_runtime::prelude::*;

struct NotAnError;

#[kafka_listener(topic = "orders", batch)]
async fn number(_: Vec<String>) -> u32 {
    1
}

#[kafka_listener(topic = "orders", batch)]
async fn no_error(_: Vec<String>) -> Result<(), BatchError<NotAnError>> {
    Ok(())
}

fn main() {}
