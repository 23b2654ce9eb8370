use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", rate_limit = "fast", on_revoke = "wait")]
async fn listener_0(_: String) {}

#[kafka_listener(topic = "orders", circuit_breaker(pause = "10s"))]
async fn listener_1(_: String) {}

#[kafka_listener(topic = "orders", circuit_breaker(failures = 5, after = 1), drain_timeout = "soon")]
async fn listener_2(_: String) {}

fn main() {}
