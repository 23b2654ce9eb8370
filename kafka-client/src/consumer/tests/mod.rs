//! The whole consumer against scripted brokers, in paused time.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use tokio::time::timeout;

use super::*;
use crate::client::{Client, Io};
use crate::config::{GroupConfig, OffsetReset, StartAt, Subscription};
use crate::fetch::answer::extent;
use crate::fetch::slot::Position;
use crate::fetch::testing::Recipe;
use crate::net::fake::{Asked, Fake, Reply, config as client_config, negotiating};

mod commits;
mod reading;

const SECOND: Duration = Duration::from_secs(1);

/// One partition of `orders`.
#[derive(Debug, Clone, Default)]
struct Log {
    leader: i32,
    epoch: i32,
    batches: Vec<Bytes>,
    start: i64,
    /// Answered to whoever asks where an earlier epoch ends: epoch and offset.
    epoch_end: (i32, i64),
    /// Where the leader sends readers.
    preferred: Option<i32>,
}

impl Log {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, end_of)
    }
}

fn end_of(batch: &Bytes) -> i64 {
    extent(batch, Position { offset: 0, leader_epoch: -1 }).next.offset
}

/// What the brokers have, and what they do wrong.
#[derive(Debug, Default)]
struct Brokers {
    id: u128,
    logs: Vec<Log>,
    committed: Vec<Option<i64>>,
    /// Codes of the next offset fetches, and commits.
    fetch_codes: Vec<ResponseError>,
    /// How many of the next offset fetches find an open transaction.
    unstable: usize,
    commit_codes: Vec<ResponseError>,
    /// How long the next commit is thought about.
    commit_takes: Duration,
    /// How long they think about who coordinates.
    finding_takes: Duration,
    /// Partition, offset and generation of each commit that was accepted.
    commits: Vec<(i32, i64, i32)>,
    /// Over which connection each commit came.
    committing: Vec<usize>,
    /// Who was asked to fetch what.
    fetches: Vec<(i32, i32)>,
}

fn me(asked: &Asked) -> i32 {
    asked.peer.trim_start_matches("host-").trim_end_matches(":9092").parse().unwrap()
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("orders"))
}

impl Brokers {
    fn log(&self, partition: i32) -> &Log {
        &self.logs[usize::try_from(partition).unwrap()]
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        match () {
            () if asked.is::<MetadataRequest>() => self.metadata(asked),
            () if asked.is::<FetchRequest>() => self.fetch(asked),
            () if asked.is::<ListOffsetsRequest>() => self.list(asked),
            () if asked.is::<OffsetForLeaderEpochRequest>() => self.epochs(asked),
            () if asked.is::<FindCoordinatorRequest>() => {
                let found = Found::default().with_node_id(BrokerId(1));
                let answer = asked.answer(&FindCoordinatorResponse::default().with_coordinators(vec![found]));
                after(self.finding_takes, answer)
            }
            () if asked.is::<OffsetFetchRequest>() => self.fetch_offsets(asked),
            () if asked.is::<OffsetCommitRequest>() => self.commit_offsets(asked),
            () => panic!("{asked:?}"),
        }
    }

