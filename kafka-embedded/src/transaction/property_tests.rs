//! A coordinator, partitions and zombies, against a model: what a reader of committed records sees is what was written
//! in transactions whose commit was answered with success, and nothing of any other.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_protocol::ResponseError;
use proptest::prelude::*;

use super::*;
use crate::configs::TopicConfigs;
use crate::log::{Limit, Produced};
use crate::partition::Isolation;
use crate::producers::Admission;
use crate::replicas::Replicas;
use crate::topics::Partition;

const PARTITIONS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// Client `0` takes the transactional id.
    Init(usize),
    Write(usize, usize),
    End(usize, bool),
    /// What the client did last, once more: its answer was lost.
    EndAgain(usize, bool),
    Expire,
}

/// What a client believes.
#[derive(Debug, Clone, Default)]
struct Client {
    identity: Option<Identity>,
    before: Option<Identity>,
    sequences: BTreeMap<usize, i32>,
    /// What it wrote in its open transaction.
    open: Vec<(usize, i64)>,
}

struct World {
    transaction: Transaction,
    partitions: Vec<Partition>,
    clients: Vec<Client>,
    committed: Vec<(usize, i64)>,
    next_id: i64,
}

fn place(partition: usize) -> Participant {
    let index = i32::try_from(partition).unwrap();
    Participant::Partition(TopicName(StrBytes::from_static_str("t")), index)
}

