//! The consumer against a broker: set `KAFKA_BOOTSTRAP_SERVERS` (`scripts/with-kafka cargo test -p kafka-client`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{
    Assignor, ClientConfig, Compression, ConsumerConfig, GroupConfig, IsolationLevel, OffsetReset,
    ProducerConfig, StartAt, Subscription,
};
use kafka_client::consumer::{Chunk, Consumer, ConsumerEvent, PartitionStream, Start, StreamItem};
use kafka_client::group::{CommittedOffset, Leave};
use kafka_client::producer::{Outgoing, Producer};
use kafka_client::{Client, Error, TopicName, TopicPartition};
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(30);

struct Cluster {
    servers: String,
    client: Client,
}

/// The broker that the tests were given, or none.
fn cluster() -> Option<Cluster> {
    let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        eprintln!("NOT RUN: KAFKA_BOOTSTRAP_SERVERS is not set");
        return None;
    };
    let bootstrap_servers = servers.split(',').map(str::to_owned).collect();
    let config = ClientConfig {
        bootstrap_servers,
        // Topics that come and go are noticed soon.
        metadata_max_age: Duration::from_secs(1),
        ..ClientConfig::default()
    };
    Some(Cluster { servers, client: Client::new(config).unwrap() })
}

/// A name that no other run has.
fn fresh(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}

impl Cluster {
    async fn topic(&self, name: &str, partitions: i32) -> TopicName {
        let name = fresh(name);
        self.create(&name, partitions).await;
        TopicName::new(&name)
    }

    async fn create(&self, name: &str, partitions: i32) {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication: None,
            config: BTreeMap::new(),
        };
        let created = self.client.admin().create_topics(&[topic], TIMEOUT).await.unwrap();
        created[0].1.as_ref().unwrap();
    }

    fn producer(&self, compression: Compression) -> Producer {
        self.client.producer(ProducerConfig { compression, ..ProducerConfig::default() }).unwrap()
    }

    /// `count` records over all partitions, whose values are `from`, `from + 1`...
    async fn produce(&self, topic: TopicName, partitions: i32, from: u32, count: u32) {
        let producer = self.producer(Compression::None);
        let mut deliveries = Vec::new();
        for value in from..from + count {
            let partition = Some(i32::try_from(value).unwrap() % partitions);
            let value = value.to_string();
            let record = outgoing(topic, partition, value.as_bytes());
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        producer.close(TIMEOUT).await.unwrap();
    }

    fn consumer(&self, config: ConsumerConfig) -> Reader {
        let consumer = self.client.consumer(config).unwrap();
        Reader { consumer, streams: HashMap::new(), starts: HashMap::new(), problems: Vec::new() }
    }

    async fn committed(&self, group: &str, partition: TopicPartition) -> Option<i64> {
        let found = self.client.admin().committed(group, &[partition]).await.unwrap();
        found[0].1.as_ref().map(|committed| committed.offset)
    }
}

fn outgoing(topic: TopicName, partition: Option<i32>, value: &[u8]) -> Outgoing<'_> {
    Outgoing { topic, partition, timestamp: None, key: None, value: Some(value), headers: &[] }
}

fn of_group(topic: TopicName, group: &str) -> ConsumerConfig {
    let topics = Subscription::Topics(vec![topic.to_string()]);
    ConsumerConfig {
        group: Some(GroupConfig::new(group)),
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::new(topics)
    }
}

fn direct(partitions: Vec<(TopicPartition, StartAt)>) -> ConsumerConfig {
    ConsumerConfig::new(Subscription::Partitions(partitions))
}

/// A consumer and the streams that it gave.
struct Reader {
    consumer: Consumer,
    streams: HashMap<TopicPartition, PartitionStream>,
    starts: HashMap<TopicPartition, Start>,
    problems: Vec<Error>,
}

type Seen = BTreeMap<TopicPartition, Vec<(i64, String)>>;

fn read(mut chunk: Chunk, seen: &mut Seen) {
    let seen = seen.entry(chunk.partition()).or_default();
    while let Some(batch) = chunk.next_batch().unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
            seen.push((record.offset, value));
        }
    }
}

