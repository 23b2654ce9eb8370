//! Connections by broker and purpose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::protocol::{Request, StrBytes};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Address, Answer, Connection, Purpose, handshake};
use crate::cluster::{Cluster, Known};
use crate::error::{Error, Result};
use crate::watch;

/// How long one broker may usually keep silent before the next is asked too, where any of them would do.
pub(crate) const NEXT_AFTER: Duration = Duration::from_secs(1);

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
    /// How long the next attempt waits after this one, should it fail.
    pause: Duration,
}

/// What an ask does that comes in the pause after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InPause {
    /// Makes the next attempt when the pause is over.
    Wait,
    /// Takes the last attempt's failure.
    Fail,
}

/// Connections by target and purpose. Those that ask for the same one share one attempt, which goes on when the one
/// who asked first does not wait any more.
#[derive(Debug)]
pub(crate) struct Connections {
    known: Arc<Known>,
    client_id: StrBytes,
    slots: Mutex<HashMap<(Target, Purpose), Slot>>,
}

impl Connections {
    pub(crate) fn new(known: Arc<Known>, client_id: StrBytes) -> Self {
        Self { known, client_id, slots: Mutex::default() }
    }

    /// As [`Pool::broker`] and [`Pool::broker_at_once`].
    async fn broker(&self, id: i32, purpose: Purpose, in_pause: InPause) -> Result<Arc<Connection>> {
        let Some(address) = self.known.address(id) else {
            self.known.refresh();
            let reason = "not among the cluster's brokers at the moment".to_owned();
            return Err(Error::Disconnected { broker: format!("broker {id}"), reason });
        };
        let opened = settled(self.attempt(Target::Broker(id), address, purpose, in_pause)).await;
        if opened.is_err() {
            // It may have moved.
            self.known.refresh();
        }
        opened
    }

    /// As [`Pool::any`].
    pub(crate) async fn any(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        self.first(purpose, NEXT_AFTER, |connection| async move { Ok(connection) }).await
    }

