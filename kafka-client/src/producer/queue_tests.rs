//! The queue against a model of a broker that checks sequences as Kafka does, over a network that loses requests,
//! loses answers, and delivers requests late.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use proptest::prelude::*;
use tokio::time::Instant;

use super::batch::Batch;
use super::buffers::Buffers;
use super::queue::{Change, Due, Queue};
use super::receipt::Delivery;
use super::rules::Rules;
use super::sequences::Identity;
use super::verdict::Verdict;
use super::*;
use crate::config::{Backoff, Compression};
use crate::records::Batches;
use crate::records::encode::RecordToWrite;
use crate::seams::Rng;

const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn record(value: &[u8]) -> RecordToWrite<'_> {
    RecordToWrite { timestamp: 1_000, key: None, value: Some(value), headers: &[] }
}

fn disconnected() -> Error {
    Error::Disconnected { broker: "one:9092".into(), reason: "gone".into() }
}

/// What a broker knows of a producer id.
#[derive(Default)]
struct ProducerState {
    epoch: i16,
    expected: i32,
    /// First sequence, last sequence, offset of the last five batches.
    last: VecDeque<(i32, i32, i64)>,
}

#[derive(Default)]
struct Broker {
    log: Vec<u32>,
    producers: HashMap<i64, ProducerState>,
    /// How many records a batch may have.
    largest: usize,
}

impl Broker {
    /// Takes a batch or refuses it; what it refuses once for its contents, it always refuses.
    fn handle(&mut self, bytes: &Bytes) -> Result<i64, ResponseError> {
        let batch = Batches::new(bytes.clone(), true).next_batch().unwrap().unwrap();
        let header = *batch.header();
        let ids: Vec<u32> = batch
            .records()
            .map(|record| u32::from_be_bytes(record.unwrap().value.unwrap().try_into().unwrap()))
            .collect();
        if ids.len() > self.largest {
            return Err(ResponseError::MessageTooLarge);
        }
        if ids.iter().any(|id| id % 29 == 28) {
            return Err(ResponseError::InvalidRecord);
        }
        let offset = i64::try_from(self.log.len()).unwrap();
        if header.producer_id >= 0 {
            let (first, count) = (header.base_sequence, i32::try_from(ids.len()).unwrap());
            let last = sequences::advance(first, count - 1);
            let known = self.producers.entry(header.producer_id).or_insert(ProducerState {
                epoch: header.producer_epoch,
                expected: first,
                ..ProducerState::default()
            });
            match header.producer_epoch.cmp(&known.epoch) {
                std::cmp::Ordering::Less => return Err(ResponseError::InvalidProducerEpoch),
                std::cmp::Ordering::Greater if first != 0 => {
                    return Err(ResponseError::OutOfOrderSequenceNumber);
                }
                std::cmp::Ordering::Greater => {
                    *known = ProducerState { epoch: header.producer_epoch, ..ProducerState::default() };
                }
                std::cmp::Ordering::Equal => {}
            }
            if let Some((_, _, offset)) =
                known.last.iter().find(|(one, two, _)| (*one, *two) == (first, last))
            {
                return Ok(*offset);
            }
            if first != known.expected {
                return Err(ResponseError::OutOfOrderSequenceNumber);
            }
            known.expected = sequences::advance(last, 1);
            known.last.push_back((first, last, offset));
            if known.last.len() > 5 {
                known.last.pop_front();
            }
        }
        self.log.extend(ids);
        Ok(offset)
    }
}

struct World {
    rng: Rng,
    now: Instant,
    queue: Queue,
    broker: Broker,
    identity: Option<Identity>,
    /// On their way to the broker, in order.
    requests: VecDeque<(Batch, Bytes)>,
    /// On their way back, in order.
    answers: VecDeque<(Batch, Verdict)>,
    /// Requests of a broken connection that may still arrive.
    late: Vec<Bytes>,
    deliveries: Vec<(u32, Delivery)>,
    charged: usize,
    freed: usize,
    faults: bool,
}

const CHARGE: usize = 20;

impl World {
    fn new(seed: u64, config: &ProducerConfig) -> Self {
        let rules = Rules::new(config, BACKOFF);
        Self {
            rng: Rng::seeded(seed),
            now: Instant::now(),
            queue: Queue::new(partition(), rules, Buffers::default()),
            broker: Broker { largest: 1 + seed as usize % 6, ..Broker::default() },
            identity: config.idempotence.then_some(Identity { id: 7, epoch: 0 }),
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            late: Vec::new(),
            deliveries: Vec::new(),
            charged: 0,
            freed: 0,
            faults: true,
        }
    }