fn count(seen: &Seen) -> usize {
    seen.values().map(Vec::len).sum()
}

fn values(seen: &Seen) -> BTreeSet<u32> {
    seen.values().flatten().map(|(_, value)| value.parse().unwrap()).collect()
}

impl Reader {
    fn event(&mut self, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Assigned(streams) => {
                for stream in streams {
                    self.starts.insert(stream.partition(), stream.start().clone());
                    self.streams.insert(stream.partition(), stream);
                }
            }
            ConsumerEvent::Revoked(revocation) => {
                revocation.partitions.iter().for_each(|partition| drop(self.streams.remove(partition)));
            }
            ConsumerEvent::Lost(partitions) => {
                partitions.iter().for_each(|partition| drop(self.streams.remove(partition)));
            }
            ConsumerEvent::Problem(error) => self.problems.push(error),
            other => panic!("{other:?}"),
        }
    }

    /// Reads until `enough` says so.
    async fn read_until(
        &mut self,
        seen: &mut Seen,
        mut enough: impl FnMut(&Seen, &[Moved]) -> bool,
    ) -> Vec<Moved> {
        let mut moves = Vec::new();
        timeout(TIMEOUT, async {
            while !enough(seen, &moves) {
                let mut idle = true;
                for stream in self.streams.values_mut() {
                    while let Some(item) = stream.try_next() {
                        idle = false;
                        match item {
                            StreamItem::Chunk(chunk) => read(chunk, seen),
                            StreamItem::Moved(start) => moves.push(Moved(start)),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                if idle && let Ok(event) = timeout(Duration::from_millis(5), self.consumer.next()).await {
                    self.event(event.expect("it goes on"));
                }
            }
        })
        .await
        .unwrap_or_else(|_| {
            panic!("only {} records, {} streams, {:?}", count(seen), self.streams.len(), self.problems)
        });
        moves
    }

    async fn read_count(&mut self, wanted: usize) -> Seen {
        let mut seen = Seen::new();
        self.read_until(&mut seen, |seen, _| count(seen) >= wanted).await;
        seen
    }

    /// Until so many partitions are held.
    async fn hold(&mut self, partitions: usize) {
        timeout(TIMEOUT, async {
            while self.streams.len() != partitions {
                let event = self.consumer.next().await.unwrap();
                self.event(event);
            }
        })
        .await
        .unwrap();
    }

    async fn commit(&self, seen: &Seen) {
        let offsets =
            seen.iter().map(|(partition, seen)| (*partition, offset(seen.last().unwrap().0 + 1))).collect();
        let outcome = self.consumer.handle().commit_sync(offsets, TIMEOUT).await;
        for (partition, result) in outcome.partitions {
            result.unwrap_or_else(|error| panic!("{partition}: {error}"));
        }
    }

    async fn close(self) {
        drop(self.streams);
        self.consumer.close(Leave::Default, TIMEOUT).await.unwrap();
    }
}

#[derive(Debug)]
struct Moved(Start);

fn offset(offset: i64) -> CommittedOffset {
    CommittedOffset { offset, leader_epoch: -1, metadata: "read".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_where_it_committed() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("goes-on", 3).await;
    cluster.produce(topic, 3, 0, 300).await;
    let mut one = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = one.read_count(300).await;
    assert_eq!(values(&seen), (0..300).collect());
    assert_eq!(seen.len(), 3);
    assert!(one.starts.values().all(|start| start.offset == 0 && start.committed.is_none()));
    one.commit(&seen).await;
    one.close().await;

    cluster.produce(topic, 3, 300, 30).await;
    let mut two = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = two.read_count(30).await;
    assert_eq!(values(&seen), (300..330).collect());
    let start = &two.starts[&TopicPartition::new(topic, 0)];
    assert_eq!((start.offset, start.committed.as_ref().unwrap().metadata.as_str()), (100, "read"));
    // Nothing was committed this time.
    two.close().await;
    let mut three = cluster.consumer(of_group(topic, topic.as_str()));
    assert_eq!(values(&three.read_count(30).await), (300..330).collect());
    three.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_the_latest_is_committed_before_anything_is_read() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("latest", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let config = ConsumerConfig { auto_offset_reset: OffsetReset::Latest, ..of_group(topic, topic.as_str()) };
    let mut one = cluster.consumer(config.clone());
    one.hold(1).await;
    let partition = TopicPartition::new(topic, 0);
    assert_eq!(cluster.committed(topic.as_str(), partition).await, Some(10));
    // It dies without a commit of its own (and leaves, so that the next one need not wait for its session).
    cluster.produce(topic, 1, 10, 5).await;
    one.close().await;
    let mut two = cluster.consumer(config);
    assert_eq!(values(&two.read_count(5).await), (10..15).collect());
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_is_read() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("codecs", 1).await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (codec, from) in codecs.into_iter().zip((0..).step_by(100)) {
        let producer = cluster.producer(codec);
        for value in from..from + 100 {
            let value = value.to_string();
            drop(producer.enqueue(outgoing(topic, Some(0), value.as_bytes())).await.unwrap());
        }
        producer.close(TIMEOUT).await.unwrap();
    }
    let mut reader = cluster.consumer(direct(vec![(TopicPartition::new(topic, 0), StartAt::Beginning)]));
    let seen = reader.read_count(500).await;
    let (offsets, values): (Vec<_>, Vec<_>) = seen.into_values().next().unwrap().into_iter().unzip();
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
    assert_eq!(values, (0..500).map(|value| value.to_string()).collect::<Vec<_>>());
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_partitions() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("thousand", 1000).await;
    cluster.produce(topic, 1000, 0, 20_000).await;
    let mut reader = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = reader.read_count(20_000).await;
    assert_eq!(seen.len(), 1000);
    for records in seen.values() {
        assert_eq!(
            records.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
            (0..20).collect::<Vec<_>>()
        );
    }
    reader.commit(&seen).await;
    cluster.produce(topic, 1000, 20_000, 1000).await;
    assert_eq!(values(&reader.read_count(1000).await), (20_000..21_000).collect());
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_larger_than_every_limit_pass() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("large", 1).await;
    let producer = cluster.producer(Compression::None);
    for size in [900_000, 10, 900_000] {
        producer.send(outgoing(topic, Some(0), &vec![b'x'; size])).await.unwrap();
    }
    producer.close(TIMEOUT).await.unwrap();
    let mut config = direct(vec![(TopicPartition::new(topic, 0), StartAt::Beginning)]);
    config.fetch.max_partition_bytes = 100;
    config.fetch.prefetch_bytes = 1000;
    let mut reader = cluster.consumer(config);
    let seen = reader.read_count(3).await;
    let sizes: Vec<_> = seen.values().flatten().map(|(_, value)| value.len()).collect();
    assert_eq!(sizes, [900_000, 10, 900_000]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seek_pause_and_places() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("seek", 2).await;
    cluster.produce(topic, 2, 0, 100).await;
    let (zero, one) = (TopicPartition::new(topic, 0), TopicPartition::new(topic, 1));
    let mut reader = cluster.consumer(direct(vec![(zero, StartAt::Offset(40)), (one, StartAt::End)]));
    let seen = reader.read_count(10).await;
    assert_eq!(seen[&zero].first().unwrap().0, 40);
    reader.hold(2).await;
    assert_eq!(reader.starts[&one].offset, 50);

    let handle = reader.consumer.handle();
    handle.seek(zero, StartAt::Beginning).await.unwrap();
    handle.seek(one, StartAt::Offset(49)).await.unwrap();
    let mut seen = Seen::new();
    let moves = reader.read_until(&mut seen, |seen, _| count(seen) >= 51).await;
    assert!(moves.iter().all(|moved| moved.0.epoch == 1), "{moves:?}");
    assert_eq!(moves.len(), 2);
    assert_eq!((seen[&zero].len(), seen[&one].len()), (50, 1));

    handle.pause(&[zero]);
    // The pause reaches the loop before the records reach the log.
    tokio::time::sleep(Duration::from_millis(700)).await;
    cluster.produce(topic, 2, 100, 10).await;
    let mut seen = Seen::new();
    reader.read_until(&mut seen, |seen, _| count(seen) >= 5).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(reader.streams.get_mut(&zero).unwrap().try_next().is_none());
    handle.resume(&[zero]);
    reader.read_until(&mut seen, |seen, _| count(seen) >= 10).await;
    assert_eq!(values(&seen), (100..110).collect());

    let stranger = TopicPartition::new(topic, 9);
    assert!(matches!(handle.seek(stranger, StartAt::End).await, Err(Error::NotHeld { .. })));
    reader.close().await;
    assert!(matches!(handle.seek(zero, StartAt::End).await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_out_of_range_follows_the_policy_and_says_so() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("range", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let partition = TopicPartition::new(topic, 0);
    let config = direct(vec![(partition, StartAt::Offset(1_000_000))]);
    let mut reader =
        cluster.consumer(ConsumerConfig { auto_offset_reset: OffsetReset::Earliest, ..config.clone() });
    let mut seen = Seen::new();
    let moves = reader.read_until(&mut seen, |seen, _| count(seen) >= 10).await;
    assert_eq!((moves[0].0.offset, moves[0].0.epoch), (0, 1));
    while reader.problems.is_empty() {
        let event = timeout(TIMEOUT, reader.consumer.next()).await.unwrap().unwrap();
        reader.event(event);
    }
    assert!(
        matches!(reader.problems[0], Error::Skipped { from: 1_000_000, to: 0, .. }),
        "{:?}",
        reader.problems
    );
    reader.close().await;

    let mut reader = cluster.consumer(ConsumerConfig { auto_offset_reset: OffsetReset::None, ..config });
    reader.hold(1).await;
    let item = timeout(TIMEOUT, reader.streams.get_mut(&partition).unwrap().next()).await.unwrap();
    assert!(matches!(item, Some(StreamItem::Failed(Error::NoOffset { .. }))), "{item:?}");
    // A seek brings it back.
    reader.consumer.handle().seek(partition, StartAt::Beginning).await.unwrap();
    assert_eq!(
        count(&{
            let mut seen = Seen::new();
            reader.read_until(&mut seen, |seen, _| count(seen) >= 10).await;
            seen
        }),
        10
    );
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_assigned_by_hand_use_and_commit_the_groups_offsets() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("by-hand", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let partition = TopicPartition::new(topic, 0);
    let config = ConsumerConfig {
        group: Some(GroupConfig::new(topic.as_str())),
        auto_offset_reset: OffsetReset::Earliest,
        ..direct(vec![(partition, StartAt::Committed)])
    };
    let mut one = cluster.consumer(config.clone());
    let seen = one.read_count(10).await;
    assert!(one.consumer.handle().lease().is_valid());
    one.commit(&seen).await;
    let stranger = TopicPartition::new(topic, 1);
    let outcome = one.consumer.handle().commit(vec![(stranger, offset(1)), (partition, offset(7))]).await;
    assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. })), "{outcome:?}");
    assert!(outcome.partitions[1].1.is_ok());
    one.close().await;
    let mut two = cluster.consumer(config);
    assert_eq!(values(&two.read_count(3).await), (7..10).collect());
    two.close().await;

    let alone = cluster.consumer(direct(vec![(partition, StartAt::Beginning)]));
    let outcome = alone.consumer.handle().commit(vec![(partition, offset(1))]).await;
    assert!(matches!(outcome.partitions[0].1, Err(Error::Config(_))));
}

/// Reads a group's partitions, committing before it gives any back, until `until` records were seen by all members.
async fn member(cluster: &Cluster, config: ConsumerConfig, log: std::sync::Arc<Log>, until: usize) {
    let mut reader = cluster.consumer(config);
    let handle = reader.consumer.handle();
    let mut mine = Seen::new();
    while log.count() < until {
        for stream in reader.streams.values_mut() {
            while let Some(item) = stream.try_next() {
                if let StreamItem::Chunk(chunk) = item {
                    read(chunk, &mut mine);
                }
            }
        }
        log.saw(&mine);
        match timeout(Duration::from_millis(10), reader.consumer.next()).await {
            Ok(Some(ConsumerEvent::Revoked(revocation))) => {
                let offsets = revocation.partitions.iter().filter_map(|partition| {
                    reader.streams.remove(partition);
                    let seen = mine.remove(partition)?;
                    Some((*partition, offset(seen.last()?.0 + 1)))
                });
                let outcome = handle.commit_sync(offsets.collect(), TIMEOUT).await;
                assert!(outcome.partitions.iter().all(|(_, result)| result.is_ok()), "{outcome:?}");
            }
            Ok(Some(event)) => reader.event(event),
            Ok(None) => panic!("it goes on"),
            Err(_) => {}
        }
    }
    reader.close().await;
}

/// What all members saw.
#[derive(Default)]
struct Log(std::sync::Mutex<BTreeSet<(TopicPartition, i64)>>);

impl Log {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
    fn saw(&self, seen: &Seen) {
        let mut all = self.0.lock().unwrap();
        for (partition, records) in seen {
            all.extend(records.iter().map(|(offset, _)| (*partition, *offset)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_and_hand_them_over_without_loss() {
    let Some(cluster) = cluster() else { return };
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let topic = cluster.topic("share", 6).await;
        let mut config = of_group(topic, topic.as_str());
        if let Some(group) = &mut config.group {
            group.assignors = vec![assignor];
        }
        let log = std::sync::Arc::new(Log::default());
        cluster.produce(topic, 6, 0, 600).await;
        let late = async {
            while log.count() < 300 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cluster.produce(topic, 6, 600, 600).await;
            member(&cluster, config.clone(), std::sync::Arc::clone(&log), 2400).await;
        };
        let later = async {
            while log.count() < 1200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            cluster.produce(topic, 6, 1200, 1200).await;
        };
        let early = member(&cluster, config.clone(), std::sync::Arc::clone(&log), 2400);
        timeout(Duration::from_secs(90), async { tokio::join!(early, late, later) }).await.unwrap();
        assert_eq!(log.count(), 2400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_topics_found_later_start_at_their_first_record() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("grows", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let config = ConsumerConfig {
        auto_offset_reset: OffsetReset::Latest,
        allow_auto_create_topics: false,
        ..of_group(topic, topic.as_str())
    };
    let later = fresh("created-later");
    let topics = Subscription::Topics(vec![topic.to_string(), later.clone()]);
    let mut reader = cluster.consumer(ConsumerConfig { subscription: topics, ..config });
    reader.hold(1).await;
    assert_eq!(reader.starts[&TopicPartition::new(topic, 0)].offset, 10);

    cluster.client.admin().create_partitions(topic.as_str(), 2, TIMEOUT).await.unwrap();
    cluster.create(&later, 1).await;
    let new = TopicPartition::new(topic, 1);
    let producer = cluster.producer(Compression::None);
    // Metadata of the new partition may not be everywhere yet.
    while producer.send(outgoing(topic, Some(1), b"10")).await.is_err() {}
    producer.send(outgoing(TopicName::new(&later), Some(0), b"11")).await.unwrap();
    producer.close(TIMEOUT).await.unwrap();
    let mut seen = Seen::new();
    reader.read_until(&mut seen, |seen, _| count(seen) >= 2).await;
    assert_eq!(values(&seen), (10..12).collect());
    assert_eq!(reader.starts[&new].offset, 0);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_again_is_read_from_its_first_record() {
    let Some(cluster) = cluster() else { return };
    let name = fresh("again");
    cluster.create(&name, 1).await;
    let topic = TopicName::new(&name);
    cluster.produce(topic, 1, 0, 10).await;
    let partition = TopicPartition::new(topic, 0);
    let config = direct(vec![(partition, StartAt::Beginning)]);
    let config = ConsumerConfig { allow_auto_create_topics: false, ..config };
    let mut reader = cluster.consumer(config);
    reader.read_count(10).await;
    let admin = cluster.client.admin();
    admin.delete_topics(&[&name], TIMEOUT).await.unwrap()[0].1.as_ref().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    // By asking for it, the producer's client may have created it again already.
    self::cluster().unwrap().produce(topic, 1, 50, 3).await;
    let mut seen = Seen::new();
    let moves = reader.read_until(&mut seen, |seen, _| count(seen) >= 3).await;
    assert_eq!(values(&seen), (50..53).collect());
    assert_eq!((moves.last().unwrap().0.offset, moves.len()), (0, 1));
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_kafkas_own_producer_under_both_isolation_levels() {
    let Some(cluster) = cluster() else { return };
    let Ok(libs) = std::env::var("KAFKA_LIBS") else {
        eprintln!("NOT RUN: KAFKA_LIBS is not set");
        return;
    };
    let topic = cluster.topic("transactions", 1).await;
    let plan = "commit:3,abort:4,commit:2,abort:1,commit:1,open:5";
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/Peer.java");
    let mut java = Command::new("java")
        .args([
            "-cp",
            &format!("{libs}/*"),
            peer,
            "transactions",
            &cluster.servers,
            topic.as_str(),
            topic.as_str(),
            plan,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(java.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("ready")));

    let partition = TopicPartition::new(topic, 0);
    let config = direct(vec![(partition, StartAt::Beginning)]);
    let outcomes = |parts: &[(&str, usize)]| -> Vec<String> {
        parts.iter().flat_map(|(what, n)| (0..*n).map(move |i| format!("\"{what}-{i}\""))).collect()
    };
    let strip = |text: &str| text.trim_matches('"').to_owned();
    for (isolation, expected) in [
        (
            IsolationLevel::ReadUncommitted,
            outcomes(&[("commit", 3), ("abort", 4), ("commit", 2), ("abort", 1), ("commit", 1), ("open", 5)]),
        ),
        (IsolationLevel::ReadCommitted, outcomes(&[("commit", 3), ("commit", 2), ("commit", 1)])),
    ] {
        let mut reader = cluster.consumer(ConsumerConfig { isolation, ..config.clone() });
        let mut seen = Seen::new();
        reader.read_until(&mut seen, |seen, _| count(seen) >= expected.len()).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(reader.streams.get_mut(&partition).unwrap().try_next().is_none());
        let values: Vec<_> = seen[&partition].iter().map(|(_, value)| strip(value)).collect();
        assert_eq!(values, expected.iter().map(|text| strip(text)).collect::<Vec<_>>());
        reader.close().await;
    }
    drop(java.stdin.take());
    let _ = java.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_gives_back_and_then_ends() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("shutdown", 2).await;
    cluster.produce(topic, 2, 0, 10).await;
    let mut reader = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = reader.read_count(10).await;
    let handle = reader.consumer.handle();
    handle.shutdown();
    let revocation = loop {
        match timeout(TIMEOUT, reader.consumer.next()).await.unwrap() {
            Some(ConsumerEvent::Revoked(revocation)) => break revocation,
            Some(event) => reader.event(event),
            None => panic!("nothing was given back"),
        }
    };
    assert_eq!(revocation.partitions.len(), 2);
    for stream in reader.streams.values_mut() {
        assert!(stream.next().await.is_none());
    }
    reader.commit(&seen).await;
    assert!(timeout(Duration::from_millis(300), reader.consumer.next()).await.is_err());
    drop(revocation);
    assert!(timeout(TIMEOUT, reader.consumer.next()).await.unwrap().is_none());
    let late = handle.commit(vec![(TopicPartition::new(topic, 0), offset(1))]).await;
    assert!(matches!(late.partitions[0].1, Err(Error::NotHeld { .. })), "{late:?}");
    reader.close().await;
    assert_eq!(cluster.committed(topic.as_str(), TopicPartition::new(topic, 0)).await, Some(5));
}
