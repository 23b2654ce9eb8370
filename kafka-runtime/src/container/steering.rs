//! What a member does when its operator wants something of it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{join, join_all};
use kafka_client::config::StartAt;
use kafka_client::consumer::ConsumerHandle;
use kafka_client::{Error, TopicName, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::give_back::{Exit, Held};
use super::member::Member;
use super::shared::PartitionPhase;

/// Which of a listener's partitions something is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// All that it holds.
    All,
    /// Those of one topic.
    Topic(TopicName),
    /// One.
    Partition(TopicPartition),
}

impl Selection {
    /// Whether this partition is meant.
    #[must_use]
    pub fn covers(self, partition: TopicPartition) -> bool {
        match self {
            Self::All => true,
            Self::Topic(topic) => partition.topic == topic,
            Self::Partition(one) => partition == one,
        }
    }
}

impl From<TopicPartition> for Selection {
    fn from(partition: TopicPartition) -> Self {
        Self::Partition(partition)
    }
}

impl From<&str> for Selection {
    fn from(topic: &str) -> Self {
        Self::Topic(topic.into())
    }
}

impl From<TopicName> for Selection {
    fn from(topic: TopicName) -> Self {
        Self::Topic(topic)
    }
}

/// What became of a seek, by partition.
pub(crate) type Sought = Vec<(TopicPartition, Result<(), Error>)>;

/// What a member is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// The listener's pauses have changed; said when they are in effect.
    Pauses(oneshot::Sender<()>),
    /// Partitions that have stopped begin again at the record that stopped them.
    Restart(Selection),
    Seek {
        which: Selection,
        to: StartAt,
        reply: oneshot::Sender<Sought>,
    },
}

impl Member {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Pauses(done) => {
                self.apply_pauses();
                // Whoever asked may not care any more.
                let _ = done.send(());
            }
            Order::Restart(which) => self.restart(which),
            Order::Seek { which, to, reply } => self.seek(which, to, reply),
        }
    }

    fn apply_pauses(&self) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, held) in &self.held {
            let shared = &held.remote.shared;
            match (self.board.pauses.cover(*partition), shared.is_paused()) {
                (true, false) => {
                    shared.pause();
                    pause.push(*partition);
                }
                (false, true) => {
                    shared.resume();
                    resume.push(*partition);
                }
                _ => {}
            }
        }
        self.handle.pause(&pause);
        self.handle.resume(&resume);
    }

    fn restart(&mut self, which: Selection) {
        for (partition, held) in self.take_stopped(which) {
            info!(listener = self.work.id, %partition, "begins again");
            let errand = self.errand(held);
            self.errands.spawn(async move {
                let listener = errand.exit.listener;
                if let Err(cause) = errand.begin_again(None).await {
                    warn!(listener, %partition, %cause, "it could not begin again");
                }
            });
        }
    }

    fn take_stopped(&mut self, which: Selection) -> HashMap<TopicPartition, Held> {
        let stopped = |partition: &TopicPartition, held: &mut Held| {
            which.covers(*partition) && held.remote.shared.phase() == PartitionPhase::Stopped
        };
        self.held.extract_if(stopped).collect()
    }

    fn errand(&self, held: Held) -> Errand {
        let deadline = Instant::now() + self.work.settings.commit_timeout;
        Errand { handle: self.handle.clone(), exit: self.exit.clone(), held, deadline }
    }

    fn seek(&mut self, which: Selection, to: StartAt, reply: oneshot::Sender<Sought>) {
        // The stream of a partition that has stopped is gone: it gets another.
        let stopped = self.take_stopped(which);
        let anew = stopped.into_iter().map(|(partition, held)| {
            let errand = self.errand(held);
            async move { (partition, errand.begin_again(Some(to)).await) }
        });
        let anew = join_all(anew);
        let others = self.held.iter().filter(|(partition, _)| which.covers(**partition));
        let others = join_all(others.map(|(partition, held)| {
            let (partition, shared, handle) =
                (*partition, Arc::clone(&held.remote.shared), self.handle.clone());
            async move {
                let sought = handle.seek(partition, to).await;
                (partition, sought.map(|epoch| shared.outdate(epoch)))
            }
        }));
        self.errands.spawn(async move {
            let (mut sought, others) = join(anew, others).await;
            sought.extend(others);
            // Whoever asked may not care any more.
            let _ = reply.send(sought);
        });
    }
}

/// A stopped partition that is to begin again.
struct Errand {
    handle: ConsumerHandle,
    exit: Exit,
    held: Held,
    deadline: Instant,
}

impl Errand {
    /// Commits what was settled, and begins again: there, or where it stopped.
    async fn begin_again(mut self, at: Option<StartAt>) -> Result<(), Error> {
        let shared = Arc::clone(&self.held.remote.shared);
        self.exit.release(std::slice::from_mut(&mut self.held), self.deadline).await;
        let offset = shared.safe().offset;
        // What was committed has more to say than its offset.
        let stopped_at = match (self.exit.transactional, self.exit.committer.is_some()) {
            // What is handled and not committed is no more.
            (true, _) if shared.committed() < 0 => StartAt::Offset(shared.start()),
            (true, _) => StartAt::Committed,
            (false, true) if shared.committed() == offset => StartAt::Committed,
            (false, _) => StartAt::Offset(offset),
        };
        self.handle.restart(shared.partition, at.unwrap_or(stopped_at)).await
    }
}
