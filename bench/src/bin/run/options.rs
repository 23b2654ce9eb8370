//! What was asked for.

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    Throughput,
    Latency,
    Listeners,
    Produce,
    Compression,
    Brokers,
}

/// A filled topic.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) records: u64,
    pub(crate) partitions: i32,
    pub(crate) codec: String,
}

/// The arguments.
pub(crate) struct Options {
    pub(crate) modes: Vec<Mode>,
    pub(crate) records: u64,
    pub(crate) rounds: usize,
    pub(crate) partitions: Vec<i32>,
    pub(crate) codecs: Vec<String>,
    pub(crate) only: Vec<String>,
    pub(crate) out: Option<String>,
}

const USAGE: &str = "bench/run [--mode throughput,latency,listeners,produce,compression,brokers] [--records N] [--rounds N] [--partitions 4,12,1000] \
                     [--codec none,lz4] [--only NAME,..] [--out FILE.md]";

impl Options {
    pub(crate) fn read() -> Self {
        let mut options = Self {
            modes: vec![Mode::Throughput],
            records: 2_000_000,
            rounds: 3,
            partitions: vec![4],
            codecs: vec!["none".into()],
            only: Vec::new(),
            out: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value; {USAGE}"));
            let list = || value.split(',');
            match name.as_str() {
                "--mode" => options.modes = list().map(mode).collect(),
                "--records" => options.records = number(&value),
                "--rounds" => options.rounds = number(&value),
                "--partitions" => options.partitions = list().map(number).collect(),
                "--codec" => options.codecs = list().map(str::to_owned).collect(),
                "--only" => options.only = list().map(str::to_owned).collect(),
                "--out" => options.out = Some(value),
                _ => panic!("unknown option {name}; {USAGE}"),
            }
        }
        options
    }

    /// Every topic that is asked for.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let of = |partitions: &i32| {
            let partitions = *partitions;
            self.codecs.iter().map(move |codec| Workload {
                records: self.records,
                partitions,
                codec: codec.clone(),
            })
        };
        self.partitions.iter().flat_map(of).collect()
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn mode(name: &str) -> Mode {
    match name {
        "throughput" => Mode::Throughput,
        "latency" => Mode::Latency,
        "listeners" => Mode::Listeners,
        "produce" => Mode::Produce,
        "compression" => Mode::Compression,
        "brokers" => Mode::Brokers,
        _ => panic!("unknown mode {name}; {USAGE}"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("'{text}' is not a number; {USAGE}"))
}
