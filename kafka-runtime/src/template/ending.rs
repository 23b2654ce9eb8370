//! `flush` and `close`: what waits gets through within one time limit, or it is said how much did not.

use std::time::Duration;

use futures_util::future::join;
use kafka_client::producer::SendError;
use tokio::time::Instant;

use super::{Result, Template, TemplateError};

impl Template {
    /// Waits until every record that was sent before this call has its result.
    ///
    /// # Errors
    /// One of them has none within `delivery.timeout.ms`: [`TemplateError::Unfinished`], or
    /// [`SendError::FlushTimeout`] where only batches are left. (That a record failed is said by its own result.)
    pub async fn flush(&self) -> Result<()> {
        let deadline = Deadline::after(self.0.delivery_timeout);
        let mut left = self.forwarded(&deadline).await;
        left.note(self.0.producer.flush(deadline.left()).await)?;
        left.told(deadline.limit)
    }

    /// Sends what waits and ends, for all clones; takes at most `spring.kafka.template.close-timeout`. No transaction begins
    /// any more, and those that are open are waited for. The application does it when it stops.
    ///
    /// # Errors
    /// Something was not delivered in that time, or a transaction is still open: as [`Template::flush`].
    pub async fn close(&self) -> Result<()> {
        let deadline = Deadline::after(self.0.close_timeout);
        let alone = async {
            let mut left = self.forwarded(&deadline).await;
            left.note(self.0.producer.close(deadline.left()).await)?;
            Ok::<_, TemplateError>(left)
        };
        let in_transactions = async {
            match &self.0.transactions {
                Some(pool) => pool.close(&deadline).await,
                None => Ok(Left::default()),
            }
        };
        let (alone, in_transactions) = join(alone, in_transactions).await;
        alone?.and(in_transactions?).told(deadline.limit)
    }

    /// Waits for what `send_async` took; what is in the producer by the deadline is told by that.
    async fn forwarded(&self, deadline: &Deadline) -> Left {
        let Some(forwarder) = self.0.forwarder.get() else { return Left::default() };
        match tokio::time::timeout(deadline.left(), forwarder.flush()).await {
            Ok(true) => Left::default(),
            Ok(false) | Err(_) => Left { records: forwarder.waiting(), ..Left::default() },
        }
    }
}

/// What was not through when the time was over.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Left {
    /// Records that did not get into the producer.
    pub(super) records: usize,
    pub(super) batches: usize,
    pub(super) transactions: usize,
}

impl Left {
    /// Takes in what a producer said of its end.
    pub(super) fn note(&mut self, ended: Result<(), SendError>) -> Result<(), SendError> {
        match ended {
            Err(SendError::FlushTimeout { batches, .. }) => self.batches += batches,
            ended => return ended,
        }
        Ok(())
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            batches: self.batches + other.batches,
            transactions: self.transactions + other.transactions,
        }
    }

    /// An error if there is something.
    fn told(self, after: Duration) -> Result<()> {
        match self {
            Self { records: 0, batches: 0, transactions: 0 } => Ok(()),
            Self { records: 0, batches, transactions: 0 } => {
                Err(SendError::FlushTimeout { batches, after }.into())
            }
            Self { records, batches, transactions } => {
                Err(TemplateError::Unfinished { records, batches, transactions, after })
            }
        }
    }
}

/// One time limit for several steps.
pub(super) struct Deadline {
    limit: Duration,
    began: Instant,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { limit, began: Instant::now() }
    }

    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }
}
