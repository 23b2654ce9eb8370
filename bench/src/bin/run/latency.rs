//! End to end, one record at a time: from before it is sent, acknowledged by all replicas, until the listener has it.

use crate::contestants::round_trips;
use crate::options::{Options, Workload};
use crate::process::Running;
use crate::report::{Spread, heading, row};
use crate::throughput::{environment, rounds};

/// Records of one run.
const RECORDS: u64 = 2_000;

pub(crate) fn run(options: &Options, servers: &str) -> String {
    let all = round_trips(options);
    let workload = Workload { records: RECORDS, partitions: 4, codec: "none".into() };
    let runs = rounds(options.rounds, &all, |contestant, round| {
        let topic = format!("latency-{round}-{}", contestant.name.replace(' ', "-"));
        let running = Running::start(contestant, &environment(&workload, servers, &topic, &topic))?;
        let (_, found) = running.line("latency")?;
        let figures: Vec<f64> = found.split(' ').filter_map(|word| word.parse().ok()).collect();
        let figures: [f64; 2] = figures.try_into().map_err(|_| format!("not two figures: {found}"))?;
        Ok(figures)
    });
    let title = format!("End to end, {RECORDS} records one at a time, acks all");
    let mut text = heading(&title, options.rounds, &["contestant", "p50, us", "p99, us"]);
    for (index, figures) in runs {
        let of = |which: usize| Spread::of(figures.iter().map(|one| one[which])).shown(0);
        text.push_str(&row(all[index].name, &[of(0), of(1)]));
    }
    text
}
