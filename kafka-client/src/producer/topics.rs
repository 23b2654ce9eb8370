//! The topics that are sent to, their partitions and queues: where callers append and the sender takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::partitioner::Chooser;
use super::queue::{Queue, Rules};
use super::receipt::Settled;
use crate::cluster::{ClusterMetadata, TopicMetadata};
use crate::config::Partitioner;
use crate::ids::{TopicName, TopicPartition};

/// A partition, its queue and its leader.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: TopicPartition,
    queue: Mutex<Queue>,
    /// -1 without one.
    leader: AtomicI32,
    /// Whether the sender looks after it.
    active: AtomicBool,
}

impl Partition {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leader(&self) -> Option<i32> {
        let leader = self.leader.load(Ordering::Relaxed);
        (leader >= 0).then_some(leader)
    }

    /// Marks it as one that the sender looks after; whether it was before.
    pub(super) fn activate(&self) -> bool {
        self.active.swap(true, Ordering::AcqRel)
    }

    /// Lets go of it; to be called with its queue locked and idle, so that who appends next activates it again.
    pub(super) fn retire(&self) {
        self.active.store(false, Ordering::Release);
    }
}

/// A topic as the metadata showed it last. Replaced, not changed, when it grows or its leaders come and go.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Those that have a leader.
    pub(super) available: Vec<i32>,
    pub(super) chooser: Arc<Chooser>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Topics {
    rules: Rules,
    partitioner: Partitioner,
    map: RwLock<Map>,
}

#[derive(Debug, Default)]
struct Map {
    topics: HashMap<TopicName, Topic>,
    /// The sender has ended: nothing that is appended now would be sent.
    closed: bool,
}

impl Topics {
    pub(super) fn new(rules: Rules, partitioner: Partitioner) -> Self {
        Self { rules, partitioner, map: RwLock::default() }
    }

    /// What `with` makes of the topic, `None` where it is not known yet.
    pub(super) fn with<T>(&self, name: TopicName, with: impl FnOnce(&Topic) -> T) -> Option<T> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).topics.get(&name).map(with)
    }

    /// Does something during which the sender cannot end; `None` if it has.
    pub(super) fn while_open<T>(&self, with: impl FnOnce() -> T) -> Option<T> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        (!map.closed).then(with)
    }

    /// Takes a topic in from the metadata, whose latest picture `latest` gives; whether it is usable.
    pub(super) fn learn(&self, name: TopicName, latest: impl FnOnce() -> Arc<ClusterMetadata>) -> bool {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        // Inside the lock, so that it is not older than what `update` has seen.
        let picture = latest();
        let Some(known) = picture.topics.get(&name).filter(|topic| is_usable(topic)) else { return false };
        let topic = map.topics.remove(&name).unwrap_or_else(|| Topic {
            partitions: Vec::new(),
            available: Vec::new(),
            chooser: Arc::new(Chooser::new(self.partitioner)),
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
        let Topic { mut partitions, chooser, mut available } = topic;
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
                    partitions.push(Arc::new(Partition {
                        id,
                        queue: Mutex::new(Queue::new(id, self.rules)),
                        leader: AtomicI32::new(leader),
                        active: AtomicBool::new(false),
                    }));
                }
            }
        }
        // A topic that was created again may be smaller.
        let beyond = partitions.iter().skip(known.partitions.len());
        beyond.for_each(|partition| partition.leader.store(-1, Ordering::Relaxed));
        Topic { partitions, available, chooser }
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
