//! What the container's tests stand only: a coordinator that answers as told, a handler that does as told, batches.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_client::config::{
    ClientConfig, Compression, ConsumerConfig, GroupConfig, OffsetReset, Subscription,
};
use kafka_client::consumer::{Chunk, CommitOutcome, Offsets, Start, StreamItem};
use kafka_client::group::{CommittedOffset, Lease};
use kafka_client::producer::RecordMetadata;
use kafka_client::records::append::{AppendStamp, stamp};
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::seams::Rng;
use kafka_client::{At, Error, ResponseError, TopicPartition};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ack::Ack;
use super::commit::{CommitPolicy, CommitPort, Committer, Tries};
use super::feed::Source;
use super::parallel::Remembered;
use super::recovery::outlet::{Letter, Outlet, Sending};
use super::shared::{PartitionPhase, Shared, Signal};
use super::work::{Bound, ListenerWork};
use crate::config::{
    self, AckMode, Cadence, ClientIds, CommitStrategy, DeadLetters, ListenerSettings, OnExhausted, OnRevoke,
    Retry, RetryErrors,
};
use crate::listener::__private::{Root, Sortable as _, Sorts};
use crate::listener::{
    BatchDelivery, BatchFailure, BatchHandler, Delivery, Failure, Fatal, Handler, Preparation, Prepared,
    Slot, States,
};

pub(super) type Round = Vec<(TopicPartition, i64)>;

/// A coordinator that answers after a while, as the script says, and remembers.
#[derive(Clone, Default)]
pub(super) struct Coordinator {
    sent: Arc<Mutex<Vec<Round>>>,
    failures: Arc<Mutex<Vec<ResponseError>>>,
    in_flight: Arc<AtomicUsize>,
    /// What was committed with success, last.
    committed: Arc<Mutex<HashMap<TopicPartition, CommittedOffset>>>,
    /// Metadata that is longer is refused.
    most_metadata: Arc<AtomicUsize>,
    /// Whose records must be settled before they are committed.
    guard: Arc<Mutex<Option<Arc<Script>>>>,
}

impl Coordinator {
    pub(super) fn failing(failures: &[ResponseError]) -> Self {
        let this = Self::default();
        this.failures.lock().unwrap().extend(failures.iter().rev());
        this
    }

    pub(super) fn sent(&self) -> Vec<Round> {
        self.sent.lock().unwrap().clone()
    }

    pub(super) fn committed(&self, partition: TopicPartition) -> Option<i64> {
        self.committed_with_metadata(partition).map(|committed| committed.offset)
    }

    pub(super) fn committed_with_metadata(&self, partition: TopicPartition) -> Option<CommittedOffset> {
        self.committed.lock().unwrap().get(&partition).cloned()
    }

    /// `offset.metadata.max.bytes`, if it is more than nothing.
    pub(super) fn refuse_metadata_above(&self, most: usize) {
        self.most_metadata.store(most, Ordering::SeqCst);
    }

    fn refuses(&self, offsets: &Offsets) -> Option<ResponseError> {
        let most = Some(self.most_metadata.load(Ordering::SeqCst)).filter(|most| *most > 0);
        let too_large =
            |(_, committed): &(_, CommittedOffset)| most.is_some_and(|most| committed.metadata.len() > most);
        if offsets.iter().any(too_large) {
            return Some(ResponseError::OffsetMetadataTooLarge);
        }
        self.failures.lock().unwrap().pop()
    }

    /// How many of the settled records would be handled again if this were the end.
    pub(super) fn repeated_after_a_crash(&self, script: &Script, partition: TopicPartition) -> usize {
        let committed = self.committed_with_metadata(partition);
        let offset = committed.as_ref().map_or(0, |committed| committed.offset);
        let metadata = committed.as_ref().map_or("", |committed| &committed.metadata);
        let remembered = Remembered::decode(metadata, offset);
        let kept =
            |settled: &&i64| **settled >= offset && !remembered.ranges().any(|range| range.contains(settled));
        script.settled.lock().unwrap().iter().filter(kept).count()
    }

    /// From now on nothing may be committed that this handler has not settled.
    pub(super) fn guard(&self, script: &Arc<Script>) {
        *self.guard.lock().unwrap() = Some(Arc::clone(script));
    }

    pub(super) fn offsets(&self) -> Vec<i64> {
        self.sent().into_iter().flatten().map(|(_, offset)| offset).collect()
    }
}

