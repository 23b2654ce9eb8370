//! A service for the chaos suite: it runs the configuration in `SURVIVOR_YAML` and says, a line each with the time in
//! microseconds, when a handler begins a record (`begun`), when its first attempt fails (`failed`) and when it is done (`done`), and which
//! partitions it got, gives back or lost (`assigned`, `revoked`, `lost`). Some records fail or panic at their first attempt, and
//! some always ([`tests::fails_for_good`]).

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
async fn survivor(record: Numbered, meta: Metadata) -> Result<(), &'static str> {
    let (n, is_first) = (record.n, meta.attempt() == 1);
    let note = |word| say(word, format_args!("{}\t{}\t{n}", meta.partition(), meta.offset()));
    if is_first {
        note("begun");
    }
    tokio::time::sleep(Duration::from_micros(n % 5 * 500)).await;
    let (fails, panics) = (tests::fails_for_good(n) || (is_first && n % 17 == 0), is_first && n % 101 == 0);
    if is_first && (fails || panics) {
        note("failed");
    }
    if panics {
        // Without a word on the standard error.
        std::panic::resume_unwind(Box::new("it panics at first"));
    }
    if fails {
        return Err("refused");
    }
    note("done");
    Ok(())
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
