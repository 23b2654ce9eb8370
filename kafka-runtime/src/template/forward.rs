//! The way of `send_async`: one task takes records in the order of the calls and calls back.
//!
//! ```text
//!   send_async ──▶ inbox ──▶ lines (one a topic) ──▶ Producer
//!                                                       │
//!   callback ◀── deliveries ◀───────────────────────────┘
//! ```

use std::collections::VecDeque;
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
use super::lines::{Enqueued, Lines, Way};
use super::{Pending, Record, Result};

/// What is called with the delivery's result.
pub(super) type Callback = Box<dyn FnOnce(Result<RecordMetadata>) + Send>;

enum Job {
    Send(Record, Callback),
    /// Everything before it has called back.
    Flush(oneshot::Sender<()>),
}

/// What waits for the producer.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    records: AtomicUsize,
}

impl Waiting {
    /// Counts a record in, if there is room for it.
    fn comes(&self, size: usize, limit: usize) -> bool {
        let fits = self.bytes.fetch_add(size, Ordering::AcqRel).saturating_add(size) <= limit;
        match fits {
            true => _ = self.records.fetch_add(1, Ordering::AcqRel),
            false => _ = self.bytes.fetch_sub(size, Ordering::AcqRel),
        }
        fits
    }

    fn goes(&self, size: usize) {
        self.bytes.fetch_sub(size, Ordering::AcqRel);
        self.records.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A handle to the forwarding task, which ends with it.
pub(super) struct Forwarder {
    jobs: mpsc::UnboundedSender<Job>,
    waiting: Arc<Waiting>,
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
        let waiting = Arc::<Waiting>::default();
        runtime.spawn(run(inbox, producer, Arc::clone(&interceptors), Arc::clone(&waiting)));
        Self { jobs, waiting, limit, interceptors }
    }

    pub(super) fn forward(&self, record: Record, callback: Callback) {
        let size = record.size();
        if !self.waiting.comes(size, self.limit) {
            let (unsent, limit) = (record.unsent(), self.limit);
            let full = SendError::BufferFull { record: unsent, limit, waited: Duration::ZERO };
            return self.refuse(record, full, callback);
        }
        if let Err(mpsc::error::SendError(Job::Send(record, callback))) =
            self.jobs.send(Job::Send(record, callback))
        {
            // Its runtime has gone.
            self.waiting.goes(size);
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

    /// Waits until everything that was forwarded before has called back; `false` when its runtime has gone.
    pub(super) async fn flush(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        self.jobs.send(Job::Flush(done)).is_ok() && flushed.await.is_ok()
    }

    /// How many records are not in the producer yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.records.load(Ordering::Acquire)
    }
}

async fn run(
    mut inbox: mpsc::UnboundedReceiver<Job>,
    producer: Producer,
    interceptors: Arc<Interceptors>,
    waiting: Arc<Waiting>,
) {
    let mut lines = Lines::new(Way::Alone(&producer));
    let mut deliveries = FuturesUnordered::new();
    let mut rounds = Rounds::default();
    let mut is_open = true;
    loop {
        let enqueued = tokio::select! {
            biased;
            Some(round) = deliveries.next() => {
                rounds.leave(round);
                continue;
            }
            Some(enqueued) = lines.next() => Some(enqueued),
            job = inbox.recv(), if is_open => match job {
                Some(Job::Send(record, callback)) => lines.offer(record, (callback, rounds.enter())),
                Some(Job::Flush(done)) => {
                    rounds.end(done);
                    None
                }
                None => {
                    is_open = false;
                    None
                }
            },
            else => return,
        };
        let Some(Enqueued { mut record, of: (callback, round), delivery }) = enqueued else { continue };
        waiting.goes(record.size());
        match interceptors.after(&mut record, delivery) {
            Ok(pending) => deliveries.push(tell(pending, callback, round)),
            Err(error) => {
                call(callback, Err(error));
                rounds.leave(round);
            }
        }
    }
}

async fn tell(pending: Pending, callback: Callback, round: usize) -> usize {
    call(callback, pending.await);
    round
}

fn call(callback: Callback, result: Result<RecordMetadata>) {
    if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
        error!("a send_async callback panicked; sending goes on");
    }
}

/// The records between one flush and the next, counted until they have called back: nothing waits for a flush.
#[derive(Default)]
struct Rounds {
    /// Number of the first that is not over.
    first: usize,
    /// How many records of each that a flush has ended are open, and who is told.
    ended: VecDeque<(usize, oneshot::Sender<()>)>,
    /// How many came after the last flush.
    open: usize,
}

impl Rounds {
    /// The round of a record that comes now.
    fn enter(&mut self) -> usize {
        self.open += 1;
        self.first + self.ended.len()
    }

    fn leave(&mut self, round: usize) {
        match self.ended.get_mut(round - self.first) {
            Some((open, _)) => *open -= 1,
            None => self.open -= 1,
        }
        self.tell();
    }

    fn end(&mut self, done: oneshot::Sender<()>) {
        self.ended.push_back((std::mem::take(&mut self.open), done));
        self.tell();
    }

    /// A flush is done when all before it is.
    fn tell(&mut self) {
        while self.ended.front().is_some_and(|(open, _)| *open == 0)
            && let Some((_, done)) = self.ended.pop_front()
        {
            self.first += 1;
            // Who flushed may not wait any more.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_is_done_when_all_before_it_is() {
        let mut rounds = Rounds::default();
        let flush = |rounds: &mut Rounds| {
            let (done, flushed) = oneshot::channel();
            rounds.end(done);
            flushed
        };
        assert!(flush(&mut rounds).try_recv().is_ok(), "nothing was sent");
        let (one, two) = (rounds.enter(), rounds.enter());
        let mut first = flush(&mut rounds);
        let three = rounds.enter();
        let mut second = flush(&mut rounds);
        let four = rounds.enter();
        rounds.leave(three);
        rounds.leave(one);
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        rounds.leave(two);
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        rounds.leave(four);
        assert!(flush(&mut rounds).try_recv().is_ok());
    }
}