impl CommitPort for Coordinator {
    async fn commit(&self, offsets: Offsets) -> CommitOutcome {
        assert_eq!(self.in_flight.fetch_add(1, Ordering::SeqCst), 0, "two commits in flight");
        let round = offsets.iter().map(|(partition, committed)| (*partition, committed.offset)).collect();
        if let Some(script) = &*self.guard.lock().unwrap() {
            offsets.iter().for_each(|(_, committed)| script.assert_settled(committed));
        }
        self.sent.lock().unwrap().push(round);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let failure = self.refuses(&offsets);
        if failure.is_none() {
            self.committed.lock().unwrap().extend(offsets.iter().cloned());
        }
        let result = |partition: TopicPartition| match failure {
            None => Ok(()),
            Some(code) => Err(Error::Broker { api: "OffsetCommit", code, at: At::Partition(partition) }),
        };
        CommitOutcome { partitions: offsets.into_iter().map(|(p, _)| (p, result(p))).collect() }
    }
}

/// What the handler does with a record.
pub(super) enum Act {
    Return,
    Fail(&'static str),
    /// Fails for good.
    Fatal(&'static str),
    Undecodable,
    Panic,
    /// Waits, then returns.
    Wait(Duration),
    /// Keeps its `Ack` for the test; returns.
    KeepAck,
    /// Returns, and acknowledges so much later.
    AckAfter(Duration),
    /// Drops its `Ack`; returns.
    DropAck,
}

type Plan = dyn Fn(i64, u32) -> Act + Send + Sync;

type LaneOf = fn(i64) -> i64;

/// The handler's script and memory.
pub(super) struct Script {
    plan: Box<Plan>,
    /// Offset and attempt of each call, in order.
    seen: Mutex<Vec<(i64, u32)>>,
    /// Offsets of each call to a batch handler.
    batches: Mutex<Vec<Vec<i64>>>,
    acks: Mutex<HashMap<i64, Ack>>,
    /// Handled, or acknowledged.
    settled: Arc<Mutex<BTreeSet<i64>>>,
    calls: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// Where records of one lane must not be in hand together: the lane of an offset, and what is in hand of each.
    lanes: Mutex<Option<LaneOf>>,
    in_hand: Mutex<HashMap<i64, i64>>,
}

impl Script {
    pub(super) fn new(plan: impl Fn(i64, u32) -> Act + Send + Sync + 'static) -> Self {
        Self {
            plan: Box::new(plan),
            seen: Mutex::default(),
            batches: Mutex::default(),
            acks: Mutex::default(),
            settled: Arc::default(),
            calls: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            lanes: Mutex::default(),
            in_hand: Mutex::default(),
        }
    }

    /// From now on two records of one lane in hand at once are a failure.
    pub(super) fn watch_lanes(&self, lane: LaneOf) {
        *self.lanes.lock().unwrap() = Some(lane);
    }

    fn take_in_hand(&self, offset: i64) -> Option<InHand<'_>> {
        let lane = (*self.lanes.lock().unwrap())?(offset);
        let other = self.in_hand.lock().unwrap().insert(lane, offset);
        assert_eq!(other, None, "{offset} is handed over beside another of its lane");
        Some(InHand(self, lane))
    }

    pub(super) fn seen(&self) -> Vec<(i64, u32)> {
        self.seen.lock().unwrap().clone()
    }

    /// What earlier lives of the listener settled.
    pub(super) fn settle(&self, offsets: &BTreeSet<i64>) {
        self.settled.lock().unwrap().extend(offsets);
    }

    pub(super) fn settled(&self) -> BTreeSet<i64> {
        self.settled.lock().unwrap().clone()
    }

    /// Nothing is committed, or said to be finished in the metadata, that is not settled.
    fn assert_settled(&self, committed: &CommittedOffset) {
        let CommittedOffset { offset, metadata, .. } = committed;
        let settled = self.settled.lock().unwrap();
        let remembered = Remembered::decode(metadata, *offset);
        assert!(metadata.is_empty() || remembered.len() > 0, "metadata that says nothing: {metadata}");
        let mut said = (0..*offset).chain(remembered.ranges().flatten());
        let open = said.find(|said| !settled.contains(said));
        assert_eq!(open, None, "committed {offset} and {remembered:?}, which is ahead of what is settled");
    }

    /// How many calls were settled, over all partitions.
    pub(super) fn settled_calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn offsets(&self) -> Vec<i64> {
        self.seen().into_iter().map(|(offset, _)| offset).collect()
    }

    pub(super) fn batches(&self) -> Vec<Vec<i64>> {
        self.batches.lock().unwrap().clone()
    }

    pub(super) fn take_ack(&self, offset: i64) -> Ack {
        self.acks.lock().unwrap().remove(&offset).unwrap()
    }

    /// The most handlers that ran at once.
    pub(super) fn most_running(&self) -> usize {
        self.most_running.load(Ordering::SeqCst)
    }

    async fn play(&self, offset: i64, attempt: u32, ack: Option<Ack>) -> Result<(), Failure> {
        let _in_hand = self.take_in_hand(offset);
        self.seen.lock().unwrap().push((offset, attempt));
        let act = (self.plan)(offset, attempt);
        let by_hand = ack.is_some();
        let played = self.act(act, offset, ack).await;
        if played.is_ok() && !by_hand {
            self.settled.lock().unwrap().insert(offset);
            self.calls.fetch_add(1, Ordering::SeqCst);
        }
        played
    }

    async fn act(&self, act: Act, offset: i64, ack: Option<Ack>) -> Result<(), Failure> {
        match act {
            Act::Return => ack.map_or(Ok(()), |ack| {
                self.settled.lock().unwrap().insert(offset);
                ack.ack().map_err(|gone| Failure::Handler(gone.into()))
            }),
            Act::AckAfter(time) => {
                let settled = Arc::clone(&self.settled);
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    settled.lock().unwrap().insert(offset);
                    // The partition may have gone meanwhile.
                    let _ = ack.map(Ack::ack);
                });
                Ok(())
            }
            Act::Fail(cause) => Err(Failure::Handler(cause.into())),
            Act::Fatal(cause) => {
                let nothing = Sorts { only: &[], never: &[] };
                Err(Failure::Handler(Fatal::new(cause).into()).sorted(Root::default(), nothing))
            }
            Act::Undecodable => Err(Failure::Decode(format!("offset {offset}: not JSON"))),
            Act::Panic => panic!("a panic at {offset}"),
            Act::Wait(time) => {
                let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_running.fetch_max(running, Ordering::SeqCst);
                let guard = Leaving(&self.running);
                tokio::time::sleep(time).await;
                drop(guard);
                Ok(())
            }
            Act::KeepAck => {
                self.acks.lock().unwrap().extend(ack.map(|ack| (offset, ack)));
                Ok(())
            }
            Act::DropAck => Ok(()),
        }
    }
}

