//! The loop against a model of a broker, on paused time.

mod scenes;
mod simulated;

use std::sync::Mutex;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use tokio::time::{Instant, sleep};

use super::*;
use crate::consumer::{Chunk, PartitionStream, Start, StreamItem};
use crate::fetch::answer;
use crate::fetch::budget::Budget;
use crate::fetch::request::BY_ID;
use crate::fetch::slot::{Position, Queued};
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