    fn chance(&self, percent: u64) -> bool {
        self.faults && self.rng.below(100) < percent
    }

    fn append(&mut self) {
        let id = u32::try_from(self.deliveries.len()).unwrap();
        let now = self.now;
        let (receipt, index, _) = self.queue.append(record(&id.to_be_bytes()), CHARGE, || now);
        self.charged += CHARGE;
        self.deliveries.push((id, Delivery::new(receipt, index, partition(), 1_000, false)));
    }

    fn take(&mut self) {
        if !self.queue.due(self.now, false).may_go() {
            return;
        }
        if let Some(mut batch) = self.queue.take(self.identity) {
            let bytes = batch.build(Compression::None).unwrap();
            self.requests.push_back((batch, bytes));
        }
    }

    fn handle(&mut self) {
        let Some((batch, bytes)) = self.requests.pop_front() else { return };
        let said = match self.chance(5) {
            true => Err(ResponseError::NotLeaderOrFollower),
            false => self.broker.handle(&bytes),
        };
        let answer = match said {
            Ok(offset) => PartitionProduceResponse::default().with_base_offset(offset),
            Err(code) => PartitionProduceResponse::default().with_error_code(code.code()),
        };
        self.answers.push_back((batch, Verdict::of_answer(partition(), &answer.with_log_append_time_ms(-1))));
    }

    fn settle(&mut self, batch: Batch, verdict: Verdict) {
        let aftermath = self.queue.answered(batch, verdict, self.now, self.rng.unit());
        self.clear(&aftermath);
    }

    fn clear(&mut self, aftermath: &queue::Aftermath) {
        self.freed += aftermath.freed;
        if aftermath.used_up.is_some() {
            self.identity = self.identity.map(|identity| Identity { id: identity.id + 1, epoch: 0 });
        }
    }

    /// The connection breaks: nobody learns what became of what was on its way.
    fn break_connection(&mut self) {
        let lost: Vec<_> = self.answers.drain(..).map(|(batch, _)| batch).collect();
        for batch in lost {
            self.settle(batch, Verdict::of_failure(disconnected()));
        }
        for (batch, bytes) in std::mem::take(&mut self.requests) {
            if self.chance(50) {
                self.late.push(bytes);
            }
            self.settle(batch, Verdict::of_failure(disconnected()));
        }
    }

