//! The embedded broker as a program: see `--help`.

use std::process::ExitCode;

use kafka_embedded::{Builder, EmbeddedKafka, RequestSeen};

const HELP: &str = "\
An in-process Kafka broker for development and tests, run alone. Everything is in memory and ends with it.

Usage: kafka-embedded [OPTIONS]

Options:
  --listen HOST:PORT     address of the first broker; others take the ports after it [default: 127.0.0.1:9092]
                         (port 0: free ones; [::1]:9092 for IPv6). Clients are told to connect to this host, and to
                         127.0.0.1 where it is 0.0.0.0 or [::]
  --brokers N            how many brokers [default: 1]
  --topic NAME[:N]       a topic with N partitions [default: 1]; may be repeated
  --default-partitions N partitions of topics that are created on first use [default: 1]
  --no-auto-create       refuse unknown topics instead of creating them
  --verbose              print what clients ask
  --help                 print this

The first line that it prints is the bootstrap address: HOST:PORT of each broker, separated by commas. It ends on
Ctrl-C and on SIGTERM. Exit codes: 0 ended when told, 1 cannot start, 2 wrong options.
";

/// Options without a value.
const FLAGS: &[&str] = &["--help", "-h", "--no-auto-create", "--verbose"];

/// What the command line asks for.
enum Asked {
    Help,
    Run(Box<Builder>),
}

fn main() -> ExitCode {
    // What is no text is refused as an option that is not known.
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    match parse(arguments) {
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
        if FLAGS.contains(&&*name) && inline.is_some() {
            return Err(format!("{name} takes no value"));
        }
        let mut value = || {
            let next = || args.next().filter(|value| !value.starts_with("--"));
            inline.clone().or_else(next).ok_or_else(|| format!("{name} needs a value"))
        };
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
        // Whoever has read the address may end it.
        let end = told_to_end()?;
        let kafka = builder.start().await?;
        print(&kafka.bootstrap_servers());
        end.await;
        kafka.shutdown().await;
        Ok(())
    })
}

/// Listens for Ctrl-C, and for the signal that process managers send, from now on.
#[cfg(unix)]
fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

/// Listens for Ctrl-C from now on.
#[cfg(windows)]
fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupted = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupted.recv().await;
    })
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
