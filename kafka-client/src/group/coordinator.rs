//! The coordinator of one group or transactional id: found, cached, found again when a broker says that it is another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse, GroupId, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use crate::error::{At, Error, Result};
use crate::net::{Connection, Pool, Purpose};

/// What is coordinated; the numbers are FindCoordinator's key types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group = 0,
    Transaction = 1,
}

/// From here on many keys are asked for in one request (KIP-699).
const MANY_KEYS: i16 = 4;

/// How long a broker may think about where the coordinator is before the next one is asked too. Each knows, at once; but one that has
/// just taken over partitions of a broker that died has other things to do.
const ASK_NEXT_AFTER: Duration = Duration::from_millis(200);

/// The coordinator of one group or transactional id.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pool: Arc<Pool>,
    kind: Kind,
    key: StrBytes,
    known: Mutex<Known>,
    /// When it was last known that nobody coordinates, and nobody was told of that yet.
    vacant: Mutex<Option<Instant>>,
}

/// What is known of it.
#[derive(Debug, Default)]
enum Known {
    #[default]
    Nothing,
    /// The broker's id.
    Broker(i32),
    /// When it was last not found, or not reached, and why.
    Away(Instant, Error),
}

impl Coordinator {
    pub(crate) fn new(pool: Arc<Pool>, group: &str) -> Self {
        Self::of(pool, Kind::Group, group)
    }

    pub(crate) fn of_transactions(pool: Arc<Pool>, id: &str) -> Self {
        Self::of(pool, Kind::Transaction, id)
    }

    fn of(pool: Arc<Pool>, kind: Kind, key: &str) -> Self {
        Self {
            pool,
            kind,
            key: StrBytes::from_string(key.to_owned()),
            known: Mutex::default(),
            vacant: Mutex::default(),
        }
    }

    /// A connection to it. One attempt, which does not wait for a broker that was just not there: the coordinator can be another
    /// one by now. Who needs one asks again after a back-off.
    /// All who need it share the failures: however many ask, it is looked for no oftener than twice in the shortest back-off.
    pub(crate) async fn connection(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        let cluster = self.pool.cluster();
        let distance = cluster.config().retry_backoff.initial / 2;
        let broker = match &*self.known() {
            Known::Broker(broker) => Some(*broker),
            Known::Away(at, error) if cluster.seams().clock.now() < *at + distance => {
                return Err(error.clone());
            }
            Known::Away(..) | Known::Nothing => None,
        };
        let opened = self.open(broker, purpose).await;
        if let Err(error) = &opened {
            *self.known() = Known::Away(cluster.seams().clock.now(), error.clone());
        }
        opened
    }

    async fn open(&self, broker: Option<i32>, purpose: Purpose) -> Result<Arc<Connection>> {
        if let Some(broker) = broker {
            return self.pool.broker_at_once(broker, purpose).await;
        }
        let asked = self.pool.cluster().seams().clock.now();
        let broker = self.find().await?;
        let opened = self.pool.broker_at_once(broker, purpose).await;
        // One that still talks over another connection is there, whoever refuses.
        if matches!(opened, Err(Error::Refused { .. })) && !self.pool.reaches(broker) {
            // It may have been refused in the last pause between two attempts.
            *self.vacant() = asked.checked_sub(self.pool.cluster().config().reconnect_backoff.max);
        }
        opened
    }

    /// The last moment, since this was asked last, at which nobody coordinated: others said who does, and nobody listened there.
    pub(crate) fn take_vacancy(&self) -> Option<Instant> {
        self.vacant().take()
    }

    fn vacant(&self) -> MutexGuard<'_, Option<Instant>> {
        self.vacant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets it after NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE or a broken connection.
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        if matches!(*known, Known::Broker(_)) {
            *known = Known::Nothing;
        }
    }

    /// Forgets it if this failure of a request to it says so.
    pub(crate) fn heed(&self, failure: &Error) {
        let gone = match failure {
            Error::Broker { code, .. } => is_elsewhere(*code),
            other => other.is_retriable(),
        };
        if gone {
            self.forget();
        }
    }

    /// The group's id as messages have it.
    pub(crate) fn group_id(&self) -> GroupId {
        GroupId(self.key.clone())
    }

    /// The transactional id as messages have it.
    pub(crate) fn transactional_id(&self) -> TransactionalId {
        TransactionalId(self.key.clone())
    }

    /// What an error is about.
    pub(crate) fn at(&self) -> At {
        match self.kind {
            Kind::Group => At::Group(self.key.to_string()),
            Kind::Transaction => At::Transaction(self.key.to_string()),
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    async fn find(&self) -> Result<i32> {
        let cluster = self.pool.cluster();
        let (kind, key) = (self.kind as i8, self.key.clone());
        let request = move |version: i16| {
            let request = FindCoordinatorRequest::default().with_key_type(kind);
            match version >= MANY_KEYS {
                true => request.with_coordinator_keys(vec![key.clone()]),
                false => request.with_key(key.clone()),
            }
        };
        let deadline = cluster.config().request_timeout;
        let (_, answer) = self
            .pool
            .ask::<FindCoordinatorRequest>(Purpose::Control, deadline, ASK_NEXT_AFTER, request)
            .await?;
        let broker = self.chosen(&answer.body, answer.version)?;
        if !cluster.snapshot().brokers.contains_key(&broker) {
            // Its address comes with the picture, in which it is new.
            cluster.refreshed().await?;
        }
        *self.known() = Known::Broker(broker);
        tracing::debug!(of = %self.at(), broker, "coordinator found");
        Ok(broker)
    }

    fn chosen(&self, response: &FindCoordinatorResponse, version: i16) -> Result<i32> {
        let (code, broker) = match response.coordinators.first() {
            _ if version < MANY_KEYS => (response.error_code, response.node_id),
            Some(coordinator) => (coordinator.error_code, coordinator.node_id),
            None => (ResponseError::CoordinatorNotAvailable.code(), response.node_id),
        };
        match ResponseError::try_from_code(code) {
            None => Ok(broker.0),
            Some(code) => Err(Error::Broker { api: "FindCoordinator", code, at: self.at() }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a broker says that the coordinator is another one by now, or none for the moment.
pub(super) fn is_elsewhere(code: ResponseError) -> bool {
    matches!(code, ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable)
}
