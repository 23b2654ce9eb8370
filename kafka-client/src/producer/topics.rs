//! The topics that are sent to, their partitions and queues: where callers append and the sender takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::time::Instant;

use super::Outgoing;
use super::buffers::Buffers;
use super::partitioner::{Chooser, Partitioner, Situation};
use super::queue::Queue;
use super::receipt::Settled;
use super::rules::Rules;
use crate::cluster::{ClusterMetadata, TopicMetadata};
use crate::config::ProducerConfig;
use crate::ids::{TopicName, TopicPartition};
use crate::seams::Rng;

/// A partition, its queue and its leader.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: TopicPartition,
    queue: Mutex<Queue>,
    /// -1 without one.
    leader: AtomicI32,
    /// Batches that wait, for whoever chooses partitions.
    backlog: AtomicUsize,
    /// Bytes that were sent here, where the chooser counts them.
    sent: AtomicU64,
    /// The sender's.
    mark: Mutex<Mark>,
}

/// Where the sender has a partition.
#[derive(Debug, Default)]
pub(super) struct Mark {
    pub(super) place: Place,
    /// When it is looked at again.
    pub(super) alarm: Option<Instant>,
}

/// Where a partition waits to be sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It has nothing to send now.
    #[default]
    Nowhere,
    /// In the line of its leader.
    Line,
    /// For a leader, or to become part of the transaction.
    Held,
}