struct InHand<'a>(&'a Script, i64);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn prepared(preparation: &mut Preparation<'_>) -> Prepared {
    Prepared { slots: vec![Slot::new(preparation.state::<Script>().unwrap())] }
}

fn script(prepared: &Prepared) -> &Script {
    prepared.slot(0).get::<Arc<Script>>().unwrap()
}

struct Scripted;

impl Handler for Scripted {
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared {
        prepared(preparation)
    }

    async fn call<'r>(prepared: &'r Prepared, delivery: Delivery<'r>) -> Result<(), Failure> {
        let ack = delivery.acks.map(|acks| acks.issue(delivery.record.offset));
        script(prepared).play(delivery.record.offset, delivery.attempt, ack).await
    }
}

struct ScriptedBatch;

impl BatchHandler for ScriptedBatch {
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared {
        prepared(preparation)
    }

    async fn call<'r>(prepared: &'r Prepared, delivery: BatchDelivery<'r>) -> Result<(), BatchFailure> {
        let script = script(prepared);
        let offsets = delivery.records.iter().map(|(record, _)| record.offset).collect();
        script.batches.lock().unwrap().push(offsets);
        // By hand, one that is to be dropped takes its batch with it.
        let mut ack = delivery.records.last().and_then(|(last, _)| Some(delivery.acks?.issue(last.offset)));
        for (index, (record, _)) in delivery.records.iter().enumerate() {
            if matches!((script.plan)(record.offset, delivery.attempt), Act::DropAck) {
                ack = None;
            }
            let played = script.play(record.offset, delivery.attempt, None).await;
            played.map_err(|failure| BatchFailure { index, failure })?;
        }
        ack.map_or(Ok(()), |ack| {
            ack.ack().map_err(|gone| BatchFailure { index: 0, failure: Failure::Handler(gone.into()) })
        })
    }
}

