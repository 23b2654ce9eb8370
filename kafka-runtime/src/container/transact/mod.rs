//! Exactly once: the records of a partition are handled in transactions that what their handlers send and the consumed
//! offset are part of (KIP-98, KIP-447).
//!
//! ```text
//!   lane ── begin ──▶ Tx ◀── handlers send (`tx: &Tx`), dead letters
//!    │ due (bounds, pure)        │
//!    └── commit: offsets, stamped with the member's identity, then the end ──▶ coordinators
//!          failed, or a handler failed: abort, and back to the committed offset
//! ```
//!
//! Each partition has a producer of its own, `<transaction-id-prefix><group>.<topic>.<partition>`, so partitions are as
//! independent of each other as they are without transactions: a record that fails aborts what its own partition did, and
//! a rebalance ends the transactions of those partitions alone that go. Whoever gets the partition next under the same
//! prefix aborts what a crashed owner left open (`inherit`).
//!
//! A value that is to be sent on behalf of a record ([`Tx::enqueue_record`]) needs nobody to wait for it: the commit does.

mod bounds;
mod inherit;

use std::fmt;
use std::sync::Arc;

use kafka_client::consumer::{ConsumerHandle, GroupMetadata};
use kafka_client::group::CommittedOffset;
use kafka_client::producer::{Remedy, TransactionError, TransactionalProducer};
use kafka_client::{Error, TopicPartition};
use tokio::time::Instant;
use tracing::debug;

pub(crate) use self::bounds::{Bounds, Way};
pub(crate) use self::inherit::Inheritance;
use super::commit::{CommitEvent, CommitHook, PartitionCommit, call_hook};
use super::shared::Safe;
use crate::config::{Cadence, ListenerSettings};
use crate::listener::Failure;
use crate::template::{Template, TemplateError, Tx};

/// How a failed record goes on where it failed first: its failure, the try that it was, and since when it fails.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) failure: Failure,
    pub(crate) attempt: u32,
    pub(crate) since: Instant,
}

/// What the transactions of all partitions of a listener have in common.
#[derive(Clone)]
pub(crate) struct Transactions {
    pub(crate) template: Template,
    pub(crate) hook: CommitHook,
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").finish_non_exhaustive()
    }
}

impl Transactions {
    /// Those of one partition of a member.
    pub(crate) fn of(
        &self,
        partition: TopicPartition,
        settings: &ListenerSettings,
        handle: ConsumerHandle,
    ) -> Option<Transact> {
        let group = settings.consumer.group.as_ref()?.group_id.clone();
        let every = match settings.cadence {
            Cadence::Every { time, .. } => time,
            Cadence::Record | Cadence::Batch => None,
        };
        Some(Transact {
            partition,
            name: format!("{group}.{}.{}", partition.topic, partition.partition),
            listener: settings.id.as_str().into(),
            group: group.into(),
            common: self.clone(),
            handle,
            producer: None,
            tx: None,
            bounds: Bounds::new(every),
            dead: None,
        })
    }
}

/// Why a transaction could not be begun or committed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may pass: the work is done again.
    Passing(String),
    /// It stays until somebody changes something: the partition stops.
    Lasting(String),
}

/// The transactions of one partition, one at a time.
pub(crate) struct Transact {
    partition: TopicPartition,
    name: String,
    listener: Arc<str>,
    group: Arc<str>,
    common: Transactions,
    pub(crate) handle: ConsumerHandle,
    producer: Option<TransactionalProducer>,
    tx: Option<Arc<Tx>>,
    pub(crate) bounds: Bounds<Tried>,
    /// Why there will be no more.
    dead: Option<String>,
}

impl fmt::Debug for Transact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bounds, .. } = self;
        f.debug_struct("Transact").field("name", name).field("bounds", bounds).finish_non_exhaustive()
    }
}

impl Transact {
    /// The open transaction, for as long as a record is in its handler's hands.
    pub(crate) fn tx(&self) -> Option<Arc<Tx>> {
        self.tx.clone()
    }

