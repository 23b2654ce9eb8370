//! What becomes of records that fail: each leads to where its policy says, nothing is lost on the way, and an offset moves
//! only when that has arrived.
//!
//! ```text
//! ends       where records end
//! letters    dead letters, read
//! told       events of it
//! unwritten  dead letters that cannot be written
//! ```

mod ends;
mod letters;
mod told;
mod unwritten;

use std::time::Duration;

use kafka_client::{TopicName, TopicPartition};
use kafka_runtime::dead_letter::FailureKind;
use kafka_runtime::prelude::*;
use kafka_runtime::template::Received;
use tests::{Cluster, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    id: u64,
}

#[derive(Debug)]
enum BankError {
    Closed,
    Busy,
}

impl std::fmt::Display for BankError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the bank is {self:?}")
    }
}

impl std::error::Error for BankError {}

/// Fails with what the value says.
#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-said")]
async fn said(value: String, meta: Metadata, probe: &State<Probe>) -> Result<(), BankError> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "closed" => Err(BankError::Closed),
        "busy" => Err(BankError::Busy),
        "panic" => panic!("a panic of the test"),
        "slow" => std::future::pending().await,
        _ => Ok(()),
    }
}

/// The same, with what a retry cannot cure named in the attribute.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-sorted",
    retry(attempts = 3, backoff = "10ms", never = [BankError]),
    dead_letter(topic = "{topic}.DLT", partitions = 1)
)]
async fn sorted(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "closed" => Err(BankError::Closed.into()),
        "busy" => Err(BankError::Busy.into()),
        "fatal" => Err(Fatal::new("never again").into()),
        "other" => Err("something else".into()),
        _ => Ok(()),
    }
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-typed")]
async fn typed(order: Order, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, order.id.to_string());
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-many", batch)]
async fn many(values: Vec<String>, probe: &State<Probe>) -> Result<(), BatchError<BankError>> {
    for (index, value) in values.iter().enumerate() {
        if value == "closed" {
            return Err(BatchError::at(index, BankError::Closed));
        }
        probe.saw(0, 0, None, value.clone());
    }
    Ok(())
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-by-hand", ack = "manual")]
async fn by_hand(value: String, ack: Ack, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "refused" => ack.nack("no stock"),
        "dropped" => drop(ack),
        _ => ack.ack().unwrap(),
    }
}

fn is_wanted(delivery: &Delivery<'_>) -> bool {
    let value = delivery.record.value.unwrap_or_default();
    assert!(value != b"panic", "a panic of the test");
    value.first() != Some(&b'-')
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-filtered", filter = is_wanted)]
async fn filtered(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-filtered-many", filter = is_wanted, batch)]
async fn filtered_many(values: Vec<String>, probe: &State<Probe>) {
    values.into_iter().for_each(|value| probe.saw(0, 0, None, value));
}

#[kafka_listener(topic = "${suite.topic}-dlt", group = "${suite.topic}-triage")]
async fn triage(dead: DeadLetter<Order>, meta: Metadata, probe: &State<Probe>) {
    let payload = dead.payload().map(|order| order.id).map_err(|_| dead.value().map(<[u8]>::len));
    let words = format!(
        "{payload:?} from {} by {:?}: {:?} {:?} after {:?}: {}",
        dead.origin(),
        dead.origin().group().is_some(),
        dead.kind(),
        dead.error_type().unwrap_or("-"),
        dead.attempts(),
        dead.cause()
    );
    assert_eq!(dead.kind() == FailureKind::Decode, dead.payload().is_err());
    probe.saw(meta.partition(), meta.offset(), None, words);
}

async fn start(yaml: &str, listeners: &[&'static str]) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only(listeners.iter().copied()).state(probe.clone());
    (app.start().await.unwrap(), probe)
}

fn yaml(cluster: &Cluster, topic: &str, more: &str) -> String {
    cluster.yaml(&format!(
        "suite: {{topic: {topic}}}\nkafka-runtime:\n  listener:\n    retry: {{attempts: 3, backoff: 10ms..20ms}}\n{more}"
    ))
}

async fn send(app: &RunningApp, topic: &str, partition: i32, value: &str) {
    app.template().send_record(Record::to(topic).partition(partition).text(value)).await.unwrap();
}

/// The records of a topic once there are `count`, partition by partition.
async fn records(cluster: &Cluster, app: &RunningApp, topic: &str, count: usize) -> Vec<Received> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let described = cluster.admin().describe_topics(&[topic]).await.unwrap();
        let partitions = described.get(&TopicName::new(topic)).map_or(0, |topic| topic.partitions.len());
        let mut records = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap() {
            // One that was created just now may have no leader yet.
            records.extend(app.template().receive(topic, partition, ..).await.into_iter().flatten());
        }
        if records.len() >= count {
            return records;
        }
        assert!(tokio::time::Instant::now() < deadline, "{topic} has {} records, not {count}", records.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn header<'a>(record: &'a Received, name: &str) -> &'a [u8] {
    let found = record.headers().filter(|(known, _)| *known == name).last();
    found.and_then(|(_, value)| value).unwrap_or_else(|| panic!("{name} in {record:?}"))
}

async fn committed(cluster: &Cluster, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let partition = TopicPartition::new(topic, partition);
    let found = cluster.admin().committed(group, &[partition]).await.unwrap();
    found[0].1.as_ref().map(|committed| committed.offset)
}