    fn step(&mut self, expire: bool) {
        match self.rng.below(100) {
            0..30 => self.append(),
            30..55 => self.take(),
            55..75 => self.handle(),
            75..90 => {
                if let Some((batch, verdict)) = self.answers.pop_front() {
                    self.settle(batch, verdict);
                }
            }
            90..92 if self.faults => self.break_connection(),
            92 if !self.late.is_empty() => {
                let bytes = self.late.remove(0);
                let _ = self.broker.handle(&bytes);
            }
            93 if expire => {
                // Nothing stays on the way for as long as that.
                self.late.clear();
                self.pass(Duration::from_secs(10));
            }
            _ => self.pass(Duration::from_millis(self.rng.below(200))),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let aftermath = self.queue.expire(self.now);
        self.clear(&aftermath);
    }

    /// No more faults, until everything has its outcome: the records that were acknowledged.
    fn finish(&mut self) -> Vec<(u32, i64)> {
        self.faults = false;
        for _ in 0..100_000 {
            if self.queue.is_idle() {
                break;
            }
            self.take();
            self.handle();
            if let Some((batch, verdict)) = self.answers.pop_front() {
                self.settle(batch, verdict);
            }
            self.pass(Duration::from_millis(50));
        }
        assert!(self.queue.is_idle(), "it never ends: {:?}", self.queue);
        assert_eq!(self.charged, self.freed, "memory");
        for bytes in std::mem::take(&mut self.late) {
            let _ = self.broker.handle(&bytes);
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut acknowledged = Vec::new();
        for (id, delivery) in &mut self.deliveries {
            match Pin::new(delivery).poll(&mut context) {
                Poll::Pending => panic!("record {id} has no outcome"),
                Poll::Ready(Ok(metadata)) => acknowledged.push((*id, metadata.offset)),
                Poll::Ready(Err(error)) => {
                    let back = error.record().filter(|record| record.is_whole()).unwrap();
                    assert_eq!(back.value(), Some(&id.to_be_bytes()[..]), "given back");
                    let is_there = self.broker.log.contains(id);
                    assert!(!is_there || error.may_be_written(), "{id} is there, though: {error}");
                }
            }
        }
        acknowledged
    }
}

fn config() -> ProducerConfig {
    ProducerConfig {
        batch_size: 61 + 5 * CHARGE,
        batch_max_size: 61 + 12 * CHARGE,
        delivery_timeout: Duration::from_secs(3600),
        ..ProducerConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_idempotent_producer_writes_each_record_once_and_in_order(seed: u64, expire: bool) {
        let timeout = Duration::from_secs(if expire { 12 } else { 3600 });
        let mut world = World::new(seed, &ProducerConfig { delivery_timeout: timeout, ..config() });
        for _ in 0..1500 {
            world.step(expire);
        }
        let acknowledged = world.finish();
        let log = &world.broker.log;
        prop_assert!(log.is_sorted_by(|one, two| one < two), "twice or out of order: {log:?}");
        for (id, offset) in acknowledged {
            let found = log.binary_search(&id);
            prop_assert!(found.is_ok(), "{id} was acknowledged and is not there");
            prop_assert!(offset == -1 || found == Ok(usize::try_from(offset).unwrap()), "{id} is not at {offset}");
        }
    }

    #[test]
    fn without_idempotence_nothing_acknowledged_is_lost_and_order_is_kept(seed: u64) {
        let off = settle_idempotence(ProducerConfig { acks: Acks::Leader, ..config() }).unwrap();
        let mut world = World::new(seed, &off);
        for _ in 0..1500 {
            world.step(false);
            world.late.clear();
        }
        let acknowledged = world.finish();
        let mut seen = BTreeSet::new();
        let first_seen: Vec<_> = world.broker.log.iter().filter(|id| seen.insert(**id)).collect();
        prop_assert!(first_seen.is_sorted(), "{first_seen:?}");
        prop_assert!(acknowledged.iter().all(|(id, _)| seen.contains(id)));
    }
}

#[test]
fn batches_fill_linger_and_hurry() {
    let mut world = World::new(1, &config());
    let now = world.now;
    let mut append = || world.queue.append(record(b"1234"), CHARGE, || now).2;
    assert_eq!(append(), Change::Began);
    assert_eq!(append(), Change::None);
    let lingers = now + Duration::from_millis(5);
    assert_eq!(world.queue.due(now, false), Due::At(lingers));
    assert_eq!(world.queue.due(now, true), Due::Now);
    assert_eq!(world.queue.due(lingers, false), Due::Now);
    let changes: Vec<_> = (0..20).map(|_| world.queue.append(record(b"1234"), CHARGE, || now).2).collect();
    assert!(changes.contains(&Change::Filled), "{changes:?}");
    assert_eq!(world.queue.due(now, false), Due::Now);
}

#[test]
fn a_full_batch_is_due_if_the_wire_is_free_and_at_once_when_it_has_lingered_or_cannot_grow() {
    let mut world = World::new(1, &config());
    let now = world.now;
    while world.queue.append(record(b"1234"), CHARGE, || now).2 != Change::Filled {}
    let lingers = now + Duration::from_millis(5);
    assert_eq!(world.queue.due(now, false), Due::Full(lingers));
    assert_eq!(world.queue.due(now, true), Due::Now);
    assert_eq!(world.queue.due(lingers, false), Due::Now);
    while world.queue.append(record(b"1234"), CHARGE, || now).2 != Change::Filled {}
    assert_eq!(world.queue.due(now, false), Due::Now);
}

#[test]
fn a_full_batch_grows_until_it_leaves() {
    let mut world = World::new(1, &config());
    let (now, mut grown) = (world.now, Vec::new());
    let changes: Vec<_> = (0..60).map(|_| world.queue.append(record(b"1234"), CHARGE, || now).2).collect();
    assert_eq!(changes.iter().filter(|change| **change == Change::Began).count(), 1, "{changes:?}");
    while world.queue.due(now, false).may_go() {
        let batch = world.queue.take(world.identity).expect("a batch");
        grown.push((batch.size(), batch.records));
        let verdict = Verdict::Written { base_offset: 0, log_append_time: None };
        world.queue.answered(batch, verdict, now, 0.5);
    }
    let (least, most) = (config().batch_size, config().batch_max_size);
    assert!(grown.iter().all(|(size, _)| (least - CHARGE..=most).contains(size)), "{grown:?}");
    assert!(grown[0].0 > most - CHARGE, "{grown:?}");
    assert_eq!(grown.iter().map(|(_, records)| records).sum::<i32>(), 60);
}

#[test]
fn a_topic_that_takes_less_gets_smaller_batches() {
    let mut world = World::new(1, &config());
    let now = world.now;
    let fill = |queue: &mut Queue| (0..12).for_each(|_| drop(queue.append(record(b"1234"), CHARGE, || now)));
    fill(&mut world.queue);
    let first = world.queue.take(world.identity).expect("a batch");
    let charged = first.charged;
    let too_large = Verdict::TooLarge(disconnected());
    let mut built = first;
    built.build(Compression::None).unwrap();
    world.queue.answered(built, too_large, now, 0.5);
    fill(&mut world.queue);
    let mut later = Vec::new();
    while world.queue.due(now, true) == Due::Now {
        let batch = world.queue.take(world.identity).expect("a batch");
        later.push(batch.charged);
        world.queue.answered(batch, Verdict::Written { base_offset: 0, log_append_time: None }, now, 0.5);
    }
    assert!(
        later.iter().all(|size| *size <= (charged / 2).max(config().batch_size)),
        "{later:?} of {charged}"
    );
}

#[test]
fn a_batch_grows_into_no_request_that_would_be_too_large() {
    let config = ProducerConfig { max_request_size: 61 + 8 * CHARGE, ..config() };
    let mut world = World::new(1, &config);
    let now = world.now;
    (0..60).for_each(|_| drop(world.queue.append(record(b"1234"), CHARGE, || now)));
    while world.queue.due(now, false).may_go() {
        let batch = world.queue.take(world.identity).expect("a batch");
        assert!(batch.size() <= config.max_request_size, "{} bytes", batch.size());
        world.queue.answered(batch, Verdict::Written { base_offset: 0, log_append_time: None }, now, 0.5);
    }
}

#[test]
fn without_batches_nothing_grows() {
    let mut world = World::new(1, &ProducerConfig { batch_size: 0, ..config() });
    (0..4).for_each(|_| world.append());
    world.take();
    let sizes: Vec<_> = world.requests.iter().map(|(batch, _)| batch.records).collect();
    assert!(sizes.iter().all(|records| *records == 1), "{sizes:?}");
}

#[test]
fn a_batch_that_cannot_be_split_is_refused_with_the_brokers_words() {
    let mut world = World::new(1, &config());
    world.append();
    world.now += Duration::from_secs(1);
    world.take();
    let (batch, _) = world.requests.pop_front().unwrap();
    let answer = PartitionProduceResponse::default()
        .with_error_code(ResponseError::MessageTooLarge.code())
        .with_error_message(Some(kafka_protocol::protocol::StrBytes::from_static_str(
            "max.message.bytes is 10",
        )));
    world.settle(batch, Verdict::of_answer(partition(), &answer));
    let outcome = Pin::new(&mut world.deliveries[0].1).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error @ SendError::Refused { .. })) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("max.message.bytes is 10"), "{error}");
}