/// Uncompressed records with these offsets, keys `k<offset>`.
pub(super) fn records(base: i64, count: i64) -> Bytes {
    keyed(base, count, Some)
}

/// The same with keys `k<n>`, where there is one.
pub(super) fn keyed(base: i64, count: i64, key: impl Fn(i64) -> Option<i64>) -> Bytes {
    let mut builder = BatchBuilder::new(1024);
    for offset in base..base + count {
        let (key, value) = (key(offset).map(|key| format!("k{key}")), offset.to_string());
        let (key, value) = (key.as_ref().map(String::as_bytes), Some(value.as_bytes()));
        builder.append(RecordToWrite { timestamp: 0, key, value, headers: &[] });
    }
    at(builder.build(Compression::None, ProducerStamp::NONE).unwrap(), base)
}

/// The batch as it lies at `base_offset`.
pub(super) fn at(batch: Bytes, base_offset: i64) -> Bytes {
    let mut bytes = BytesMut::from(batch);
    stamp(&mut bytes, AppendStamp { base_offset, leader_epoch: 3, append_time: None }).unwrap();
    bytes.freeze()
}

/// A listener with defaults that tests change.
pub(super) fn settings() -> ListenerSettings {
    let mut consumer = ConsumerConfig::new(Subscription::Topics(vec!["orders".into()]));
    consumer.group = Some(GroupConfig::new("billing"));
    consumer.auto_offset_reset = OffsetReset::Earliest;
    ListenerSettings {
        id: "bill".into(),
        client: ClientConfig::default(),
        client_ids: ClientIds { base: "test".into(), first: 0 },
        consumer,
        whole_topics: Vec::new(),
        members: 1,
        concurrency: None,
        ordering: config::Ordering::Partition,
        remember: true,
        transactional: false,
        commit: CommitStrategy::Combined,
        cadence: Cadence::default(),
        ack: AckMode::Auto,
        commit_timeout: Duration::from_secs(60),
        retry: Retry { attempts: 3, ..Retry::default() },
        retry_errors: RetryErrors::default(),
        on_exhausted: OnExhausted::Stop,
        dead_letters: DeadLetters::default(),
        retry_topics: None,
        hop: None,
        handler_timeout: None,
        max_poll_records: 500,
        max_poll_interval: Duration::from_secs(300),
        auto_startup: true,
        shutdown_timeout: Duration::from_secs(20),
        drain_timeout: Duration::from_secs(10),
        on_revoke: OnRevoke::Cancel,
        rate_limit: None,
        circuit_breaker: None,
        idle_event_interval: None,
        idle_partition_event_interval: None,
        missing_topics_fatal: false,
    }
}

pub(super) fn policy(settings: &ListenerSettings) -> CommitPolicy {
    CommitPolicy::new(settings, None, Arc::new(Rng::seeded(1))).unwrap()
}

struct Channel(mpsc::UnboundedReceiver<StreamItem>);

impl Source for Channel {
    async fn next(&mut self) -> Option<StreamItem> {
        self.0.recv().await
    }
    fn try_next(&mut self) -> Option<StreamItem> {
        self.0.try_recv().ok()
    }
}

/// A letter that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) topic: String,
    pub(super) offset: i64,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A way out that takes a while, and remembers; it can refuse.
#[derive(Debug, Default)]
pub(super) struct Postbox {
    posted: Mutex<Vec<Posted>>,
    refusal: Mutex<Option<&'static str>>,
}

impl Postbox {
    pub(super) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    /// From now on everything is refused with these words; `None`: nothing.
    pub(super) fn refuse(&self, words: Option<&'static str>) {
        *self.refusal.lock().unwrap() = words;
    }
}

impl Outlet for Postbox {
    fn send<'a>(&'a self, letter: Letter<'a>) -> Sending<'a> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Some(words) = *self.refusal.lock().unwrap() {
                return Err(words.to_owned());
            }
            let mut posted = self.posted.lock().unwrap();
            let value = letter.value.map(|value| String::from_utf8_lossy(value).into_owned());
            let offset = i64::try_from(posted.len()).unwrap();
            posted.push(Posted { topic: letter.topic.to_string(), offset, value, headers: letter.headers });
            let partition = TopicPartition { topic: letter.topic, partition: letter.source.partition };
            Ok(RecordMetadata { partition, offset, timestamp: 0 })
        })
    }

    fn now(&self) -> i64 {
        1_700_000_000_000
    }
}

