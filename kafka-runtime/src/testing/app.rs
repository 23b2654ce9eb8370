//! An application under test.

use std::fmt::Write;
use std::ops::Deref;
use std::time::Duration;

use kafka_client::config::ClientConfig;
use kafka_client::seams::Seams;
use kafka_client::{Client, Io, TopicName, TopicPartition};
use kafka_embedded::EmbeddedKafka;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::witness::{Fate, Handling, Witness};
use crate::app::{App, RunningApp, Summary};
use crate::error::{Error, Result};
use crate::template::{Destination, Received};

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Handlings that a failed wait shows.
const SHOWN: usize = 20;

/// An application under test with a broker of its own. What [`RunningApp`] can do, it can.
#[derive(Debug)]
pub struct TestApp {
    app: RunningApp,
    witness: Witness,
    client: Client,
    patience: Duration,
    // The broker goes last.
    broker: EmbeddedKafka,
}

impl Deref for TestApp {
    type Target = RunningApp;
    fn deref(&self) -> &RunningApp {
        &self.app
    }
}

impl TestApp {
    /// Starts `app` on a new embedded broker, whatever brokers its configuration names. Topics are created when they
    /// are first asked for. Partitions are read from their beginning (`auto-offset-reset: earliest`): with `latest`
    /// a test's records would race with the first assignment.
    ///
    /// # Errors
    /// As [`App::start`].
    ///
    /// # Panics
    /// The broker cannot listen on a loopback port.
    pub async fn start(app: App) -> Result<Self> {
        let broker = EmbeddedKafka::builder().start().await;
        Self::on(broker.unwrap_or_else(|error| panic!("embedded broker: {error}")), app).await
    }

