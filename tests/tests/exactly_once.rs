//! Consume, transform, produce: what a transactional listener sends and the offsets of what it was made from are committed
//! together or not at all. Whatever fails, is killed, is frozen or moves: one result for each input, for readers of
//! committed records.

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

#[tokio::test(flavor = "multi_thread")]
async fn results_and_offsets_are_committed_together() {
    let scene = Scene::new("together", 1).await;
    let probe = Probe::default();
    let app = scene.start("answers", &probe, "").await;
    scene.send(&scene.from, 0, &["a", "b", "c"]).await;
    scene.all_committed(&format!("{}-answers", scene.from), 0, 3).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!"]);
    probe.assert_each_once_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_try_sent_is_never_seen() {
    let scene = Scene::new("failed", 1).await;
    let probe = Probe::default();
    scene.send(&scene.from, 0, &["a", "once", "b", "never", "panic", "c"]).await;
    let app = scene.start("answers", &probe, "").await;
    scene.all_committed(&format!("{}-answers", scene.from), 0, 6).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "once!", "b!", "panic!", "c!"]);
    assert_eq!(
        scene.results(&format!("{}-dlt", scene.from), 1).await[&0],
        ["never"],
        "its dead letter, once"
    );
    let tries = probe.seen().iter().filter(|seen| seen.value == "never").count();
    assert_eq!(tries, 3, "the policy counts tries, not what had to be done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_returns_is_part_of_its_transaction() {
    let scene = Scene::new("returned", 1).await;
    let probe = Probe::default();
    scene.send(&scene.from, 0, &["a", "once", "never", "b"]).await;
    let app = scene.start("returns", &probe, "").await;
    scene.all_committed(&format!("{}-returns", scene.from), 0, 4).await;
    app.stop().await.unwrap();
    let wanted = ["a!", "a 1", "a 2", "once!", "once 1", "once 2", "b!", "b 1", "b 2"];
    assert_eq!(scene.results(&scene.to, 1).await[&0], wanted);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["never"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_returns_is_part_of_its_transaction() {
    let scene = Scene::new("returned-all", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "bad", "c"]).await;
    let app = scene.start("returns_all", &Probe::default(), "").await;
    scene.all_committed(&format!("{}-returns-all", scene.from), 0, 4).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!"]);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_stops_its_partition_keeps_what_was_before_it() {
    let scene = Scene::new("stops", 1).await;
    let probe = Probe::default();
    scene.send(&scene.from, 0, &["a", "b", "never", "c"]).await;
    let app = scene.start("answers", &probe, "kafka-runtime.listener.on-exhausted: stop\n").await;
    eventually("the partition stops", LIMIT, || async {
        let status = app.listeners().get("answers").unwrap().status();
        status.partitions.iter().any(|one| one.phase == PartitionPhase::Stopped)
    })
    .await;
    let group = format!("{}-answers", scene.from);
    scene.all_committed(&group, 0, 2).await;
    app.stop().await.unwrap();
    assert_eq!(scene.committed(&group).await[&0], 2);
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_at_a_place_has_one_result_for_each() {
    let scene = Scene::new("batch", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "bad", "c", "d"]).await;
    let app = scene.start("batches", &Probe::default(), "").await;
    scene.all_committed(&format!("{}-batches", scene.from), 0, 5).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!", "d!"]);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_as_a_whole_has_one_result_for_each() {
    let scene = Scene::new("blind", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "bad", "c", "d"]).await;
    let app = scene.start("blind", &Probe::default(), "").await;
    scene.all_committed(&format!("{}-blind", scene.from), 0, 5).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!", "d!"]);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["bad"]);
}

/// The id is the partition's, so its next owner ends what the last one left open, and does not wait for the timeout.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_died_between_its_offsets_and_the_end_holds_nobody_up() {
    let scene = Scene::new("heir", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "c"]).await;
    let group = format!("{}-answers", scene.from);
    let config =
        ProducerConfig { transaction_timeout: Duration::from_secs(600), ..ProducerConfig::default() };
    let id = format!("{from}-{group}.{from}.0", from = scene.from);
    let dead = scene.cluster.client().transactional_producer(config, &id).unwrap();
    let open = dead.begin().await.unwrap();
    let result = Outgoing {
        topic: scene.to.as_str().into(),
        partition: Some(0),
        timestamp: None,
        key: None,
        value: Some(b"of the dead"),
        headers: &[],
    };
    open.send(result).await.unwrap();
    let offset = CommittedOffset { offset: 2, leader_epoch: -1, metadata: String::new() };
    let consumed = vec![(TopicPartition::new(scene.from.as_str(), 0), offset)];
    open.send_offsets(consumed, GroupMetadata::nobody(group.as_str())).await.unwrap();

    let probe = Probe::default();
    let app = scene.start("answers", &probe, "").await;
    scene.all_committed(&group, 0, 3).await;
    app.stop().await.unwrap();
    let woken = open.commit().await.unwrap_err();
    assert!(woken.is_fenced(), "{woken}");
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!"]);
    probe.assert_each_once_in_order();
}