    /// Begins a transaction that takes records from `from` on, unless one is open.
    pub(crate) async fn begin(&mut self, from: i64) -> Result<(), Trouble> {
        if self.tx.is_some() {
            return Ok(());
        }
        let producer = self.ready().await?;
        let transaction = producer.begin().await.map_err(|error| self.trouble(&error))?;
        self.tx = Some(Arc::new(Tx::of(transaction, self.common.template.clone())));
        self.bounds.begun(from, Instant::now());
        Ok(())
    }

    /// The producer, which nobody else has; a transaction whose end was not known has ended.
    pub(crate) async fn ready(&mut self) -> Result<TransactionalProducer, Trouble> {
        let producer = match &self.producer {
            Some(producer) => producer.clone(),
            None => {
                let made = self.common.template.transactional_producer(&self.name);
                made.map_err(|error| match error {
                    TemplateError::NoTransactions { source } if source.is_retriable() => {
                        Trouble::Passing(source.to_string())
                    }
                    error => Trouble::Lasting(error.to_string()),
                })?
            }
        };
        let ready = match self.producer {
            Some(_) => producer.prepare().await,
            None => producer.prepare_for(&self.group).await,
        };
        ready.map_err(|error| self.trouble(&error))?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    /// What an error means; a producer that cannot go on is given up.
    fn trouble(&mut self, error: &TransactionError) -> Trouble {
        if error.remedy() == Remedy::NewProducer {
            self.producer = None;
        }
        match error {
            TransactionError::Fatal { .. } => Trouble::Lasting(error.to_string()),
            _ => Trouble::Passing(error.to_string()),
        }
    }

    /// Who the member is now; an error if it does not hold the partition any more.
    pub(crate) fn stamp(&self) -> Result<GroupMetadata, Trouble> {
        self.handle.group_metadata(&[self.partition]).map_err(|error| Trouble::Passing(error.to_string()))
    }

    /// Commits the open transaction with the offset `safe`; without one, the offset alone. After an error nothing of it
    /// is ever visible, unless its outcome is not known: the committed offset says then.
    pub(crate) async fn commit(&mut self, safe: &Safe, stamp: GroupMetadata) -> Result<(), Trouble> {
        self.begin(safe.offset).await?;
        let Some(tx) = self.tx.take().and_then(Arc::into_inner) else {
            return Err(Trouble::Passing("a handler kept its transaction".into()));
        };
        let transaction = tx.into_transaction();
        let offset =
            CommittedOffset { offset: safe.offset, leader_epoch: safe.leader_epoch, metadata: String::new() };
        let outcome = match transaction.send_offsets(vec![(self.partition, offset)], stamp).await {
            Ok(()) => transaction.commit().await,
            Err(error) => {
                // What it says of itself matters no more.
                let _ = transaction.abort().await;
                Err(error)
            }
        };
        self.tell(safe.offset, &outcome);
        match outcome {
            Ok(()) => {
                self.bounds.committed();
                Ok(())
            }
            Err(error) => Err(self.trouble(&error)),
        }
    }

    /// Aborts the open transaction, if there is one.
    pub(crate) async fn abort(&mut self) {
        let Some(tx) = self.tx.take().and_then(Arc::into_inner) else { return };
        if let Err(error) = tx.into_transaction().abort().await {
            debug!(listener = &*self.listener, partition = %self.partition, %error, "aborting");
            self.trouble(&error);
        }
    }

    fn tell(&self, offset: i64, outcome: &Result<(), TransactionError>) {
        let result = match outcome {
            Ok(()) => Ok(()),
            Err(
                TransactionError::Refused { source, .. } | TransactionError::OutcomeUnknown { source, .. },
            ) => Err(source.clone()),
            Err(error) => Err(Error::Config(error.to_string())),
        };
        debug!(listener = &*self.listener, partition = %self.partition, offset, ?result, "transaction ended");
        let (listener, group) = (Arc::clone(&self.listener), Arc::clone(&self.group));
        let partitions = vec![PartitionCommit { partition: self.partition, offset, result }];
        call_hook(&self.common.hook, &CommitEvent { listener, group, partitions });
    }

    /// There will be no more transactions.
    pub(crate) fn died(&mut self, cause: String) {
        self.dead.get_or_insert(cause);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Why there will be no more, for whoever stops the partition.
    pub(crate) fn death(&self) -> Option<&str> {
        self.dead.as_deref()
    }
}
