//! rdkafka's StreamConsumer and BaseConsumer with serde_json, at defaults and tuned: `stream`, `stream-tuned`, `base`,
//! `base-tuned`.

use std::time::Duration;

use bench::{Order, Tally, Task, wait_for_the_end};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};

fn config(task: &Task) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &task.servers)
        .set("group.id", &task.group)
        .set("auto.offset.reset", "earliest");
    if task.mode.ends_with("tuned") {
        config.set("fetch.queue.backoff.ms", "1").set("queued.max.messages.kbytes", "65536");
    }
    config
}

async fn stream(task: &Task) {
    let consumer: StreamConsumer = config(task).create().expect("consumer");
    consumer.subscribe(&[&task.topic]).expect("subscribe");
    let tally = Tally::default();
    loop {
        let message = consumer.recv().await.expect("message");
        let order: Order = serde_json::from_slice(message.payload().expect("value")).expect("json");
        if tally.add(order.total_cents, task.records) {
            return wait_for_the_end();
        }
    }
}

fn base(task: &Task) {
    let consumer: BaseConsumer = config(task).create().expect("consumer");
    consumer.subscribe(&[&task.topic]).expect("subscribe");
    let tally = Tally::default();
    loop {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("message");
        let order: Order = serde_json::from_slice(message.payload().expect("value")).expect("json");
        if tally.add(order.total_cents, task.records) {
            return wait_for_the_end();
        }
    }
}

#[tokio::main]
async fn main() {
    let task = Task::read();
    if task.mode.starts_with("stream") { stream(&task).await } else { base(&task) }
}