/// Numbers `from..to` to the partitions in turn.
async fn number(scene: &Scene, records: std::ops::Range<u64>) {
    let app = App::from_yaml(scene.cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for n in records {
        let partition = i32::try_from(n % PARTITIONS as u64).unwrap();
        let record =
            Record::to(&scene.from).partition(partition).json(&serde_json::json!({ "n": n })).unwrap();
        drop(app.template().enqueue_record(record).await.unwrap());
    }
    app.template().flush().await.unwrap();
    app.stop().await.unwrap();
}

/// A process with the pipeline; what it says is read, so that it can go on.
struct Process {
    child: Child,
    handled: tokio::sync::watch::Receiver<usize>,
}

impl Process {
    fn start(scene: &Scene, properties: &str) -> Self {
        let yaml = scene.yaml(&format!(
            "kafka-runtime:\n  listeners:\n    pipeline: {{topic: {from}, group: {from}-pipeline, properties: {{{properties}}}}}\n",
            from = scene.from
        ));
        let mut command = Command::new(env!("CARGO_BIN_EXE_transformer"));
        command.env("PIPELINE_YAML", yaml).env("PIPELINE_TO", &scene.to);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (count, handled) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok(Some(_)) = lines.next_line().await {
                count.send_modify(|count| *count += 1);
            }
        });
        Self { child, handled }
    }

    /// Waits until it has handled `count` records.
    async fn has_handled(&mut self, count: usize) {
        tokio::time::timeout(LIMIT, self.handled.wait_for(|handled| *handled >= count))
            .await
            .unwrap()
            .unwrap();
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }
}

/// One result for each of `count` numbers, in order.
async fn assert_exactly_once(scene: &Scene, count: u64) {
    for (partition, values) in scene.results(&scene.to, PARTITIONS).await {
        let numbers: Vec<u64> = values.iter().map(|value| value.parse().unwrap()).collect();
        let expected: Vec<u64> = (0..count).filter(|n| n % PARTITIONS as u64 == partition as u64).collect();
        assert_eq!(numbers, expected, "partition {partition}");
    }
}

async fn killed_again_and_again(name: &str, properties: &str) {
    const RECORDS: u64 = 6_000;
    let scene = Scene::new(name, PARTITIONS).await;
    number(&scene, 0..RECORDS).await;
    let mut processes: Vec<_> = (0..3).map(|_| Process::start(&scene, properties)).collect();
    let (group, ends) = (format!("{}-pipeline", scene.from), scene.ends().await);
    let mut chance = std::collections::hash_map::RandomState::new();
    let patience = tokio::time::Instant::now() + 4 * LIMIT;
    let mut kills = 0;
    while scene.committed(&group).await != ends {
        assert!(
            tokio::time::Instant::now() < patience,
            "it does not come to its end: {:?}",
            scene.committed(&group).await
        );
        use std::hash::BuildHasher;
        let random = chance.hash_one(kills);
        chance = std::collections::hash_map::RandomState::new();
        tokio::time::sleep(Duration::from_millis(300 + random % 700)).await;
        // Enough for a rebalance to end now and then.
        if kills < 12 {
            let victim = usize::try_from(random / 1_000 % 3).unwrap();
            processes[victim].child.kill().await.unwrap();
            processes[victim] = Process::start(&scene, properties);
            kills += 1;
        }
    }
    println!("{name}: killed {kills} times");
    assert!(kills >= 3, "it was over before it was killed: {kills}");
    assert_exactly_once(&scene, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_each_input_has_one_result() {
    let properties = "session.timeout.ms: 6000, heartbeat.interval.ms: 500";
    killed_again_and_again("killed", properties).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_a_cooperative_group() {
    let properties = "session.timeout.ms: 6000, heartbeat.interval.ms: 500, partition.assignment.strategy: cooperative-sticky";
    killed_again_and_again("cooperative", properties).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_a_group_of_the_new_protocol() {
    killed_again_and_again("consumer", "group.protocol: consumer").await;
}

/// A process is frozen until its partitions are another's, and wakes up in the middle of its work.
async fn frozen(name: &str, properties: &str) {
    const RECORDS: u64 = 2_000;
    let scene = Scene::new(name, PARTITIONS).await;
    number(&scene, 0..RECORDS).await;
    let mut zombie = Process::start(&scene, properties);
    zombie.has_handled(50).await;
    zombie.signal("-STOP").await;
    let mut successor = Process::start(&scene, properties);
    successor.has_handled(50).await;
    zombie.signal("-CONT").await;
    let (group, ends) = (format!("{}-pipeline", scene.from), scene.ends().await);
    eventually("all is committed", 4 * LIMIT, || async { scene.committed(&group).await == ends }).await;
    assert_exactly_once(&scene, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_that_wakes_up_writes_nothing_visible() {
    frozen("frozen", "session.timeout.ms: 6000, heartbeat.interval.ms: 500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_of_the_new_protocol_writes_nothing_visible() {
    frozen("frozen-new", "group.protocol: consumer").await;
}
