//! The embedded broker as a program: see `--help`.

use std::process::ExitCode;

use kafka_embedded::{Builder, EmbeddedKafka, RequestSeen};

const HELP: &str = "\
An in-process Kafka broker for development and tests, run alone. Everything is in memory and ends with it.

Usage: kafka-embedded [OPTIONS]

Options:
  --listen HOST:PORT     address of the first broker; others take the ports after it [default: 127.0.0.1:9092]
                         (port 0: free ones)
  --brokers N            how many brokers [default: 1]
  --topic NAME[:N]       a topic with N partitions [default: 1]; may be repeated
  --default-partitions N partitions of topics that are created on first use [default: 1]
  --no-auto-create       refuse unknown topics instead of creating them
  --verbose              print what clients ask
  --help                 print this

The first line that it prints is the bootstrap address: HOST:PORT of each broker, separated by commas. It ends on
Ctrl-C and on SIGTERM.
";

/// What the command line asks for.
enum Asked {
    Help,
    Run(Box<Builder>),
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Asked::Help) => {
            print(HELP.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(builder)) => match run(*builder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), 1),
        },
        Err(error) => fail(&format!("{error}\nTry --help."), 2),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut builder = EmbeddedKafka::builder().listen("127.0.0.1:9092");
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value =
            || inline.clone().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        builder = match name.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--listen" => builder.listen(value()?),
            "--brokers" => builder.brokers(number(&name, &value()?)?),
            "--default-partitions" => builder.default_partitions(number(&name, &value()?)?),
            "--topic" => {
                let topic = value()?;
                let (topic, partitions) = topic.split_once(':').unwrap_or((&topic, "1"));
                builder.topic(topic, number::<u16>(&name, partitions)?.into())
            }
            "--no-auto-create" => builder.auto_create_topics(false),
            "--verbose" => builder.on_request(log),
            _ => return Err(format!("unknown option '{name}'")),
        };
    }
    Ok(Asked::Run(Box::new(builder)))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: '{value}' is not a number that fits"))
}

fn run(builder: Builder) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let kafka = builder.start().await?;
        print(&kafka.bootstrap_servers());
        told_to_end().await?;
        kafka.shutdown().await;
        Ok(())
    })
}

/// Waits for Ctrl-C, or for the signal that process managers send.
async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

fn log(request: &RequestSeen<'_>) {
    let client = request.client_id.unwrap_or("-");
    print(&format!(
        "broker {} {} v{} {} {client}",
        request.broker, request.api, request.version, request.peer
    ));
}

fn print(line: &str) {
    use std::io::Write;
    // A reader that has gone is no reason to stop serving.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn fail(message: &str, code: u8) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "kafka-embedded: {message}");
    ExitCode::from(code)
}
