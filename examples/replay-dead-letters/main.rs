//! `cargo run --bin replay-dead-letters -- FILE TOPIC [...]` sends the dead letters of a topic back to where they failed,
//! each at most once, whoever runs it how often (for as long as the brokers keep the note of it, see `Replay`). `FILE` is the service's own `application.yml`.

use std::process::ExitCode;

use kafka_runtime::config::Config;
use kafka_runtime::dead_letter::Replay;

const USAGE: &str =
    "usage: replay-dead-letters FILE TOPIC [--partition N] [--from OFFSET] [--to OFFSET (not included)]
       [--header NAME[=VALUE]]... [--error TYPE-OR-WORDS]... [--to-topic TOPIC] [--group GROUP] [--dry-run]";

/// What the arguments say: the file, and what is to be replayed.
fn read(mut arguments: impl Iterator<Item = String>) -> Result<(String, Replay), String> {
    let file = arguments.next().ok_or("FILE is missing")?;
    let mut replay = Replay::of(arguments.next().ok_or("TOPIC is missing")?);
    let (mut from, mut to) = (0, i64::MAX);
    while let Some(name) = arguments.next() {
        if name == "--dry-run" {
            replay = replay.dry_run();
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value, or is not known"))?;
        let number = || value.parse::<i64>().map_err(|_| format!("{name} {value}: not a number"));
        replay = match name.as_str() {
            "--partition" => {
                replay.partition(value.parse().map_err(|_| format!("{name} {value}: not a partition"))?)
            }
            "--from" => {
                from = number()?;
                replay
            }
            "--to" => {
                to = number()?;
                replay
            }
            "--header" => match value.split_once('=') {
                Some((name, value)) => replay.header(name, value),
                None => replay.with_header(value),
            },
            "--error" => replay.error(value),
            "--to-topic" => replay.to_topic(value),
            "--group" => replay.group(value),
            _ => return Err(format!("{name} is not known")),
        };
    }
    Ok((file, replay.offsets(from..to)))
}

async fn run(file: String, replay: Replay) -> Result<(), Box<dyn std::error::Error>> {
    let done = replay.run(&Config::load(file)?).await?;
    println!(
        "{} sent back, {} had been before, {} not selected, {} of unknown origin",
        done.sent, done.before, done.left, done.homeless
    );
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let (file, replay) = match read(std::env::args().skip(1)) {
        Ok(read) => read,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match run(file, replay).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
