//! A filled topic, read from the first record to the last by a group whose offsets are committed at its start.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::contestants::{Contestant, readers};
use crate::options::{Options, Workload};
use crate::process::{Running, output};
use crate::report::{Spread, heading, plot, row};

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) start_to_first: Duration,
    pub(crate) first_to_last: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
}

/// A section for every topic that is asked for.
pub(crate) fn run(options: &Options, servers: &str) -> String {
    options.workloads().iter().map(|workload| section(options, servers, workload)).collect()
}

fn section(options: &Options, servers: &str, workload: &Workload) -> String {
    let Workload { records, partitions, codec } = workload;
    let topic = format!("orders-{partitions}-{codec}");
    let filled = output("fill", codec, &environment(workload, servers, &topic, "fill"));
    let words: Vec<&str> = filled.split_whitespace().collect();
    let (sum, bytes) = (words[2].to_owned(), words[3].to_owned());
    let all = readers(options);
    let runs = rounds(options.rounds, &all, |contestant, round| {
        // As it can stand in any configuration.
        let name = contestant.name.replace(|c: char| !c.is_alphanumeric(), "-");
        let group = format!("bench-{round}-{topic}-{name}");
        commit_the_start(servers, &topic, *partitions, &group);
        one(contestant, &environment(workload, servers, &topic, &group), *records, &sum)
    });
    let title =
        format!("{records} orders of {bytes} bytes of JSON, {partitions} partitions, compression {codec}");
    let columns =
        ["contestant", "thousand records/s", "us of CPU a record", "peak MB", "ms to the first record"];
    let mut text = heading(&title, options.rounds, &columns);
    let mut bars = Vec::new();
    for (index, figures) in runs {
        let count = *records as f64;
        let of = |value: fn(&Figures, f64) -> f64| Spread::of(figures.iter().map(|one| value(one, count)));
        let rate = of(|one, count| count / one.first_to_last.as_secs_f64() / 1e3);
        let cpu = of(|one, count| one.cpu.as_secs_f64() * 1e6 / count);
        let peak = of(|one, _| one.peak_kib as f64 / 1024.0);
        let first = of(|one, _| one.start_to_first.as_secs_f64() * 1e3);
        text.push_str(&row(all[index].name, &[rate.shown(0), cpu.shown(2), peak.shown(0), first.shown(0)]));
        bars.push((all[index].name, rate));
    }
    if let Some(out) = &options.out {
        let name = format!("{}-{partitions}-{codec}.svg", out.trim_end_matches(".md"));
        std::fs::write(&name, plot(&format!("Thousand records a second: {title}"), &bars))
            .expect("write the plot");
    }
    text
}

/// Runs all, in turns; the first round warms the page cache and the programs and is not counted.
pub(crate) fn rounds<T: std::fmt::Debug>(
    rounds: usize,
    all: &[Contestant],
    mut run: impl FnMut(&Contestant, usize) -> Result<T, String>,
) -> BTreeMap<usize, Vec<T>> {
    let mut runs: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for round in 0..=rounds {
        for (index, contestant) in all.iter().enumerate() {
            match run(contestant, round) {
                Ok(_) if round == 0 => {}
                Ok(figures) => {
                    eprintln!("round {round} {}: {figures:?}", contestant.name);
                    runs.entry(index).or_default().push(figures);
                }
                Err(error) => eprintln!("round {round} {}: {error}", contestant.name),
            }
        }
    }
    runs
}

fn one(
    contestant: &Contestant,
    environment: &[(&str, String)],
    records: u64,
    sum: &str,
) -> Result<Figures, String> {
    let running = Running::start(contestant, environment)?;
    let (first, _) = running.line("first")?;
    let (last, done) = running.line("done")?;
    let expected = format!("{records} {sum}");
    if done != expected {
        return Err(format!("counted and summed {done}, expected {expected}"));
    }
    Ok(Figures {
        start_to_first: first - running.started,
        first_to_last: last - first,
        cpu: running.cpu(),
        peak_kib: running.peak_kib(),
    })
}

pub(crate) fn environment(
    workload: &Workload,
    servers: &str,
    topic: &str,
    group: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("BENCH_SERVERS", servers.to_owned()),
        ("BENCH_TOPIC", topic.to_owned()),
        ("BENCH_GROUP", group.to_owned()),
        ("BENCH_RECORDS", workload.records.to_string()),
        ("BENCH_PARTITIONS", workload.partitions.to_string()),
    ]
}

/// A group that has been here before, as a service that restarts is.
fn commit_the_start(servers: &str, topic: &str, partitions: i32, group: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", group)
        .create()
        .expect("consumer");
    let mut offsets = TopicPartitionList::new();
    for partition in 0..partitions {
        offsets.add_partition_offset(topic, partition, Offset::Offset(0)).expect("offset");
    }
    consumer.commit(&offsets, CommitMode::Sync).expect("commit");
}
