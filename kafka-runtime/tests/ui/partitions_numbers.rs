use kafka_runtime::prelude::*;

#[kafka_listener(partitions("orders", "3-1"))]
async fn listener_0(_: String) {}

#[kafka_listener(partitions("orders", "all"))]
async fn listener_1(_: String) {}

#[kafka_listener(partitions("orders", "0", from = "beginning"))]
async fn listener_2(_: String) {}

#[kafka_listener(partitions("or ders", "0,,1", from = -1))]
async fn listener_3(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
}