fn batch(by: Identity, base_sequence: i32) -> Bytes {
    let stamp =
        ProducerStamp { producer_id: by.producer_id, epoch: by.epoch, base_sequence, transactional: true };
    let mut builder = BatchBuilder::new(128);
    builder.append(RecordToWrite { timestamp: 1, key: None, value: Some(b"v"), headers: &[] });
    builder.build(Compression::None, stamp).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            transaction: Transaction::new(0),
            partitions: (0..PARTITIONS).map(|_| Partition::new(Replicas::new(vec![1], |_| true))).collect(),
            clients: vec![Client::default(); 2],
            committed: Vec::new(),
            next_id: 1,
        }
    }

    /// Writes the markers that are due.
    fn settle(&mut self) {
        let partitions = &self.partitions;
        self.transaction.write_markers(|participant, ending, by| {
            let Participant::Partition(_, index) = participant else { return true };
            let marker = EndMarker {
                ending,
                producer_id: by.producer_id,
                producer_epoch: by.epoch,
                coordinator_epoch: 0,
                timestamp: 1,
            };
            let mut state = partitions[usize::try_from(*index).unwrap()].lock();
            state.append_marker(&TopicConfigs::default(), &marker).unwrap();
            true
        });
    }

    fn run(&mut self, step: &Step, protocol: Protocol) {
        match *step {
            Step::Init(who) => self.init(who),
            Step::Write(who, partition) => self.write(who, partition, protocol),
            Step::End(who, commit) => {
                let Some(by) = self.clients[who].identity else { return };
                self.end(who, by, commit, protocol);
            }
            Step::EndAgain(who, commit) => {
                let Some(by) = self.clients[who].before else { return };
                // In version 1 an end that comes late ends the next transaction: what KIP-890 is about.
                if protocol == Protocol::One && !self.clients[who].open.is_empty() {
                    return;
                }
                let answered = self.transaction.end(by, ending(commit), protocol, || 77);
                if let Ok(identity) = answered {
                    let known = self.clients[who].identity;
                    assert!(protocol == Protocol::One || known == Some(identity), "an end that was none");
                }
                self.settle();
            }
            Step::Expire => {
                if let Some(deadline) = self.transaction.deadline() {
                    self.transaction.expire(deadline);
                    self.settle();
                }
            }
        }
    }

    fn init(&mut self, who: usize) {
        let next_id = &mut self.next_id;
        let mut ask = |transaction: &mut Transaction| {
            transaction.init(Duration::from_secs(1), None, || {
                *next_id += 1;
                *next_id
            })
        };
        let mut answer = ask(&mut self.transaction);
        if answer == Ok(Init::Aborting) {
            let partitions = &self.partitions;
            let open = partitions.iter().filter(|part| part.lock().producers.first_open().is_some());
            assert!(open.count() > 0 || !self.transaction.participants().is_empty());
            self.settle();
            let next_id = &mut self.next_id;
            answer = self.transaction.init(Duration::from_secs(1), None, || {
                *next_id += 1;
                *next_id
            });
        }
        let Ok(Init::Ready(identity)) = answer else { panic!("{answer:?}") };
        self.clients[who] = Client { identity: Some(identity), ..Client::default() };
    }

    fn write(&mut self, who: usize, partition: usize, protocol: Protocol) {
        let Some(by) = self.clients[who].identity else { return };
        let now = Now { instant: Instant::now(), wall: 1 };
        let mut state = self.partitions[partition].lock();
        let mut admission = Admission::Plain;
        if !state.producers.is_open(by) {
            let added = self.transaction.add(by, [place(partition)], now);
            if added.is_err() {
                return;
            }
            admission = match protocol {
                Protocol::One => Admission::Verified,
                Protocol::Two => Admission::Added,
            };
        }
        let client = &mut self.clients[who];
        let sequence = client.sequences.entry(partition).or_insert(0);
        let produced = Produced::parse(&batch(by, *sequence)).unwrap();
        match state.append(&TopicConfigs::default(), produced, -1, admission) {
            Ok(written) => {
                *sequence += 1;
                client.open.push((partition, written.base_offset));
            }
            Err(ResponseError::InvalidProducerEpoch) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn end(&mut self, who: usize, by: Identity, commit: bool, protocol: Protocol) {
        let next_id = &mut self.next_id;
        let answered = self.transaction.end(by, ending(commit), protocol, || {
            *next_id += 1;
            *next_id
        });
        let client = &mut self.clients[who];
        if let Ok(identity) = answered {
            if commit {
                self.committed.append(&mut client.open);
            }
            client.open.clear();
            client.before = Some(by);
            if client.identity != Some(identity) {
                client.sequences.clear();
            }
            client.identity = Some(identity);
        }
        self.settle();
    }

    /// What a reader of committed records gets of a partition: offsets of data, by the rules of a client.
    fn read(&self, partition: usize) -> Vec<i64> {
        let state = self.partitions[partition].lock();
        let until = state.readable_until(Isolation::ReadCommitted);
        let mut batches = Vec::new();
        let limit = Limit { bytes: usize::MAX, at_least_one: true, until };
        state.log.read(0, limit, &mut batches).unwrap();
        let aborted: Vec<_> = state.log.aborted(0, until).collect();
        let mut seen = Vec::new();
        for batch in batches {
            let header = kafka_client::records::BatchHeader::parse(
                &[batch.head().as_slice(), batch.records()].concat(),
            );
            let header = header.unwrap().unwrap();
            let is_aborted = aborted.iter().any(|gone| {
                gone.producer_id == header.producer_id
                    && (gone.first..=gone.last).contains(&header.base_offset)
            });
            if !header.is_control && !is_aborted {
                seen.push(header.base_offset);
            }
        }
        seen
    }
}

fn ending(commit: bool) -> Ending {
    if commit { Ending::Commit } else { Ending::Abort }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0usize..2).prop_map(Step::Init),
        6 => (0usize..2, 0..PARTITIONS).prop_map(|(who, partition)| Step::Write(who, partition)),
        3 => (0usize..2, any::<bool>()).prop_map(|(who, commit)| Step::End(who, commit)),
        1 => (0usize..2, any::<bool>()).prop_map(|(who, commit)| Step::EndAgain(who, commit)),
        1 => Just(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn readers_see_what_was_committed_and_nothing_else(
        steps in prop::collection::vec(step(), 1..120),
        second: bool,
    ) {
        let protocol = if second { Protocol::Two } else { Protocol::One };
        let mut world = World::new();
        world.init(0);
        for step in &steps {
            world.run(step, protocol);
        }
        // Whatever is still open goes.
        world.init(1);
        for partition in 0..PARTITIONS {
            let mut expected: Vec<i64> = world
                .committed
                .iter()
                .filter(|(place, _)| *place == partition)
                .map(|(_, offset)| *offset)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(world.read(partition), expected, "partition {}", partition);
            prop_assert_eq!(world.partitions[partition].lock().producers.first_open(), None);
        }
    }
}
