//! Runs the contestants side by side, interleaved, several rounds, each as a process of its own, and writes tables and plots.
//!
//! ```text
//! options      what was asked for
//! contestants  who takes part, and the command of each
//! process      one run of one contestant, measured from outside
//! throughput   a filled topic, read from the first record to the last
//! latency      one record at a time, end to end
//! listeners    many listeners in one process, and what they cost while nothing comes
//! brokers      the embedded broker, Apache Kafka and kfake under the same clients
//! produce      orders sent as fast as can be, and one at a time
//! compression  orders sent with each codec: speed, cost, ratio
//! report       markdown and SVG
//! warm, topics what comes before a measurement, and goes after it
//! ```
//!
//! `bench/run` builds everything and starts it under `scripts/with-kafka`. See `options` for the arguments.

mod brokers;
mod compression;
mod contestants;
mod latency;
mod listeners;
mod options;
mod process;
mod produce;
mod report;
mod throughput;
mod topics;
mod warm;

use std::fs;

use options::{Mode, Options};

fn main() {
    let options = Options::read();
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").expect("run under scripts/with-kafka");
    // The brokers of that mode are others.
    if options.modes.iter().any(|mode| !matches!(mode, Mode::Brokers)) {
        warm::up(&servers);
    }
    let mut text = String::new();
    for mode in &options.modes {
        let section = match mode {
            Mode::Throughput => throughput::run(&options, &servers),
            Mode::Latency => latency::run(&options, &servers),
            Mode::Listeners => listeners::run(&options, &servers),
            Mode::Brokers => brokers::run(&options, &servers),
            Mode::Produce => produce::run(&options, &servers),
            Mode::Compression => compression::run(&options, &servers),
        };
        println!("{section}");
        text.push_str(&section);
        if let Some(out) = &options.out {
            fs::write(out, &text).expect("write the tables");
        }
    }
}