#[test]
fn records_that_are_blamed_have_errors_of_their_own() {
    use kafka_protocol::messages::produce_response::BatchIndexAndErrorMessage;
    let mut world = World::new(1, &config());
    (0..3).for_each(|_| world.append());
    world.now += Duration::from_secs(1);
    world.take();
    let (batch, _) = world.requests.pop_front().unwrap();
    let blamed = BatchIndexAndErrorMessage::default()
        .with_batch_index(1)
        .with_batch_index_error_message(Some(kafka_protocol::protocol::StrBytes::from_static_str("no key")));
    let answer = PartitionProduceResponse::default()
        .with_error_code(ResponseError::InvalidRecord.code())
        .with_record_errors(vec![blamed]);
    world.settle(batch, Verdict::of_answer(partition(), &answer));
    let mut words = world.deliveries.iter_mut().map(|(_, delivery)| {
        match Pin::new(delivery).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    });
    let (first, second) = (words.next().unwrap(), words.next().unwrap());
    assert!(first.contains("other records") && second.contains("no key"), "{first} | {second}");
}

#[test]
fn what_expires_says_why() {
    let mut world = World::new(1, &ProducerConfig { delivery_timeout: Duration::from_secs(1), ..config() });
    world.append();
    world.queue.trouble = Some("connection to broker one:9092: refused".into());
    world.pass(Duration::from_secs(2));
    let outcome = Pin::new(&mut world.deliveries[0].1).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error @ SendError::DeliveryTimeout { .. })) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("one:9092: refused"), "{error}");
    assert_eq!(world.charged, world.freed);
}
