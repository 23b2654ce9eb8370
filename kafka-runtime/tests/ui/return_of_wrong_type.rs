use kafka_runtime::prelude::*;

struct NotAnError;

#[kafka_listener(topic = "orders")]
async fn number(_: String) -> u32 {
    1
}

#[kafka_listener(topic = "orders")]
async fn value(_: String) -> Result<u32, std::io::Error> {
    Ok(1)
}

#[kafka_listener(topic = "orders")]
async fn no_error(_: String) -> Result<(), NotAnError> {
    Err(NotAnError)
}

#[kafka_listener(topic = "orders")]
async fn of_batches(_: String) -> Result<(), BatchError<String>> {
    Ok(())
}

fn main() {}
