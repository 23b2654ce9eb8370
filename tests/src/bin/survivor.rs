//! A service for the chaos suite: it runs the configuration in `SURVIVOR_YAML` and says, a line each with the time in
//! microseconds, when a handler begins a record (`begun`) and when it is done with it (`done`), and which partitions it
//! got, gives back or lost (`assigned`, `revoked`, `lost`).

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_runtime::container::{EventKind, ListenerEvent};
use kafka_runtime::prelude::*;

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

#[kafka_listener]
async fn survivor(record: Numbered, meta: Metadata) {
    say("begun", format_args!("{}\t{}\t{}", meta.partition(), meta.offset(), record.n));
    tokio::time::sleep(Duration::from_micros(record.n % 5 * 500)).await;
    say("done", format_args!("{}\t{}\t{}", meta.partition(), meta.offset(), record.n));
}

fn say(word: &str, rest: impl Display) {
    let mut out = std::io::stdout().lock();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    // Who does not listen any more has seen enough.
    let _ = writeln!(out, "{word}\t{now}\t{rest}");
    let _ = out.flush();
}

fn tell(event: &ListenerEvent) {
    let (word, partitions) = match &event.kind {
        EventKind::Assigned(partitions) => ("assigned", partitions),
        EventKind::Revoked(partitions) => ("revoked", partitions),
        EventKind::Lost(partitions) => ("lost", partitions),
        _ => return,
    };
    let numbers: Vec<String> = partitions.iter().map(|one| one.partition.to_string()).collect();
    say(word, numbers.join(","));
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tests::log_to_stderr();
    App::from_yaml(&std::env::var("SURVIVOR_YAML")?)?.on_event(tell).run().await?;
    say("left", "");
    Ok(())
}