    /// As [`Pool::ask`].
    pub(crate) async fn ask<R: Request + Send + Sync + 'static>(
        &self,
        purpose: Purpose,
        deadline: Duration,
        next_after: Duration,
        build: impl Fn(i16) -> R + Send + Sync + 'static,
    ) -> Result<(Arc<Connection>, Answer<R::Response>)>
    where
        R::Response: Send,
    {
        let build = Arc::new(build);
        self.first(purpose, next_after, move |connection| {
            let build = Arc::clone(&build);
            async move {
                let answer = connection.call::<R>(deadline, |version| build(version)).await?;
                Ok((connection, answer))
            }
        })
        .await
    }

    /// The first success among all that can be asked: one after the other, and the next one already when one keeps silent.
    async fn first<T, F>(
        &self,
        purpose: Purpose,
        next_after: Duration,
        use_it: impl Fn(Arc<Connection>) -> F + Clone + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (mut racing, mut last) = (JoinSet::new(), None);
        let mut left = self.candidates(purpose).into_iter().peekable();
        loop {
            if let Some((target, address)) = left.next() {
                let (attempt, use_it) =
                    (self.attempt(target, address, purpose, InPause::Wait), use_it.clone());
                racing.spawn(async move {
                    let connection = settled(attempt).await?;
                    use_it(connection).await
                });
            }
            let first = racing.join_next();
            let ended = match left.peek() {
                Some(_) => tokio::time::timeout(next_after, first).await.unwrap_or(None),
                None => match first.await {
                    Some(ended) => Some(ended),
                    None => return Err(self.nobody(last)),
                },
            };
            match ended {
                Some(Ok(Ok(found))) => return Ok(found),
                Some(Ok(Err(error))) => last = Some(error),
                // The runtime ends.
                Some(Err(_)) => last = Some(Error::Closed),
                None => {}
            }
        }
    }

    fn nobody(&self, last: Option<Error>) -> Error {
        // What we know of the brokers does not help.
        self.known.refresh();
        match last {
            // These say by themselves what is wrong with whom, and that waiting does not help.
            Some(error @ (Error::NotKafka { .. } | Error::Closed | Error::Broker { .. })) => error,
            other => Error::Unreachable {
                servers: self.known.config().bootstrap_servers.join(", "),
                reason: other.map_or_else(|| "no address is known".to_owned(), |error| error.to_string()),
            },
        }
    }

    /// Known brokers first, those with an open connection before others and those that failed last; then the bootstrap
    /// list again (KIP-899).
    fn candidates(&self, purpose: Purpose) -> Vec<(Target, Address)> {
        let mut ids: Vec<i32> = self.known.snapshot().brokers.keys().copied().collect();
        ids.sort_unstable();
        let mut ids = self.shuffled(ids);
        let slots = self.slots();
        ids.sort_by_cached_key(|id| match slots.get(&(Target::Broker(*id), purpose)) {
            Some(slot) if slot.connection().is_some_and(|connection| !connection.keeps_silent()) => 0,
            None => 1,
            Some(_) => 2,
        });
        drop(slots);
        let brokers = ids.into_iter().filter_map(|id| Some((Target::Broker(id), self.known.address(id)?)));
        let bootstrap = self.shuffled(self.known.bootstrap().to_vec());
        let bootstrap = bootstrap.into_iter().map(|address| (Target::Bootstrap(address.clone()), address));
        brokers.chain(bootstrap).collect()
    }

    fn shuffled<T>(&self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            let other = self.known.seams().rng.below(last as u64 + 1);
            items.swap(last, usize::try_from(other).unwrap_or(last));
        }
        items
    }

    /// The attempt that is going on or succeeded, or a new one.
    fn attempt(
        &self,
        target: Target,
        address: Address,
        purpose: Purpose,
        in_pause: InPause,
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
                    let not_before = *at + slot.pause;
                    if in_pause == InPause::Fail && self.known.seams().clock.now() < not_before {
                        return slot.outcome.clone();
                    }
                    (slot.failures.saturating_add(1), Some(not_before))
                }
            },
        };
        let outcome = self.begin(&target, address.clone(), purpose, not_before);
        let pause = self.known.config().reconnect_backoff.wait(failures, self.known.seams().rng.unit());
        slots.insert((target, purpose), Slot { address, outcome: outcome.clone(), failures, pause });
        outcome
    }

    fn begin(
        &self,
        target: &Target,
        address: Address,
        purpose: Purpose,
        not_before: Option<Instant>,
    ) -> watch::Receiver<Option<Outcome>> {
        let (settle, outcome) = watch::channel(None);
        let (known, client_id) = (Arc::clone(&self.known), self.client_id.clone());
        // What any broker can tell is asked of another one, and no reason to miss this one.
        let broker = match target {
            Target::Broker(id) if purpose != Purpose::Control => Some(*id),
            Target::Broker(_) | Target::Bootstrap(_) => None,
        };
        tokio::spawn(async move {
            if let Some(at) = not_before {
                tokio::time::sleep_until(at).await;
            }
            let result = handshake::open(&address, purpose, client_id, known.config(), known.seams()).await;
            match (&result, broker) {
                (Ok(_), Some(id)) => known.reached(id),
                (Err(error), Some(id)) if error.is_retriable() => known.missed(id),
                _ => {}
            }
            if let Err(error) = &result {
                tracing::debug!(broker = %address, ?purpose, %error, "cannot connect");
            }
            // When nobody has the pool any more, the connection ends here.
            settle.send_replace(Some((known.seams().clock.now(), result)));
        });
        outcome
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<(Target, Purpose), Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of an attempt.
async fn settled(mut outcome: watch::Receiver<Option<Outcome>>) -> Result<Arc<Connection>> {
    let settled = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?;
    settled.as_ref().map_or(Err(Error::Closed), |(_, result)| result.clone())
}

impl Slot {
    fn connection(&self) -> Option<Arc<Connection>> {
        match &*self.outcome.borrow() {
            Some((_, Ok(connection))) if !connection.is_closed() => Some(Arc::clone(connection)),
            _ => None,
        }
    }
}

/// The connections of one client, producer or group member.
#[derive(Debug)]
pub(crate) struct Pool {
    cluster: Arc<Cluster>,
    connections: Connections,
}

impl Pool {
    pub(crate) fn new(cluster: Arc<Cluster>, client_id: StrBytes) -> Self {
        let connections = Connections::new(Arc::clone(cluster.known()), client_id);
        Self { cluster, connections }
    }

    /// The connection to broker `id`, opened if need be; reconnecting waits as `reconnect_backoff` says.
    pub(crate) async fn broker(&self, id: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        self.connections.broker(id, purpose, InPause::Wait).await
    }

    /// As [`Pool::broker`], but in the pause after a failed attempt it fails as that one did: for who would rather ask where
    /// else to go than wait.
    pub(crate) async fn broker_at_once(&self, id: i32, purpose: Purpose) -> Result<Arc<Connection>> {
        self.connections.broker(id, purpose, InPause::Fail).await
    }

    /// A connection to any broker that answers: the known ones first, then the bootstrap list again (KIP-899).
    pub(crate) async fn any(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        self.connections.any(purpose).await
    }

    /// Asks any broker that answers, in the order of [`Pool::any`]: the next one too when one keeps silent for `next_after`. The
    /// first answer counts, and comes with its connection; the others are not waited for. Only for what may be asked twice.
    pub(crate) async fn ask<R: Request + Send + Sync + 'static>(
        &self,
        purpose: Purpose,
        deadline: Duration,
        next_after: Duration,
        build: impl Fn(i16) -> R + Send + Sync + 'static,
    ) -> Result<(Arc<Connection>, Answer<R::Response>)>
    where
        R::Response: Send,
    {
        self.connections.ask(purpose, deadline, next_after, build).await
    }

    /// Whether there is a connection to where this broker is, whatever for.
    pub(crate) fn reaches(&self, id: i32) -> bool {
        let Some(address) = self.connections.known.address(id) else { return false };
        let slots = self.connections.slots();
        slots.values().any(|slot| slot.address == address && slot.connection().is_some())
    }

    /// What is open for this is not used any more: whoever asks next gets a new one, after its handshake.
    pub(crate) fn renew(&self, purpose: Purpose) {
        self.connections.slots().retain(|(_, of), slot| *of != purpose || slot.connection().is_none());
    }

    /// The cluster whose brokers these are.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}