impl Partition {
    fn new(id: TopicPartition, queue: Queue, leader: i32) -> Self {
        Self {
            id,
            queue: Mutex::new(queue),
            leader: AtomicI32::new(leader),
            backlog: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            mark: Mutex::default(),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leader(&self) -> Option<i32> {
        let leader = self.leader.load(Ordering::Relaxed);
        (leader >= 0).then_some(leader)
    }

    /// Goes where an answer says that the leader is now, until the metadata says it too.
    pub(super) fn follow(&self, leader: i32) {
        self.leader.store(leader, Ordering::Relaxed);
    }

    /// Tells choosers how much waits.
    pub(super) fn note_backlog(&self, queue: &Queue) {
        self.backlog.store(queue.backlog(), Ordering::Relaxed);
    }
}

/// A topic as the metadata showed it last. Replaced, not changed, when it grows or its leaders come and go.
#[derive(Debug)]
pub(super) struct Topic {
    /// Those beyond `count` are of a former life of the topic, in which it was larger.
    partitions: Vec<Arc<Partition>>,
    pub(super) count: i32,
    /// Those that have a leader.
    available: Vec<i32>,
    chooser: Arc<Chooser>,
}

impl Topic {
    /// The partition of this number, if the topic has it.
    pub(super) fn partition(&self, number: i32) -> Option<&Arc<Partition>> {
        self.get(number).filter(|_| number < self.count)
    }

    fn get(&self, number: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    /// The partition's number for a record of `size` bytes: its own, or the partitioner's choice.
    pub(super) fn choose(&self, record: &Outgoing<'_>, size: usize, rng: &Rng) -> Result<i32, Obstacle> {
        if let Some(number) = record.partition {
            return Ok(number);
        }
        let situation = Situation {
            count: self.count,
            available: &self.available,
            has_leader: &|number| self.get(number).is_some_and(|partition| partition.leader().is_some()),
            backlog: &|number| self.get(number).map_or(0, |found| found.backlog.load(Ordering::Relaxed)),
            sent: &|number| self.get(number).map_or(0, |found| found.sent.load(Ordering::Relaxed)),
        };
        let number = self.chooser.choose(record, &situation, size, rng)?;
        if self.chooser.counts()
            && let Some(partition) = self.get(number)
        {
            partition.sent.fetch_add(size as u64, Ordering::Relaxed);
        }
        Ok(number)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Topics {
    rules: Rules,
    buffers: Buffers,
    partitioner: Partitioner,
    adaptive: bool,
    batch_size: usize,
    map: RwLock<Map>,
}

/// What keeps a record from its partition. (Small: the errors that are made of it are not moved with every record.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Its topic is not known yet.
    UnknownTopic,
    /// Its topic has only so many partitions, and not this one.
    UnknownPartition { number: i32, count: i32 },
    /// It names no partition, and nobody chooses one.
    NoPartition,
    /// The user's own partitioner panicked.
    PartitionerPanicked,
    /// The sender has ended.
    Closed,
}

#[derive(Debug, Default)]
struct Map {
    topics: BTreeMap<TopicName, Topic>,
    /// The sender has ended: nothing that is appended now would be sent.
    closed: bool,
}

impl Topics {
    pub(super) fn new(rules: Rules, config: &ProducerConfig) -> Self {
        Self {
            rules,
            buffers: Buffers::default(),
            partitioner: config.partitioner.clone(),
            adaptive: config.adaptive_partitioning,
            batch_size: config.batch_size,
            map: RwLock::default(),
        }
    }

    /// What `with` makes of the topic while the sender cannot end.
    pub(super) fn with<T>(
        &self,
        name: TopicName,
        with: impl FnOnce(&Topic) -> Result<T, Obstacle>,
    ) -> Result<T, Obstacle> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        match map.topics.get(&name) {
            _ if map.closed => Err(Obstacle::Closed),
            None => Err(Obstacle::UnknownTopic),
            Some(topic) => with(topic),
        }
    }

    /// Takes a topic in from the metadata, whose latest picture `latest` gives; whether it is usable.
    pub(super) fn learn(&self, name: TopicName, latest: impl FnOnce() -> Arc<ClusterMetadata>) -> bool {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        // Inside the lock, so that it is not older than what `update` has seen.
        let picture = latest();
        let Some(known) = picture.topics.get(&name).filter(|topic| is_usable(topic)) else { return false };
        let topic = map.topics.remove(&name).unwrap_or_else(|| Topic {
            partitions: Vec::new(),
            count: 0,
            available: Vec::new(),
            chooser: Arc::new(Chooser::new(self.partitioner.clone(), self.adaptive, self.batch_size)),
        });
        map.topics.insert(name, self.grown(name, topic, known));
        true
    }

    /// Takes over what a new picture says of the topics that are here. One that it cannot show keeps its partitions,
    /// without leaders: what is queued for them waits.
    pub(super) fn update(&self, picture: &ClusterMetadata) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let topics = std::mem::take(&mut map.topics);
        map.topics = topics
            .into_iter()
            .map(|(name, topic)| match picture.topics.get(&name).filter(|topic| is_usable(topic)) {
                Some(known) => (name, self.grown(name, topic, known)),
                None => {
                    topic
                        .partitions
                        .iter()
                        .for_each(|partition| partition.leader.store(-1, Ordering::Relaxed));
                    (name, Topic { available: Vec::new(), ..topic })
                }
            })
            .collect();
    }

    fn grown(&self, name: TopicName, topic: Topic, known: &TopicMetadata) -> Topic {
        let Topic { mut partitions, chooser, mut available, .. } = topic;
        available.clear();
        for (metadata, number) in known.partitions.iter().zip(0..) {
            let leader = metadata.leader.unwrap_or(-1);
            if leader >= 0 {
                available.push(number);
            }
            match usize::try_from(number).ok().and_then(|index| partitions.get(index)) {
                Some(partition) => partition.leader.store(leader, Ordering::Relaxed),
                None => {
                    let id = TopicPartition::new(name, number);
                    let queue = Queue::new(id, self.rules, self.buffers.clone());
                    partitions.push(Arc::new(Partition::new(id, queue, leader)));
                }
            }
        }
        // A topic that was created again may be smaller.
        let beyond = partitions.iter().skip(known.partitions.len());
        beyond.for_each(|partition| partition.leader.store(-1, Ordering::Relaxed));
        let count = i32::try_from(known.partitions.len()).unwrap_or(i32::MAX);
        Topic { partitions, count, available, chooser }
    }

    /// All partitions.
    pub(super) fn partitions(&self) -> Vec<Arc<Partition>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.topics.values().flat_map(|topic| topic.partitions.iter().map(Arc::clone)).collect()
    }

    /// The outcome of all that is under way now.
    pub(super) fn settled(&self) -> Settled {
        Settled::new(self.partitions().iter().flat_map(|partition| partition.queue().receipts()).collect())
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.map.write().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

fn is_usable(topic: &TopicMetadata) -> bool {
    topic.error.is_none() && !topic.partitions.is_empty()
}
