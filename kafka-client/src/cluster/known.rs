//! What is known of the cluster, and what is wanted to be known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ClusterMetadata;
use super::missed::Missed;
use crate::config::ClientConfig;
use crate::error::{Error, Result};
use crate::ids::TopicName;
use crate::net::Address;
use crate::seams::Seams;
use crate::watch;

/// `metadata.max.idle.ms`.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(5 * 60);

/// What the handles and the refreshing task have in common.
#[derive(Debug)]
pub(crate) struct Known {
    config: ClientConfig,
    seams: Seams,
    bootstrap: Vec<Address>,
    picture: watch::Sender<Arc<ClusterMetadata>>,
    round: watch::Sender<Round>,
    wanted: Mutex<Wanted>,
    changed: Notify,
}

/// The last attempt to get a picture.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    /// The last demand that it served.
    pub(super) served: u64,
    /// Why there was no picture.
    pub(super) failure: Option<Error>,
}

/// What is wanted.
#[derive(Debug, Default)]
struct Wanted {
    /// How often a new picture was asked for.
    demand: u64,
    topics: HashMap<TopicName, Tracked>,
    /// How many guards want all topics.
    all: usize,
    missed: Missed,
}

#[derive(Debug, Clone, Copy)]
struct Tracked {
    create: bool,
    /// When it is dropped, unless it is used again.
    until: Option<Instant>,
}

/// What one round asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Agenda {
    pub(super) demand: u64,
    /// All topics, whatever their names.
    pub(super) all: bool,
    /// Topics to look for.
    pub(super) topics: Vec<TopicName>,
    /// Topics that are not there yet, and may be created by asking for them.
    pub(super) to_create: Vec<TopicName>,
}

impl Known {
    /// Addresses that are none are left out; `Client::new` refuses them before.
    pub(super) fn new(config: ClientConfig, seams: Seams) -> Self {
        let quiet = 2 * (config.reconnect_backoff.max + config.retry_backoff.max);
        let wanted = Wanted { missed: Missed::new(quiet), ..Wanted::default() };
        let bootstrap =
            config.bootstrap_servers.iter().filter_map(|text| Address::parse(text).ok()).collect();
        Self {
            config,
            seams,
            bootstrap,
            picture: watch::Sender::default(),
            round: watch::Sender::default(),
            wanted: Mutex::new(wanted),
            changed: Notify::new(),
        }
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn seams(&self) -> &Seams {
        &self.seams
    }

    pub(crate) fn bootstrap(&self) -> &[Address] {
        &self.bootstrap
    }

    pub(crate) fn snapshot(&self) -> Arc<ClusterMetadata> {
        Arc::clone(&self.picture.borrow())
    }

    pub(crate) fn address(&self, broker: i32) -> Option<Address> {
        let picture = self.picture.borrow();
        picture.brokers.get(&broker).map(|known| Address { host: known.host.clone(), port: known.port })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<ClusterMetadata>> {
        self.picture.subscribe()
    }

    pub(super) fn track(&self, topics: &[TopicName], create: bool, idle: Option<Duration>) {
        let until = idle.map(|idle| self.seams.clock.now() + idle);
        let picture = self.snapshot();
        let mut wanted = self.wanted();
        let mut news = false;
        for topic in topics {
            let tracked = wanted.topics.entry(*topic).or_insert(Tracked { create, until });
            tracked.create |= create;
            // Once for good, always for good.
            tracked.until = tracked.until.zip(until).map(|(one, two)| one.max(two));
            news |= picture.topics.get(topic).is_none_or(|known| known.error.is_some());
        }
        drop(wanted);
        if news {
            self.refresh();
        }
    }

    pub(super) fn track_all(self: &Arc<Self>) -> TrackAll {
        self.wanted().all += 1;
        self.refresh();
        TrackAll { known: Arc::clone(self) }
    }

    pub(crate) fn refresh(&self) {
        self.demand();
    }

    /// An attempt to reach this broker, for what no other one can do, has failed. What it did may soon be another one's to do:
    /// until it is reached, or out of the picture, or nobody tries any more, and for 30 s at most, pictures are taken in the
    /// distance of `retry.backoff.ms`.
    pub(crate) fn missed(&self, broker: i32) {
        let now = self.seams.clock.now();
        self.wanted().missed.failed(broker, now);
    }

    pub(crate) fn reached(&self, broker: i32) {
        self.wanted().missed.reached(broker);
    }

    /// Whether the picture names a broker that is missed.
    pub(super) fn misses_a_broker(&self) -> bool {
        let (now, picture) = (self.seams.clock.now(), self.snapshot());
        self.wanted().missed.any(|broker| picture.brokers.contains_key(&broker), now)
    }

    fn demand(&self) -> u64 {
        let mut wanted = self.wanted();
        wanted.demand += 1;
        self.changed.notify_one();
        wanted.demand
    }

    pub(super) async fn refreshed(&self) -> Result<Arc<ClusterMetadata>> {
        let mut rounds = self.round.subscribe();
        let demand = self.demand();
        let round = rounds.wait_for(|round| round.served >= demand).await.map_err(|_| Error::Closed)?;
        match &round.failure {
            Some(error) => Err(error.clone()),
            None => Ok(self.snapshot()),
        }
    }

    pub(super) fn last_failure(&self) -> Option<Error> {
        self.round.borrow().failure.clone()
    }

    /// Waits until more is asked for than was served.
    pub(super) async fn demanded(&self, served: u64) {
        while self.wanted().demand <= served {
            self.changed.notified().await;
        }
    }

    /// What is to be asked now. Topics that were not used for long are forgotten.
    pub(super) fn agenda(&self) -> Agenda {
        let now = self.seams.clock.now();
        let picture = self.snapshot();
        let mut wanted = self.wanted();
        wanted.topics.retain(|_, tracked| tracked.until.is_none_or(|until| until > now));
        let mut agenda = Agenda { demand: wanted.demand, all: wanted.all > 0, ..Agenda::default() };
        for (topic, tracked) in &wanted.topics {
            let exists = picture.topics.get(topic).is_some_and(|known| known.error.is_none());
            match tracked.create && !exists {
                true => agenda.to_create.push(*topic),
                false => agenda.topics.push(*topic),
            }
        }
        agenda.topics.sort_unstable();
        agenda.to_create.sort_unstable();
        agenda
    }

    pub(super) fn publish(&self, picture: ClusterMetadata) {
        self.picture.send_if_modified(|last| {
            let changed = **last != picture;
            if changed {
                *last = Arc::new(picture);
            }
            changed
        });
    }

    pub(super) fn finish(&self, round: Round) {
        self.round.send_replace(round);
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the picture wide open for a pattern.
#[derive(Debug)]
pub(crate) struct TrackAll {
    known: Arc<Known>,
}

impl Drop for TrackAll {
    fn drop(&mut self) {
        self.known.wanted().all -= 1;
    }
}
