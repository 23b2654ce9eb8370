//! The broker that the tests were given, and a consumer that is easy to read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{
    ClientConfig, Compression, ConsumerConfig, GroupConfig, OffsetReset, ProducerConfig, StartAt,
    Subscription,
};
use kafka_client::consumer::{Chunk, Consumer, ConsumerEvent, PartitionStream, Start, StreamItem};
use kafka_client::group::{CommittedOffset, Leave};
use kafka_client::producer::{Outgoing, Producer};
use kafka_client::{Client, Error, TopicName, TopicPartition};
use tokio::time::timeout;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    pub(crate) servers: String,
    pub(crate) client: Client,
}

/// The broker that the tests were given, or none.
pub(crate) fn cluster() -> Option<Cluster> {
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
pub(crate) fn fresh(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}

impl Cluster {
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> TopicName {
        let name = fresh(name);
        self.create(&name, partitions).await;
        TopicName::new(&name)
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32) {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication: None,
            config: BTreeMap::new(),
        };
        let created = self.client.admin().create_topics(&[topic], TIMEOUT).await.unwrap();
        created[0].1.as_ref().unwrap();
    }

    pub(crate) fn producer(&self, compression: Compression) -> Producer {
        self.client
            .producer(ProducerConfig { compression: compression.into(), ..ProducerConfig::default() })
            .unwrap()
    }

    /// `count` records over all partitions, whose values are `from`, `from + 1`...
    pub(crate) async fn produce(&self, topic: TopicName, partitions: i32, from: u32, count: u32) {
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

    pub(crate) fn consumer(&self, config: ConsumerConfig) -> Reader {
        let consumer = self.client.consumer(config).unwrap();
        Reader { consumer, streams: HashMap::new(), starts: HashMap::new(), problems: Vec::new() }
    }

    pub(crate) async fn committed(&self, group: &str, partition: TopicPartition) -> Option<i64> {
        let found = self.client.admin().committed(group, &[partition]).await.unwrap();
        found[0].1.as_ref().map(|committed| committed.offset)
    }
}

pub(crate) fn outgoing(topic: TopicName, partition: Option<i32>, value: &[u8]) -> Outgoing<'_> {
    Outgoing { topic, partition, timestamp: None, key: None, value: Some(value), headers: &[] }
}

pub(crate) fn of_group(topic: TopicName, group: &str) -> ConsumerConfig {
    let topics = Subscription::Topics(vec![topic.to_string()]);
    ConsumerConfig {
        group: Some(GroupConfig::new(group)),
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::new(topics)
    }
}

pub(crate) fn direct(partitions: Vec<(TopicPartition, StartAt)>) -> ConsumerConfig {
    ConsumerConfig::new(Subscription::Partitions(partitions))
}

/// A consumer and the streams that it gave.
pub(crate) struct Reader {
    pub(crate) consumer: Consumer,
    pub(crate) streams: HashMap<TopicPartition, PartitionStream>,
    pub(crate) starts: HashMap<TopicPartition, Start>,
    pub(crate) problems: Vec<Error>,
}

pub(crate) type Seen = BTreeMap<TopicPartition, Vec<(i64, String)>>;

pub(crate) fn read(mut chunk: Chunk, seen: &mut Seen) {
    let seen = seen.entry(chunk.partition()).or_default();
    while let Some(batch) = chunk.next_batch().unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
            seen.push((record.offset, value));
        }
    }
}

pub(crate) fn count(seen: &Seen) -> usize {
    seen.values().map(Vec::len).sum()
}

pub(crate) fn values(seen: &Seen) -> BTreeSet<u32> {
    seen.values().flatten().map(|(_, value)| value.parse().unwrap()).collect()
}

impl Reader {
    pub(crate) fn event(&mut self, event: ConsumerEvent) {
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
    pub(crate) async fn read_until(
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

    pub(crate) async fn read_count(&mut self, wanted: usize) -> Seen {
        let mut seen = Seen::new();
        self.read_until(&mut seen, |seen, _| count(seen) >= wanted).await;
        seen
    }

    /// Until so many partitions are held.
    pub(crate) async fn hold(&mut self, partitions: usize) {
        timeout(TIMEOUT, async {
            while self.streams.len() != partitions {
                let event = self.consumer.next().await.unwrap();
                self.event(event);
            }
        })
        .await
        .unwrap();
    }

    pub(crate) async fn commit(&self, seen: &Seen) {
        let offsets =
            seen.iter().map(|(partition, seen)| (*partition, offset(seen.last().unwrap().0 + 1))).collect();
        let outcome = self.consumer.handle().commit_sync(offsets, TIMEOUT).await;
        for (partition, result) in outcome.partitions {
            result.unwrap_or_else(|error| panic!("{partition}: {error}"));
        }
    }

    pub(crate) async fn close(self) {
        drop(self.streams);
        self.consumer.close(Leave::Default, TIMEOUT).await.unwrap();
    }
}

#[derive(Debug)]
pub(crate) struct Moved(pub(crate) Start);

pub(crate) fn offset(offset: i64) -> CommittedOffset {
    CommittedOffset { offset, leader_epoch: -1, metadata: "read".into() }
}
