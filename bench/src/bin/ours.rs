//! This project's annotated listener: `MODE[+STRATEGY[+EVERY[+MOST]]]`, MODE one of `owned`, `borrowed`, `batch`; STRATEGY `sync`,
//! `async`, `combined`; EVERY as in YAML (`record`, `batch`, `{records: 500}`); MOST is `max-poll-records`.

use bench::{BorrowedOrder, Order, Tally, Task, wait_for_the_end};
use kafka_runtime::prelude::*;

#[kafka_listener]
async fn owned(order: Order, tally: &State<Tally>, task: &State<Task>) {
    tally.add(order.total_cents, task.records);
}

#[kafka_listener]
async fn borrowed(order: BorrowedOrder<'_>, tally: &State<Tally>, task: &State<Task>) {
    tally.add(order.total_cents, task.records);
}

#[kafka_listener(batch)]
async fn batch(orders: Vec<Order>, tally: &State<Tally>, task: &State<Task>) {
    for order in orders {
        tally.add(order.total_cents, task.records);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = Task::read();
    let mut words = task.mode.split('+');
    let listener = match words.next() {
        Some("borrowed") => "borrowed",
        Some("batch") => "batch",
        _ => "owned",
    };
    let commit = match (words.next(), words.next()) {
        (None, _) => String::new(),
        (Some(strategy), None) => format!(", commit: {{strategy: {strategy}}}"),
        (Some(strategy), Some(every)) => format!(", commit: {{strategy: {strategy}, every: {every}}}"),
    };
    let most = words.next().map(|most| format!(", max-poll-records: {most}")).unwrap_or_default();
    let yaml = format!(
        "spring: {{kafka: {{bootstrap-servers: '{}', consumer: {{auto-offset-reset: earliest}}}}}}\nkafka-runtime: {{listeners: {{{listener}: {{topic: {}, group: {}{commit}{most}}}}}}}\n",
        task.servers, task.topic, task.group
    );
    let app = App::from_yaml(&yaml)?.only([listener]).state(Tally::default()).state(task).start().await?;
    tokio::task::spawn_blocking(wait_for_the_end).await?;
    app.stop().await?;
    Ok(())
}
