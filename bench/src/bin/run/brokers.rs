//! Brokers side by side under the same clients: the embedded one, Apache Kafka, and kfake where Go is. Each is a process;
//! what it takes to start, what it holds then, and how much of the machine a record costs it are read from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kafka_embedded::EmbeddedKafka;

use crate::contestants::{Contestant, rust};
use crate::options::{Options, Workload};
use crate::process::{Running, cpu_of, memory_of, output};
use crate::report::{Spread, heading, row};
use crate::throughput::environment;

/// How often a program of ours is started.
const STARTS: usize = 20;
/// Requests that each wait for the one before.
const ONE: u64 = 5_000;
/// How long a broker may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that runs. One that was started here ends with this value.
struct Broker {
    name: &'static str,
    servers: String,
    pid: u32,
    child: Option<Child>,
    /// From its start to its first answer.
    start: Option<Duration>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A broker as a program that says something once it listens.
fn start(name: &'static str, program: &str, arguments: &[&str], port: u16) -> Option<Broker> {
    if !Path::new(program).exists() {
        eprintln!("without {name}: it was not built ({program})");
        return None;
    }
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let servers = format!("127.0.0.1:{port}");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("its first line");
    first_answer(&servers, started);
    let start = Some(started.elapsed());
    Some(Broker { name, servers, pid: child.id(), child: Some(child), start })
}

fn embedded() -> Option<Broker> {
    let port = free_port();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/kafka-embedded");
    start("embedded", program, &["--listen", &format!("127.0.0.1:{port}")], port)
}

fn kfake() -> Option<Broker> {
    let port = free_port();
    start("kfake", concat!(env!("CARGO_MANIFEST_DIR"), "/go/kfake/kfake"), &[&port.to_string()], port)
}

/// The node of `scripts/with-kafka`, started again.
fn apache(servers: &str) -> Option<Broker> {
    let node = format!("{}/node-1", std::env::var("KAFKA_CLUSTER_DIR").ok()?);
    let pid = || std::fs::read_to_string(format!("{node}/pid")).expect("pid").trim().to_owned();
    let stopped = Command::new("kill").args(["-9", &pid()]).status().expect("kill");
    assert!(stopped.success(), "Apache Kafka did not run");
    while TcpStream::connect(servers).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let started = Instant::now();
    assert!(Command::new(format!("{node}/start")).status().expect("start").success());
    first_answer(servers, started);
    let (servers, pid) = (servers.to_owned(), pid().parse().expect("pid"));
    Some(Broker { name: "Apache Kafka", servers, pid, child: None, start: Some(started.elapsed()) })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port").port()
}

/// Asks for ApiVersions until it is answered.
fn first_answer(servers: &str, since: Instant) {
    while asked(servers).is_err() {
        assert!(since.elapsed() < PATIENCE, "{servers} does not answer");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn asked(servers: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(servers)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // ApiVersions v0, correlation 1, no client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
    stream.read_exact(&mut [0; 4])
}

/// From `EmbeddedKafka::builder` to the first answer, within one process.
fn in_process() -> Duration {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let kafka = runtime.block_on(EmbeddedKafka::builder().topic("orders", 6).start()).expect("start");
    asked(&kafka.bootstrap_servers()).expect("an answer");
    let took = started.elapsed();
    runtime.block_on(kafka.shutdown());
    took
}

pub(crate) fn run(options: &Options, servers: &str) -> String {
    let mut text = starts(options, servers);
    let brokers: Vec<Broker> = [embedded(), apache(servers), kfake()].into_iter().flatten().collect();
    for workload in options.workloads() {
        text.push_str(&throughput(options, &brokers, &workload));
    }
    text.push_str(&one_at_a_time(options, &brokers));
    text
}

fn starts(options: &Options, servers: &str) -> String {
    let columns = ["broker", "ms to the first answer", "MB resident then"];
    let mut text = heading("Start", STARTS, &columns);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let within = Spread::of((0..STARTS).map(|_| millis(in_process())));
    text.push_str(&row("embedded, in the test's process", &[within.shown(2), "-".to_owned()]));
    let mut add = |name, times: usize, start: &dyn Fn() -> Option<Broker>| {
        let started: Vec<(f64, f64)> = (0..times)
            .filter_map(|_| start())
            .map(|broker| {
                (millis(broker.start.unwrap_or_default()), memory_of(broker.pid, "VmRSS:") as f64 / 1024.0)
            })
            .collect();
        if !started.is_empty() {
            let time = Spread::of(started.iter().map(|one| one.0));
            let memory = Spread::of(started.iter().map(|one| one.1));
            text.push_str(&row(name, &[time.shown(1), memory.shown(1)]));
        }
    };
    add("embedded, as a program", STARTS, &embedded);
    add("kfake, as a program", STARTS, &kfake);
    add("Apache Kafka", options.rounds, &|| apache(servers));
    text
}

/// A client, what it does and what it prints at its end.
struct Load {
    name: &'static str,
    binary: &'static str,
    mode: &'static str,
    /// What it says first, where its time counts from there, and last.
    first: Option<&'static str>,
    last: &'static str,
}

const LOADS: [Load; 6] = [
    Load {
        name: "send: prepared requests",
        binary: "wire",
        mode: "produce",
        first: Some("first"),
        last: "done",
    },
    Load { name: "send: our client", binary: "produce", mode: "client many", first: None, last: "filled" },
    Load {
        name: "send: librdkafka",
        binary: "produce",
        mode: "librdkafka many",
        first: None,
        last: "filled",
    },
    Load { name: "fetch: bare requests", binary: "wire", mode: "fetch", first: Some("first"), last: "done" },
    Load { name: "fetch: our client", binary: "drain", mode: "client", first: Some("first"), last: "done" },
    Load {
        name: "fetch: librdkafka",
        binary: "drain",
        mode: "librdkafka",
        first: Some("first"),
        last: "done",
    },
];

/// Thousand records a second, and microseconds of the broker's CPU time for each.
type Measured = [f64; 2];

fn throughput(options: &Options, brokers: &[Broker], workload: &Workload) -> String {
    let mut text = String::new();
    let Workload { records, partitions, codec } = workload;
    let title = format!("{records} orders of 290 bytes, {partitions} partitions, compression {codec}");
    let columns = ["client", "broker", "thousand records/s", "us of the broker's CPU a record"];
    text.push_str(&heading(&title, options.rounds, &columns));
    for broker in brokers {
        output("fill", codec, &environment(workload, &broker.servers, &filled(workload), "fill"));
    }
    for load in LOADS.iter().filter(|load| options.wants(load.name)) {
        let mut runs: Vec<Vec<Measured>> = vec![Vec::new(); brokers.len()];
        // Round 0 warms up and is not counted.
        for round in 0..=options.rounds {
            for (broker, runs) in brokers.iter().zip(&mut runs) {
                match measure(load, broker, workload, round) {
                    Ok(figures) => {
                        eprintln!("round {round} {} {}: {figures:?}", load.name, broker.name);
                        if round > 0 {
                            runs.push(figures);
                        }
                    }
                    Err(error) => eprintln!("round {round} {} {}: {error}", load.name, broker.name),
                }
            }
        }
        for (broker, runs) in brokers.iter().zip(&runs).filter(|(_, runs)| !runs.is_empty()) {
            let of = |which: usize, digits| Spread::of(runs.iter().map(|one| one[which])).shown(digits);
            text.push_str(&row(load.name, &[broker.name.to_owned(), of(0, 0), of(1, 2)]));
        }
    }
    text
}

fn filled(workload: &Workload) -> String {
    format!("filled-{}-{}", workload.partitions, workload.codec)
}

fn measure(load: &Load, broker: &Broker, workload: &Workload, round: usize) -> Result<Measured, String> {
    let sends = load.name.starts_with("send");
    let topic =
        if sends { new_topic(broker, load.name, round, workload.partitions) } else { filled(workload) };
    let contestant: Contestant = rust(load.name, load.binary, load.mode);
    let before = cpu_of(broker.pid);
    let running = Running::start(&contestant, &environment(workload, &broker.servers, &topic, "brokers"))?;
    let first = load.first.map(|word| running.line(word)).transpose()?.map_or(running.started, |(at, _)| at);
    let (last, _) = running.line(load.last)?;
    let records = workload.records as f64;
    let micros = (cpu_of(broker.pid) - before).as_secs_f64() * 1e6 / records;
    // Nothing is kept of it: what a broker holds in memory would weigh on those that come after.
    if sends {
        output("fill", "delete", &environment(workload, &broker.servers, &topic, "fill"));
    }
    Ok([records / (last - first).as_secs_f64() / 1e3, micros])
}

/// A topic of its own, led before anything is measured.
fn new_topic(broker: &Broker, load: &str, round: usize, partitions: i32) -> String {
    let topic = format!("{}-{round}", load.replace([' ', ':'], "-"));
    let empty = Workload { records: 0, partitions, codec: "none".into() };
    output("fill", "none", &environment(&empty, &broker.servers, &topic, "fill"));
    std::thread::sleep(Duration::from_millis(500));
    topic
}

fn one_at_a_time(options: &Options, brokers: &[Broker]) -> String {
    let title = format!("{ONE} produce requests of one order, each after the answer to the one before");
    let mut text = heading(&title, options.rounds, &["broker", "p50, us", "p99, us"]);
    let workload = Workload { records: ONE, partitions: 1, codec: "none".into() };
    for broker in brokers {
        let figures: Vec<[f64; 2]> = (0..=options.rounds)
            .map(|round| {
                let topic = new_topic(broker, "one", round, 1);
                let environment = environment(&workload, &broker.servers, &topic, "one");
                let running = Running::start(&rust("one", "wire", "one"), &environment).expect("wire");
                let (_, found) = running.line("latency").expect("latency");
                let mut words = found.split(' ').filter_map(|word| word.parse().ok());
                [words.next().expect("p50"), words.next().expect("p99")]
            })
            .skip(1)
            .collect();
        let of = |which: usize| Spread::of(figures.iter().map(|one| one[which])).shown(0);
        text.push_str(&row(broker.name, &[of(0), of(1)]));
    }
    text
}
