use kafka_runtime::prelude::*;

struct Service;

impl Service {
    #[kafka_listener(topic = "orders")]
    async fn listener(_: String) {}
}

fn main() {
    drop(Service::listener(String::new()));
}
