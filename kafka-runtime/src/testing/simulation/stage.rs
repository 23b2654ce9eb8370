//! The stage: a cluster in memory, instances that come and go, records that are sent meanwhile. The plan is carried out
//! (`trouble`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_client::config::{ClientConfig, ProducerConfig};
use kafka_client::producer::{Outgoing, Producer};
use kafka_client::seams::{Clock, Rng, Seams};
use kafka_client::{Client, Io, TopicName, TopicPartition};
use kafka_embedded::EmbeddedKafka;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::hops::Hop;
use super::line::Line;
use super::plan::{Chaos, Plan};
use super::results::Keyed;
use super::verdict::{History, Rules};
use super::{SeedReport, Simulation, hops, results};
use crate::app::RunningApp;
use crate::container::EventKind;
use crate::testing::app::configured;
use crate::testing::witness::Witness;

mod trouble;

const BROKERS: i32 = 3;
/// `group.consumer.session.timeout.ms`: an instance can be cut off for longer.
const SESSION: Duration = Duration::from_secs(6);
/// Records are sent over this time, and a little longer than trouble lasts.
const SENDING: Duration = Duration::from_secs(45);
/// How often the committed offsets are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Everything must be handled so soon after it was healed.
const PATIENCE: Duration = Duration::from_secs(600);
/// The wall time at which runs begin.
const EPOCH_MILLIS: i64 = 1_700_000_000_000;

/// Wall time that passes with tokio's.
#[derive(Debug)]
struct SimulatedClock(Instant);

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall_millis(&self) -> i64 {
        EPOCH_MILLIS + i64::try_from(self.0.elapsed().as_millis()).unwrap_or(0)
    }
}

/// What is noted while it runs.
#[derive(Debug)]
struct Notes {
    begin: Instant,
    story: Mutex<Vec<String>>,
    history: Mutex<History>,
}

impl Notes {
    fn tell(&self, line: &str) {
        let at = self.begin.elapsed().as_secs_f64();
        lock(&self.story).push(format!("{at:9.3} {line}"));
    }

    /// Waits until everything that was sent is committed.
    async fn committed(&self) {
        while !lock(&self.history).not_committed().is_empty() {
            sleep(LOOK_EVERY).await;
        }
    }

