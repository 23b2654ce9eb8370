//! The same orders sent with each codec, by us and by librdkafka, in batches of one size: how fast, at what cost, and how
//! many bytes the broker has of it afterwards.
//!
//! With `--features zstd-c` our zstd is the C library's too; without it, it is the encoder in pure Rust.

use std::process::Command;

use crate::contestants::{Contestant, rust};
use crate::options::{Options, Workload};
use crate::process::Running;
use crate::report::{Spread, heading, row};
use crate::throughput::{environment, rounds};
use crate::topics::Topic;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PARTITIONS: i32 = 4;

pub(crate) fn run(options: &Options, servers: &str) -> String {
    let mut all =
        vec![rust("ours", "produce", "ours many"), rust("rdkafka base", "produce", "librdkafka many")];
    all.retain(|one| options.wants(one.name));
    let title =
        format!("Compression: {} orders sent to {PARTITIONS} partitions, batches of 64 KB", options.records);
    let columns = ["codec, contestant", "thousand records/s", "us of CPU a record", "ratio"];
    let mut text = heading(&title, options.rounds, &columns);
    let mut plain = None;
    for codec in CODECS {
        let workload = Workload { records: options.records, partitions: PARTITIONS, codec: codec.into() };
        let runs =
            rounds(options.rounds, &all, |contestant, round| one(&workload, contestant, round, servers));
        for (index, figures) in runs {
            let of = |which: usize| Spread::of(figures.iter().map(|one: &[f64; 3]| one[which]));
            let bytes = of(2).median;
            let ratio = *plain.get_or_insert(bytes) / bytes;
            let name = format!("{codec}, {}", all[index].name);
            text.push_str(&row(&name, &[of(0).shown(0), of(1).shown(2), format!("{ratio:.2}")]));
        }
    }
    text
}

/// Thousand records a second, microseconds of CPU a record, bytes in the log.
fn one(
    workload: &Workload,
    contestant: &Contestant,
    round: usize,
    servers: &str,
) -> Result<[f64; 3], String> {
    let topic = Topic::of(contestant, &format!("packed-{}", workload.codec), round, PARTITIONS, servers);
    let mut environment = environment(workload, servers, &topic.name, "none");
    environment.push(("BENCH_CODEC", workload.codec.clone()));
    let running = Running::start(contestant, &environment)?;
    let (at, _) = running.line("filled")?;
    let seconds = (at - running.started).as_secs_f64();
    let records = workload.records as f64;
    let micros = running.cpu().as_secs_f64() * 1e6 / records;
    drop(running);
    Ok([records / seconds / 1e3, micros, size(&topic.name, servers)? as f64])
}

/// What the topic's logs hold, by the broker's own word.
fn size(topic: &str, servers: &str) -> Result<u64, String> {
    let libs = std::env::var("KAFKA_LIBS").map_err(|_| "run under scripts/with-kafka")?;
    let described = Command::new("java")
        .args(["-cp", &format!("{libs}/*"), "org.apache.kafka.tools.LogDirsCommand", "--describe"])
        .args(["--bootstrap-server", servers, "--topic-list", topic])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&described.stdout);
    let json = text.lines().find(|line| line.starts_with('{')).ok_or_else(|| text.clone().into_owned())?;
    let told: serde_json::Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let list = |value: &serde_json::Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let dirs = list(&told, "brokers").into_iter().flat_map(|broker| list(&broker, "logDirs"));
    let sizes = dirs.flat_map(|dir| list(&dir, "partitions")).filter_map(|one| one["size"].as_u64());
    match sizes.sum() {
        0 => Err(format!("no log of {topic}: {json}")),
        bytes => Ok(bytes),
    }
}
