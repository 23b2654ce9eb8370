//! Consume, transform, produce: what a transactional listener sends and the offsets of what it was made from are committed
//! together or not at all. Whatever fails, is killed, is frozen or moves: one result for each input, for readers of
//! committed records.

mod outcomes;
mod processes;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use kafka_client::config::{ProducerConfig, StartAt};
use kafka_client::consumer::GroupMetadata;
use kafka_client::group::CommittedOffset;
use kafka_client::producer::Outgoing;
use kafka_client::{ResponseError, TopicPartition};
use kafka_runtime::container::PartitionPhase;
use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, Probe, eventually};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;
/// The last record of each partition of the results, when all is done.
const END: &str = "the end";

/// Answers each value, and fails as the value says, after it has sent.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-answers",
    retry(attempts = 3, backoff = "10ms"),
    transactional
)]
async fn answers(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
    to: &State<To>,
    tx: &Tx,
) -> Result<(), TxError> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    tx.send_record(Record::to(&to.0).partition(meta.partition()).text(format!("{value}!"))).await?;
    match value.as_str() {
        "once" if meta.attempt() == 1 => Err("once".into()),
        "never" => Err("never".into()),
        "panic" if meta.attempt() == 1 => panic!("a panic of the test"),
        _ => Ok(()),
    }
}

/// The same for batches; `bad` fails at its place.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-batches",
    retry(attempts = 2, backoff = "10ms"),
    transactional,
    batch
)]
async fn batches(
    values: Vec<String>,
    meta: Metadata,
    to: &State<To>,
    tx: &Tx,
) -> Result<(), BatchError<String>> {
    for (index, value) in values.iter().enumerate() {
        let record = Record::to(&to.0).partition(meta.partition()).text(format!("{value}!"));
        tx.send_record(record).await.map_err(|error| BatchError::at(index, error.to_string()))?;
        if value == "bad" {
            return Err(BatchError::at(index, "bad".to_owned()));
        }
    }
    Ok(())
}

/// Fails without a word of which it was.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-blind",
    retry(attempts = 2, backoff = "10ms"),
    transactional,
    batch
)]
async fn blind(values: Vec<String>, meta: Metadata, to: &State<To>, tx: &Tx) -> Result<(), TxError> {
    for value in &values {
        tx.send_record(Record::to(&to.0).partition(meta.partition()).text(format!("{value}!"))).await?;
    }
    if values.iter().any(|value| value == "bad") { Err("one of them is bad".into()) } else { Ok(()) }
}

/// What is returned is sent in the transaction; fails as the value says, after a send of its own.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-returns",
    retry(attempts = 3, backoff = "10ms"),
    transactional,
    send_to = "${suite.topic}-to"
)]
async fn returns(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
    to: &State<To>,
    tx: &Tx,
) -> Result<Vec<String>, TxError> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    tx.send_record(Record::to(&to.0).partition(meta.partition()).text(format!("{value}!"))).await?;
    match value.as_str() {
        "once" if meta.attempt() == 1 => Err("once".into()),
        "never" => Err("never".into()),
        _ => Ok(vec![format!("{value} 1"), format!("{value} 2")]),
    }
}

/// The same without a transaction in hand, for batches: one value for each record.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-returns-all",
    retry(attempts = 2, backoff = "10ms"),
    transactional,
    send_to = "${suite.topic}-to",
    batch
)]
async fn returns_all(values: Vec<String>) -> Result<Vec<String>, String> {
    if values.iter().any(|value| value == "bad") {
        return Err("one of them is bad".to_owned());
    }
    Ok(values.into_iter().map(|value| format!("{value}!")).collect())
}

struct To(String);

struct Scene {
    cluster: Cluster,
    from: String,
    to: String,
}

impl Scene {
    async fn new(name: &str, partitions: i32) -> Self {
        let cluster = Cluster::start().await;
        let from = cluster.topic(name, partitions).await;
        let to = format!("{from}-to");
        cluster.create(&to, partitions, &[]).await;
        Self { cluster, from, to }
    }

