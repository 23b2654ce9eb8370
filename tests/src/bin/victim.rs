//! A service for tests to kill: it runs the configuration in `VICTIM_YAML` and says what it handles, one line a record,
//! before the handler returns. It fails on the record whose number is in `VICTIM_POISON`, and never
//! returns from the one in `VICTIM_STUCK`, nor from any that has the number in `VICTIM_STUCK_FROM` or a higher one. With `VICTIM_SLEEP` it waits so many milliseconds for another service with each, and
//! says after that. `VICTIM_LISTENER` is another of its listeners to be run in place of `victim`.

use std::io::Write;
use std::sync::LazyLock;
use std::time::Duration;

use kafka_runtime::prelude::*;
use tests::Downstream;

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

#[kafka_listener]
async fn victim(record: Numbered, meta: Metadata) -> Result<(), String> {
    if std::env::var("VICTIM_POISON").is_ok_and(|poison| poison == record.n.to_string()) {
        return Err("poison".into());
    }
    if let Some(service) = &*SERVICE {
        service.call().await;
    }
    say(&record, &meta);
    if *STUCK == Some(record.n) || STUCK_FROM.is_some_and(|from| record.n >= from) {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Says what it was handed before it acknowledges that, some milliseconds later and in another order.
#[kafka_listener(ack = "manual")]
async fn by_hand(record: Numbered, meta: Metadata, ack: Ack) {
    say(&record, &meta);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(record.n * 7 % 20)).await;
        drop(ack.ack());
    });
}

#[kafka_listener(batch)]
async fn in_batches(records: Batch<Numbered>) {
    for item in records.items() {
        say(item.payload(), &item.metadata());
    }
}

fn say(record: &Numbered, meta: &Metadata) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "handled\t{}\t{}\t{}", meta.partition(), meta.offset(), record.n);
    let _ = out.flush();
}

/// The record whose handler never returns, if any.
static STUCK: LazyLock<Option<u64>> = LazyLock::new(|| std::env::var("VICTIM_STUCK").ok()?.parse().ok());

/// The first record of those whose handlers never return, if any.
static STUCK_FROM: LazyLock<Option<u64>> =
    LazyLock::new(|| std::env::var("VICTIM_STUCK_FROM").ok()?.parse().ok());

static SERVICE: LazyLock<Option<Downstream>> = LazyLock::new(|| {
    let takes = std::env::var("VICTIM_SLEEP").ok()?.parse().ok()?;
    Some(Downstream::new(Duration::from_millis(takes)))
});

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tests::log_to_stderr();
    let listener = std::env::var("VICTIM_LISTENER").unwrap_or_else(|_| "victim".into());
    App::from_yaml(&std::env::var("VICTIM_YAML")?)?.only([listener.as_str()]).run().await?;
    println!("stopped");
    Ok(())
}
