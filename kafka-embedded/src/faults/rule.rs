//! A fault as it is installed: which requests it is about, which of them it strikes, and what it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_client::seams::Rng;
use kafka_client::watch;
use kafka_protocol::ResponseError;

use super::subject::{Named, Subject};
use crate::cluster::Cluster;
use crate::server::connection::Context;

/// Which requests a fault is about. What is not said does not matter.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// API keys; none: all.
    pub(super) apis: Vec<i16>,
    pub(super) broker: Option<i32>,
    pub(super) client: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    pub(super) group: Option<String>,
    pub(super) transactional_id: Option<String>,
}

impl Filter {
    fn matches<R: Subject>(&self, context: &Context, request: &R) -> bool {
        let api = self.apis.is_empty() || self.apis.contains(&R::KEY);
        let client = || {
            let asks = context.client_id.as_deref();
            self.client.is_none() || asks == self.client.as_deref()
        };
        api && self.broker.is_none_or(|id| id == context.node) && client() && self.is_named(context, request)
    }

    /// Whether the request names what it must.
    fn is_named<R: Subject>(&self, context: &Context, request: &R) -> bool {
        let mut topic = self.topic.is_none() && self.partition.is_none();
        let mut group = self.group.is_none();
        let mut transaction = self.transactional_id.is_none();
        if topic && group && transaction {
            return true;
        }
        // An id that nobody has is that of a topic without a name.
        let of_id = |id, index| {
            let known = context.cluster.topics.by_id(id);
            self.has_partition(known.as_ref().map_or("", |topic| &topic.name), index)
        };
        request.names(context, &mut |named| match named {
            Named::Group(id) => group |= self.group.as_deref() == Some(id),
            Named::TransactionalId(id) => transaction |= self.transactional_id.as_deref() == Some(id),
            Named::Topic(name) => topic |= self.partition.is_none() && self.has_topic(name),
            Named::TopicOf(id) => topic |= of_id(id, -1),
            Named::Partition(name, index) => topic |= self.has_partition(name, index),
            Named::PartitionOf(id, index) => topic |= of_id(id, index),
        });
        topic && group && transaction
    }

    fn has_topic(&self, name: &str) -> bool {
        self.topic.as_deref().is_none_or(|topic| topic == name)
    }

    /// Whether the fault is about this partition; a negative index stands for the topic as a whole.
    fn has_partition(&self, name: &str, index: i32) -> bool {
        self.has_topic(name) && self.partition.is_none_or(|partition| partition == index)
    }

    /// Whether it tells partitions of one request from each other.
    fn picks_partitions(&self) -> bool {
        self.topic.is_some() || self.partition.is_some()
    }
}

/// Which of the requests that a fault is about it strikes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    Always,
    Nth(u64),
    First(u64),
    After(u64),
    Every(u64),
    Chance(f64),
}

impl When {
    /// Whether the request that is number `count` (from 1) is struck.
    pub(super) fn strikes(self, count: u64, rng: &Rng) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(nth) => count == nth,
            Self::First(first) => count <= first,
            Self::After(after) => count > after,
            Self::Every(every) => every > 0 && count.is_multiple_of(every),
            Self::Chance(chance) => rng.unit() < chance,
        }
    }
}

/// What becomes of a request that is struck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Effect {
    Answer(ResponseError),
    Delay(Duration),
    DelayAnswer(Duration),
    Hold,
    HoldAnswer,
    DropRequest,
    DropAnswer,
    Close,
    CloseAfter,
    Cut(usize),
    ByteByByte,
    Throttle(Duration),
}

/// An installed fault.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(super) filter: Filter,
    when: When,
    pub(super) effect: Effect,
    rng: Rng,
    seen: AtomicU64,
    strikes: watch::Sender<u64>,
    /// Whether what it holds may go on.
    opened: watch::Sender<bool>,
}

impl Rule {
    pub(super) fn new(filter: Filter, when: When, effect: Effect, rng: Rng) -> Self {
        let (strikes, _) = watch::channel(0);
        let (opened, _) = watch::channel(false);
        Self { filter, when, effect, rng, seen: AtomicU64::new(0), strikes, opened }
    }

    pub(super) fn is_about<R: Subject>(&self, context: &Context, request: &R) -> bool {
        self.filter.matches(context, request)
    }

    /// Counts a request, and tells whether it is one to strike.
    pub(super) fn strikes_now(&self) -> bool {
        let count = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let struck = self.when.strikes(count, &self.rng);
        if struck {
            self.strikes.send_if_modified(|strikes| {
                *strikes += 1;
                true
            });
        }
        struck
    }

    /// The error for one partition (or, with a negative index, for a topic as a whole) of a request that was struck.
    pub(super) fn refuses(&self, topic: &str, partition: i32) -> Option<ResponseError> {
        match self.effect {
            Effect::Answer(error) if self.filter.has_partition(topic, partition) => Some(error),
            _ => None,
        }
    }

    pub(super) fn picks_partitions(&self) -> bool {
        self.filter.picks_partitions()
    }

    /// Lets go what is held, now and from now on.
    pub(super) fn open(&self) {
        self.opened.send_replace(true);
    }

    /// Waits until the fault lets go.
    pub(super) async fn held(&self) {
        // The sender is in `self`, so it lives for as long as somebody waits.
        drop(self.opened.subscribe().wait_for(|opened| *opened).await);
    }
}

/// An installed fault. It stays installed when this is dropped.
#[derive(Debug, Clone)]
pub struct Fault {
    rule: Arc<Rule>,
    cluster: Arc<Cluster>,
}

impl Fault {
    pub(super) fn install(cluster: Arc<Cluster>, rule: Rule) -> Self {
        let rule = cluster.faults.install(rule);
        Self { rule, cluster }
    }

    /// How often it has struck.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        *self.rule.strikes.borrow()
    }

    /// How many requests it was about, struck or not.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.rule.seen.load(Ordering::Relaxed)
    }

    /// Waits until it has struck `times` times: a test can go on when what it tests has come there.
    pub async fn struck(&self, times: u64) {
        // The sender is in the rule that `self` holds.
        drop(self.rule.strikes.subscribe().wait_for(|strikes| *strikes >= times).await);
    }

    /// Lets go what [`On::hold`](super::On::hold) or [`On::hold_answer`](super::On::hold_answer) holds, and ends the
    /// fault.
    pub fn release(&self) {
        self.remove();
    }

    /// Ends the fault. What it holds goes on.
    pub fn remove(&self) {
        self.cluster.faults.remove(&self.rule);
    }
}
