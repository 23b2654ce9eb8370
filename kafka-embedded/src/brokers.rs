//! Which brokers live: stopped, cut off or running, and what the cluster makes of it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

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
    life: watch::Sender<Life>,
    /// The cluster has given it up: it leads nothing and is in sync with nothing.
    fenced: AtomicBool,
}

/// The lives of all brokers.
#[derive(Debug)]
pub(crate) struct Brokers(Vec<Broker>);

impl Brokers {
    /// All of them running.
    pub(crate) fn new(ids: impl Iterator<Item = i32>) -> Self {
        let running = Life { incarnation: 0, mode: Mode::Running };
        let broker = |id| Broker { id, life: watch::channel(running).0, fenced: AtomicBool::new(false) };
        Self(ids.map(broker).collect())
    }

    fn get(&self, id: i32) -> Option<&Broker> {
        self.0.iter().find(|broker| broker.id == id)
    }

    /// How the broker fares, and every change of it; `None` where there is no such broker.
    pub(crate) fn watch(&self, id: i32) -> Option<watch::Receiver<Life>> {
        self.get(id).map(|broker| broker.life.subscribe())
    }

    /// What the broker does with its connections now.
    pub(crate) fn mode(&self, id: i32) -> Option<Mode> {
        self.get(id).map(|broker| broker.life.borrow().mode)
    }

    /// Changes what the broker does with its connections; whether it did something else before.
    pub(crate) fn set_mode(&self, id: i32, mode: Mode) -> bool {
        let change = |life: &mut Life| {
            let changed = life.mode != mode;
            life.incarnation += u64::from(changed && mode == Mode::Stopped);
            life.mode = mode;
            changed
        };
        self.get(id).is_some_and(|broker| broker.life.send_if_modified(change))
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
