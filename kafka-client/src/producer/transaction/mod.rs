//! Transactions (KIP-98, KIP-360, KIP-447, KIP-890): records to many partitions, and the offsets of what they were made
//! from, that readers of committed records see all or not at all.
//!
//! ```text
//!   TransactionalProducer ── begin ──▶ Transaction ── enqueue ──▶ queues ──▶ sender ──▶ brokers
//!                                         │ send_offsets             admitted by ▲
//!                                         │ commit, abort                        │
//!                                         ▼                                      │
//!        coordinators ◀── requests ◀── coordination (I/O) ◀────────────────▶ machine (pure)
//! ```

mod coordination;
mod error;
mod machine;
mod requests;

#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::enqueue::Urgency;
use super::stats::Counters;
use super::{Delivery, Handle, Outgoing, ProducerStats, RecordMetadata, SendError};
use crate::client::ClientContext;
use crate::config::{Acks, ProducerConfig};
use crate::consumer::{GroupMetadata, Offsets};
use crate::error::{Error, Result};

pub use error::{Remedy, TransactionError};

pub(super) use coordination::Coordination;
pub(super) use machine::Protocol;

use machine::End;

/// A producer of transactions, one at a time. Its transactional id says who it is across restarts: when a second
/// producer with the same id is [prepared](Self::prepare), the first is fenced, and what it had not committed is
/// aborted. Clones share it.
///
/// ```no_run
/// # use kafka_client::producer::{Outgoing, TransactionError};
/// # async fn example(client: kafka_client::Client, record: Outgoing<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// let producer = client.transactional_producer(Default::default(), "billing-0")?;
/// let transaction = producer.begin().await?;
/// let sent = transaction.send(record).await?; // a failure here dooms the transaction: dropping it aborts it
/// transaction.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct TransactionalProducer {
    handle: Arc<Handle>,
    coordination: Arc<Coordination>,
}

impl TransactionalProducer {
    pub(crate) fn start(
        context: ClientContext,
        config: ProducerConfig,
        id: &str,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        if id.is_empty() {
            return Err(Error::Config("a transactional producer needs a transactional.id".into()));
        }
        let refused = [
            (!config.idempotence, "enable.idempotence must be true"),
            (config.acks != Acks::All, "acks must be all"),
            (config.retries == 0, "retries must be above 0"),
            (config.transaction_timeout.is_zero(), "transaction.timeout.ms must be above 0"),
        ];
        if let Some((_, why)) = refused.iter().find(|(refused, _)| *refused) {
            return Err(Error::Config(format!("transactional.id {id}: {why} in transactions")));
        }
        let coordination = Arc::new(Coordination::new(
            id.to_owned(),
            config.transaction_timeout,
            config.max_block,
            context.pool(),
        ));
        let handle = Handle::start(context, config, counters, Some(Arc::clone(&coordination)))?;
        Ok(Self { handle: Arc::new(handle), coordination })
    }

    /// The transactional id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.coordination.id()
    }

    /// What it has done so far, whether or not it was committed; see [`Producer::transactional`](super::Producer::transactional).
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        self.handle.shared.counters.read()
    }

    /// Gets its producer id and epoch, fences whoever had the transactional id before, and waits until what that one
    /// left open is aborted. [`begin`](Self::begin) does it too; early, it says early what is wrong.
    ///
    /// # Errors
    /// The coordinator cannot be reached within `max.block.ms`, or refuses.
    pub async fn prepare(&self) -> Result<(), TransactionError> {
        self.ready().await.map(|_| ())
    }

    /// As [`prepare`](Self::prepare), and makes sure that the group's coordinator can tell the members of `group` from
    /// those that were (KIP-447): without that, offsets of a member whose partitions are another's by now could be
    /// committed. For consume-transform-produce with the group's own assignment.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare); [`TransactionError::Fatal`] before Kafka 2.5.
    pub async fn prepare_for(&self, group: &str) -> Result<(), TransactionError> {
        self.prepare().await?;
        let (coordination, group) = (Arc::clone(&self.coordination), group.to_owned());
        let known =
            self.handle.context.on_io(async move { Ok(coordination.knows_members(&group).await) }).await;
        known.unwrap_or_else(|_| Err(TransactionError::Closed { id: self.id().to_owned() }))
    }

    async fn ready(&self) -> Result<Protocol, TransactionError> {
        let coordination = Arc::clone(&self.coordination);
        let ready = self.handle.context.on_io(async move { Ok(coordination.prepare().await) }).await;
        ready.unwrap_or_else(|_| Err(TransactionError::Closed { id: self.id().to_owned() }))
    }

    /// Begins a transaction, as soon as the one before has ended (one that was dropped is aborted first) and this
    /// producer is [prepared](Self::prepare). Nothing is told to the brokers before the first record.
    ///
    /// # Errors
    /// Another transaction is open; this producer cannot be prepared, or is fenced.
    pub async fn begin(&self) -> Result<Transaction, TransactionError> {
        let protocol = self.ready().await?;
        self.coordination.machine().begin(protocol)?;
        let Self { handle, coordination } = self.clone();
        Ok(Transaction { handle, coordination, ended: false })
    }

    /// Waits until no transaction is about to end: one that was dropped is aborted by then, or cannot be.
    pub async fn ended(&self) {
        self.coordination.idle().await;
    }

    /// Takes no more records, and ends. An open transaction is left to whoever holds it, who cannot commit it any more;
    /// the coordinator aborts it after `transaction.timeout.ms`, or when the transactional id is next used.
    ///
    /// # Errors
    /// Records were under way that had no outcome by the deadline.
    pub async fn close(&self, deadline: Duration) -> Result<(), SendError> {
        let clock = &self.handle.context.cluster.seams().clock;
        let began = clock.now();
        // Whoever ends a transaction may still do it.
        tokio::select! {
            biased;
            () = self.ended() => {}
            () = self.handle.context.sleep(deadline) => {}
        }
        let left = deadline.saturating_sub(clock.now().saturating_duration_since(began));
        self.handle.close(left).await.map_err(|error| match error {
            SendError::FlushTimeout { batches, .. } => SendError::FlushTimeout { batches, after: deadline },
            other => other,
        })
    }
}