    fn note(&self, note: impl FnOnce(&mut History)) {
        note(&mut lock(&self.history));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One running instance of the application.
struct Instance {
    number: u32,
    app: RunningApp,
    line: Line,
}

struct Stage<'s> {
    simulation: &'s Simulation,
    broker: Arc<EmbeddedKafka>,
    /// Brokers that are away.
    away: Arc<Mutex<BTreeSet<i32>>>,
    clock: Arc<SimulatedClock>,
    rng: Rng,
    witness: Witness,
    notes: Arc<Notes>,
    instances: Vec<Instance>,
    started: u32,
    /// What heals by itself after a while, and instances that are stopping.
    later: JoinSet<()>,
}

/// Plays the whole of one seed.
pub(super) async fn play(simulation: &Simulation, seed: u64) -> SeedReport {
    let mut stage = Stage::set(simulation, seed).await;
    let plan = Plan::of(&Rng::seeded(stage.rng.next_u64()), BROKERS);
    let mut helpers = JoinSet::new();
    helpers.spawn(watch_commits(
        stage.client("watch"),
        simulation.group.clone(),
        partitions(simulation),
        Arc::clone(&stage.notes),
    ));
    let records = records(simulation, &stage.rng);
    let sending = tokio::spawn(send(
        stage.producer(),
        TopicName::new(&simulation.topic),
        records,
        Arc::clone(&stage.notes),
    ));
    stage.join().await;
    for (at, trouble) in plan.0 {
        sleep_until(stage.notes.begin + at).await;
        stage.make(trouble).await;
    }
    stage.heal().await;
    let mut violations: Vec<String> = Vec::new();
    if timeout(PATIENCE, sending).await.is_err() {
        violations.push("records could not be sent after everything was healed".into());
    }
    // What is given up is not done: then the commits tell.
    let total = usize::try_from(simulation.records).unwrap_or(usize::MAX);
    let gives_up = simulation.dead_letters.is_some() || !simulation.retry_topics.is_empty();
    let total = if gives_up { 0 } else { total };
    if timeout(PATIENCE, stage.witness.all_done(total)).await.is_err() {
        stage.notes.tell("not everything was handled in time");
        stage.describe();
    }
    // A crash may have taken commits with it: then records are handled again first.
    if timeout(PATIENCE, stage.notes.committed()).await.is_err() {
        stage.notes.tell("not everything was committed in time");
        stage.describe();
    }
    if timeout(PATIENCE, stage.retried()).await.is_err() {
        stage.notes.tell("not everything was tried again in time");
        stage.describe();
    }
    stage.stop_all().await;
    // A stop commits what is left, and nothing else.
    sleep(3 * LOOK_EVERY).await;
    helpers.shutdown().await;
    let notes = Arc::clone(&stage.notes);
    let mut history = std::mem::take(&mut *lock(&notes.history));
    history.handlings = stage.witness.pick(|one| one.listener == simulation.listener);
    let dead = stage.dead_letters(&mut violations).await;
    let hops = stage.hops(&mut violations).await;
    let dead_letters = dead.len();
    violations.extend(hops::violations(&stage.witness.pick(|_| true), &hops, &dead));
    // What fails goes to the first of them.
    history.dead = hops.into_iter().next().map_or(dead, |first| first.values);
    let tries = match simulation.retry_topics.is_empty() {
        true => simulation.dead_letters.as_ref().map(|letters| letters.tries),
        false => Some(1),
    };
    let rules = Rules {
        order: simulation.order,
        goes_back: simulation.exactly_once,
        replay_bound: simulation.replay_bound,
        tries,
    };
    violations.extend(history.violations(rules));
    violations.extend(history.not_committed());
    let results = stage.results(&history, &mut violations).await;
    let story = std::mem::take(&mut *lock(&notes.story));
    let (handlings, repeated) = (history.handlings.len(), history.repeated(rules));
    SeedReport { seed, violations, story, handlings, repeated, results, dead_letters }
}

fn partitions(simulation: &Simulation) -> Vec<TopicPartition> {
    let count = i32::try_from(simulation.partitions).unwrap_or(i32::MAX);
    (0..count).map(|index| TopicPartition::new(simulation.topic.as_str(), index)).collect()
}

/// A record that is to be sent: when, where, what.
struct Planned {
    number: u64,
    pause: Duration,
    partition: i32,
    key: String,
    value: String,
}

impl Planned {
    fn outgoing(&self, topic: TopicName) -> Outgoing<'_> {
        Outgoing {
            topic,
            partition: Some(self.partition),
            timestamp: None,
            key: Some(self.key.as_bytes()),
            value: Some(self.value.as_bytes()),
            headers: &[],
        }
    }
}

fn records(simulation: &Simulation, rng: &Rng) -> Vec<Planned> {
    let partitions = u64::try_from(simulation.partitions).unwrap_or(1);
    let mean = u64::try_from(SENDING.as_millis()).unwrap_or(u64::MAX) / simulation.records.max(1);
    let one = |n| {
        let key = rng.below(simulation.keys);
        // In bursts: most follow the one before at once.
        let pause = if rng.below(5) == 0 { rng.below(10 * mean + 1) } else { 0 };
        let partition = i32::try_from(key % partitions).unwrap_or(0);
        let (key, value) = (format!("key-{key}"), (simulation.value)(n));
        Planned { number: n, pause: Duration::from_millis(pause), partition, key, value }
    };
    (0..simulation.records).map(one).collect()
}

