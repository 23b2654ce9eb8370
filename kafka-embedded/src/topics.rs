//! Topics and their partitions.
//!
//! A [`Topic`] is a snapshot: growing it or changing its configs puts another one in its place, and partitions are
//! shared between them. So readers take an `Arc` and hold no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::configs::TopicConfigs;
use crate::group::consumer::{Catalog, Facts};
use crate::log::Log;
use crate::producers::Producers;
use crate::replicas::Replicas;

/// A topic as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
    pub(crate) configs: Arc<TopicConfigs>,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// Partition `index`, if the topic has it.
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Partition {
    state: Mutex<PartitionState>,
}

/// What a partition's lock guards.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) replicas: Replicas,
    pub(crate) log: Log,
    pub(crate) producers: Producers,
    /// The topic is gone; whoever still holds the partition must not use it.
    pub(crate) deleted: bool,
    waiters: Vec<Weak<Notify>>,
}

impl Partition {
    /// An empty partition.
    pub(crate) fn new(replicas: Replicas) -> Self {
        let state = PartitionState {
            replicas,
            log: Log::default(),
            producers: Producers::default(),
            deleted: false,
            waiters: Vec::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// The partition's state. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PartitionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionState {
    /// Changes the replicas, drops what a new leader lacks, begins a new epoch in the log where the leader changed, and
    /// wakes who waits here.
    pub(crate) fn lead_anew<T>(&mut self, change: impl FnOnce(&mut Replicas) -> T) -> T {
        let before = self.replicas.epoch();
        let result = change(&mut self.replicas);
        if let Some(end) = self.replicas.take_lost() {
            self.lose_from(end);
        }
        if self.replicas.epoch() != before {
            self.log.begin_epoch(self.replicas.epoch());
            self.changed();
        }
        result
    }

    /// Lets `waiter` be notified at every change, for as long as somebody holds it.
    pub(crate) fn watch(&mut self, waiter: &Arc<Notify>) {
        self.waiters.retain(|known| known.strong_count() > 0);
        self.waiters.push(Arc::downgrade(waiter));
    }

    /// Wakes the fetches that wait here.
    pub(crate) fn changed(&mut self) {
        self.waiters.retain(|waiter| waiter.upgrade().inspect(|waiter| waiter.notify_one()).is_some());
    }
}

/// All topics, by name and by id.
#[derive(Debug, Default)]
pub(crate) struct Topics(RwLock<Index>);

#[derive(Debug, Default)]
struct Index {
    /// Grows with every change.
    version: u64,
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    names: HashMap<Uuid, TopicName>,
}

impl Topics {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn by_name(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        let index = self.read();
        index.names.get(&id).and_then(|name| index.by_name.get(name)).cloned()
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    /// A topic whose name differs from `name` in periods and underscores only: metrics could not tell them apart.
    pub(crate) fn colliding(&self, name: &TopicName) -> Option<TopicName> {
        let alike = |byte: u8| if byte == b'.' { b'_' } else { byte };
        let wanted: Vec<u8> = name.bytes().map(alike).collect();
        if !wanted.contains(&b'_') {
            return None;
        }
        let index = self.read();
        index.by_name.keys().find(|other| other.bytes().map(alike).eq(wanted.iter().copied())).cloned()
    }

    /// Adds a topic; the present one as the error where the name is taken.
    pub(crate) fn insert(&self, topic: Topic) -> Result<Arc<Topic>, Arc<Topic>> {
        let mut index = self.write();
        if let Some(present) = index.by_name.get(&topic.name) {
            return Err(Arc::clone(present));
        }
        let topic = Arc::new(topic);
        index.version += 1;
        index.names.insert(topic.id, topic.name.clone());
        index.by_name.insert(topic.name.clone(), Arc::clone(&topic));
        Ok(topic)
    }

    /// Puts what `change` makes of the topic in its place; `None` where there is no such topic.
    pub(crate) fn update<T>(&self, name: &TopicName, change: impl FnOnce(&mut Topic) -> T) -> Option<T> {
        let mut index = self.write();
        index.version += 1;
        let topic = index.by_name.get_mut(name)?;
        let mut next = Topic::clone(topic);
        let result = change(&mut next);
        *topic = Arc::new(next);
        Some(result)
    }

    /// Removes a topic and wakes whoever waits for its partitions.
    pub(crate) fn remove(&self, name: &TopicName) -> Option<Arc<Topic>> {
        let topic = {
            let mut index = self.write();
            let topic = index.by_name.remove(name)?;
            index.version += 1;
            index.names.remove(&topic.id);
            topic
        };
        for partition in &topic.partitions {
            let mut state = partition.lock();
            state.deleted = true;
            state.changed();
        }
        Some(topic)
    }
}

impl Catalog for Topics {
    fn version(&self) -> u64 {
        self.read().version
    }

    fn facts(&self, name: &TopicName) -> Option<Facts> {
        let topic = self.by_name(name)?;
        Some((topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    }

    fn names(&self) -> Vec<TopicName> {
        self.read().by_name.keys().cloned().collect()
    }
}

/// A copy of `text` in memory of its own: what came in a request would keep the whole frame alive.
pub(crate) fn owned(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

/// Kafka's rule for topic names.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name == "." || name == ".." || name.len() > 249 {
        return Err(format!(
            "Topic name is invalid: '{name}' is empty, '.', '..' or longer than 249 characters"
        ));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(format!(
            "Topic name is invalid: '{name}' has characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}
