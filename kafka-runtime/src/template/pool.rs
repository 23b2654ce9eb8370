//! Producers of transactions: one for each transaction that is open at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{join, join_all};
use kafka_client::config::ProducerConfig;
use kafka_client::producer::{Producer, Remedy, Transaction, TransactionError, TransactionalProducer};
use tokio::sync::watch;
use tokio::time::timeout;

use super::ending::{Deadline, Left};
use super::{Result, TemplateError};

/// Producers that have no transaction now, and how many have one.
pub(super) struct Pool {
    /// That of the other sends: what is sent in transactions is counted with it.
    beside: Producer,
    config: ProducerConfig,
    prefix: String,
    shelf: Mutex<Shelf>,
    lent: watch::Sender<usize>,
}

#[derive(Default)]
struct Shelf {
    /// The one that was used last comes last: it may still be ending a transaction that was dropped.
    idle: VecDeque<TransactionalProducer>,
    /// Number of the next producer.
    next: u64,
    closed: bool,
}

/// A producer in use: given back however its use ends, unless it can do no more.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    producer: TransactionalProducer,
    usable: bool,
}

impl Pool {
    pub(super) fn new(beside: Producer, config: ProducerConfig, prefix: String) -> Self {
        Self { beside, config, prefix, shelf: Mutex::default(), lent: watch::Sender::new(0) }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A producer under the prefix and this name, for whoever asks.
    pub(super) fn producer(&self, name: &str) -> Result<TransactionalProducer> {
        let id = format!("{}{name}", self.prefix);
        let made = self.beside.transactional(self.config.clone(), &id);
        made.map_err(|source| TemplateError::NoTransactions { source })
    }

    /// A transaction of a producer that has no other, to be dropped before the lease.
    pub(super) async fn begin(&self) -> Result<(Lease<'_>, Transaction)> {
        let mut lease = self.lend()?;
        match lease.producer.begin().await {
            Ok(transaction) => Ok((lease, transaction)),
            Err(error) => {
                lease.heed(&error);
                Err(error.into())
            }
        }
    }

    fn lend(&self) -> Result<Lease<'_>> {
        let mut shelf = self.shelf();
        if shelf.closed {
            return Err(TemplateError::Closed);
        }
        let producer = match shelf.idle.pop_front() {
            Some(producer) => producer,
            None => {
                let producer = self.producer(&shelf.next.to_string())?;
                shelf.next += 1;
                producer
            }
        };
        self.lent.send_modify(|lent| *lent += 1);
        Ok(Lease { pool: self, producer, usable: true })
    }

    /// Lends no more, closes the producers that have no transaction and waits for the others: what is left at the deadline.
    pub(super) async fn close(&self, deadline: &Deadline) -> Result<Left> {
        self.shelf().closed = true;
        let mut lent = self.lent.subscribe();
        let all_back = timeout(deadline.left(), lent.wait_for(|lent| *lent == 0));
        let (idle, _) = join(self.close_idle(deadline), async { all_back.await.is_ok() }).await;
        let came_back = self.close_idle(deadline).await?;
        let open = Left { transactions: *self.lent.borrow(), ..Left::default() };
        Ok(idle?.and(came_back).and(open))
    }

    /// Closes those that have no transaction, once the last one of each has ended: work may have dropped it.
    async fn close_idle(&self, deadline: &Deadline) -> Result<Left> {
        let idle = std::mem::take(&mut self.shelf().idle);
        let closing = idle.iter().map(|producer| async move {
            let ended = timeout(deadline.left(), producer.ended()).await.is_ok();
            (ended, producer.close(deadline.left()).await)
        });
        let mut left = Left::default();
        for (ended, closed) in join_all(closing).await {
            left.transactions += usize::from(!ended);
            left.note(closed)?;
        }
        Ok(left)
    }
}

impl Lease<'_> {
    /// What an error means for the producer: a fenced one is somebody else's now, and goes.
    pub(super) fn heed(&mut self, error: &TransactionError) {
        self.usable &= error.remedy() != Remedy::NewProducer;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.usable {
            self.pool.shelf().idle.push_back(self.producer.clone());
        }
        self.pool.lent.send_modify(|lent| *lent -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pool() -> Pool {
        let config = kafka_client::config::ClientConfig {
            bootstrap_servers: vec!["127.0.0.1:1".into()],
            ..Default::default()
        };
        let client = kafka_client::Client::new(config).unwrap();
        let beside = client.producer(ProducerConfig::default()).unwrap();
        Pool::new(beside, ProducerConfig::default(), "p-".into())
    }

    #[test]
    fn a_producer_comes_back_unless_it_can_do_no_more() {
        let pool = pool();
        let ids = |leases: &[Lease<'_>]| -> Vec<String> {
            leases.iter().map(|lease| lease.producer.id().to_owned()).collect()
        };
        for _ in 0..3 {
            let leases = [pool.lend().unwrap(), pool.lend().unwrap()];
            let mut ids = ids(&leases);
            ids.sort();
            assert_eq!(ids, ["p-0", "p-1"]);
        }
        let mut dead = pool.lend().unwrap();
        let dead_id = dead.producer.id().to_owned();
        dead.heed(&TransactionError::Closed { id: dead_id.clone() });
        drop(dead);
        let leases = [pool.lend().unwrap(), pool.lend().unwrap()];
        assert!(!ids(&leases).contains(&dead_id) && ids(&leases).contains(&"p-2".to_owned()));
    }

    #[tokio::test]
    async fn a_closed_pool_lends_nothing_and_takes_nothing_back() {
        let pool = pool();
        let (one, two) = (pool.lend().unwrap(), pool.lend().unwrap());
        let left = pool.close(&Deadline::after(Duration::from_millis(10))).await.unwrap();
        assert_eq!((left.transactions, left.batches), (2, 0));
        assert!(matches!(pool.lend(), Err(TemplateError::Closed)));
        drop(one);
        // Waits for the other one.
        let deadline = Deadline::after(Duration::from_secs(60));
        let (closed, ()) = tokio::join!(pool.close(&deadline), async { drop(two) });
        assert_eq!(closed.unwrap().transactions, 0);
        assert!(pool.shelf().idle.is_empty());
    }
}