    fn metadata(&self, asked: &Asked) -> Reply {
        let broker = |id: i32| {
            let host = StrBytes::from_string(format!("host-{id}"));
            MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host).with_port(9092)
        };
        let partitions = self.logs.iter().zip(0..).map(|(log, index)| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(log.leader))
                .with_leader_epoch(log.epoch)
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(name()))
            .with_topic_id(uuid::Uuid::from_u128(self.id))
            .with_partitions(partitions.collect());
        let response = MetadataResponse::default().with_topics(vec![topic]);
        asked.answer(&response.with_brokers(vec![broker(1), broker(2)]))
    }

    fn fetch(&mut self, asked: &Asked) -> Reply {
        let request: FetchRequest = asked.read();
        let me = me(asked);
        let mut parts = Vec::new();
        for part in request.topics.iter().flat_map(|topic| &topic.partitions) {
            self.fetches.push((me, part.partition));
            let log = self.log(part.partition);
            let mut data = PartitionData::default().with_partition_index(part.partition);
            data.high_watermark = log.end();
            let code = match () {
                () if request.topics[0].topic_id.as_u128() != self.id => Some(ResponseError::UnknownTopicId),
                () if log.leader != me && log.preferred != Some(me) => {
                    Some(ResponseError::NotLeaderOrFollower)
                }
                () if part.current_leader_epoch < log.epoch => Some(ResponseError::FencedLeaderEpoch),
                () if !(log.start..=log.end()).contains(&part.fetch_offset) => {
                    Some(ResponseError::OffsetOutOfRange)
                }
                () => None,
            };
            let batch = log.batches.iter().find(|batch| end_of(batch) > part.fetch_offset);
            match (code, log.preferred, batch) {
                (Some(code), ..) => parts.push(data.with_error_code(code.code())),
                (None, Some(to), _) if to != me => parts.push(data.with_preferred_read_replica(BrokerId(to))),
                (None, _, Some(batch)) => parts.push(data.with_records(Some(batch.clone()))),
                (None, _, None) => {}
            }
        }
        let wait = match parts.is_empty() {
            true => Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap()),
            false => Duration::ZERO,
        };
        let topic = FetchableTopicResponse::default()
            .with_topic_id(request.topics.first().map_or_else(Default::default, |topic| topic.topic_id))
            .with_partitions(parts);
        // No session: each request names everything.
        let answer = asked.answer(&FetchResponse::default().with_responses(vec![topic]));
        Reply::After(wait, Box::new(answer))
    }

    fn list(&self, asked: &Asked) -> Reply {
        let request: ListOffsetsRequest = asked.read();
        let parts = request.topics.iter().flat_map(|topic| &topic.partitions).map(|part| {
            let log = self.log(part.partition_index);
            let offset = match part.timestamp {
                -1 => log.end(),
                -2 => log.start,
                millis if millis < 1000 => log.start,
                _ => -1,
            };
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(part.partition_index);
            match log.leader == me(asked) {
                true => answer.with_offset(offset).with_leader_epoch(log.epoch),
                false => answer.with_error_code(ResponseError::NotLeaderOrFollower.code()),
            }
        });
        let topic = ListOffsetsTopicResponse::default().with_name(name()).with_partitions(parts.collect());
        asked.answer(&ListOffsetsResponse::default().with_topics(vec![topic]))
    }

    fn epochs(&self, asked: &Asked) -> Reply {
        let request: OffsetForLeaderEpochRequest = asked.read();
        let parts = request.topics.iter().flat_map(|topic| &topic.partitions).map(|part| {
            let (epoch, offset) = self.log(part.partition).epoch_end;
            EpochEndOffset::default()
                .with_partition(part.partition)
                .with_leader_epoch(epoch)
                .with_end_offset(offset)
        });
        let topic = OffsetForLeaderTopicResult::default().with_topic(name()).with_partitions(parts.collect());
        asked.answer(&OffsetForLeaderEpochResponse::default().with_topics(vec![topic]))
    }

    fn fetch_offsets(&mut self, asked: &Asked) -> Reply {
        let request: OffsetFetchRequest = asked.read();
        let is_unstable = self.unstable > 0;
        self.unstable = self.unstable.saturating_sub(1);
        let group = OffsetFetchResponseGroup::default().with_group_id(request.groups[0].group_id.clone());
        let group = if let Some(code) = self.fetch_codes.pop() {
            group.with_error_code(code.code())
        } else {
            let topics = request.groups[0].topics.iter().flatten();
            let parts = topics.flat_map(|topic| &topic.partition_indexes).map(|index| {
                let offset = self.committed[usize::try_from(*index).unwrap()].unwrap_or(-1);
                let code = if is_unstable { ResponseError::UnstableOffsetCommit.code() } else { 0 };
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(*index)
                    .with_committed_offset(if is_unstable { -1 } else { offset })
                    .with_error_code(code)
                    .with_metadata(Some(StrBytes::from_static_str("kept")))
            });
            let topic =
                OffsetFetchResponseTopics::default().with_name(name()).with_partitions(parts.collect());
            group.with_topics(vec![topic])
        };
        asked.answer(&OffsetFetchResponse::default().with_groups(vec![group]))
    }

    fn commit_offsets(&mut self, asked: &Asked) -> Reply {
        let request: OffsetCommitRequest = asked.read();
        let code = self.commit_codes.pop();
        self.committing.push(asked.connection);
        let generation = request.generation_id_or_member_epoch;
        let mut parts = Vec::new();
        for part in request.topics.iter().flat_map(|topic| &topic.partitions) {
            if code.is_none() {
                self.commits.push((part.partition_index, part.committed_offset, generation));
                self.committed[usize::try_from(part.partition_index).unwrap()] = Some(part.committed_offset);
            }
            let answer = OffsetCommitResponsePartition::default().with_partition_index(part.partition_index);
            parts.push(answer.with_error_code(code.map_or(0, |code| code.code())));
        }
        let topic = OffsetCommitResponseTopic::default().with_name(name()).with_partitions(parts);
        let answer = asked.answer(&OffsetCommitResponse::default().with_topics(vec![topic]));
        after(std::mem::take(&mut self.commit_takes), answer)
    }
}

