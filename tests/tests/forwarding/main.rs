//! What handlers return goes on: typed, in order, without waiting for each; the source's offset moves only behind its
//! arrival, and a send that fails is a failed outcome.
//!
//! ```text
//! arriving  typed, in order, as an answer
//! failing   what cannot be sent on
//! ending    stopped or killed in mid flow
//! ```

mod arriving;
mod ending;
mod failing;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use kafka_client::{TopicName, TopicPartition};
use kafka_embedded::{Api, ErrorCode};
use kafka_runtime::prelude::*;
use kafka_runtime::template::Received;
use tests::{Cluster, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Enriched {
    order: u64,
    words: String,
}

const ORDERS: Topic<Order> = Topic::new("forwarding-orders");
const ENRICHED: Topic<Enriched> = Topic::new("forwarding-enriched");

/// What the value says to do.
#[kafka_listener(topic = ORDERS, group = "${suite.topic}-typed", send_to = ENRICHED)]
async fn typed(order: Order) -> Result<Vec<Outgoing<Enriched>>, String> {
    let enriched = |words: &str| Outgoing::new(Enriched { order: order.id, words: words.into() });
    match order.id {
        0 => Ok(Vec::new()),
        1 => Ok(vec![enriched("one")]),
        2 => Ok(vec![enriched("two").key("other").header("trace", "t2"), Outgoing::tombstone().key("gone")]),
        3 => Ok(vec![enriched("three").key(()).timestamp(42)]),
        _ => Err("no such order".into()),
    }
}

/// Typed on every hop, and with nothing for some.
#[kafka_listener(topic = ENRICHED, group = "${suite.topic}-next", send_to = "${suite.topic}-text")]
async fn next(enriched: Option<Enriched>) -> Option<String> {
    Some(enriched?.words)
}

#[derive(Serialize, Deserialize)]
struct Tick<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

const TICKS: Topic<Tick<'static>> = Topic::new("forwarding-ticks");
const SAME_TICKS: Topic<Tick<'static>> = Topic::new("forwarding-same-ticks");

/// What borrows from the record can go on.
#[kafka_listener(topic = TICKS, group = "${suite.topic}-ticks", send_to = SAME_TICKS)]
async fn ticks(tick: Tick<'_>) -> Tick<'_> {
    tick
}

#[kafka_listener(topic = TICKS, group = "${suite.topic}-many-ticks", send_to = SAME_TICKS, batch)]
async fn many_ticks(ticks: Vec<Tick<'_>>) -> Vec<Option<Tick<'_>>> {
    ticks.into_iter().map(|tick| (tick.symbol != "none").then_some(tick)).collect()
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-copied", send_to = "${suite.topic}-out")]
async fn copied(value: &str, meta: Metadata, probe: &State<Probe>) -> Result<Outgoing<Box<str>>, String> {
    probe.saw(meta.partition(), meta.offset(), None, value);
    match value {
        "misplaced" => Ok(Outgoing::new(value.into()).partition(99)),
        "failing" => Err("it fails itself".into()),
        _ => Ok(dated(value.into())),
    }
}

/// With a time that some topics refuse.
fn dated<T: AsRef<str>>(value: T) -> Outgoing<T> {
    match value.as_ref().starts_with("old") {
        true => Outgoing::new(value).timestamp(1),
        false => Outgoing::new(value),
    }
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-batches",
    send_to = "${suite.topic}-out",
    batch
)]
async fn batches(values: Batch<String>, probe: &State<Probe>) -> Result<Vec<Outgoing<String>>, String> {
    probe.saw(0, 0, None, values.len().to_string());
    if values.iter().any(|value| value == "failing") {
        return Err("it fails itself".into());
    }
    Ok(values.into_iter().map(dated).collect())
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-answering", reply)]
async fn answers(question: u64) -> u64 {
    question * 2
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-many-answers", reply, batch)]
async fn many_answers(questions: Vec<u64>) -> Vec<u64> {
    questions.into_iter().map(|question| question * 2).collect()
}

async fn start(yaml: &str, listeners: &[&'static str]) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only(listeners.iter().copied()).state(probe.clone());
    (app.start().await.unwrap(), probe)
}

fn yaml(cluster: &Cluster, topic: &str, producer: &str, listener: &str) -> String {
    cluster.yaml(&format!(
        "    producer: {{properties: {{{producer}}}}}\nsuite: {{topic: {topic}}}\nkafka-runtime:\n  listener:\n    retry: \
         {{attempts: 2, backoff: 10ms}}\n{listener}"
    ))
}

async fn fill(app: &RunningApp, topic: &str, values: impl IntoIterator<Item = String>) {
    let records = values.into_iter().enumerate();
    let records = records.map(|(n, value)| Record::to(topic).key(format!("k{}", n % 7)).text(value));
    for sent in app.template().send_all(records).await {
        sent.unwrap();
    }
}

/// The records of a topic once there are `count`, partition by partition. It may be slow, but not silent.
async fn records(cluster: &Cluster, app: &RunningApp, topic: &str, count: usize) -> Vec<Received> {
    let mut heard = (0, tokio::time::Instant::now());
    loop {
        let records = all(cluster, app, topic).await;
        if records.len() >= count {
            return records;
        }
        if records.len() > heard.0 {
            heard = (records.len(), tokio::time::Instant::now());
        }
        assert!(heard.1.elapsed() < LIMIT, "{topic} has {} records, not {count}", records.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn all(cluster: &Cluster, app: &RunningApp, topic: &str) -> Vec<Received> {
    let described = cluster.admin().describe_topics(&[topic]).await.unwrap();
    let partitions = described.get(&TopicName::new(topic)).map_or(0, |topic| topic.partitions.len());
    let mut records = Vec::new();
    for partition in 0..i32::try_from(partitions).unwrap() {
        records.extend(app.template().receive(topic, partition, ..).await.into_iter().flatten());
    }
    records
}

fn texts(records: &[Received]) -> Vec<&str> {
    records.iter().map(|record| record.text().unwrap()).collect()
}

async fn committed(cluster: &Cluster, group: &str, topic: &str) -> Option<i64> {
    let found = cluster.admin().committed(group, &[TopicPartition::new(topic, 0)]).await.unwrap();
    found[0].1.as_ref().map(|committed| committed.offset)
}

async fn all_committed(cluster: &Cluster, app: &RunningApp, group: &str, topic: &str, offset: i64) {
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(cluster, group, topic).await == Some(offset)
    })
    .await;
}
