//! Fetch sessions (KIP-227): the broker remembers what a client fetches, and both tell each other changes only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::{FetchRequest, TopicName};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::NONE;
use super::answer::{Fetched, FetchedPartition};
use crate::faults::subject::{Named, See};
use crate::topics::owned;

/// `max.incremental.fetch.session.cache.slots`
const SLOTS: usize = 1000;
/// A session that was idle for so long may be given up for a new one.
const IDLE: Duration = Duration::from_secs(120);
/// The epoch of a request that begins a session.
const INITIAL: i32 = 0;

/// A partition and where to read it from.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) topic: TopicName,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: usize,
    /// As the client knows it, -1 if it does not say.
    pub(super) leader_epoch: i32,
    /// The epoch of the last record that the client has, -1 if it does not say.
    pub(super) last_fetched_epoch: i32,
}

impl Target {
    fn new(topic: &TopicName, topic_id: Uuid, asked: &FetchPartition) -> Self {
        Self {
            topic: topic.clone(),
            topic_id,
            partition: asked.partition,
            offset: asked.fetch_offset,
            max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
            leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
        }
    }

    fn named(&self) -> Named<'_> {
        if self.topic_id.is_nil() {
            return Named::Partition(&self.topic, self.partition);
        }
        Named::PartitionOf(self.topic_id, self.partition)
    }

    pub(super) fn same_topic(&self, other: &Self) -> bool {
        self.topic_id == other.topic_id && self.topic == other.topic
    }
}

/// A request's partitions.
#[derive(Debug)]
pub(super) enum Opened {
    /// All that it names, and nothing is remembered.
    Sessionless(Vec<Target>),
    /// Those of a session, brought up to date. It must be closed afterwards.
    Session(Session),
}

type Key = (TopicName, Uuid, i32);

/// A partition of a session, and what the client was told of it last.
#[derive(Debug)]
struct Member {
    target: Target,
    told: Option<(i64, i64)>,
}

/// One client's session. While a request of it is served nobody else has it.
#[derive(Debug)]
pub(super) struct Session {
    id: i32,
    /// The epoch that the next request must have.
    epoch: i32,
    by_id: bool,
    /// The first answer of a session tells everything.
    is_new: bool,
    members: IndexMap<Key, Member>,
    /// Where the next answer begins: behind the last partition that had data, so that none starves the others.
    first: usize,
    used: Instant,
}

impl Session {
    fn new(id: i32, by_id: bool) -> Self {
        Self {
            id,
            epoch: INITIAL,
            by_id,
            is_new: true,
            members: IndexMap::new(),
            first: 0,
            used: Instant::now(),
        }
    }

    /// The partitions, in the order of this answer.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        let first = self.first.min(self.members.len());
        let (front, back) = (self.members.get_range(..first), self.members.get_range(first..));
        back.into_iter().chain(front).flat_map(|slice| slice.values()).map(|member| &member.target)
    }

    fn update(&mut self, request: &FetchRequest) {
        for topic in &request.topics {
            let name = TopicName(owned(&topic.topic));
            for asked in &topic.partitions {
                let target = Target::new(&name, topic.topic_id, asked);
                let key = (name.clone(), topic.topic_id, asked.partition);
                match self.members.get_mut(&key) {
                    Some(member) => member.target = target,
                    None => _ = self.members.insert(key, Member { target, told: None }),
                }
            }
        }
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                self.members.shift_remove(&(topic.topic.clone(), topic.topic_id, *partition));
            }
        }
    }

    /// Leaves in the answer what the client does not know yet.
    pub(super) fn keep_news(&mut self, fetched: &mut Fetched) {
        fetched.session_id = self.id;
        let everything = std::mem::take(&mut self.is_new);
        for topic in &mut fetched.topics {
            let key = |index| (topic.name.clone(), topic.id, index);
            topic.partitions.retain(|part| self.is_news(&key(part.index), part) || everything);
        }
        fetched.topics.retain(|topic| !topic.partitions.is_empty());
    }

    fn is_news(&mut self, key: &Key, part: &FetchedPartition) -> bool {
        let Some((at, _, member)) = self.members.get_full_mut(key) else { return true };
        let marks = (part.high_watermark, part.log_start);
        // After an error everything is told again.
        let told = if part.error == NONE { member.told.replace(marks) } else { member.told.take() };
        if part.bytes > 0 {
            self.first = at + 1;
        }
        let told_else = part.diverging.is_some() || part.preferred >= 0;
        part.bytes > 0 || part.error != NONE || told_else || told != Some(marks)
    }
}

/// The sessions of all brokers, by broker and id.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<(i32, i32), Session>,
    last_id: i32,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions that a request to broker `node` is about.
    pub(super) fn open(
        &self,
        node: i32,
        by_id: bool,
        request: &FetchRequest,
    ) -> Result<Opened, ResponseError> {
        let key = (node, request.session_id);
        if request.session_epoch <= INITIAL {
            let mut cache = self.lock();
            cache.sessions.remove(&key);
            if request.session_epoch < INITIAL {
                return Ok(Opened::Sessionless(all_targets(request)));
            }
            let Some(id) = cache.place(node) else { return Ok(Opened::Sessionless(all_targets(request))) };
            drop(cache);
            let mut session = Session::new(id, by_id);
            session.update(request);
            return Ok(Opened::Session(session));
        }
        let mut session = self.lock().take(key, request.session_epoch, by_id)?;
        session.update(request);
        // A session of nothing is no use to keep.
        Ok(if session.members.is_empty() {
            Opened::Sessionless(Vec::new())
        } else {
            Opened::Session(session)
        })
    }

    /// Tells `see` the partitions of a session.
    pub(crate) fn names(&self, node: i32, id: i32, see: See<'_>) {
        let cache = self.lock();
        let members =
            cache.sessions.get(&(node, id)).into_iter().flat_map(|session| session.members.values());
        members.for_each(|member| see(member.target.named()));
    }

    /// Keeps the session for the next request.
    pub(super) fn close(&self, node: i32, mut session: Session) {
        session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
        session.used = Instant::now();
        self.lock().sessions.insert((node, session.id), session);
    }
}

impl Cache {
    fn take(&mut self, key: (i32, i32), epoch: i32, by_id: bool) -> Result<Session, ResponseError> {
        let Some(session) = self.sessions.get(&key) else {
            return Err(ResponseError::FetchSessionIdNotFound);
        };
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        self.sessions.remove(&key).ok_or(ResponseError::FetchSessionIdNotFound)
    }

    /// An id for a new session of this broker, if there is room or an idle session can be given up.
    fn place(&mut self, node: i32) -> Option<i32> {
        let own = self.sessions.iter().filter(|((owner, _), _)| *owner == node);
        if own.clone().count() >= SLOTS {
            let (oldest, session) = own.min_by_key(|(_, session)| session.used)?;
            let (oldest, idle) = (*oldest, session.used.elapsed());
            if idle < IDLE {
                return None;
            }
            self.sessions.remove(&oldest);
        }
        self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
        Some(self.last_id)
    }
}

fn all_targets(request: &FetchRequest) -> Vec<Target> {
    let of_topic = |topic: &kafka_protocol::messages::fetch_request::FetchTopic| {
        let targets = topic.partitions.iter().map(|asked| Target::new(&topic.topic, topic.topic_id, asked));
        targets.collect::<Vec<_>>()
    };
    request.topics.iter().flat_map(of_topic).collect()
}