    /// Starts `app` on this embedded broker: one with topics of its own, several brokers, or one in memory
    /// (`EmbeddedKafka::builder().in_memory()`). In memory everything runs on the test's own runtime: with
    /// `#[tokio::test(start_paused = true)]` time passes only where everybody waits, so that retries, timeouts and
    /// cadences of minutes take milliseconds.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # use kafka_runtime::testing::TestApp;
    /// use kafka_embedded::EmbeddedKafka;
    ///
    /// # async fn a() {
    /// let kafka = EmbeddedKafka::builder().topic("orders", 6).in_memory().start().await.unwrap();
    /// let app = TestApp::on(kafka, App::from_config("application.yml").unwrap()).await.unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn on(broker: EmbeddedKafka, app: App) -> Result<Self> {
        let config = ClientConfig {
            bootstrap_servers: broker.bootstrap_servers().split(',').map(str::to_owned).collect(),
            client_id: "test".into(),
            ..Default::default()
        };
        let (seams, io) = match seams(&broker) {
            Some(seams) => (seams, Io::Current),
            None => (Seams::default(), Io::OwnThread),
        };
        let client = Client::with_seams(config, seams, io);
        let client = client.map_err(|source| Error::Client { what: "test".into(), source })?;
        let witness = Witness::default();
        let app = begin(&broker, app, witness.clone()).await?;
        Ok(Self { app, witness, client, patience: PATIENCE, broker })
    }

    /// How long to wait before a wait fails the test. **(default: 30 s)**
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The broker: its [faults](EmbeddedKafka::faults), its addresses for other clients.
    pub fn broker(&self) -> &EmbeddedKafka {
        &self.broker
    }

    /// Stops the application gracefully and starts `next`, the same one again or another version of it, on the same
    /// broker: topics, records and committed offsets are there, and so is what handlers were seen doing.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn restart(self, next: App) -> Result<Self> {
        let Self { app, witness, client, patience, broker } = self;
        app.stop().await?;
        let app = begin(&broker, next, witness.clone()).await?;
        Ok(Self { app, witness, client, patience, broker })
    }

    /// Sends a value and waits for its acknowledgement: [`Template::send`](crate::template::Template::send) for tests.
    ///
    /// # Panics
    /// It cannot be sent.
    pub async fn send<T: Serialize + ?Sized>(&self, topic: impl Destination<T>, key: &str, value: &T) {
        let topic = topic.topic();
        if let Err(error) = self.app.template().send(topic, key, value).await {
            panic!("topic {topic}: {error}");
        }
    }

    /// Waits until the listener `id` has handled `count` records since the start.
    ///
    /// # Panics
    /// It has not within the [patience](TestApp::patience); what was seen instead is shown.
    pub async fn handled(&self, id: &str, count: u64) {
        if tokio::time::timeout(self.patience, self.app.handled(id, count)).await.is_err() {
            self.give_up(id, &format!("{count} records handled"));
        }
    }

    /// Waits until `count` deliveries to the listener `id` failed: each try of a record counts.
    ///
    /// # Panics
    /// As [`TestApp::handled`].
    pub async fn failed(&self, id: &str, count: usize) -> Vec<Handling> {
        self.must_know(id);
        let wanted = |one: &Handling| one.listener == id && one.has_failed();
        match tokio::time::timeout(self.patience, self.witness.at_least(count, wanted)).await {
            Ok(failed) => failed,
            Err(_) => self.give_up(id, &format!("{count} tries failed")),
        }
    }

    /// What the listener `id` was given so far, in order; each try of a record is one.
    ///
    /// # Panics
    /// There is no such listener.
    #[must_use]
    #[track_caller]
    pub fn handlings(&self, id: &str) -> Vec<Handling> {
        self.must_know(id);
        self.witness.pick(|one| one.listener == id)
    }

    /// The tries of the listener `id` that failed so far, with their errors.
    ///
    /// # Panics
    /// There is no such listener.
    #[must_use]
    #[track_caller]
    pub fn failures(&self, id: &str) -> Vec<Handling> {
        self.must_know(id);
        self.witness.pick(|one| one.listener == id && one.has_failed())
    }

    /// The values that the listener `id` has handled successfully so far, in order: text for `String`, bytes for `Vec<u8>`,
    /// everything else from JSON.
    ///
    /// # Panics
    /// There is no such listener, or a value is no `T`.
    #[must_use]
    #[track_caller]
    pub fn done<T: DeserializeOwned>(&self, id: &str) -> Vec<T> {
        self.must_know(id);
        let done = self.witness.pick(|one| one.listener == id && one.fate == Fate::Done);
        done.iter().map(Handling::read).collect()
    }

    /// All values of a topic, partition by partition: text for `String`, bytes for `Vec<u8>`, everything else from JSON. Nothing
    /// for a topic that does not exist.
    ///
    /// # Panics
    /// They cannot be read, or are no `T`.
    pub async fn sent<T: DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let records = self.records(topic).await;
        let value = |record: &Received| record.read().unwrap_or_else(|error| panic!("{error}"));
        records.iter().map(value).collect()
    }

    /// All records of a topic with key, headers and place, partition by partition. Nothing for a topic that does not
    /// exist.
    ///
    /// # Panics
    /// They cannot be read.
    pub async fn records(&self, topic: &str) -> Vec<Received> {
        let described = self.client.admin().describe_topics(&[topic]).await;
        let described = described.unwrap_or_else(|error| panic!("topic {topic}: {error}"));
        let partitions = described.get(&TopicName::new(topic)).map_or(0, |topic| topic.partitions.len());
        let mut records = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap_or(0) {
            let mut next = Some(0);
            while let Some(from) = next {
                let page = self.app.template().receive(topic, partition, from..).await;
                let page = page.unwrap_or_else(|error| panic!("{error}"));
                next = page.next();
                records.extend(page);
            }
        }
        records
    }

    /// The offset that a group has committed for a partition, -1 where it has none. What is handled and not committed
    /// yet is committed first, so that the cadence does not matter.
    ///
    /// # Panics
    /// The broker does not answer.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> i64 {
        self.app.commit_now().await;
        let partition = TopicPartition::new(topic, partition);
        let committed = self.client.admin().committed(group, &[partition]).await;
        let committed = committed.unwrap_or_else(|error| panic!("group {group}: {error}"));
        committed.into_iter().next().and_then(|(_, found)| found).map_or(-1, |found| found.offset)
    }

    /// Stops the application, then the broker.
    ///
    /// # Errors
    /// As [`RunningApp::stop`].
    pub async fn stop(self) -> Result<Summary> {
        self.app.stop().await
    }

    /// Fails where no listener has this id, nor had it before a restart: a test that looks at nothing would pass.
    #[track_caller]
    fn must_know(&self, id: &str) {
        let ids: Vec<_> = self.app.status().iter().map(|listener| listener.id).collect();
        let known = ids.contains(&id) || !self.witness.pick(|one| one.listener == id).is_empty();
        assert!(known, "no listener `{id}` runs; there are {ids:?}");
    }

    /// Says what was awaited, and what was seen instead.
    fn give_up(&self, id: &str, awaited: &str) -> ! {
        let handlings = self.handlings(id);
        let mut seen = String::new();
        for one in handlings.iter().skip(handlings.len().saturating_sub(SHOWN)) {
            let Handling { partition, offset, attempt, fate, .. } = one;
            let _ = write!(seen, "\n  {partition} at offset {offset}, try {attempt}: {fate:?}");
        }
        let status = self.app.status();
        let others: Vec<_> = status.iter().filter(|listener| listener.id != id).map(|one| one.id).collect();
        let own = status.iter().find(|listener| listener.id == id);
        panic!(
            "`{id}`: waited {:?} for {awaited}; it was given {} deliveries{}{seen}\nstatus: {own:#?}\nother listeners: {others:?}",
            self.patience,
            handlings.len(),
            if handlings.len() > SHOWN { format!(", the last {SHOWN}:") } else { String::from(":") },
        )
    }
}

/// Starts `app` on `broker`, watched.
async fn begin(broker: &EmbeddedKafka, app: App, witness: Witness) -> Result<RunningApp> {
    let app = configured(broker, app, witness);
    let app = match seams(broker) {
        Some(seams) => app.over(seams),
        None => app,
    };
    app.start().await
}

/// `app` with the addresses of `broker`, watched.
pub(super) fn configured(broker: &EmbeddedKafka, app: App, witness: Witness) -> App {
    let mut app = app.property("kafka-runtime.consumer.auto-offset-reset", "earliest").state(witness);
    for place in ["", "consumer.", "producer."] {
        app = app.property(format!("kafka-runtime.{place}bootstrap-servers"), broker.bootstrap_servers());
    }
    app
}

/// How to reach a broker in memory: over its pipes, and by its clock, or it would refuse the records' timestamps.
fn seams(broker: &EmbeddedKafka) -> Option<Seams> {
    broker.is_in_memory().then(|| broker.seams())
}
