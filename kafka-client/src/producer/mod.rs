//! A producer: records gather in a batch per partition, batches go out one request per broker, retried within the
//! delivery timeout, idempotent, in order.
//!
//! ```text
//!   enqueue ── partitioner ──▶ queue of the partition: open, ready, on the wire   (callers' threads)
//!                                   │ take               ▲ answered
//!                                   ▼                    │
//!   sender ── one request per broker ──▶ connection ── verdicts                  (I/O thread)
//!                                                        │
//!   Delivery ◀───────────── receipt, one per batch ◀─────┘
//! ```
//!
//! `queue` and `sequences` are pure; `sender` is the I/O around them. A [`TransactionalProducer`] is the same with
//! `transaction` beside it, which says what may be sent when.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::client::ClientContext;
use crate::config::{Acks, ProducerConfig};
use crate::error::{Error, Result};
use crate::ids::{TopicName, TopicPartition};
use crate::watch;

mod batch;
mod buffers;
mod enqueue;
mod error;
mod partitioner;
mod queue;
mod receipt;
mod request;
mod rules;
mod sender;
mod sequences;
mod stats;
mod topics;
mod transaction;
mod unsent;
mod verdict;

#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod tests;

pub use error::SendError;
pub use partitioner::{
    Choice, ChoosePartition, KeyHash, Keyless, OwnPartitioner, Partitioner, murmur2, partition_for_key,
};
pub use receipt::Delivery;
pub use stats::{ProducerStats, Timing};
pub use transaction::{Remedy, Transaction, TransactionError, TransactionalProducer};
pub use unsent::{ShownKey, Unsent};

use enqueue::{Shared, Urgency};
use rules::Rules;
use sender::{Command, Sender};
use stats::Counters;
use topics::Topics;
use transaction::Coordination;

/// How many batches of a partition a broker remembers to recognise repetitions.
const MOST_IN_FLIGHT: usize = 5;

/// A record on its way out, borrowed from whoever sends it: it is encoded into its batch before `send` first waits.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: TopicName,
    /// The partition, or the partitioner's choice.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, or now.
    pub timestamp: Option<i64>,
    /// Key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Topic and partition.
    pub partition: TopicPartition,
    /// Its offset; -1 with acks 0.
    pub offset: i64,
    /// Its timestamp: the record's own, or the broker's with LogAppendTime.
    pub timestamp: i64,
}

/// A producer; clones share it. Dropping the last one closes it without waiting: see [`Producer::close`].
#[derive(Debug, Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// What the clones share; dropping it ends the sender.
#[derive(Debug)]
struct Handle {
    context: ClientContext,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Producer {
    pub(crate) fn start(context: ClientContext, config: ProducerConfig) -> Result<Self> {
        Ok(Self { handle: Arc::new(Handle::start(context, config, Arc::default(), None)?) })
    }

    /// A producer of transactions whose work is counted with this one's: [`Producer::stats`] has both. Otherwise as
    /// [`Client::transactional_producer`](crate::Client::transactional_producer).
    ///
    /// # Errors
    /// A configuration that cannot work.
    pub fn transactional(
        &self,
        config: ProducerConfig,
        transactional_id: &str,
    ) -> Result<TransactionalProducer> {
        let Handle { context, shared, .. } = &*self.handle;
        let counters = Arc::clone(&shared.counters);
        TransactionalProducer::start(context.clone(), config, transactional_id, counters)
    }

    /// Waits for room and for the topic's metadata, puts the record into its batch, and returns the future of its
    /// delivery. Dropping that future does not take the record back.
    ///
    /// # Errors
    /// What can be said before it is sent.
    pub async fn enqueue(&self, record: Outgoing<'_>) -> Result<Delivery, SendError> {
        self.handle.enqueue(&record, Urgency::Lingers).await
    }

    /// [`Producer::enqueue`] for whoever waits for the delivery next: the record's batch does not linger while nothing of
    /// its partition is under way. What comes meanwhile gathers until the answer, so that many who wait still share
    /// batches.
    ///
    /// # Errors
    /// As [`Producer::enqueue`].
    pub async fn enqueue_awaited(&self, record: Outgoing<'_>) -> Result<Delivery, SendError> {
        self.handle.enqueue(&record, Urgency::Awaited).await
    }

    /// [`Producer::enqueue_awaited`], and waits for the delivery.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send(&self, record: Outgoing<'_>) -> Result<RecordMetadata, SendError> {
        self.enqueue_awaited(record).await?.await
    }

    /// Sends out what has gathered and waits until each record enqueued before has its result.
    ///
    /// # Errors
    /// The deadline passed before; nothing is taken back.
    pub async fn flush(&self, deadline: Duration) -> Result<(), SendError> {
        self.handle.flush(deadline).await
    }

    /// What it has done so far, and with it those that were made with [`Producer::transactional`].
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        self.handle.shared.counters.read()
    }

    /// Takes no more records, flushes, and ends. What is not delivered by the deadline fails with `Closed`.
    ///
    /// # Errors
    /// The deadline passed before everything was delivered.
    pub async fn close(&self, deadline: Duration) -> Result<(), SendError> {
        self.handle.close(deadline).await
    }
}

impl Handle {
    fn start(
        context: ClientContext,
        config: ProducerConfig,
        counters: Arc<Counters>,
        transaction: Option<Arc<Coordination>>,
    ) -> Result<Self> {
        let config = settle_idempotence(config)?;
        let rules = Rules::new(&config, context.cluster.config().retry_backoff);
        let rules = if transaction.is_some() { rules.transactional() } else { rules };
        let shared = Arc::new(Shared {
            topics: Topics::new(rules, &config),
            // What a caller waits for must fit.
            memory: Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS)),
            config,
            hurried: AtomicUsize::new(0),
            closing: watch::Sender::new(false),
            transaction,
            counters,
        });
        let (commands, inbox) = mpsc::unbounded_channel();
        context.io.spawn(Sender::new(Arc::clone(&shared), context.pool(), inbox).run());
        Ok(Self { context, shared, commands })
    }

    async fn close(&self, deadline: Duration) -> Result<(), SendError> {
        self.shared.closing.send_replace(true);
        // Whoever waits for memory is told.
        self.shared.memory.close();
        let flushed = self.flush(deadline).await;
        // It may have ended already.
        let _ = self.commands.send(Command::Stop);
        self.commands.closed().await;
        flushed
    }
}

/// Idempotence as far as the other settings let it be.
fn settle_idempotence(mut config: ProducerConfig) -> Result<ProducerConfig> {
    if config.max_in_flight == 0 {
        return Err(Error::Config("max.in.flight.requests.per.connection must be at least 1".into()));
    }
    if config.idempotence && (config.acks != Acks::All || config.retries == 0) {
        tracing::info!(acks = ?config.acks, retries = config.retries, "idempotence is off: it needs acks=all and retries");
        config.idempotence = false;
    }
    if config.idempotence && config.max_in_flight > MOST_IN_FLIGHT {
        return Err(Error::Config(format!(
            "max.in.flight.requests.per.connection is {}: at most {MOST_IN_FLIGHT} are possible with idempotence",
            config.max_in_flight
        )));
    }
    Ok(config)
}
