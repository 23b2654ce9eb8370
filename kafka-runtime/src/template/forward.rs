//! The way of `send_async`: one task takes records in the order of the calls and calls back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_client::producer::{Producer, RecordMetadata, SendError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::intercept::Interceptors;
use super::{Pending, Record, Result};

/// What is called with the delivery's result.
pub(super) type Callback = Box<dyn FnOnce(Result<RecordMetadata>) + Send>;

enum Job {
    Send(Record, Callback),
    /// Everything before it has called back.
    Flush(oneshot::Sender<()>),
}

/// A handle to the forwarding task, which ends with it.
pub(super) struct Forwarder {
    jobs: mpsc::UnboundedSender<Job>,
    /// Bytes of records that wait for the producer's buffer.
    waiting: Arc<AtomicUsize>,
    limit: usize,
    interceptors: Arc<Interceptors>,
}

impl Forwarder {
    pub(super) fn start(
        runtime: &Handle,
        producer: Producer,
        interceptors: Arc<Interceptors>,
        limit: usize,
    ) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        runtime.spawn(run(inbox, producer, Arc::clone(&interceptors), Arc::clone(&waiting)));
        Self { jobs, waiting, limit, interceptors }
    }

    pub(super) fn forward(&self, record: Record, callback: Callback) {
        let size = record.size();
        if self.waiting.fetch_add(size, Ordering::AcqRel).saturating_add(size) > self.limit {
            self.waiting.fetch_sub(size, Ordering::AcqRel);
            let (unsent, limit) = (record.unsent(), self.limit);
            let full = SendError::BufferFull { record: unsent, limit, waited: Duration::ZERO };
            return self.refuse(record, full, callback);
        }
        if let Err(mpsc::error::SendError(Job::Send(record, callback))) =
            self.jobs.send(Job::Send(record, callback))
        {
            // Its runtime has gone.
            let closed = SendError::Closed { record: record.unsent(), doubtful: false };
            self.refuse(record, closed, callback);
        }
    }

    /// Tells everybody who is told of results that the record goes nowhere.
    fn refuse(&self, mut record: Record, why: SendError, callback: Callback) {
        if let Err(error) = self.interceptors.after(&mut record, Err(why)) {
            callback(Err(error));
        }
    }

    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).is_ok() {
            let _ = flushed.await;
        }
    }
}

async fn run(
    mut inbox: mpsc::UnboundedReceiver<Job>,
    producer: Producer,
    interceptors: Arc<Interceptors>,
    waiting: Arc<AtomicUsize>,
) {
    let mut deliveries = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = deliveries.next() => {}
            job = inbox.recv() => match job {
                Some(Job::Send(mut record, callback)) => {
                    let enqueued = {
                        let headers = record.header_views();
                        producer.enqueue(record.outgoing(&headers)).await
                    };
                    waiting.fetch_sub(record.size(), Ordering::AcqRel);
                    match interceptors.after(&mut record, enqueued) {
                        Ok(pending) => deliveries.push(tell(pending, callback)),
                        Err(error) => call(callback, Err(error)),
                    }
                }
                Some(Job::Flush(done)) => {
                    while deliveries.next().await.is_some() {}
                    let _ = done.send(());
                }
                None => break,
            },
        }
    }
    while deliveries.next().await.is_some() {}
}

async fn tell(pending: Pending, callback: Callback) {
    call(callback, pending.await);
}

fn call(callback: Callback, result: Result<RecordMetadata>) {
    if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
        error!("a send_async callback panicked; sending goes on");
    }
}