/// Sends burst after burst, each until it is acknowledged: what comes at once may be in one batch.
async fn send(producer: Producer, topic: TopicName, records: Vec<Planned>, notes: Arc<Notes>) {
    for burst in records.chunk_by(|_, next| next.pause.is_zero()) {
        sleep(burst[0].pause).await;
        let mut open = Vec::new();
        for planned in burst {
            open.push((planned, producer.enqueue_awaited(planned.outgoing(topic)).await));
        }
        for (Planned { number, partition, key, .. }, delivery) in open {
            let sent = match delivery {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(sent) => notes.note(|history| {
                    let count = history.sent.entry(*partition).or_default();
                    *count = (*count).max(sent.offset + 1);
                    history.keys.push((*number, key.clone()));
                }),
                Err(error) => notes.tell(&format!("a record could not be sent: {error}")),
            }
        }
    }
    notes.tell("all records are sent");
}

/// Notes each change of the committed offsets, as the coordinator tells them.
async fn watch_commits(client: Client, group: String, partitions: Vec<TopicPartition>, notes: Arc<Notes>) {
    let mut known = std::collections::BTreeMap::new();
    loop {
        if let Ok(Ok(found)) =
            timeout(Duration::from_secs(5), client.admin().committed(&group, &partitions)).await
        {
            let now = Instant::now();
            let mut found: Vec<_> =
                found.into_iter().filter_map(|(at, found)| Some((at.partition, found?.offset))).collect();
            found.sort_unstable();
            for (partition, offset) in found {
                if known.insert(partition, offset) != Some(offset) {
                    notes.tell(&format!("committed: partition {partition}, offset {offset}"));
                    notes.note(|history| history.commits.push((now, partition, offset)));
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

impl<'s> Stage<'s> {
    async fn set(simulation: &'s Simulation, seed: u64) -> Self {
        let rng = Rng::seeded(seed);
        let begin = Instant::now();
        let clock = Arc::new(SimulatedClock(begin));
        let mut broker = EmbeddedKafka::builder()
            .brokers(u16::try_from(BROKERS).unwrap_or(1))
            .broker_session_timeout(Duration::from_millis(2000 + rng.below(8000)))
            .consumer_session_timeout(SESSION)
            .topic(&simulation.topic, simulation.partitions);
        if let Some(results) = &simulation.results {
            broker = broker.topic(&results.topic, simulation.partitions);
        }
        let broker = broker.clock(Arc::clone(&clock) as Arc<dyn Clock>).seed(rng.next_u64()).in_memory();
        let broker = broker.start().await.unwrap_or_else(|error| panic!("embedded broker: {error}"));
        let chaos = Chaos { seed: rng.next_u64(), fails: simulation.handlers_fail };
        let notes = Notes { begin, story: Mutex::default(), history: Mutex::default() };
        Self {
            simulation,
            broker: Arc::new(broker),
            away: Arc::default(),
            clock,
            rng,
            witness: Witness::with_chaos(chaos),
            notes: Arc::new(notes),
            instances: Vec::new(),
            started: 0,
            later: JoinSet::new(),
        }
    }

    fn seams(&self, line: Line) -> Seams {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Seams { transport: Arc::new(line), clock, rng: Arc::new(Rng::seeded(self.rng.next_u64())) }
    }

    /// A client of the simulation's own, whose line is never cut.
    fn client(&self, id: &str) -> Client {
        let config = ClientConfig {
            bootstrap_servers: self.broker.bootstrap_servers().split(',').map(str::to_owned).collect(),
            client_id: id.into(),
            ..ClientConfig::default()
        };
        let client = Client::with_seams(config, self.seams(Line::new(self.broker.transport())), Io::Current);
        client.unwrap_or_else(|error| panic!("client: {error}"))
    }

    fn producer(&self) -> Producer {
        // Idempotent, and patient: what is sent is there once.
        let config =
            ProducerConfig { delivery_timeout: Duration::from_secs(900), ..ProducerConfig::default() };
        let producer = self.client("feed").producer(config);
        producer.unwrap_or_else(|error| panic!("producer: {error}"))
    }

    /// Tells how all instances are.
    fn describe(&self) {
        for instance in &self.instances {
            self.notes.tell(&format!("instance {}: {:?}", instance.number, instance.app.status()));
        }
    }

    async fn join(&mut self) {
        let number = self.started;
        self.started += 1;
        let line = Line::new(self.broker.transport());
        let witness = self.witness.of_instance(number);
        let app = configured(&self.broker, (self.simulation.app)(), witness).over(self.seams(line.clone()));
        let app = app.start().await.unwrap_or_else(|error| panic!("the application does not start: {error}"));
        let mut events = app.listeners().events();
        let (notes, listener) = (Arc::clone(&self.notes), self.simulation.listener);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if event.listener != listener {
                    continue;
                }
                if let EventKind::Assigned(partitions) = &event.kind {
                    let now = Instant::now();
                    let given = partitions.iter().map(|one| (now, number, one.partition));
                    notes.note(|history| history.assigned.extend(given));
                }
                match &event.kind {
                    EventKind::Committed(_) | EventKind::RecordFailed { .. } => {}
                    other => notes.tell(&format!("instance {number}: {other:?}")),
                }
            }
        });
        self.notes.tell(&format!("instance {number} starts"));
        self.instances.push(Instance { number, app, line });
    }

    /// Looks for what the listener sent on; how much there is.
    async fn results(&self, history: &History, violations: &mut Vec<String>) -> usize {
        let Some(wanted) = &self.simulation.results else { return 0 };
        let Some(found) = self.read(&wanted.topic, "results", violations).await else { return 0 };
        let Simulation { order, exactly_once, .. } = *self.simulation;
        let make = |n| (wanted.value)(n);
        violations.extend(results::violations(&history.keys, make, &found, order, exactly_once));
        found.len()
    }

    /// The values of the dead letters.
    async fn dead_letters(&self, violations: &mut Vec<String>) -> BTreeSet<Vec<u8>> {
        let Some(letters) = &self.simulation.dead_letters else { return BTreeSet::new() };
        // It is made with the first of them.
        if self.broker.leader(&letters.topic, 0).is_none() {
            return BTreeSet::new();
        }
        let found = self.read(&letters.topic, "dead letters", violations).await.unwrap_or_default();
        found.into_iter().map(|letter| letter.value.into_bytes()).collect()
    }

    /// Waits until what is in the retry topics is committed too, one topic after the other: each may fill the next.
    async fn retried(&self) {
        let client = self.client("retries");
        for topic in &self.simulation.retry_topics {
            let Simulation { group, topic: source, partitions, .. } = self.simulation;
            let group = format!("{group}{}", topic.strip_prefix(source.as_str()).unwrap_or_default());
            while !hops::is_committed(&client, &group, topic, *partitions).await {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    /// What is in the retry topics.
    async fn hops(&self, violations: &mut Vec<String>) -> Vec<Hop> {
        let mut hops = Vec::new();
        for topic in &self.simulation.retry_topics {
            let found = self.read(topic, "a retry topic", violations).await.unwrap_or_default();
            let values = found.into_iter().map(|one| one.value.into_bytes()).collect();
            hops.push(Hop { topic: topic.clone(), values });
        }
        hops
    }

    /// All of a topic of `what`.
    async fn read(&self, topic: &str, what: &str, violations: &mut Vec<String>) -> Option<Vec<Keyed>> {
        let found = results::read(&self.client(what), topic, self.simulation.partitions).await;
        found.map_err(|cause| violations.push(format!("{what} could not be read: {cause}"))).ok()
    }

    async fn stop_all(&mut self) {
        for Instance { number, app, .. } in self.instances.drain(..) {
            let summary = app.stop().await;
            let cleanly = summary.as_ref().is_ok_and(|summary| summary.is_clean());
            self.notes.tell(&format!("instance {number} has stopped, cleanly: {cleanly}"));
        }
    }
}
