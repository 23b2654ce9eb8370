//! The coordinator of one group: found, cached, found again when a broker says that it is another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use crate::error::{At, Error, Result};
use crate::net::{Connection, Pool, Purpose};

/// FindCoordinator's key type of groups.
const GROUP: i8 = 0;
/// From here on many keys are asked for in one request (KIP-699).
const MANY_KEYS: i16 = 4;

/// The coordinator of one group: found, cached, found again when a broker says that it is another.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pool: Arc<Pool>,
    group: StrBytes,
    /// The broker's id.
    found: Mutex<Option<i32>>,
}

impl Coordinator {
    pub(crate) fn new(pool: Arc<Pool>, group: &str) -> Self {
        Self { pool, group: StrBytes::from_string(group.to_owned()), found: Mutex::default() }
    }

    /// A connection to it. One attempt: who needs one asks again after a back-off.
    pub(crate) async fn connection(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        let known = *self.found();
        let broker = match known {
            Some(broker) => broker,
            None => self.find().await?,
        };
        let opened = self.pool.broker(broker, purpose).await;
        if opened.is_err() {
            self.forget();
        }
        opened
    }

    /// Forgets it after NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE or a broken connection.
    pub(crate) fn forget(&self) {
        *self.found() = None;
    }

    /// Forgets it if this failure of a request to it says so.
    pub(crate) fn heed(&self, failure: &Error) {
        let gone = match failure {
            Error::Broker { code, .. } => {
                matches!(code, ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable)
            }
            other => other.is_retriable(),
        };
        if gone {
            self.forget();
        }
    }

    /// The group's id as messages have it.
    pub(crate) fn group_id(&self) -> GroupId {
        GroupId(self.group.clone())
    }

    /// What an error is about.
    pub(crate) fn at(&self) -> At {
        At::Group(self.group.to_string())
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    async fn find(&self) -> Result<i32> {
        let cluster = self.pool.cluster();
        let connection = self.pool.any(Purpose::Control).await?;
        let request = |version: i16| {
            let request = FindCoordinatorRequest::default().with_key_type(GROUP);
            match version >= MANY_KEYS {
                true => request.with_coordinator_keys(vec![self.group.clone()]),
                false => request.with_key(self.group.clone()),
            }
        };
        let answer =
            connection.call::<FindCoordinatorRequest>(cluster.config().request_timeout, request).await?;
        let broker = self.chosen(&answer.body, answer.version)?;
        if !cluster.snapshot().brokers.contains_key(&broker) {
            // Its address comes with the picture, in which it is new.
            cluster.refreshed().await?;
        }
        *self.found() = Some(broker);
        tracing::debug!(group = %self.group, broker, "coordinator found");
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

    fn found(&self) -> MutexGuard<'_, Option<i32>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
