use kafka_runtime::prelude::*;

#[kafka_listener(topic = "orders", group = "billing", pause_when(interval = "5s"))]
async fn no_check(_: String) {}

#[kafka_listener(topic = "orders", group = "billing", pause_when(check = "bank", every = "5s"))]
async fn no_such_part(_: String) {}

#[kafka_listener(topic = "orders", group = "billing", pause_when(check = "bank", check = "mail"))]
async fn twice(_: String) {}

#[kafka_listener(topic = "orders", group = "billing", pause_when = is_down)]
async fn a_function(_: String) {}

fn main() {}
