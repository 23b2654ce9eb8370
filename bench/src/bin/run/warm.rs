//! Before anything is measured: a broker that was just started compiles its own code, on the cores that contestants need too
//! (how long, and how much of them: `RESULTS.md`). Orders are sent and read until it is done.

use std::time::{Duration, Instant};

use crate::contestants::rust;
use crate::options::Workload;
use crate::process::{Running, cpu_of_threads};
use crate::throughput::environment;
use crate::topics::Topic;

/// Orders of one go.
const RECORDS: u64 = 2_000_000;
/// A broker whose compiler takes less of the time than this is warm.
const LITTLE: f64 = 0.02;
/// So often in a row.
const QUIET: usize = 2;
/// It may never be.
const MOST: usize = 20;
/// How the JVM calls the threads that compile for good.
const COMPILER: &str = "C2 Compiler";

/// Warms up the brokers under `scripts/with-kafka`.
pub(crate) fn up(servers: &str) {
    let brokers = brokers();
    if compiled(&brokers).is_zero() {
        return eprintln!("no warming up: no brokers whose compilers can be watched");
    }
    let mut quiet = 0;
    for number in 0..MOST {
        let (began, before) = (Instant::now(), compiled(&brokers));
        if let Err(error) = there_and_back(servers, number) {
            return eprintln!("no warming up: {error}");
        }
        // Where there are many cores, compilers that have nothing to do end, and what they took is gone.
        let took = compiled(&brokers).saturating_sub(before);
        let share = took.as_secs_f64() / began.elapsed().as_secs_f64();
        eprintln!("warming up: the brokers' compilers took {:.0} % of a core", share * 100.0);
        quiet = if share < LITTLE { quiet + 1 } else { 0 };
        if quiet == QUIET {
            return;
        }
    }
}

fn there_and_back(servers: &str, number: usize) -> Result<(), String> {
    let workload = Workload { records: RECORDS, partitions: 4, codec: "none".into() };
    let (writer, reader) = (rust("warm-up", "produce", "ours many"), rust("warm-up", "handloop", "owned"));
    let topic = Topic::of(&writer, "warm-up", number, workload.partitions, servers);
    let task = environment(&workload, servers, &topic.name, &topic.name);
    Running::start(&writer, &task)?.line("filled")?;
    Running::start(&reader, &task)?.line("done")?;
    Ok(())
}

/// The process ids of the brokers that `scripts/with-kafka` started.
fn brokers() -> Vec<u32> {
    let Ok(folder) = std::env::var("KAFKA_CLUSTER_DIR") else { return Vec::new() };
    let nodes = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let pid = |node: std::fs::DirEntry| std::fs::read_to_string(node.path().join("pid")).ok();
    nodes.filter_map(pid).filter_map(|pid| pid.trim().parse().ok()).collect()
}

/// What their compilers took so far.
fn compiled(brokers: &[u32]) -> Duration {
    brokers.iter().map(|broker| cpu_of_threads(*broker, COMPILER)).sum()
}
