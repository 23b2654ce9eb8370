//! The way out of a partition: revoked ones are drained and committed, lost ones are dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::consumer::Revocation;
use kafka_client::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::commit::{Committer, Tries};
use super::listed::Listed;
use super::partition::PartitionRemote;
use super::shared::Signal;
use super::status::Board;
use crate::config::{CommitStrategy, OnRevoke};

/// A partition with its running loop.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) remote: PartitionRemote,
    /// `None` once it is left to itself.
    task: Option<JoinHandle<()>>,
}

impl Held {
    pub(crate) fn new(remote: PartitionRemote, task: JoinHandle<()>) -> Self {
        Self { remote, task: Some(task) }
    }

    /// Ends the loop at its next await point; what it still does is of no consequence.
    fn abandon(&self) {
        self.remote.shared.raise(Signal::Abort);
        if let Some(desk) = self.remote.shared.desk() {
            desk.abort();
        }
        if let Some(task) = &self.task {
            task.abort();
        }
    }

    /// Refuses acknowledgements from now on.
    fn close(&self) {
        if let Some(desk) = &self.remote.desk {
            desk.close();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A member that is dropped takes its loops along.
        if self.task.is_some() {
            self.abandon();
        }
    }
}

/// Loops of partitions that are gone, whose handlers in hand may finish (`on-revoke: finish`). Nothing that they still do
/// is committed. Where a partition comes back, its next loop waits for them, so that they do not run side by side; it may go
/// away again before they end.
#[derive(Debug, Default)]
pub(crate) struct Lingering(Mutex<Vec<(TopicPartition, Ending)>>);

impl Lingering {
    fn add(&self, partition: TopicPartition, task: JoinHandle<()>) {
        self.with(|lingering| lingering.push((partition, Ending::of(task))));
    }

    /// The loops that a partition's next one has to wait for.
    pub(crate) fn of(&self, partition: TopicPartition) -> Vec<Ending> {
        self.with(|lingering| {
            let its = lingering.iter().filter(|(of, _)| *of == partition);
            its.map(|(_, ending)| ending.clone()).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<(TopicPartition, Ending)>) -> T) -> T {
        let mut lingering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lingering.retain(|(_, ending)| !ending.has_come());
        work(&mut lingering)
    }
}

/// The end of a task that runs on by itself, for all who wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    task: AbortHandle,
    end: watch::Receiver<()>,
}

impl Ending {
    pub(crate) fn of(task: JoinHandle<()>) -> Self {
        let (ends, end) = watch::channel(());
        let this = Self { task: task.abort_handle(), end };
        tokio::spawn(async move {
            // Well or not.
            let _ = task.await;
            drop(ends);
        });
        this
    }

    pub(crate) fn has_come(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) fn abort(&self) {
        self.task.abort();
    }

    pub(crate) async fn come(mut self) {
        while self.end.changed().await.is_ok() {}
    }
}

/// Why partitions are given back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaving {
    /// Another member gets them; handlers in hand have this long at most.
    HandOver { drain_timeout: Duration },
    /// The listener stops: handlers have as long as the deadline lets them, and what does not finish is left undone.
    Stop,
}

/// What the ways out need of their member.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    pub(crate) listener: &'static str,
    pub(crate) board: Arc<Board>,
    pub(crate) committer: Option<Committer>,
    pub(crate) why: Leaving,
    /// Whether commits are the loops' own.
    pub(crate) transactional: bool,
    pub(crate) on_revoke: OnRevoke,
    pub(crate) lingering: Arc<Lingering>,
}

impl Exit {
    /// Revoked: stop dispatching, let the handlers in hand finish, commit, let go. `deadline` bounds all of it.
    pub(crate) async fn give_back(self, mut held: Vec<Held>, revocation: Revocation, deadline: Instant) {
        let deadline = deadline.min(revocation.deadline);
        self.release(&mut held, deadline).await;
        let partitions = Listed::new(held.iter().map(|one| one.remote.shared.partition));
        info!(listener = self.listener, %partitions, "given back");
        // The group goes on from here.
        drop(revocation);
    }

    /// Stops dispatching, lets the handlers in hand finish, commits, lets go.
    pub(crate) async fn release(&self, held: &mut [Held], deadline: Instant) {
        for one in held.iter() {
            one.remote.shared.raise(Signal::Drain);
        }
        self.drain(held, deadline).await;
        for one in held.iter() {
            one.close();
        }
        self.commit(held, deadline).await;
        for one in held.iter() {
            self.forget(one);
        }
    }