/// An open transaction: committed or aborted by value; dropped without either, it is aborted. Either is done to its end,
/// even if every handle of the producer is dropped meanwhile.
///
/// A record that is not written dooms it: whatever is enqueued then fails with [`SendError::NoTransaction`], and
/// [`commit`](Self::commit) aborts and says why.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction {
    handle: Arc<Handle>,
    coordination: Arc<Coordination>,
    ended: bool,
}

impl Transaction {
    /// The transactional id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.coordination.id()
    }

    /// As [`Producer::enqueue`](super::Producer::enqueue), as part of the transaction.
    ///
    /// # Errors
    /// What can be said before it is sent. It is not part of the transaction then; the transaction itself is as before.
    pub async fn enqueue(&self, record: Outgoing<'_>) -> Result<Delivery, SendError> {
        match self.coordination.refusal(&record) {
            Some(error) => Err(error),
            None => self.handle.enqueue(&record, Urgency::Lingers).await,
        }
    }

    /// [`Transaction::enqueue`] for whoever waits for the delivery next, as
    /// [`Producer::enqueue_awaited`](super::Producer::enqueue_awaited).
    ///
    /// # Errors
    /// As [`Transaction::enqueue`].
    pub async fn enqueue_awaited(&self, record: Outgoing<'_>) -> Result<Delivery, SendError> {
        match self.coordination.refusal(&record) {
            Some(error) => Err(error),
            None => self.handle.enqueue(&record, Urgency::Awaited).await,
        }
    }

    /// [`Transaction::enqueue`], and waits until it is written. (The commit waits for all records in any case.)
    ///
    /// # Errors
    /// Why it was not; the transaction cannot be committed then, unless it was never enqueued.
    pub async fn send(&self, record: Outgoing<'_>) -> Result<RecordMetadata, SendError> {
        self.enqueue_awaited(record).await?.await
    }

    /// Makes a group's offsets part of the transaction: they are committed with it, or not at all. They are the next
    /// offsets to read. Whether the member still is one is checked by the broker (KIP-447; brokers before 2.5 do not,
    /// and need a transactional id per partition to fence the partition's former owner).
    ///
    /// # Errors
    /// The transaction cannot be committed any more.
    pub async fn send_offsets(&self, offsets: Offsets, group: GroupMetadata) -> Result<(), TransactionError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let coordination = Arc::clone(&self.coordination);
        let sent = self
            .handle
            .context
            .on_io(async move { Ok(coordination.send_offsets(&offsets, &group).await) })
            .await;
        sent.unwrap_or_else(|_| Err(TransactionError::Closed { id: self.id().to_owned() }))
    }

    /// Waits until all records are written, and commits. Dropping the future does not take it back.
    ///
    /// # Errors
    /// A record was not written, or something else was refused: then it is aborted, and the producer ready for the next.
    /// Or see [`TransactionError::remedy`].
    pub async fn commit(mut self) -> Result<(), TransactionError> {
        self.end(End::Commit).await
    }

    /// Aborts: records that were not sent yet are not, the others are never seen by readers of committed records.
    ///
    /// # Errors
    /// The producer is fenced, or cannot go on.
    pub async fn abort(mut self) -> Result<(), TransactionError> {
        self.end(End::Abort).await
    }

    async fn end(&mut self, wanted: End) -> Result<(), TransactionError> {
        self.ended = true;
        self.ending(wanted)
            .await
            .unwrap_or_else(|_| Err(TransactionError::Closed { id: self.id().to_owned() }))
    }

    /// The task that ends it; the next one to begin waits for it.
    fn ending(&self, wanted: End) -> tokio::task::JoinHandle<Result<(), TransactionError>> {
        // The handle goes with it: whoever drops the last one meanwhile does not end the sender under it.
        let (coordination, handle) = (Arc::clone(&self.coordination), Arc::clone(&self.handle));
        // At once, so that a begin right after this call waits for the end.
        coordination.leave();
        self.handle.context.io.spawn(async move { coordination.end(&handle.shared, wanted).await })
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.ending(End::Abort));
        }
    }
}
