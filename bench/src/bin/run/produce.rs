//! Sending: the same typed orders, acks all and idempotent, as fast as each can; and one at a time, from one task and
//! from a thousand, with the time that each send waited.

use crate::contestants::{java_producer, rust};
use crate::options::Options;
use crate::process::Running;
use crate::report::{Spread, heading, row};
use crate::throughput::{environment, rounds};
use crate::topics::Topic;

/// Records of a run in which each send waits.
const ONE: u64 = 3_000;
const TASKS: u64 = 300_000;

pub(crate) fn run(options: &Options, servers: &str) -> String {
    let mut text = String::new();
    for workload in options.workloads() {
        let mut all = vec![
            rust("ours", "produce", "ours many"),
            rust("ours without the template", "produce", "client many"),
            rust("rdkafka base", "produce", "librdkafka many"),
        ];
        all.extend(java_producer());
        all.retain(|one| options.wants(one.name));
        let runs = rounds(options.rounds, &all, |contestant, round| {
            let topic = Topic::of(contestant, "many", round, workload.partitions, servers);
            let running = Running::start(contestant, &environment(&workload, servers, &topic.name, "none"))?;
            let (at, _) = running.line("filled")?;
            let seconds = (at - running.started).as_secs_f64();
            let records = workload.records as f64;
            let micros = running.cpu().as_secs_f64() * 1e6 / records;
            Ok([records / seconds / 1e3, micros, running.peak_kib() as f64 / 1024.0])
        });
        let title = format!("Sending {} orders to {} partitions", workload.records, workload.partitions);
        let columns = ["contestant", "thousand records/s", "us of CPU a record", "peak MB"];
        text.push_str(&heading(&title, options.rounds, &columns));
        for (index, figures) in runs {
            let of = |which: usize, digits| {
                Spread::of(figures.iter().map(|one: &[f64; 3]| one[which])).shown(digits)
            };
            text.push_str(&row(all[index].name, &[of(0, 0), of(1, 2), of(2, 0)]));
        }
    }
    text.push_str(&waiting(options, servers, "one", ONE));
    text.push_str(&waiting(options, servers, "tasks", TASKS));
    text
}

fn waiting(options: &Options, servers: &str, way: &str, records: u64) -> String {
    let (ours, theirs) = (format!("ours {way}"), format!("librdkafka {way}"));
    let mut all = vec![rust("ours", "produce", &ours), rust("rdkafka future", "produce", &theirs)];
    all.retain(|one| options.wants(one.name));
    let workload = crate::options::Workload { records, partitions: 4, codec: "none".into() };
    let runs = rounds(options.rounds, &all, |contestant, round| {
        let topic = Topic::of(contestant, way, round, 4, servers);
        let running = Running::start(contestant, &environment(&workload, servers, &topic.name, "none"))?;
        let (_, found) = running.line("latency")?;
        let (at, _) = running.line("filled")?;
        let mut figures = found.split(' ').filter_map(|word| word.parse::<f64>().ok());
        let (Some(p50), Some(p99)) = (figures.next(), figures.next()) else { return Err(found) };
        let seconds = (at - running.started).as_secs_f64();
        let micros = running.cpu().as_secs_f64() * 1e6 / records as f64;
        Ok([records as f64 / seconds, p50, p99, micros])
    });
    let from = if way == "one" { "one task" } else { "1000 tasks" };
    let title = format!("`send(..).await` of {records} orders, one at a time from {from}");
    let columns = ["contestant", "records/s", "p50, us", "p99, us", "us of CPU a record"];
    let mut text = heading(&title, options.rounds, &columns);
    for (index, figures) in runs {
        let of =
            |which: usize, digits| Spread::of(figures.iter().map(|one: &[f64; 4]| one[which])).shown(digits);
        text.push_str(&row(all[index].name, &[of(0, 0), of(1, 0), of(2, 0), of(3, 1)]));
    }
    text
}
