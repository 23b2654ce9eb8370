//! Connections by broker and purpose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Address, Connection, Purpose, handshake};
use crate::cluster::{Cluster, Known};
use crate::error::{Error, Result};

/// Where a connection leads. Bootstrap addresses are apart from brokers: what answers there can be a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Bootstrap(Address),
    Broker(i32),
}

/// What came of an attempt to connect, and when.
type Outcome = (Instant, Result<Arc<Connection>>);

/// The last attempt for one target and purpose: going on, a connection, or a failure.
#[derive(Debug)]
struct Slot {
    address: Address,
    outcome: watch::Receiver<Option<Outcome>>,
    /// Failures in a row before this attempt.
    failures: u32,
}

/// Connections by target and purpose. Those that ask for the same one share one attempt, which goes on when the one
/// who asked first does not wait any more.
#[derive(Debug)]
pub(crate) struct Connections {
    known: Arc<Known>,
    slots: Mutex<HashMap<(Target, Purpose), Slot>>,
}

impl Connections {
    pub(crate) fn new(known: Arc<Known>) -> Self {
        Self { known, slots: Mutex::default() }
    }

    /// As [`Pool::broker`].
    pub(crate) async fn broker(&self, id: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        let Some(address) = self.known.address(id) else {
            self.known.refresh();
            let reason = "not among the cluster's brokers at the moment".to_owned();
            return Err(Error::Disconnected { broker: format!("broker {id}"), reason });
        };
        let opened = self.open(Target::Broker(id), address, purpose).await;
        if opened.is_err() {
            // It may have moved.
            self.known.refresh();
        }
        opened
    }

    /// As [`Pool::any`].
    pub(crate) async fn any(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        let brokers = self.known.snapshot();
        if let Some(open) = self.open_already(brokers.brokers.keys().copied(), purpose) {
            return Ok(open);
        }
        let mut last = None;
        for id in self.in_random_order(brokers.brokers.keys().copied().collect(), purpose) {
            match self.broker(id, purpose).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        for address in self.shuffled(self.known.bootstrap().to_vec()) {
            match self.open(Target::Bootstrap(address.clone()), address, purpose).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        match last {
            // These say by themselves what is wrong with whom, and that waiting does not help.
            Some(error @ (Error::NotKafka { .. } | Error::Closed)) => Err(error),
            other => Err(Error::Unreachable {
                servers: self.known.config().bootstrap_servers.join(", "),
                reason: other.map_or_else(|| "no address is known".to_owned(), |error| error.to_string()),
            }),
        }
    }

    /// A connection that is open.
    fn open_already(&self, ids: impl Iterator<Item = i32>, purpose: Purpose) -> Option<Arc<Connection>> {
        let slots = self.slots();
        ids.filter_map(|id| {
            let slot = slots.get(&(Target::Broker(id), purpose))?;
            let connection = slot.connection()?;
            (self.known.address(id).as_ref() == Some(&slot.address)).then_some(connection)
        })
        .next()
    }

    /// Those that failed the last time come last.
    fn in_random_order(&self, mut ids: Vec<i32>, purpose: Purpose) -> Vec<i32> {
        ids.sort_unstable();
        let mut ids = self.shuffled(ids);
        let slots = self.slots();
        ids.sort_by_key(|id| slots.get(&(Target::Broker(*id), purpose)).is_some_and(Slot::has_failed));
        ids
    }

    fn shuffled<T>(&self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            let other = self.known.seams().rng.below(last as u64 + 1);
            items.swap(last, usize::try_from(other).unwrap_or(last));
        }
        items
    }

    async fn open(&self, target: Target, address: Address, purpose: Purpose) -> Result<Arc<Connection>> {
        let mut outcome = self.attempt(target, address, purpose);
        let settled = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?;
        settled.as_ref().map_or(Err(Error::Closed), |(_, result)| result.clone())
    }

    /// The attempt that is going on or succeeded, or a new one.
    fn attempt(
        &self,
        target: Target,
        address: Address,
        purpose: Purpose,
    ) -> watch::Receiver<Option<Outcome>> {
        let mut slots = self.slots();
        let last = slots.get(&(target.clone(), purpose)).filter(|slot| slot.address == address);
        let (failures, not_before) = match last.map(|slot| (slot, slot.outcome.borrow())) {
            None => (0, None),
            Some((slot, outcome)) => match &*outcome {
                None => return slot.outcome.clone(),
                Some((_, Ok(connection))) if !connection.is_closed() => return slot.outcome.clone(),
                Some((_, Ok(_))) => (0, None),
                Some((at, Err(_))) => {
                    let unit = self.known.seams().rng.unit();
                    let wait = self.known.config().reconnect_backoff.wait(slot.failures, unit);
                    (slot.failures.saturating_add(1), Some(*at + wait))
                }
            },
        };
        let (settle, outcome) = watch::channel(None);
        let known = Arc::clone(&self.known);
        let destination = address.clone();
        tokio::spawn(async move {
            if let Some(at) = not_before {
                tokio::time::sleep_until(at).await;
            }
            let result = handshake::open(&destination, purpose, known.config(), known.seams()).await;
            if let Err(error) = &result {
                tracing::debug!(broker = %destination, ?purpose, %error, "cannot connect");
            }
            // When nobody has the pool any more, the connection ends here.
            let _ = settle.send(Some((known.seams().clock.now(), result)));
        });
        slots.insert((target, purpose), Slot { address, outcome: outcome.clone(), failures });
        outcome
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<(Target, Purpose), Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn connection(&self) -> Option<Arc<Connection>> {
        match &*self.outcome.borrow() {
            Some((_, Ok(connection))) if !connection.is_closed() => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    fn has_failed(&self) -> bool {
        matches!(&*self.outcome.borrow(), Some((_, Err(_))))
    }
}

/// The connections of one client, producer or group member.
#[derive(Debug)]
pub(crate) struct Pool {
    cluster: Arc<Cluster>,
    connections: Connections,
}

impl Pool {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let connections = Connections::new(Arc::clone(cluster.known()));
        Self { cluster, connections }
    }

    /// The connection to broker `id`, opened if need be; reconnecting waits as `reconnect_backoff` says.
    pub(crate) async fn broker(&self, id: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        self.connections.broker(id, purpose).await
    }

    /// A connection to any broker that answers: the known ones first, then the bootstrap list again (KIP-899).
    pub(crate) async fn any(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        self.connections.any(purpose).await
    }

    /// The cluster whose brokers these are.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}
