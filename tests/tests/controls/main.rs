//! Listeners steered at run time: listed, paused, resumed, moved, stopped, started; their health, lag and events; and what
//! holds them back.
//!
//! ```text
//! steering    what an operator orders
//! unreadable  batches that cannot be read
//! events      what listeners tell of themselves
//! gates       rate limit, circuit breaker, a check of the application
//! ```

mod events;
mod gates;
mod steering;
mod unreadable;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_runtime::container::EventKind;
use kafka_runtime::prelude::*;
use tests::{Cluster, Probe, event};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-steered")]
async fn steered(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-late", auto_startup = false)]
async fn late(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// Whether the bank is there.
#[derive(Clone, Default)]
struct Bank(std::sync::Arc<AtomicBool>);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-poisoned")]
async fn poisoned(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
    bank: &State<Bank>,
) -> Result<(), &'static str> {
    if value == "poison" && !bank.0.load(Ordering::SeqCst) {
        return Err("no bank");
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
    Ok(())
}

/// Steers another listener, and itself without waiting for it.
#[kafka_listener(topic = "${suite.topic}-orders", group = "${suite.topic}-operator")]
async fn operator(order: String, listeners: State<Listeners>) -> Result<(), ListenerError> {
    match order.as_str() {
        "pause" => listeners.get("steered")?.pause().await,
        "resume" => listeners.get("steered")?.resume().await,
        "stop yourself" => {
            drop(listeners.get("operator")?.stop());
            Ok(())
        }
        other => panic!("{other}"),
    }
}

struct Stage {
    cluster: Cluster,
    topic: String,
    probe: Probe,
    bank: Bank,
}

impl Stage {
    async fn new() -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("controls", PARTITIONS).await;
        Self { cluster, topic, probe: Probe::default(), bank: Bank::default() }
    }

    fn yaml(&self, more: &str) -> String {
        self.cluster.yaml(&format!(
            "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 300}}\nsuite: {{topic: {}}}\nkafka-runtime:\n  listener: {{retry: {{attempts: 1}}, on-exhausted: stop, commit: {{every: {{time: 100ms}}}}}}\n{more}",
            self.topic
        ))
    }

    async fn app(&self, listeners: &[&str], more: &str) -> RunningApp {
        let app = App::from_yaml(self.yaml(more)).unwrap().only(listeners.iter().copied());
        app.state(self.probe.clone()).state(self.bank.clone()).start().await.unwrap()
    }

    /// `count` records to each partition.
    async fn send(&self, app: &RunningApp, value: &str, count: usize) {
        for _ in 0..count {
            for partition in 0..PARTITIONS {
                let record = Record::to(&self.topic).partition(partition).text(value);
                app.template().send_record(record).await.unwrap();
            }
        }
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), number)
    }

    /// Partitions whose records of this value were handled.
    fn saw(&self, value: &str) -> BTreeSet<i32> {
        self.probe.seen().iter().filter(|seen| seen.value == value).map(|seen| seen.partition).collect()
    }
}

fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}