fn after(time: Duration, answer: Reply) -> Reply {
    match time.is_zero() {
        true => answer,
        false => Reply::After(time, Box::new(answer)),
    }
}

struct World {
    brokers: Arc<Mutex<Brokers>>,
    fake: Arc<Fake>,
    client: Client,
}

impl World {
    /// Two partitions, led by brokers 1 and 2, with records 0 to 9 each.
    fn new() -> Self {
        let log = |leader| Log {
            leader,
            batches: vec![Recipe::new(0, 5).build(), Recipe::new(5, 5).build()],
            ..Log::default()
        };
        let brokers = Arc::new(Mutex::new(Brokers {
            id: 7,
            logs: vec![log(1), log(2)],
            committed: vec![None; 2],
            ..Brokers::default()
        }));
        let script = Arc::clone(&brokers);
        let fake = negotiating(move |asked| script.lock().unwrap().answer(asked));
        let config = crate::config::ClientConfig {
            metadata_max_age: Duration::from_secs(20),
            ..client_config(&["host-1:9092"])
        };
        let client = Client::with_seams(config, fake.seams(), Io::Current).unwrap();
        Self { brokers, fake, client }
    }

    fn brokers(&self) -> MutexGuard<'_, Brokers> {
        self.brokers.lock().unwrap()
    }

    fn consumer(&self, config: ConsumerConfig) -> Consumer {
        self.client.consumer(config).unwrap()
    }

    /// One more batch of two records.
    fn append(&self, partition: usize) {
        let log = &mut self.brokers().logs[partition];
        let recipe = Recipe { leader_epoch: log.epoch, ..Recipe::new(log.end(), 2) };
        log.batches.push(recipe.build());
    }
}

fn orders(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn by_hand(partition: i32, at: StartAt, reset: OffsetReset) -> ConsumerConfig {
    ConsumerConfig {
        group: Some(GroupConfig::new("billing")),
        auto_offset_reset: reset,
        ..ConsumerConfig::new(Subscription::Partitions(vec![(orders(partition), at)]))
    }
}

async fn assigned(consumer: &mut Consumer) -> PartitionStream {
    loop {
        match timeout(600 * SECOND, consumer.next()).await.unwrap().unwrap() {
            ConsumerEvent::Assigned(mut streams) => return streams.pop().unwrap(),
            ConsumerEvent::Problem(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The offsets of the next chunk.
async fn next(stream: &mut PartitionStream) -> Vec<i64> {
    match timeout(600 * SECOND, stream.next()).await.unwrap() {
        Some(StreamItem::Chunk(mut chunk)) => {
            let mut offsets = Vec::new();
            while let Some(batch) = chunk.next_batch().unwrap() {
                offsets.extend(batch.records().map(|record| record.unwrap().offset));
            }
            offsets
        }
        other => panic!("{other:?} instead of a chunk"),
    }
}

async fn moved(stream: &mut PartitionStream) -> (i64, u64) {
    match timeout(600 * SECOND, stream.next()).await.unwrap() {
        Some(StreamItem::Moved(start)) => (start.offset, start.epoch),
        other => panic!("{other:?} instead of a jump"),
    }
}

fn to_commit(partition: i32, offset: i64) -> Offsets {
    vec![(orders(partition), CommittedOffset { offset, leader_epoch: -1, metadata: String::new() })]
}
