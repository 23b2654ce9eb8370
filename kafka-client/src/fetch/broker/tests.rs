//! The loop against a model of a broker, on paused time.

use std::sync::Mutex;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use tokio::time::Instant;

use super::*;
use crate::consumer::{PartitionStream, Start, StreamItem};
use crate::fetch::budget::Budget;
use crate::fetch::request::BY_ID;
use crate::fetch::slot::Queued;
use crate::fetch::testing::{Recipe, joined};

const TOPIC_ID: u128 = 77;

/// A broker with one topic: logs, sessions, faults.
#[derive(Debug, Default)]
struct Model {
    logs: Map<i32, Vec<Bytes>>,
    sessions: Map<i32, (i32, Map<i32, Asked>)>,
    last_session: i32,
    /// What the next requests meet.
    faults: Vec<Fault>,
    /// Error codes of partitions.
    codes: Map<i32, ResponseError>,
    requests: Vec<(Instant, Delta, Terms)>,
    /// Partitions with data are answered in turns.
    turn: usize,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    LoseRequest,
    LoseAnswer,
    EvictSessions,
}

/// Its address.
#[derive(Debug, Clone, Default)]
struct World {
    model: Arc<Mutex<Model>>,
    appended: Arc<tokio::sync::Notify>,
}

fn first_offset(batch: &Bytes) -> i64 {
    i64::from_be_bytes(batch[..8].try_into().unwrap())
}

impl Model {
    fn end(&self, partition: i32) -> i64 {
        let last = self.logs.get(&partition).and_then(|log| log.last());
        last.map_or(0, |batch| answer::extent(batch, Position { offset: 0, leader_epoch: -1 }).next.offset)
    }

    /// Partitions of the request's session, or the error of the whole.
    fn enter(&mut self, delta: &Delta) -> Result<(i32, Map<i32, Asked>), ResponseError> {
        let asked = || delta.ask.iter().map(|(partition, asked)| (partition.partition, *asked));
        match delta.session_epoch {
            -1 => {
                self.sessions.remove(&delta.session_id);
                Ok((0, asked().collect()))
            }
            0 => {
                self.sessions.remove(&delta.session_id);
                self.last_session += 1;
                self.sessions.insert(self.last_session, (1, asked().collect()));
                Ok((self.last_session, asked().collect()))
            }
            epoch => {
                let (expected, kept) =
                    self.sessions.get_mut(&delta.session_id).ok_or(ResponseError::FetchSessionIdNotFound)?;
                if *expected != epoch {
                    return Err(ResponseError::InvalidFetchSessionEpoch);
                }
                *expected += 1;
                kept.extend(asked());
                kept.retain(|number, _| {
                    delta.forget.iter().all(|(forgotten, _)| forgotten.partition != *number)
                });
                Ok((delta.session_id, kept.clone()))
            }
        }
    }

    fn read(&mut self, partitions: &Map<i32, Asked>, max_bytes: i32) -> Vec<PartitionData> {
        let mut order: Vec<_> = partitions.iter().collect();
        order.sort_by_key(|(partition, _)| **partition);
        self.turn += 1;
        let start = self.turn % order.len().max(1);
        order.rotate_left(start);
        let (mut left, mut answers) = (usize::try_from(max_bytes).unwrap(), Vec::new());
        for (partition, asked) in order {
            let mut data = PartitionData::default().with_partition_index(*partition);
            data.high_watermark = self.end(*partition);
            if let Some(code) = self.codes.get(partition) {
                answers.push(data.with_error_code(code.code()));
                continue;
            }
            let first = answers.iter().all(|data: &PartitionData| data.records.is_none());
            let log = self.logs.get(partition).map_or(&[][..], |log| &log[..]);
            let from = log.partition_point(|batch| {
                answer::extent(batch, Position { offset: 0, leader_epoch: -1 }).next.offset <= asked.offset
            });
            let mut records = Vec::new();
            for batch in &log[from..] {
                let room = left.min(usize::try_from(asked.max_bytes).unwrap().saturating_sub(records.len()));
                if batch.len() > room && !(first && records.is_empty()) {
                    // What is cut off is sent all the same, as real brokers do.
                    if !records.is_empty() {
                        records.extend_from_slice(&batch[..room]);
                    }
                    break;
                }
                left = left.saturating_sub(batch.len());
                records.extend_from_slice(batch);
            }
            if !records.is_empty() {
                answers.push(data.with_records(Some(records.into())));
            }
        }
        answers
    }
}

