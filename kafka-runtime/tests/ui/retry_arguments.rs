use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", retry)]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", retry(attempts = 0, backoff = "1s..soon", jitter = 2, multiplier = 0.5))]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", retry(attempt = 5, wait = "1s"))]
async fn listener_2(_: String) {}

#[kafka_listener(topic = "orders", retry(only = "BankError", never = []))]
async fn listener_3(_: String) {}

#[kafka_listener(topic = "orders", retry(attempts = 5, attempts = 6, except = [String]))]
async fn listener_4(_: String) {}

// The functions stay callable: no errors but their attributes'.
fn main() {
    drop(listener_0(String::new()));
    drop(listener_1(String::new()));
    drop(listener_2(String::new()));
    drop(listener_3(String::new()));
    drop(listener_4(String::new()));
}
