//! Runs the contestants side by side, interleaved, several rounds, each as a process of its own, and writes the table.
//!
//! `bench/run` builds everything and starts it under `scripts/with-kafka`. Arguments: `--records N`, `--rounds N`,
//! `--partitions N`, `--codec none|lz4`, `--only NAME[,NAME...]`, `--out FILE`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A contestant: its name in the table, and the command that runs it.
struct Contestant {
    name: &'static str,
    command: Vec<String>,
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
struct Figures {
    start_to_first: Duration,
    first_to_last: Duration,
    cpu: Duration,
    peak_kib: u64,
}

struct Options {
    records: u64,
    rounds: usize,
    partitions: i32,
    codec: String,
    only: Vec<String>,
    out: Option<String>,
}

fn options() -> Options {
    let mut options =
        Options { records: 1_000_000, rounds: 3, partitions: 4, codec: "none".into(), only: Vec::new(), out: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--records" => options.records = value.parse().expect("a number"),
            "--rounds" => options.rounds = value.parse().expect("a number"),
            "--partitions" => options.partitions = value.parse().expect("a number"),
            "--codec" => options.codec = value,
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            "--out" => options.out = Some(value),
            _ => panic!("unknown option {name}"),
        }
    }
    options
}

fn contestants() -> Vec<Contestant> {
    let here = std::env::current_exe().expect("path").parent().expect("folder").to_owned();
    let bench = env!("CARGO_MANIFEST_DIR");
    let rust = |name, binary: &str, mode: &str| Contestant {
        name,
        command: vec![here.join(binary).display().to_string(), mode.to_owned()],
    };
    let mut all = vec![
        rust("ours", "ours", "owned"),
        rust("ours borrowed", "ours", "borrowed"),
        rust("ours batch", "ours", "batch"),
        rust("ours sync per batch", "ours", "owned+sync+batch"),
        rust("ours {records: 500}", "ours", "owned+combined+{records: 500}"),
        rust("hand-written loop", "handloop", "owned"),
        rust("rdkafka stream", "librdkafka", "stream"),
        rust("rdkafka stream tuned", "librdkafka", "stream-tuned"),
        rust("rdkafka base", "librdkafka", "base"),
        rust("rdkafka base tuned", "librdkafka", "base-tuned"),
        rust("rskafka", "rskafka", ""),
    ];
    let go = format!("{bench}/go/contestant");
    if std::path::Path::new(&go).exists() {
        all.push(Contestant { name: "franz-go", command: vec![go.clone(), "franz".into()] });
        all.push(Contestant { name: "kafka-go", command: vec![go, "segmentio".into()] });
    }
    let spring = format!("{bench}/spring/target/libs");
    if std::path::Path::new(&spring).exists() {
        for (name, concurrency) in [("Spring Kafka", "1"), ("Spring Kafka, 2 consumers", "2")] {
            let classpath = format!("{bench}/spring/target/classes:{spring}/*");
            all.push(Contestant {
                name,
                command: ["java", "-Xmx1g", "-cp", &classpath, "bench.Contestant", concurrency].map(str::to_owned).to_vec(),
            });
        }
    }
    all
}

/// User and system time of a process, from its `stat`.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    // USER_HZ is 100 on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("kB")
}

fn run(contestant: &Contestant, environment: &[(&str, String)], sum: u64) -> Result<Figures, String> {
    let started = Instant::now();
    let mut child = Command::new(&contestant.command[0])
        .args(&contestant.command[1..])
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (mut first, mut result) = (None, Err("ended before it was done".to_owned()));
    let (lines, received) = std::sync::mpsc::channel();
    let out = child.stdout.take().expect("stdout");
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).all(|line| lines.send((Instant::now(), line)).is_ok()));
    while let Ok((at, line)) = received.recv_timeout(Duration::from_secs(180)) {
        if line == "first" {
            first = Some(at);
        } else if let Some(done) = line.strip_prefix("done ") {
            let found = done.split(' ').nth(1).and_then(|sum| sum.parse::<u64>().ok());
            result = match (first, found) {
                (Some(first), Some(found)) if found == sum => Ok(Figures {
                    start_to_first: first - started,
                    first_to_last: at - first,
                    cpu: cpu(child.id()),
                    peak_kib: peak_kib(child.id()),
                }),
                _ => Err(format!("wrong sum: {done}, expected {sum}")),
            };
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    result
}

fn fill(options: &Options, servers: &str, topic: &str) -> (u64, String) {
    let here = std::env::current_exe().expect("path").parent().expect("folder").to_owned();
    let output = Command::new(here.join("fill"))
        .arg(&options.codec)
        .envs(environment(options, servers, topic, "fill"))
        .output()
        .expect("fill");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"filled"), "{}", String::from_utf8_lossy(&output.stderr));
    (words[2].parse().expect("sum"), words[3].to_owned())
}

fn environment(options: &Options, servers: &str, topic: &str, group: &str) -> Vec<(&'static str, String)> {
    vec![
        ("BENCH_SERVERS", servers.to_owned()),
        ("BENCH_TOPIC", topic.to_owned()),
        ("BENCH_GROUP", group.to_owned()),
        ("BENCH_RECORDS", options.records.to_string()),
        ("BENCH_PARTITIONS", options.partitions.to_string()),
    ]
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn main() {
    let options = options();
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").expect("run under scripts/with-kafka");
    let topic = format!("orders-{}-{}", options.partitions, options.codec);
    let (sum, bytes) = fill(&options, &servers, &topic);
    let all: Vec<Contestant> =
        contestants().into_iter().filter(|one| options.only.is_empty() || options.only.iter().any(|name| name == one.name)).collect();
    let mut runs: BTreeMap<usize, Vec<Figures>> = BTreeMap::new();
    for round in 0..=options.rounds {
        for (index, contestant) in all.iter().enumerate() {
            let group = format!("bench-{index}-{round}");
            match run(contestant, &environment(&options, &servers, &topic, &group), sum) {
                // The first round warms the broker's page cache and the programs'.
                Ok(_) if round == 0 => {}
                Ok(figures) => {
                    eprintln!("round {round} {}: {figures:?}", contestant.name);
                    runs.entry(index).or_default().push(figures);
                }
                Err(error) => eprintln!("round {round} {}: {error}", contestant.name),
            }
        }
    }

    let mut table = format!(
        "{} orders of {bytes} bytes of JSON, {} partitions, compression {}, Apache Kafka {}, {} rounds, {} cores\n\n",
        options.records,
        options.partitions,
        options.codec,
        std::env::var("KAFKA_VERSION").unwrap_or_default(),
        options.rounds,
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    table.push_str("| contestant | thousand records/s, median (min-max) | us of CPU a record | peak MB | ms to the first record |\n|---|---|---|---|---|\n");
    for (index, figures) in runs {
        let records = options.records as f64;
        let rate = median(figures.iter().map(|one| records / one.first_to_last.as_secs_f64() / 1e3).collect());
        let cpu = median(figures.iter().map(|one| one.cpu.as_secs_f64() * 1e6 / records).collect());
        let peak = median(figures.iter().map(|one| one.peak_kib as f64 / 1024.0).collect());
        let first = median(figures.iter().map(|one| one.start_to_first.as_secs_f64() * 1e3).collect());
        let _ = writeln!(
            table,
            "| {} | {:.0} ({:.0}-{:.0}) | {:.2} | {:.0} | {:.0} |",
            all[index].name, rate.0, rate.1, rate.2, cpu.0, peak.0, first.0
        );
    }
    println!("{table}");
    if let Some(out) = options.out {
        std::fs::write(&out, table).expect("write");
    }
}