impl World {
    fn with<T>(&self, work: impl FnOnce(&mut Model) -> T) -> T {
        work(&mut self.model.lock().unwrap())
    }

    fn append(&self, partition: i32, count: i32, padding: usize) {
        self.with(|model| {
            let base = model.end(partition);
            let batch = Recipe { padding, ..Recipe::new(base, count) }.build();
            assert_eq!(first_offset(&batch), base);
            model.logs.entry(partition).or_default().push(batch);
        });
        self.appended.notify_waiters();
    }

    fn requests(&self) -> usize {
        self.with(|model| model.requests.len())
    }
}

fn lost() -> Error {
    Error::Disconnected { broker: "model:1".into(), reason: "a fault".into() }
}

impl Link for World {
    async fn fetch(&self, delta: Delta, terms: Terms) -> Result<Answer<FetchResponse>> {
        // The network's time.
        sleep(Duration::from_millis(1)).await;
        let fault = self.with(|model| {
            model.requests.push((Instant::now(), delta.clone(), terms.clone()));
            model.faults.pop()
        });
        match fault {
            Some(Fault::LoseRequest) => return Err(lost()),
            Some(Fault::EvictSessions) => self.with(|model| model.sessions.clear()),
            Some(Fault::LoseAnswer) | None => {}
        }
        let mut response = FetchResponse::default();
        match self.with(|model| model.enter(&delta)) {
            Err(code) => response.error_code = code.code(),
            Ok((session_id, partitions)) => {
                response.session_id = session_id;
                let until = Instant::now() + Duration::from_millis(u64::try_from(terms.max_wait_ms).unwrap());
                let data = loop {
                    let appended = self.appended.notified();
                    let data = self.with(|model| model.read(&partitions, terms.max_bytes));
                    if !data.is_empty() || tokio::time::timeout_at(until, appended).await.is_err() {
                        break data;
                    }
                };
                if !data.is_empty() {
                    let id = uuid::Uuid::from_u128(TOPIC_ID);
                    let topic = FetchableTopicResponse::default().with_topic_id(id).with_partitions(data);
                    response.responses = vec![topic];
                }
            }
        }
        match fault {
            Some(Fault::LoseAnswer) => Err(lost()),
            _ => Ok(Answer { version: BY_ID, body: response }),
        }
    }
}

/// A loop of the world's broker, and its partitions' readers.
struct Bench {
    world: World,
    budget: Arc<Budget>,
    commands: mpsc::UnboundedSender<Command>,
    reports: mpsc::UnboundedReceiver<Report>,
    turns: u64,
}

impl Bench {
    fn new(fetch: FetchConfig) -> Self {
        let world = World::default();
        let budget = Budget::new(fetch.prefetch_bytes);
        let settings = Settings {
            fetch,
            isolation: IsolationLevel::ReadUncommitted,
            rack: None,
            backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) },
            rng: Arc::new(Rng::seeded(3)),
        };
        let (commands, inbox) = mpsc::unbounded_channel();
        let (outbox, reports) = mpsc::unbounded_channel();
        let running = BrokerLoop::new(1, world.clone(), Arc::new(settings), budget.seat(), inbox, outbox);
        tokio::spawn(running.run());
        Self { world, budget, commands, reports, turns: 0 }
    }

    fn add(&mut self, slot: &Arc<Slot>) {
        self.turns += 1;
        let entry = Entry {
            slot: Arc::clone(slot),
            turn: self.turns,
            epoch: slot.epoch(),
            topic_id: TOPIC_ID,
            leader_epoch: 0,
            paused: false,
        };
        self.commands.send(Command::Add(entry)).unwrap();
    }

    fn read(&mut self, number: i32) -> (Arc<Slot>, PartitionStream) {
        let slot = Slot::new(partition(number), Position { offset: 0, leader_epoch: -1 });
        self.add(&slot);
        let start = Start { offset: 0, committed: None, epoch: 0 };
        let stream = PartitionStream::new(Arc::clone(&slot), start);
        (slot, stream)
    }
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("orders", number)
}

