//! Which brokers live: stopped, cut off or running, and what the cluster makes of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a broker does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    /// Connections are accepted and stay open, but nothing passes through them.
    CutOff,
    /// Connections are closed and refused.
    Stopped,
}

/// A broker's mode. Connections of an earlier incarnation are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) incarnation: u64,
    pub(crate) mode: Mode,
}

#[derive(Debug)]
struct Broker {
    id: i32,
    life: Mutex<Life>,
    /// Who is told of changes, in the order in which they came: tokio's own channels wake in a random one, and then no
    /// run would repeat.
    watchers: Mutex<Watchers>,
    /// The cluster has given it up: it leads nothing and is in sync with nothing.
    fenced: AtomicBool,
}

#[derive(Debug, Default)]
struct Watchers {
    bells: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

impl Broker {
    fn running(id: i32) -> Arc<Self> {
        let life = Mutex::new(Life { incarnation: 0, mode: Mode::Running });
        let (watchers, fenced) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { id, life, watchers, fenced })
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a broker fares.
#[derive(Debug)]
pub(crate) struct LifeWatch {
    broker: Arc<Broker>,
    number: u64,
    bell: Arc<Notify>,
}

impl LifeWatch {
    fn new(broker: &Arc<Broker>) -> Self {
        let bell = Arc::new(Notify::new());
        let mut watchers = broker.watchers();
        let number = watchers.next;
        watchers.next += 1;
        watchers.bells.insert(number, Arc::clone(&bell));
        drop(watchers);
        Self { broker: Arc::clone(broker), number, bell }
    }

    pub(crate) fn now(&self) -> Life {
        *self.broker.life()
    }

    /// Waits for a change since the last one that was waited for.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }
}

impl Drop for LifeWatch {
    fn drop(&mut self) {
        self.broker.watchers().bells.remove(&self.number);
    }
}

/// The lives of all brokers.
#[derive(Debug)]
pub(crate) struct Brokers(Vec<Arc<Broker>>);

impl Brokers {
    /// All of them running.
    pub(crate) fn new(ids: impl Iterator<Item = i32>) -> Self {
        Self(ids.map(Broker::running).collect())
    }

    fn get(&self, id: i32) -> Option<&Arc<Broker>> {
        self.0.iter().find(|broker| broker.id == id)
    }

    /// How the broker fares, and every change of it; `None` where there is no such broker.
    pub(crate) fn watch(&self, id: i32) -> Option<LifeWatch> {
        self.get(id).map(LifeWatch::new)
    }

    /// What the broker does with its connections now.
    pub(crate) fn mode(&self, id: i32) -> Option<Mode> {
        self.get(id).map(|broker| broker.life().mode)
    }

    /// Changes what the broker does with its connections.
    pub(crate) fn set_mode(&self, id: i32, mode: Mode) {
        let Some(broker) = self.get(id) else { return };
        {
            let mut life = broker.life();
            life.incarnation += u64::from(life.mode != mode && mode == Mode::Stopped);
            life.mode = mode;
        }
        broker.watchers().bells.values().for_each(|bell| bell.notify_one());
    }

    /// Whether the cluster counts on the broker.
    pub(crate) fn is_live(&self, id: i32) -> bool {
        self.get(id).is_some_and(|broker| !broker.fenced.load(Ordering::Acquire))
    }

    /// Gives the broker up, or takes it back; whether that is news.
    pub(crate) fn set_fenced(&self, id: i32, fenced: bool) -> bool {
        self.get(id).is_some_and(|broker| broker.fenced.swap(fenced, Ordering::AcqRel) != fenced)
    }
}
