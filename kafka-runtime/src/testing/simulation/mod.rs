//! Simulation: an application's listeners under thousands of schedules of trouble, each of which can be had again.
//!
//! ```no_run
//! # use kafka_runtime::prelude::*;
//! use kafka_runtime::testing::Simulation;
//!
//! #[test]
//! fn no_job_is_lost() {
//!     Simulation::new("work", || App::from_config("application.yml").unwrap())
//!         .group("workers")
//!         .topic("jobs", 3)
//!         .value(|n| format!(r#"{{"id":{n}}}"#))
//!         .run();
//! }
//! ```
//!
//! Each seed is a run of its own: an embedded cluster in memory, instances of the application that come, go, crash and
//! are cut off, brokers that stop, die and are cut off, records that are sent meanwhile, commits and fetches that fail,
//! rebalances, handlers that are slow, fail and panic; all on one thread, in paused time, so that minutes take
//! milliseconds. Then everything is healed, and within ten minutes (of that time) every record must have been handled, or
//! be a dead letter where that is allowed. Checked is: nothing is lost; the order that
//! is promised is kept, and nobody handles what another has; no commit is ahead of handling or goes back; everything is
//! committed at last; no more is repeated than [`Simulation::replay_bound`] says; what the listener sends on is there, in
//! order, and once where that is promised ([`Simulation::results`]); what went to a retry topic was handled from there, or is in the next one
//! ([`Simulation::retry_topics`]).
//!
//! A seed that fails is printed with its story. `SIMULATION_SEED=7` runs that one alone; `SIMULATION_SEEDS=2000` runs so
//! many.
//!
//! # Layout
//!
//! ```text
//! plan      what goes wrong and when: from a seed alone (pure)
//! stage     the cluster, the instances, the records; the plan is carried out (`stage::trouble`)
//! line      an instance's connections, which can be cut
//! verdict   the history of a run ──▶ what is wrong with it (pure)
//! results   the same for what the listener sent on
//! hops      the same for its retry topics
//! ```

mod hops;
mod line;
mod plan;
mod results;
mod stage;
mod verdict;

use std::fmt::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

pub(crate) use plan::{Chaos, Mischief};
use results::Results;

use crate::app::App;

/// Seeds of a run that does not say how many.
const SEEDS: u64 = 100;
/// Lines of a story that a failure shows.
const SHOWN: usize = 80;

/// The order that a listener promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One record of a partition after the other. **(default)**
    Partition,
    /// One record of a key after the other (`ordering = "key"`).
    Key,
    /// None (`ordering = "none"`).
    None,
}

type MakeApp = dyn Fn() -> App + Send + Sync;
type MakeValue = dyn Fn(u64) -> String + Send + Sync;

/// See the [module](self).
pub struct Simulation {
    listener: &'static str,
    app: Box<MakeApp>,
    value: Box<MakeValue>,
    group: String,
    topic: String,
    partitions: usize,
    records: u64,
    keys: u64,
    instances: usize,
    order: Order,
    replay_bound: Option<u64>,
    handlers_fail: bool,
    results: Option<Results>,
    dead_letters: Option<DeadLetters>,
    /// In the order in which a record goes through them.
    retry_topics: Vec<String>,
    exactly_once: bool,
    seeds: Range<u64>,
}

/// Where records go that were tried so often in vain.
struct DeadLetters {
    topic: String,
    tries: u32,
}

