//! The stage: a cluster in memory, instances that come and go, records that are sent meanwhile. The plan is carried out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_client::config::{ClientConfig, ProducerConfig};
use kafka_client::producer::{Outgoing, Producer};
use kafka_client::seams::{Clock, Rng, Seams};
use kafka_client::{Client, Io, TopicName, TopicPartition};
use kafka_embedded::{Api, EmbeddedKafka, Fault, On};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::line::{Line, State};
use super::plan::{Chaos, Failing, Kind, Plan, Trouble};
use super::verdict::{History, Rules};
use super::{SeedReport, Simulation, results};
use crate::app::RunningApp;
use crate::container::EventKind;
use crate::testing::app::configured;
use crate::testing::witness::Witness;

const BROKERS: i32 = 3;
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
        self.story.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{at:9.3} {line}"));
    }

    /// Waits until everything that was sent is committed.
    async fn committed(&self) {
        while !self.history.lock().unwrap_or_else(PoisonError::into_inner).not_committed().is_empty() {
            sleep(LOOK_EVERY).await;
        }
    }

    fn note(&self, note: impl FnOnce(&mut History)) {
        note(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One running instance of the application.
struct Instance {
    number: u32,
    app: RunningApp,
    line: Line,
}

struct Stage<'s> {
    simulation: &'s Simulation,
    broker: EmbeddedKafka,
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
    let total = usize::try_from(simulation.records).unwrap_or(usize::MAX);
    if timeout(PATIENCE, stage.witness.all_done(total)).await.is_err() {
        stage.notes.tell("not everything was handled in time");
        for instance in &stage.instances {
            stage.notes.tell(&format!("instance {}: {:?}", instance.number, instance.app.status()));
        }
    }
    // A crash may have taken commits with it: then records are handled again first.
    if timeout(PATIENCE, stage.notes.committed()).await.is_err() {
        stage.notes.tell("not everything was committed in time");
    }
    stage.stop_all().await;
    // A stop commits what is left, and nothing else.
    sleep(3 * LOOK_EVERY).await;
    helpers.shutdown().await;
    let notes = Arc::clone(&stage.notes);
    let mut history = std::mem::take(&mut *notes.history.lock().unwrap_or_else(PoisonError::into_inner));
    history.handlings = stage.witness.pick(|one| one.listener == simulation.listener);
    let rules = Rules {
        order: simulation.order,
        goes_back: simulation.exactly_once,
        replay_bound: simulation.replay_bound,
    };
    violations.extend(history.violations(rules));
    violations.extend(history.not_committed());
    let results = stage.results(&history, &mut violations).await;
    let story = std::mem::take(&mut *notes.story.lock().unwrap_or_else(PoisonError::into_inner));
    let (handlings, repeated) = (history.handlings.len(), history.repeated());
    SeedReport { seed, violations, story, handlings, repeated, results }
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

/// Sends one after the other, each until it is acknowledged.
async fn send(producer: Producer, topic: TopicName, records: Vec<Planned>, notes: Arc<Notes>) {
    for Planned { number, pause, partition, key, value } in records {
        sleep(pause).await;
        let record = Outgoing {
            topic,
            partition: Some(partition),
            timestamp: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        match producer.send(record).await {
            Ok(sent) => notes.note(|history| {
                let count = history.sent.entry(partition).or_default();
                *count = (*count).max(sent.offset + 1);
                history.keys.push((number, key.clone()));
            }),
            Err(error) => notes.tell(&format!("a record could not be sent: {error}")),
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
            broker,
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

    fn pick(&self, who: usize) -> Option<usize> {
        (!self.instances.is_empty()).then(|| who % self.instances.len())
    }

    async fn make(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Join if self.instances.len() < self.simulation.instances => self.join().await,
            Trouble::Join => {}
            Trouble::Leave(who) => self.leave(who),
            Trouble::Crash(who) => self.crash(who),
            Trouble::Silence(who, time) => self.silence(who, time),
            Trouble::Disconnect(who) => {
                if let Some(at) = self.pick(who) {
                    let Instance { number, line, .. } = &self.instances[at];
                    self.notes.tell(&format!("instance {number} loses its connections"));
                    line.reset();
                }
            }
            Trouble::Rebalance => {
                self.notes.tell("a rebalance is forced");
                self.broker.faults().force_rebalance(&self.simulation.group);
            }
            Trouble::Requests(kind, count, failing) => self.fail(kind, count, failing),
            Trouble::LoseBroker(id, time) => self.lose_broker(id, time),
            Trouble::CutOffBroker(id, time) => self.cut_off_broker(id, time),
        }
    }

    fn leave(&mut self, who: usize) {
        let Some(at) = self.pick(who) else { return };
        let Instance { number, app, line } = self.instances.swap_remove(at);
        self.notes.tell(&format!("instance {number} stops"));
        let notes = Arc::clone(&self.notes);
        self.later.spawn(async move {
            let summary = app.stop().await;
            let clean = summary.as_ref().is_ok_and(|summary| summary.is_clean());
            notes.tell(&format!("instance {number} has stopped{}", if clean { "" } else { ", not cleanly" }));
            line.set(State::Dead);
        });
    }

    fn crash(&mut self, who: usize) {
        let Some(at) = self.pick(who) else { return };
        let Instance { number, app, line } = self.instances.swap_remove(at);
        self.notes.tell(&format!("instance {number} crashes"));
        line.set(State::Dead);
        drop(app);
    }

    fn silence(&mut self, who: usize, time: Duration) {
        let Some(at) = self.pick(who) else { return };
        let Instance { number, line, .. } = &self.instances[at];
        self.notes.tell(&format!("instance {number} is cut off for {time:?}"));
        line.set(State::Silent);
        let (line, notes, number) = (line.clone(), Arc::clone(&self.notes), *number);
        self.later.spawn(async move {
            sleep(time).await;
            notes.tell(&format!("instance {number} is back"));
            line.set(State::Up);
        });
    }

    fn fail(&self, kind: Kind, count: u64, failing: Failing) {
        self.notes.tell(&format!("the next {count} of {kind:?} fail: {failing:?}"));
        let on = self.on(kind).first(count);
        let _ = match failing {
            Failing::Answered(code) => on.answer(code),
            Failing::Unserved => on.close(),
            Failing::Unanswered => on.close_after(),
            Failing::Late(time) => on.delay_answer(time),
        };
    }

    fn on(&self, kind: Kind) -> On {
        let faults = self.broker.faults();
        match kind {
            Kind::Commit => faults
                .on(Api::OffsetCommit)
                .or(Api::InitProducerId)
                .or(Api::AddPartitionsToTxn)
                .or(Api::TxnOffsetCommit)
                .or(Api::EndTxn),
            Kind::Fetch => faults.on(Api::Fetch),
            Kind::Heartbeat => faults.on(Api::Heartbeat).or(Api::ConsumerGroupHeartbeat),
            Kind::Join => faults.on(Api::JoinGroup).or(Api::SyncGroup),
            Kind::OffsetFetch => faults.on(Api::OffsetFetch),
            Kind::Produce => faults.on(Api::Produce),
        }
    }

    /// Every request to it ends with its connection.
    fn lose_broker(&mut self, id: i32, time: Duration) {
        self.notes.tell(&format!("broker {id} is lost for {time:?}"));
        let fault = self.broker.faults().on_any().broker(id).close();
        self.back_after(time, fault, format!("broker {id} is back"));
    }

    /// Nothing that is asked of it is answered.
    fn cut_off_broker(&mut self, id: i32, time: Duration) {
        self.notes.tell(&format!("broker {id} is silent for {time:?}"));
        let fault = self.broker.faults().on_any().broker(id).hold();
        self.back_after(time, fault, format!("broker {id} speaks again"));
    }

    fn back_after(&mut self, time: Duration, fault: Fault, words: String) {
        let notes = Arc::clone(&self.notes);
        self.later.spawn(async move {
            sleep(time).await;
            notes.tell(&words);
            fault.remove();
        });
    }

    /// Everything that is broken is mended, and somebody is there.
    async fn heal(&mut self) {
        while self.later.join_next().await.is_some() {}
        self.broker.faults().clear();
        self.notes.tell("everything is healed");
        if self.instances.is_empty() {
            self.join().await;
        }
    }

    /// Looks for what the listener sent on; how much there is.
    async fn results(&self, history: &History, violations: &mut Vec<String>) -> usize {
        let Some(wanted) = &self.simulation.results else { return 0 };
        let client = self.client("results");
        match results::read(&client, &wanted.topic, self.simulation.partitions).await {
            Ok(found) => {
                let Simulation { order, exactly_once, .. } = *self.simulation;
                let make = |n| (wanted.value)(n);
                violations.extend(results::violations(&history.keys, make, &found, order, exactly_once));
                found.len()
            }
            Err(cause) => {
                violations.push(format!("results could not be read: {cause}"));
                0
            }
        }
    }

    async fn stop_all(&mut self) {
        for Instance { number, app, .. } in self.instances.drain(..) {
            let summary = app.stop().await;
            let cleanly = summary.as_ref().is_ok_and(|summary| summary.is_clean());
            self.notes.tell(&format!("instance {number} has stopped, cleanly: {cleanly}"));
        }
    }
}