/// A listener under test: a handler by script, a committer, partitions on demand.
pub(super) struct Rig {
    pub(super) script: Arc<Script>,
    pub(super) coordinator: Coordinator,
    pub(super) postbox: Arc<Postbox>,
    work: Arc<ListenerWork>,
    committer: Committer,
}

/// One of its partitions.
pub(super) struct RigPartition {
    pub(super) shared: Arc<Shared>,
    pub(super) task: JoinHandle<()>,
    pub(super) items: mpsc::UnboundedSender<StreamItem>,
}

impl Rig {
    pub(super) fn new(
        settings: ListenerSettings,
        batch: bool,
        plan: impl Fn(i64, u32) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::with(Coordinator::default(), settings, batch, plan)
    }

    pub(super) fn with(
        coordinator: Coordinator,
        settings: ListenerSettings,
        batch: bool,
        plan: impl Fn(i64, u32) -> Act + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(Script::new(plan));
        let mut states = States::new();
        states.insert(std::any::TypeId::of::<Script>(), Arc::clone(&script) as _);
        let mut preparation = Preparation::new(&states);
        let bound = match batch {
            true => Bound::batch::<ScriptedBatch>(&mut preparation),
            false => Bound::single::<Scripted>(&mut preparation),
        };
        let committer = Committer::start(coordinator.clone(), policy(&settings));
        let postbox = Arc::new(Postbox::default());
        let outlet = Arc::clone(&postbox) as Arc<dyn Outlet>;
        let work = ListenerWork::new("bill", settings, bound, Arc::new(Rng::seeded(1)), outlet);
        Self { script, coordinator, postbox, work: Arc::new(work), committer }
    }

    /// Partition `number`, from offset 0, committed nowhere.
    pub(super) fn partition(&self, number: i32) -> RigPartition {
        self.partition_from(number, 0, None)
    }

    pub(super) fn partition_from(&self, number: i32, offset: i64, committed: Option<i64>) -> RigPartition {
        let metadata = String::new;
        let committed =
            committed.map(|offset| CommittedOffset { offset, leader_epoch: -1, metadata: metadata() });
        self.partition_at(number, offset, committed)
    }

    pub(super) fn partition_at(
        &self,
        number: i32,
        offset: i64,
        committed: Option<CommittedOffset>,
    ) -> RigPartition {
        let partition = TopicPartition::new("orders", number);
        let start = Start { offset, committed, epoch: 1 };
        let shared = Arc::new(self.work.shared(partition, &start));
        self.committer.hold(Arc::clone(&shared), start.committed.as_ref().map(|committed| committed.offset));
        let (items, inbox) = mpsc::unbounded_channel();
        let (work, committer) = (Arc::clone(&self.work), Some(self.committer.clone()));
        let (_, task) = super::partition::begin(
            Channel(inbox),
            &start,
            Arc::clone(&shared),
            work,
            super::partition::Commits { committer, transact: None },
            Lease::forever(),
        );
        RigPartition { shared, task, items }
    }
}

impl Rig {
    /// Changes `concurrency`.
    pub(super) fn set_concurrency(&self, most: usize) {
        self.work.set_concurrency(most);
    }

    /// Gives the partition back as a member does: drained, committed, forgotten.
    pub(super) async fn give_back(&self, partition: RigPartition) {
        let name = partition.shared.partition;
        let shared = partition.drain().await;
        if shared.is_behind() {
            let until = tokio::time::Instant::now() + Duration::from_secs(5);
            let _ = self.committer.request(name, Tries::Until(until)).await;
        }
        self.committer.forget(name);
    }
}

impl RigPartition {
    /// Records `base..base + count` come, as one batch of the wire.
    pub(super) fn comes(&self, base: i64, count: i64) {
        self.bytes(base, records(base, count));
    }

    pub(super) fn bytes(&self, position: i64, bytes: Bytes) {
        let chunk = Chunk::from_bytes(self.shared.partition, 1, position, bytes);
        self.items.send(StreamItem::Chunk(chunk)).unwrap();
    }

    pub(super) async fn drain(self) -> Arc<Shared> {
        self.shared.raise(Signal::Drain);
        self.task.await.unwrap();
        self.shared
    }

    pub(super) fn phase(&self) -> PartitionPhase {
        self.shared.phase()
    }
}

pub(super) async fn after(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
