//! ruststream over rdkafka, with its JSON codec, at defaults and tuned (`tuned`); commits are its own tracked ones.

use std::sync::OnceLock;

use bench::{Order, Tally, Task, wait_for_the_end};
use ruststream_rdkafka::prelude::*;

static TASK: OnceLock<Task> = OnceLock::new();
static TALLY: OnceLock<Tally> = OnceLock::new();

fn task() -> &'static Task {
    TASK.get_or_init(Task::read)
}

#[subscriber(KafkaTopic::new(task().topic.as_str()).start(StartOffset::Earliest).commit(Commit::Tracked))]
async fn handle(order: &Order) -> HandlerOutcome {
    TALLY.get_or_init(Tally::default).add(order.total_cents, task().records);
    HandlerOutcome::ack()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut broker = KafkaBroker::new([task().servers.as_str()]).default_group(task().group.as_str());
    if task().mode == "tuned" {
        broker = broker.config("fetch.queue.backoff.ms", "1").config("queued.max.messages.kbytes", "65536");
    }
    let service = RustStream::new(AppInfo::new("bench", "0.1.0")).with_broker(broker, |b| {
        b.include(handle);
    });
    tokio::spawn(service.run());
    tokio::task::spawn_blocking(wait_for_the_end).await?;
    Ok(())
}
