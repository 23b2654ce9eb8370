//! Many listeners in one process: what they read together, and what they cost while nothing comes.

use std::thread::sleep;
use std::time::Duration;

use crate::contestants::rust;
use crate::options::{Options, Workload};
use crate::process::{Running, output};
use crate::report::{Spread, heading, row};
use crate::throughput::{environment, rounds};

/// For how long nothing comes.
const IDLE: Duration = Duration::from_secs(20);

pub(crate) fn run(options: &Options, servers: &str) -> String {
    let all = [rust("1 listener", "listeners", "1"), rust("100 listeners", "listeners", "100")];
    let workload = Workload { records: options.records, partitions: 4, codec: "none".into() };
    output("fill", "none,100", &environment(&workload, servers, "listeners-100", "fill"));
    output("fill", "none,1", &environment(&workload, servers, "listeners-1", "fill"));
    let runs = rounds(options.rounds, &all, |contestant, round| {
        let topic = format!("listeners-{}", contestant.command[1]);
        let group = format!("listeners-{round}");
        let running = Running::start(contestant, &environment(&workload, servers, &topic, &group))?;
        let (first, _) = running.line("first")?;
        let (last, _) = running.line("done")?;
        let busy = running.cpu();
        sleep(Duration::from_secs(2));
        let before = running.cpu();
        sleep(IDLE);
        let idle = (running.cpu() - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        let rate = options.records as f64 / (last - first).as_secs_f64() / 1e3;
        let cpu = busy.as_secs_f64() * 1e6 / options.records as f64;
        Ok([rate, cpu, running.peak_kib() as f64 / 1024.0, idle])
    });
    let title = format!("{} orders over all listeners of one process, 4 partitions each", options.records);
    let columns = ["listeners", "thousand records/s", "us of CPU a record", "peak MB", "idle, % of one core"];
    let mut text = heading(&title, options.rounds, &columns);
    for (index, figures) in runs {
        let of = |which: usize, digits| Spread::of(figures.iter().map(|one| one[which])).shown(digits);
        text.push_str(&row(all[index].name, &[of(0, 0), of(1, 2), of(2, 0), of(3, 2)]));
    }
    text
}
