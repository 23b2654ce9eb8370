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
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::commit::{CommitJob, Committer, Holding, Persistence};
use super::*;
use crate::client::{Client, Io};
use crate::cluster::Cluster;
use crate::config::{GroupConfig, OffsetReset, StartAt, Subscription};
use crate::fetch::answer::extent;
use crate::fetch::slot::Position;
use crate::fetch::testing::Recipe;
use crate::group::{Coordinator, Identity};
use crate::net::Pool;
use crate::net::fake::{Asked, Fake, Reply, config as client_config, negotiating};

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
        self.batches.last().map_or(self.start, |batch| end_of(batch))
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
    commit_codes: Vec<ResponseError>,
    /// Partition, offset and generation of each commit that was accepted.
    commits: Vec<(i32, i64, i32)>,
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
                asked.answer(&FindCoordinatorResponse::default().with_coordinators(vec![found]))
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
        let group = OffsetFetchResponseGroup::default().with_group_id(request.groups[0].group_id.clone());
        let group = if let Some(code) = self.fetch_codes.pop() {
            group.with_error_code(code.code())
        } else {
            let topics = request.groups[0].topics.iter().flatten();
            let parts = topics.flat_map(|topic| &topic.partition_indexes).map(|index| {
                let offset = self.committed[usize::try_from(*index).unwrap()].unwrap_or(-1);
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(*index)
                    .with_committed_offset(offset)
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
        asked.answer(&OffsetCommitResponse::default().with_topics(vec![topic]))
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

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_loading_never_means_that_nothing_is_committed() {
    let world = World::new();
    world.brokers().committed[0] = Some(7);
    world.brokers().fetch_codes = vec![ResponseError::CoordinatorLoadInProgress; 150];
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::Earliest));
    let begun = Instant::now();
    let mut stream = assigned(&mut consumer).await;
    assert!(begun.elapsed() > 60 * SECOND, "longer than one try's deadline");
    assert_eq!((stream.start().offset, stream.start().epoch), (7, 0));
    assert_eq!(stream.start().committed.as_ref().unwrap().metadata, "kept");
    assert_eq!(next(&mut stream).await, [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_start_at_the_latest_is_in_the_log_of_commits_before_it_is_told() {
    let world = World::new();
    world.brokers().commit_codes = vec![ResponseError::CoordinatorLoadInProgress; 300];
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::Latest));
    let stream = assigned(&mut consumer).await;
    assert_eq!(stream.start().offset, 10);
    assert_eq!(world.brokers().commits, [(0, 10, -1)]);
    // What the policy did not choose is not committed.
    drop(consumer);
    for (at, offset) in [(StartAt::End, 10), (StartAt::Beginning, 0), (StartAt::Timestamp(5000), 10)] {
        let mut consumer = world.consumer(by_hand(0, at, OffsetReset::Latest));
        assert_eq!(assigned(&mut consumer).await.start().offset, offset);
    }
    assert_eq!(world.brokers().commits.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_committed_offset_and_without_a_policy_the_partition_waits_for_a_seek() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Committed, OffsetReset::None));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(stream.start().offset, -1);
    let item = stream.next().await;
    assert!(matches!(item, Some(StreamItem::Failed(Error::NoOffset { .. }))), "{item:?}");
    let handle = consumer.handle();
    assert!(matches!(handle.seek(orders(0), StartAt::Committed).await, Err(Error::NoOffset { .. })));
    assert!(matches!(stream.next().await, Some(StreamItem::Failed(_))));
    handle.seek(orders(0), StartAt::Timestamp(5)).await.unwrap();
    assert_eq!(moved(&mut stream).await, (0, 1));
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    world.brokers().committed[0] = Some(8);
    handle.seek(orders(0), StartAt::Committed).await.unwrap();
    assert_eq!(moved(&mut stream).await, (8, 2));
    assert_eq!(next(&mut stream).await, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_is_followed_and_its_log_is_checked() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut stream).await, [5, 6, 7, 8, 9]);
    // A clean move: the new leader has all that was read.
    {
        let log = &mut world.brokers().logs[0];
        (log.leader, log.epoch, log.epoch_end) = (2, 1, (0, 10));
    }
    world.append(0);
    assert_eq!(next(&mut stream).await, [10, 11]);
    // An unclean one: what was read last is not in the new leader's log.
    {
        let log = &mut world.brokers().logs[0];
        (log.leader, log.epoch, log.epoch_end) = (1, 2, (0, 8));
        log.batches.pop();
        log.batches[1] = Recipe { leader_epoch: 0, ..Recipe::new(5, 3) }.build();
    }
    world.append(0);
    assert_eq!(moved(&mut stream).await, (8, 1));
    assert_eq!(next(&mut stream).await, [8, 9]);
    assert_eq!(world.fake.count(ApiKey::OffsetForLeaderEpoch), 2);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_replica_is_read_and_left_when_it_cannot_be() {
    let world = World::new();
    world.brokers().logs[0].preferred = Some(2);
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(world.brokers().fetches[..2], [(1, 0), (2, 0)]);
    // The leader changes its mind; the follower will not have it any more.
    world.brokers().logs[0].preferred = None;
    world.append(0);
    let mut seen = Vec::new();
    while seen.len() < 7 {
        seen.extend(next(&mut stream).await);
    }
    assert_eq!(seen, [5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(world.brokers().fetches.last(), Some(&(1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_gone_concerns_its_own_partitions_alone() {
    let world = World::new();
    world.fake.take_down(&["host-2:9092"]);
    let both = vec![(orders(0), StartAt::Beginning), (orders(1), StartAt::Offset(0))];
    let config = ConsumerConfig::new(Subscription::Partitions(both));
    let mut consumer = world.consumer(config);
    let (mut streams, mut problems) = (Vec::new(), 0);
    let minute = Instant::now() + 60 * SECOND;
    while let Ok(event) = tokio::time::timeout_at(minute, consumer.next()).await {
        match event.unwrap() {
            ConsumerEvent::Assigned(more) => streams.extend(more),
            ConsumerEvent::Problem(_) => problems += 1,
            other => panic!("{other:?}"),
        }
    }
    streams.sort_by_key(PartitionStream::partition);
    let mut up = streams.remove(0);
    assert_eq!(next(&mut up).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut up).await, [5, 6, 7, 8, 9]);
    assert!((1..=14).contains(&problems), "{problems} in a minute");
    world.fake.take_down(&[]);
    assert_eq!(next(&mut streams[0]).await, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_again_is_read_from_its_start() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Latest));
    let mut stream = assigned(&mut consumer).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    sleep(SECOND).await;
    {
        let mut brokers = world.brokers();
        brokers.id = 8;
        brokers.logs[0].batches = vec![Recipe::new(0, 2).build()];
    }
    // What was queued of the old topic is not read any more.
    sleep(60 * SECOND).await;
    assert_eq!(moved(&mut stream).await, (0, 1));
    assert_eq!(next(&mut stream).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_read_before_a_jump_out_of_range() {
    let world = World::new();
    let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Earliest));
    let mut stream = assigned(&mut consumer).await;
    sleep(SECOND).await;
    // Both batches are queued; now retention takes all there was.
    {
        let log = &mut world.brokers().logs[0];
        log.start = 20;
        log.batches = vec![Recipe::new(20, 1).build()];
    }
    sleep(SECOND).await;
    assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
    assert_eq!(next(&mut stream).await, [5, 6, 7, 8, 9]);
    assert_eq!(moved(&mut stream).await, (20, 1));
    assert_eq!(next(&mut stream).await, [20]);
    let said = timeout(SECOND, consumer.next()).await.unwrap();
    match said {
        Some(ConsumerEvent::Problem(error @ Error::Skipped { from: 10, to: 20, .. })) => {
            assert!(error.to_string().contains("10 offsets skipped"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_or_dropped_consumer_ends_its_streams() {
    let world = World::new();
    for drops in [false, true] {
        let mut consumer = world.consumer(by_hand(0, StartAt::Beginning, OffsetReset::Latest));
        let mut stream = assigned(&mut consumer).await;
        assert_eq!(next(&mut stream).await, [0, 1, 2, 3, 4]);
        let handle = consumer.handle();
        match drops {
            true => drop(consumer),
            false => consumer.close(Leave::Default, SECOND).await.unwrap(),
        }
        sleep(SECOND).await;
        assert!(stream.next().await.is_none());
        let outcome = handle.commit(to_commit(0, 1)).await;
        assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. } | Error::Closed)), "{outcome:?}");
    }
}

/// A committer whose identity the test holds.
struct Stamped {
    world: World,
    identity: watch::Sender<Identity>,
    holding: Arc<Holding>,
    jobs: mpsc::UnboundedSender<CommitJob>,
    told: mpsc::UnboundedReceiver<Command>,
    _commands: mpsc::UnboundedSender<Command>,
}

fn member(generation: i32) -> Identity {
    Identity { member_id: "me".into(), generation }
}

impl Stamped {
    fn new() -> Self {
        let world = World::new();
        let config = client_config(&["host-1:9092"]);
        let cluster = Cluster::new(config, world.fake.seams());
        let pool = Arc::new(Pool::new(Arc::clone(&cluster)));
        let (identity, stamp) = watch::channel(member(1));
        let (commands, told) = mpsc::unbounded_channel();
        let (jobs, inbox) = mpsc::unbounded_channel();
        let holding = Arc::new(Holding::default());
        holding.take(orders(0), 1);
        let committer = Committer {
            group: "billing".into(),
            instance_id: None,
            coordinator: Arc::new(Coordinator::new(pool, "billing")),
            identity: Some(stamp),
            holding: Arc::clone(&holding),
            task: commands.downgrade(),
            cluster,
        };
        tokio::spawn(commit::run(Some(committer), inbox));
        Self { world, identity, holding, jobs, told, _commands: commands }
    }

    fn commit(&self, offset: i64, persistence: Persistence) -> oneshot::Receiver<CommitOutcome> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(CommitJob { offsets: to_commit(0, offset), persistence, reply }).unwrap();
        answer
    }
}

fn code(outcome: &CommitOutcome) -> Option<ResponseError> {
    outcome.partitions[0].1.as_ref().err().map(|error| error.code().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_an_old_stamp_is_stamped_anew() {
    let mut one = Stamped::new();
    for old in [ResponseError::RebalanceInProgress, ResponseError::IllegalGeneration] {
        one.world.brokers().commit_codes = vec![old];
        let outcome = one.commit(5, Persistence::Once);
        // The rebalance ends some time later; the membership was told to look.
        assert!(matches!(one.told.recv().await, Some(Command::CommitRefused(told)) if told == old));
        let generation = one.identity.borrow().generation + 1;
        one.identity.send_replace(member(generation));
        assert_eq!(code(&outcome.await.unwrap()), None);
        assert_eq!(one.world.brokers().commits.last(), Some(&(0, 5, generation)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_not_stamped_anew_for_what_was_taken_away() {
    let mut one = Stamped::new();
    one.world.brokers().commit_codes = vec![ResponseError::RebalanceInProgress];
    let outcome = one.commit(5, Persistence::Once);
    one.told.recv().await.unwrap();
    one.holding.let_go(orders(0), 1);
    one.identity.send_replace(member(2));
    let outcome = outcome.await.unwrap();
    assert!(matches!(outcome.partitions[0].1, Err(Error::NotHeld { .. })), "{outcome:?}");
    assert_eq!(one.world.brokers().commits, []);
}

#[tokio::test(start_paused = true)]
async fn commits_are_repeated_only_when_asked_to_and_never_overtake() {
    let one = Stamped::new();
    let loading = ResponseError::CoordinatorLoadInProgress;
    one.world.brokers().commit_codes = vec![loading];
    assert_eq!(code(&one.commit(1, Persistence::Once).await.unwrap()), Some(loading));

    one.world.brokers().commit_codes = vec![loading; 5];
    let first = one.commit(2, Persistence::Until(Instant::now() + 60 * SECOND));
    let second = one.commit(3, Persistence::Once);
    assert_eq!(code(&second.await.unwrap()), None);
    assert_eq!(code(&first.await.unwrap()), None);
    assert_eq!(one.world.brokers().commits, [(0, 2, 1), (0, 3, 1)]);

    one.world.brokers().commit_codes = vec![loading; 500];
    let begun = Instant::now();
    let outcome = one.commit(4, Persistence::Until(begun + 10 * SECOND)).await.unwrap();
    assert_eq!(code(&outcome), Some(loading));
    assert!((9 * SECOND..=10 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_its_place_commits_nothing() {
    let mut one = Stamped::new();
    one.world.brokers().commit_codes = vec![ResponseError::UnknownMemberId];
    assert_eq!(code(&one.commit(1, Persistence::Once).await.unwrap()), Some(ResponseError::UnknownMemberId));
    assert!(matches!(one.told.recv().await, Some(Command::CommitRefused(ResponseError::UnknownMemberId))));
    // Without a generation the broker would take it for an outsider's, if the group is empty.
    one.identity.send_replace(Identity::none());
    assert!(code(&one.commit(1, Persistence::Once).await.unwrap()).is_some());
    assert_eq!(one.world.brokers().commits, []);
}
