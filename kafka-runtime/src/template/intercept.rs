//! What is called before a record is sent, and when its result is known.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_client::producer::{Delivery, SendError};
use tokio::sync::mpsc;

use super::{Pending, Record, RecordMetadata};

/// Sees every record that the template sends, in its transactions too. Given with
/// [`App::interceptor`](crate::App::interceptor); several are called in the order in which they were given.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// struct Traced;
///
/// impl Interceptor for Traced {
///     fn before_send(&self, record: Record) -> Record {
///         record.header("trace", "t1")
///     }
/// }
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// Called by the sending task before the record is encoded: what it returns is sent. If it panics, that is logged, and
    /// the record is sent as it was before.
    fn before_send(&self, record: Record) -> Record {
        record
    }

    /// Called once for each record, after the last retry, with where it went or why it did not: whether or not somebody
    /// waits for it. It holds up other calls of its kind, not sending.
    fn after_send(&self, record: &Record, result: Result<&RecordMetadata, &SendError>) {
        let _ = (record, result);
    }
}

type Watched = Pin<Box<dyn Future<Output = (Record, Result<RecordMetadata, SendError>)> + Send>>;

/// The interceptors, and the task that tells them results.
#[derive(Default)]
pub(super) struct Interceptors {
    all: Vec<Arc<dyn Interceptor>>,
    watched: OnceLock<mpsc::UnboundedSender<Watched>>,
}

impl Interceptors {
    pub(super) fn new(all: Vec<Arc<dyn Interceptor>>) -> Self {
        Self { all, watched: OnceLock::new() }
    }

    /// What they make of a record. One that panics has made nothing of it, so each is given a copy.
    pub(super) fn before(&self, record: &mut Record) {
        for interceptor in &self.all {
            let given = record.clone();
            match catch_unwind(AssertUnwindSafe(|| interceptor.before_send(given))) {
                Ok(made) => *record = made,
                Err(_) => {
                    tracing::error!(topic = %record.topic(), "an interceptor panicked; the record is sent as it was");
                }
            }
        }
    }

    /// Tells them the result of a record that was enqueued, or not, and takes it. Without any nobody looks at it again.
    pub(super) fn after(
        &self,
        record: &mut Record,
        delivery: Result<Delivery, SendError>,
    ) -> super::Result<Pending> {
        if self.all.is_empty() {
            record.recycle();
        } else {
            self.watch(record.take(), delivery.as_ref());
        }
        Ok(Pending(delivery?))
    }

    fn watch(&self, record: Record, delivery: Result<&Delivery, &SendError>) {
        let delivery = match delivery {
            Ok(delivery) => delivery.clone(),
            Err(error) => return tell(&self.all, &record, Err(error)),
        };
        let watched = self.watched.get_or_init(|| {
            let (watched, inbox) = mpsc::unbounded_channel();
            // Sending is only possible inside of a runtime.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(run(inbox, self.all.clone()));
            }
            watched
        });
        // A runtime that has gone hears nothing any more.
        let _ = watched.send(Box::pin(async move { (record, delivery.await) }));
    }
}

async fn run(mut inbox: mpsc::UnboundedReceiver<Watched>, all: Vec<Arc<dyn Interceptor>>) {
    let mut open = FuturesUnordered::<Watched>::new();
    loop {
        tokio::select! {
            biased;
            Some((record, result)) = open.next() => tell(&all, &record, result.as_ref()),
            watched = inbox.recv() => match watched {
                Some(watched) => open.push(watched),
                None => break,
            },
        }
    }
    while let Some((record, result)) = open.next().await {
        tell(&all, &record, result.as_ref());
    }
}

fn tell(all: &[Arc<dyn Interceptor>], record: &Record, result: Result<&RecordMetadata, &SendError>) {
    for interceptor in all {
        if catch_unwind(AssertUnwindSafe(|| interceptor.after_send(record, result))).is_err() {
            tracing::error!(topic = %record.topic(), "an interceptor panicked; sending goes on");
        }
    }
}