/// What a run of one seed was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeedReport {
    /// The seed.
    pub seed: u64,
    /// What is wrong with it; nothing, if all is well.
    pub violations: Vec<String>,
    /// What happened, line by line.
    pub story: Vec<String>,
    /// How often handlers were called.
    pub handlings: usize,
    /// How often a record was handled again that had been handled successfully.
    pub repeated: usize,
    /// How many results there were at the end, where they are looked for.
    pub results: usize,
    /// How many records were dead letters at the end, where these are looked for.
    pub dead_letters: usize,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Simulation {
    /// A simulation of the listener `id` of the application that `app` makes. It is made anew for every instance.
    pub fn new(id: &'static str, app: impl Fn() -> App + Send + Sync + 'static) -> Self {
        Self {
            listener: id,
            app: Box::new(app),
            value: Box::new(|n| n.to_string()),
            group: id.to_owned(),
            topic: id.to_owned(),
            partitions: 3,
            records: 120,
            keys: 12,
            instances: 3,
            order: Order::Partition,
            replay_bound: None,
            handlers_fail: true,
            results: None,
            dead_letters: None,
            retry_topics: Vec::new(),
            exactly_once: false,
            seeds: 0..SEEDS,
        }
    }

    /// The listener's group. **(default: as the listener)**
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// The listener's topic, and how many partitions it has. **(default: as the listener, 3)**
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>, partitions: usize) -> Self {
        (self.topic, self.partitions) = (topic.into(), partitions.max(1));
        self
    }

    /// What the n-th record says. **(default: its number)**
    #[must_use]
    pub fn value(mut self, value: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        self.value = Box::new(value);
        self
    }

    /// How many records are sent, with how many keys. **(default: 120, 12)**
    #[must_use]
    pub fn records(mut self, records: u64, keys: u64) -> Self {
        (self.records, self.keys) = (records, keys.max(1));
        self
    }

    /// How many instances of the application there are at most. **(default: 3)**
    #[must_use]
    pub fn instances(mut self, most: usize) -> Self {
        self.instances = most.max(1);
        self
    }

    /// The order that is checked. **(default: [`Order::Partition`])**
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// How many records of a partition may be handled again for each time that it is taken from somebody: what
    /// `commit_every(records = n)` promises. **(default: not checked)**
    #[must_use]
    pub fn replay_bound(mut self, records: u64) -> Self {
        self.replay_bound = Some(records);
        self
    }

    /// Whether handlers are made to fail and panic at the first and the second try of some records; they are made slow
    /// in any case. Listeners that give up before the third try need [`Simulation::dead_letters`]. **(default: true)**
    #[must_use]
    pub fn failing_handlers(mut self, fail: bool) -> Self {
        self.handlers_fail = fail;
        self
    }

    /// What the listener sends on, by `send_to` or the template: the n-th record leads to one of this value in `topic`,
    /// with the same key. At the end each must be there, for readers of committed records, and nothing else; those of a key
    /// in the order of their records, if an order is promised at all. **(default: not looked for)**
    #[must_use]
    pub fn results(
        mut self,
        topic: impl Into<String>,
        value: impl Fn(u64) -> String + Send + Sync + 'static,
    ) -> Self {
        self.results = Some(Results { topic: topic.into(), value: Box::new(value) });
        self
    }

    /// The listener gives a record up after so many tries, and sends it to this topic: then it is there, or was handled. Handlers
    /// fail at the first and the second try of some records, so that with two tries or one some are given up. **(default:
    /// nothing is given up)**
    #[must_use]
    pub fn dead_letters(mut self, topic: impl Into<String>, tries: u32) -> Self {
        self.dead_letters = Some(DeadLetters { topic: topic.into(), tries });
        self
    }

    /// The listener's retry topics, in the order in which a record that fails goes through them, each after one try. What is in one of
    /// them must have been handled from there, or be in the next one; behind the last come the dead letters. Give the
    /// listener's [`dead_letters`](Self::dead_letters) too, and no [`order`](Self::order). **(default: none)**
    #[must_use]
    pub fn retry_topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.retry_topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Each result must be there once, and those of a key in order: for listeners that are `transactional`. Their handlers
    /// see records again whose transaction was aborted, also behind later ones; the results tell of the order. **(default: at least once)**
    #[must_use]
    pub fn exactly_once(mut self) -> Self {
        self.exactly_once = true;
        self
    }

    /// The seeds to run. **(default: 0..100)**
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Runs one seed. Not inside of a tokio runtime: it has its own.
    ///
    /// # Panics
    /// The application does not start.
    #[must_use]
    pub fn run_seed(&self, seed: u64) -> SeedReport {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
        let report = runtime.block_on(stage::play(self, seed));
        runtime.shutdown_background();
        report
    }

    /// Runs all seeds, on all cores. Not inside of a tokio runtime: a plain `#[test]`.
    ///
    /// # Panics
    /// A seed fails: the lowest is shown.
    pub fn run(&self) {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seeds = match (number("SIMULATION_SEED"), number("SIMULATION_SEEDS")) {
            (Some(one), _) => one..one.saturating_add(1),
            (None, Some(count)) => self.seeds.start..self.seeds.start.saturating_add(count),
            (None, None) => self.seeds.clone(),
        };
        let next = AtomicU64::new(seeds.start);
        let failed: Mutex<Option<SeedReport>> = Mutex::new(None);
        let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while lock().is_none() {
                let seed = next.fetch_add(1, Atomic::Relaxed);
                if !seeds.contains(&seed) {
                    return;
                }
                let report = self.run_seed(seed);
                if !report.violations.is_empty() {
                    let mut failed = lock();
                    if failed.as_ref().is_none_or(|other| other.seed > seed) {
                        *failed = Some(report);
                    }
                }
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(work);
            }
        });
        if let Some(report) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            panic!("{}", report.told());
        }
    }
}

impl SeedReport {
    /// The seed, what is wrong, and the story.
    fn told(&self) -> String {
        let mut text = format!("seed {}: {} violations", self.seed, self.violations.len());
        for violation in self.violations.iter().take(SHOWN / 4) {
            let _ = write!(text, "\n  {violation}");
        }
        let left_out = self.story.len().saturating_sub(SHOWN);
        let _ = write!(text, "\nthe story ({left_out} lines before it left out):");
        for line in self.story.iter().skip(left_out) {
            let _ = write!(text, "\n  {line}");
        }
        let _ = write!(text, "\nSIMULATION_SEED={} runs it alone", self.seed);
        text
    }
}
