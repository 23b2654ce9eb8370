//! What handlers return goes on: the record that it came from is done when that has arrived.
//!
//! ```text
//!   handler ──returned──▶ Outbox ──▶ the template's producer ──arrival──▶ Waiter ──▶ ledger: settled
//!      ▲ next record at once                                            └──▶ failed: the policy's
//! ```
//!
//! Nobody waits for an acknowledgement but the ledger: the handler of the next record is called as soon as there is room in the
//! producer. How far that runs ahead is bounded where deliveries are (the window of the ledger, or of open records).
//!
//! A send that failed, after all that the producer itself does about it, is a failed outcome of its source record: tried
//! again with its handler, then dead-lettered. The handler is run again since only it knows whether what it would send
//! is still right.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::ack::AckIssuer;
use super::shared::{Shared, Signal};
use crate::config::SendTo;
use crate::listener::{Failure, Fatal, HandlerError, Outbox, Returned};
use crate::template::{Pending, Record, SendError, Template, TemplateError, Tx};

/// Where a listener's returned values go, and through what.
#[derive(Debug, Clone)]
pub(crate) struct Onward {
    pub(crate) to: SendTo,
    pub(crate) template: Template,
}

impl Onward {
    /// Hands records over in their order, and waits for room only. They may have gone out in part when it fails.
    pub(crate) async fn send(&self, records: Vec<Record>) -> Result<Vec<Pending>, Failure> {
        let mut arrivals = Vec::with_capacity(records.len());
        for record in records {
            let pending = self.template.enqueue_awaited(record).await;
            arrivals.push(pending.map_err(|error| failure(error).into_failure())?);
        }
        Ok(arrivals)
    }
}

/// Makes them part of the transaction; what becomes of them shows in its commit.
async fn join(tx: &Tx, records: Vec<Record>) -> Result<(), Failure> {
    for record in records {
        drop(tx.enqueue_record(record).await.map_err(|error| failure(error).into_failure())?);
    }
    Ok(())
}

/// Waits for all of them; the first failure.
pub(crate) async fn arrived(arrivals: Vec<Pending>) -> Result<(), HandlerError> {
    let mut failed = None;
    for arrival in arrivals {
        failed = failed.or(arrival.await.err());
    }
    failed.map_or(Ok(()), |error| Err(failure(error)))
}

/// What is too large now is too large the next time, too.
fn failure(error: TemplateError) -> HandlerError {
    match &error {
        TemplateError::Send(SendError::TooLarge { .. }) => HandlerError::from(Fatal::new(error)),
        _ => HandlerError::from(error),
    }
}

/// One partition's way out, where its records go to their handler one after the other.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) outbox: Outbox,
    onward: Onward,
    waiter: Waiter,
    shared: Arc<Shared>,
}

impl Exit {
    pub(crate) fn new(onward: &Onward, shared: Arc<Shared>) -> Self {
        let (outbox, onward) = (Outbox::new(onward.to), onward.clone());
        Self { outbox, onward, waiter: Waiter::default(), shared }
    }

    /// Sends on what the handler has returned: in its transaction, whose commit waits for it; otherwise each record's
    /// delivery is settled when all that it led to has arrived, at once where that is nothing. An error names which of the
    /// records could not be handed over; those before it could.
    pub(crate) async fn send(
        &self,
        issuer: Option<&AckIssuer>,
        tx: Option<&Tx>,
    ) -> Result<(), (usize, Failure)> {
        for (index, returned) in self.outbox.take().into_iter().enumerate() {
            let sent = match (tx, issuer) {
                (Some(tx), _) => join(tx, returned.records).await,
                (None, Some(issuer)) => self.watched(issuer, returned).await,
                (None, None) => Ok(()),
            };
            sent.map_err(|failed| (index, failed))?;
        }
        Ok(())
    }

    /// Hands over what a record led to, and settles that record when it has arrived.
    async fn watched(&self, issuer: &AckIssuer, returned: Returned) -> Result<(), Failure> {
        issuer.desk().split(returned.offset);
        let arrivals = self.onward.send(returned.records).await?;
        let ack = issuer.issue(returned.offset);
        if arrivals.is_empty() {
            // Given away meanwhile: another member handles it again.
            let _ = ack.ack();
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.waiter.watch(async move {
            match arrived(arrivals).await {
                Ok(()) => _ = ack.ack(),
                Err(error) => {
                    ack.fail(error);
                    // No record goes before it any more.
                    shared.raise(Signal::Look);
                }
            }
        });
        Ok(())
    }

    /// The handler failed: nothing of it goes on.
    pub(crate) fn discard(&self) {
        drop(self.outbox.take());
    }
}

/// What waits for an arrival, and concludes.
type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that waits for arrivals, in whatever order they come. It begins with the first of them, so it costs nothing where
/// nothing is sent, or all of it in transactions; it ends when this is dropped and all have come.
#[derive(Debug, Default)]
pub(crate) struct Waiter(OnceLock<mpsc::UnboundedSender<Job>>);

impl Waiter {
    /// How many are under way is for the caller to bound.
    pub(crate) fn watch(&self, job: impl Future<Output = ()> + Send + 'static) {
        let task = self.0.get_or_init(|| {
            let (watched, inbox) = mpsc::unbounded_channel();
            tokio::spawn(wait_for_all(inbox));
            watched
        });
        // It ends later than this, or with the runtime.
        let _ = task.send(Box::pin(job));
    }
}

async fn wait_for_all(mut inbox: mpsc::UnboundedReceiver<Job>) {
    let mut open = FuturesUnordered::<Job>::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = open.next() => {}
            job = inbox.recv() => match job {
                Some(job) => open.push(job),
                None => break,
            },
        }
    }
    while open.next().await.is_some() {}
}