    /// Lost: no further record is handed out, and nothing that was handled may be committed any more.
    pub(crate) fn lose(&self, mut held: Held) {
        self.cut_off(&mut held);
        held.close();
        self.forget(&held);
    }

    /// The end of what is in hand, or of our interest in it.
    fn cut_off(&self, held: &mut Held) {
        held.remote.shared.cut_off();
        match self.on_revoke {
            OnRevoke::Cancel => held.abandon(),
            OnRevoke::Finish => {
                held.remote.shared.raise(Signal::Drain);
                if let Some(task) = held.task.take() {
                    self.lingering.add(held.remote.shared.partition, task);
                }
            }
        }
    }

    async fn drain(&self, held: &mut [Held], deadline: Instant) {
        // The rest is for the commit.
        let most = most_of(deadline);
        let until = Instant::now()
            + match self.why {
                Leaving::HandOver { drain_timeout } => drain_timeout.min(most),
                Leaving::Stop => most,
            };
        for one in held {
            let shared = Arc::clone(&one.remote.shared);
            let Some(task) = &mut one.task else { continue };
            match timeout_at(until, task).await {
                Ok(Ok(())) => {}
                Ok(Err(ended)) => {
                    warn!(listener = self.listener, partition = %shared.partition, %ended, "the partition's loop did not end well");
                }
                Err(_) => {
                    let on_revoke = self.on_revoke;
                    warn!(
                        listener = self.listener, partition = %shared.partition, offset = shared.position(), ?on_revoke,
                        "a handler did not finish before its partition had to be given back: its record is handled again by the next owner"
                    );
                    // Elsewhere the next owner does it.
                    if matches!(self.why, Leaving::Stop) {
                        self.board.add_undone(&shared);
                    }
                    self.cut_off(one);
                }
            }
        }
    }

    async fn commit(&self, held: &[Held], deadline: Instant) {
        let Some(committer) = &self.committer else { return };
        let deadline = match self.why {
            Leaving::HandOver { .. } => deadline,
            // The rest is for the goodbye.
            Leaving::Stop => Instant::now() + most_of(deadline),
        };
        let tries = match committer.strategy() {
            CommitStrategy::Async => Tries::Once,
            CommitStrategy::Sync | CommitStrategy::Combined => Tries::Until(deadline),
        };
        // All are asked for before the first is waited for: they go in few requests.
        let behind = held.iter().map(|one| &one.remote.shared).filter(|shared| shared.is_behind());
        let asked: Vec<_> =
            behind.map(|shared| (shared.partition, committer.request(shared, tries))).collect();
        let mut open = Vec::new();
        for (partition, answer) in asked {
            let failure = match timeout_at(deadline, answer).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(_)) => "the committer has ended".into(),
                Err(_) => "no answer before the partition had to be given back".into(),
            };
            open.push((partition, failure));
        }
        if let Some((_, failure)) = open.first() {
            let partitions = Listed::new(open.iter().map(|(partition, _)| *partition));
            warn!(listener = self.listener, %partitions, failure, "given back without the last commit: records since then are handled again");
        }
    }

    fn forget(&self, held: &Held) {
        let shared = &held.remote.shared;
        if let Some(committer) = &self.committer {
            committer.forget(shared);
        }
        self.board.remove(shared);
        debug!(listener = self.listener, ?shared, "released");
    }
}

/// Three quarters of the time until then.
fn most_of(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) * 3 / 4
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_next_waits_for_what_lingers_however_often_it_comes_and_goes() {
        let (lingering, partition) = (Lingering::default(), TopicPartition::new("orders", 0));
        let (finish, finished) = oneshot::channel::<()>();
        lingering.add(partition, tokio::spawn(async move { drop(finished.await) }));
        lingering.add(partition, tokio::spawn(async {}));
        // The first one to wait is gone before it may begin.
        let waits = lingering.of(partition).into_iter().map(Ending::come);
        let waiting: Vec<_> = waits.map(|end| tokio::spawn(end)).collect();
        waiting.iter().for_each(JoinHandle::abort);
        tokio::task::yield_now().await;
        let left = lingering.of(partition);
        assert_eq!((left.len(), lingering.of(TopicPartition::new("orders", 1)).len()), (1, 0));
        let waiting = tokio::spawn(left[0].clone().come());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(finish);
        waiting.await.unwrap();
        assert!(lingering.of(partition).is_empty());
    }
}
