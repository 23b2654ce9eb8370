use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", properties = "x")]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", properties(max_poll_records = 10))]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", properties("fetch.min.bytes" = 1, "fetch.min.bytes" = 2))]
async fn listener_2(_: String) {}

#[kafka_listener(topic = "orders", properties("" = "x", "a" = "${"))]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