fn config() -> FetchConfig {
    FetchConfig { max_partition_bytes: 1000, prefetch_bytes: 1 << 20, ..FetchConfig::default() }
}

fn chunk_of(item: Option<StreamItem>) -> Chunk {
    match item {
        Some(StreamItem::Chunk(chunk)) => chunk,
        other => panic!("{other:?} instead of a chunk"),
    }
}

fn offsets(mut chunk: Chunk) -> Vec<i64> {
    let mut offsets = Vec::new();
    while let Some(batch) = chunk.next_batch().unwrap() {
        offsets.extend(batch.records().map(|record| record.unwrap().offset));
    }
    offsets
}

#[tokio::test(start_paused = true)]
async fn records_arrive_in_order_and_a_long_poll_brings_new_ones_at_once() {
    let mut bench = Bench::new(config());
    let (_slot, mut stream) = bench.read(0);
    bench.world.append(0, 3, 0);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0, 1, 2]);
    sleep(Duration::from_secs(5)).await;
    let idle = bench.world.requests();
    assert!((9..=12).contains(&idle), "one request per fetch.max.wait.ms, not {idle}");
    let appended = Instant::now();
    bench.world.append(0, 2, 0);
    let chunk = chunk_of(stream.next().await);
    assert_eq!(chunk.end_offset(), 5);
    assert_eq!(offsets(chunk), [3, 4]);
    assert!(appended.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn a_full_partition_is_left_out_and_comes_back_soon_after_it_is_read() {
    let mut bench = Bench::new(config());
    let (_slot, mut stream) = bench.read(0);
    let (_idle, _idle_stream) = bench.read(1);
    for _ in 0..10 {
        bench.world.append(0, 1, 900);
    }
    sleep(Duration::from_secs(60)).await;
    // Two chunks wait; the session forgot the partition.
    let forgotten = bench.world.with(|model| {
        model.requests.iter().any(|(_, delta, _)| delta.forget.iter().any(|(p, _)| *p == partition(0)))
    });
    assert!(forgotten);
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| !kept.contains_key(&0))));
    let mut never_dry = Vec::new();
    for expected in 0..10 {
        assert_eq!(offsets(chunk_of(stream.next().await)), [expected]);
        sleep(Duration::from_millis(20)).await;
        never_dry.push(stream.is_ready());
    }
    // A reader that takes 20 ms for a chunk never runs dry, although the other partition has no data. (But for once,
    // after it stood still for a minute.)
    assert_eq!(never_dry, [true, false, true, true, true, true, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_loop_waits_when_the_budget_is_used_up() {
    let mut bench = Bench::new(FetchConfig { prefetch_bytes: 3000, ..config() });
    let (_slot, mut stream) = bench.read(0);
    for _ in 0..10 {
        bench.world.append(0, 1, 900);
    }
    sleep(Duration::from_secs(1)).await;
    let first = chunk_of(stream.next().await);
    let second = chunk_of(stream.next().await);
    sleep(Duration::from_secs(1)).await;
    let third = chunk_of(stream.next().await);
    sleep(Duration::from_secs(10)).await;
    assert!(stream.try_next().is_none(), "three of 960 bytes use up 3000");
    let waiting = bench.world.requests();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.world.requests(), waiting);
    drop((first, second, third));
    assert_eq!(offsets(chunk_of(stream.next().await)), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_budget_and_limits_passes_alone() {
    let mut bench = Bench::new(FetchConfig { prefetch_bytes: 3000, ..config() });
    let (_slot, mut stream) = bench.read(0);
    bench.world.append(0, 1, 100_000);
    bench.world.append(0, 1, 100_000);
    let first = chunk_of(stream.next().await);
    sleep(Duration::from_secs(10)).await;
    assert!(stream.try_next().is_none());
    assert_eq!(offsets(first), [0]);
    assert_eq!(offsets(chunk_of(stream.next().await)), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_never_waits_for_another_ones_handler() {
    let mut bench = Bench::new(FetchConfig { prefetch_bytes: 5000, ..config() });
    let mut stuck = Vec::new();
    for number in 0..20 {
        bench.world.append(number, 1, 900);
        bench.world.append(number, 1, 900);
        let (_slot, mut stream) = bench.read(number);
        stuck.push((chunk_of(stream.next().await), stream));
    }
    for _ in 0..5 {
        bench.world.append(20, 1, 100);
    }
    let (_slot, mut stream) = bench.read(20);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.extend(offsets(chunk_of(stream.next().await)));
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_the_loop_cannot_handle_it_gives_back() {
    let mut bench = Bench::new(config());
    bench.world.with(|model| model.codes.insert(0, ResponseError::OffsetOutOfRange));
    let (_bad, _bad_stream) = bench.read(0);
    let (_good, mut good_stream) = bench.read(1);
    bench.world.append(1, 1, 0);
    match bench.reports.recv().await.unwrap() {
        Report::Refused { partition: refused, turn: 1, code: ResponseError::OffsetOutOfRange, asked: 0 } => {
            assert_eq!(refused, partition(0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(offsets(chunk_of(good_stream.next().await)), [0]);
    sleep(Duration::from_secs(3)).await;
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| !kept.contains_key(&0))));
    assert!(bench.reports.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_part_without_a_whole_batch_stops_the_partition_visibly() {
    let mut bench = Bench::new(config());
    let torn = joined(&[Recipe::new(0, 1).build(), Bytes::from(vec![0; 100])]);
    bench.world.with(|model| model.logs.insert(0, vec![torn]));
    let (_slot, mut stream) = bench.read(0);
    let mut chunk = chunk_of(stream.next().await);
    assert!(chunk.next_batch().unwrap().is_some());
    match bench.reports.recv().await.unwrap() {
        Report::Broken { error: None, .. } => assert!(chunk.next_batch().is_err(), "the reader meets it"),
        Report::Broken { error: Some(Error::Records { offset: 1, .. }), .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_broker_is_tried_again_with_pauses() {
    let mut bench = Bench::new(config());
    bench.world.with(|model| model.faults = vec![Fault::LoseRequest; 20]);
    let (_slot, mut stream) = bench.read(0);
    bench.world.append(0, 1, 0);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0]);
    let times = bench.world.with(|model| model.requests.iter().map(|(at, ..)| *at).collect::<Vec<_>>());
    assert!(times[20] - times[0] > Duration::from_secs(14));
    for _ in 0..20 {
        assert!(matches!(bench.reports.recv().await, Some(Report::Unreachable { broker: 1, .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_partitions_cost_nothing_per_request() {
    let mut bench = Bench::new(config());
    let mut streams: Vec<_> = (0..1000).map(|number| bench.read(number).1).collect();
    sleep(Duration::from_secs(2)).await;
    bench.world.append(500, 1, 0);
    assert_eq!(offsets(chunk_of(streams[500].next().await)), [0]);
    sleep(Duration::from_secs(2)).await;
    let named = bench.world.with(|model| {
        model.requests.iter().map(|(_, delta, _)| delta.ask.len() + delta.forget.len()).collect::<Vec<_>>()
    });
    assert!(named[0] <= 1000 && named.iter().sum::<usize>() <= 1001, "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_and_a_removed_partition_are_not_fetched() {
    let mut bench = Bench::new(config());
    let (_one, stream) = bench.read(0);
    let (_two, _kept) = bench.read(1);
    let (_three, _other) = bench.read(2);
    sleep(Duration::from_secs(1)).await;
    drop(stream);
    bench.commands.send(Command::Remove(partition(1))).unwrap();
    bench.commands.send(Command::Pause(partition(2), true)).unwrap();
    sleep(Duration::from_secs(2)).await;
    let before = bench.world.requests();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.world.requests(), before, "nothing is left to ask for");
    bench.commands.send(Command::Pause(partition(2), false)).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| kept.len() == 1)));
}

/// One life of a loop: appends, slow and fast readers, faults, partitions that come and go.
async fn simulate(seed: u64) {
    const PARTITIONS: i32 = 6;
    let chance = Arc::new(Rng::seeded(seed));
    let prefetch_bytes = [500, 4000, 1 << 20][usize::try_from(chance.below(3)).unwrap()];
    let mut bench = Bench::new(FetchConfig { prefetch_bytes, max_bytes: 6000, ..config() });
    let (mut slots, mut readers) = (Vec::new(), Vec::new());
    let done = Arc::new(std::sync::atomic::AtomicI64::new(i64::MAX));
    for number in 0..PARTITIONS {
        let (slot, mut stream) = bench.read(number);
        slots.push(slot);
        let (chance, done, world) = (Arc::clone(&chance), Arc::clone(&done), bench.world.clone());
        readers.push(tokio::spawn(async move {
            let mut expected = 0;
            while expected
                < done.load(std::sync::atomic::Ordering::Relaxed).min(world.with(|m| m.end(number)))
                || done.load(std::sync::atomic::Ordering::Relaxed) == i64::MAX
            {
                let Ok(item) = timeout(Duration::from_secs(30), stream.next()).await else { continue };
                for offset in offsets(chunk_of(item)) {
                    assert_eq!(offset, expected, "partition {number}, seed {seed}");
                    expected += 1;
                }
                sleep(Duration::from_millis(chance.below(200))).await;
            }
            (stream, expected)
        }));
    }
    for _ in 0..300 {
        let number = i32::try_from(chance.below(6)).unwrap();
        let slot = &slots[usize::try_from(number).unwrap()];
        match chance.below(20) {
            0 => bench.world.with(|model| model.faults.push(Fault::LoseRequest)),
            1 => bench.world.with(|model| model.faults.push(Fault::LoseAnswer)),
            2 => bench.world.with(|model| model.faults.push(Fault::EvictSessions)),
            3 => bench.commands.send(Command::Remove(partition(number))).unwrap(),
            4 => bench.commands.send(Command::Pause(partition(number), chance.below(2) == 0)).unwrap(),
            5 | 6 => bench.add(slot),
            _ => bench.world.append(
                number,
                1 + i32::try_from(chance.below(5)).unwrap(),
                usize::try_from(chance.below(700)).unwrap(),
            ),
        }
        sleep(Duration::from_millis(chance.below(60))).await;
    }
    for slot in &slots {
        bench.add(slot);
    }
    done.store(i64::MAX - 1, std::sync::atomic::Ordering::Relaxed);
    for (number, reader) in readers.into_iter().enumerate() {
        let (stream, read) = reader.await.unwrap();
        let number = i32::try_from(number).unwrap();
        assert_eq!(read, bench.world.with(|model| model.end(number)), "partition {number}, seed {seed}");
        drop(stream);
    }
    drop(bench.commands);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.budget.charged(), 0, "seed {seed}");
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_whatever_happens() {
    for seed in 0..60 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(simulate(seed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_comes_during_a_long_poll_is_read_at_once() {
    let mut bench = Bench::new(FetchConfig { max_wait: Duration::from_secs(60), ..config() });
    let (_idle, _idle_stream) = bench.read(0);
    sleep(Duration::from_secs(1)).await;
    bench.world.append(1, 3, 0);
    let begun = Instant::now();
    let (slot, mut stream) = bench.read(1);
    assert_eq!(offsets(chunk_of(stream.next().await)), [0, 1, 2]);
    assert!(begun.elapsed() < Duration::from_millis(5), "{:?}", begun.elapsed());
    // What comes later is brought aside as well, and a jump of the position is followed.
    sleep(Duration::from_secs(1)).await;
    let appended = Instant::now();
    bench.world.append(1, 2, 0);
    assert_eq!(offsets(chunk_of(stream.next().await)), [3, 4]);
    slot.move_to(Position { offset: 1, leader_epoch: -1 }, Queued::Dropped);
    bench.add(&slot);
    assert!(matches!(stream.next().await, Some(StreamItem::Moved(start)) if start.offset == 1));
    assert_eq!(offsets(chunk_of(stream.next().await)), [1, 2, 3, 4]);
    assert!(appended.elapsed() < Duration::from_millis(100), "{:?}", appended.elapsed());
    // The session names it with the next request, and nothing comes twice.
    sleep(Duration::from_secs(120)).await;
    assert!(stream.try_next().is_none());
    assert!(bench.world.with(|model| model.sessions.values().all(|(_, kept)| kept.contains_key(&1))));
}
