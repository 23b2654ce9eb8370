use kafka_runtime::prelude::*;

struct Closed;

#[kafka_listener(topic = "orders", retry(never = [Closed]))]
async fn listener(_: String) -> Result<(), std::io::Error> {
    let _ = Closed;
    Ok(())
}

fn main() {
    drop(listener(String::new()));
}