    fn yaml(&self, more: &str) -> String {
        self.cluster.yaml(&format!(
            "    producer: {{transaction-id-prefix: {}-, properties: {{transaction.timeout.ms: 10000}}}}\nsuite: {{topic: {}}}\n{more}",
            self.from, self.from
        ))
    }

    async fn start(&self, listener: &str, probe: &Probe, more: &str) -> RunningApp {
        let app = App::from_yaml(self.yaml(more)).unwrap().only([listener]);
        app.state(probe.clone()).state(To(self.to.clone())).start().await.unwrap()
    }

    /// Sends to partition 0, from nobody's listener.
    async fn send(&self, topic: &str, partition: i32, values: &[&str]) {
        let app = App::from_yaml(self.cluster.yaml("")).unwrap().only([]).start().await.unwrap();
        for value in values {
            app.template().send_record(Record::to(topic).partition(partition).text(value)).await.unwrap();
        }
        app.stop().await.unwrap();
    }

    /// None where a transaction that was cut off still keeps an offset open.
    async fn committed(&self, group: &str) -> BTreeMap<i32, i64> {
        let partitions: Vec<_> =
            (0..PARTITIONS).map(|number| TopicPartition::new(self.from.as_str(), number)).collect();
        let found = match self.cluster.admin().committed(group, &partitions).await {
            Err(open) if open.code() == Some(ResponseError::UnstableOffsetCommit) => Vec::new(),
            found => found.unwrap(),
        };
        found.into_iter().filter_map(|(at, found)| Some((at.partition, found?.offset))).collect()
    }

    async fn ends(&self) -> BTreeMap<i32, i64> {
        let at: Vec<_> =
            (0..PARTITIONS).map(|n| (TopicPartition::new(self.from.as_str(), n), StartAt::End)).collect();
        let ends = self.cluster.admin().list_offsets(&at).await.unwrap();
        ends.into_iter().map(|(at, end)| (at.partition, end.unwrap())).collect()
    }

    async fn all_committed(&self, group: &str, partition: i32, offset: i64) {
        eventually("the offset is committed", LIMIT, || async {
            self.committed(group).await.get(&partition) == Some(&offset)
        })
        .await;
    }

    /// What readers of committed records see in `topic`: our client, and the Java client the same.
    async fn results(&self, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<String>> {
        for partition in 0..partitions {
            self.send(topic, partition, &[END]).await;
        }
        let mut ours = BTreeMap::new();
        for partition in 0..partitions {
            ours.insert(partition, committed_values(&self.cluster, topic, partition).await);
        }
        let count = ours.values().map(Vec::len).sum();
        if let Some(theirs) = Peer::values(self.cluster.bootstrap(), topic, count).await {
            assert_eq!(ours, theirs, "the Java client reads something else");
        }
        for values in ours.values_mut() {
            assert_eq!(values.pop().as_deref(), Some(END));
        }
        ours
    }
}

/// Up to [`END`], read_committed.
async fn committed_values(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    use kafka_client::config::{ConsumerConfig, IsolationLevel, Subscription};
    use kafka_client::consumer::{ConsumerEvent, StreamItem};
    let at = TopicPartition::new(topic, partition);
    let config = ConsumerConfig {
        isolation: IsolationLevel::ReadCommitted,
        ..ConsumerConfig::new(Subscription::Partitions(vec![(at, StartAt::Beginning)]))
    };
    let mut consumer = cluster.client().consumer(config).unwrap();
    let read = async {
        let mut values = Vec::new();
        let Some(ConsumerEvent::Assigned(mut streams)) = consumer.next().await else { panic!("no stream") };
        let mut stream = streams.pop().unwrap();
        loop {
            let Some(StreamItem::Chunk(mut chunk)) = stream.next().await else { panic!("no chunk") };
            while let Some(batch) = chunk.next_batch().unwrap() {
                for record in batch.records().filter(|_| batch.is_visible()) {
                    let value = String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap();
                    let is_end = value == END;
                    values.push(value);
                    if is_end {
                        return values;
                    }
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, read).await.expect("the end is there to be read")
}
