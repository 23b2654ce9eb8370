//! One value owns a partition: its stream, its order, what is in flight, its ledger.
//!
//! ```text
//!   stream ──▶ feed ──batch──▶ span ──▶ the handler's loop (drive) ──▶ lane: position, counts, commits
//!                                ▲                                      │
//!   not acknowledged, due again ─┘◀─────────────────────────────────────┘
//! ```

use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;

use futures_util::FutureExt;
use kafka_client::config::OffsetReset;
use kafka_client::consumer::{ChunkBatch, Start};
use kafka_client::group::Life;
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::ack::{AckDesk, AckIssuer};
use super::again::Again;
use super::commit::{Committer, sleep_until};
use super::feed::{Fed, Feed, Source};
use super::forward::Exit;
use super::lane::{End, Lane};
use super::parallel::Feeder;
use super::shared::{PartitionPhase, Shared, Signal};
use super::status::EventKind;
use super::transact::Transact;
use super::work::{ListenerWork, Span};
use crate::config::AckMode;

/// See the module.
struct Partition<S> {
    feed: Feed<S>,
    work: Arc<ListenerWork>,
    shared: Arc<Shared>,
    lane: Lane,
    committer: Option<Committer>,
    issuer: Option<Arc<AckIssuer>>,
    exit: Option<Exit>,
    again: Again,
}

/// What a member keeps of a partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionRemote {
    pub(crate) shared: Arc<Shared>,
    pub(crate) desk: Option<Arc<AckDesk>>,
}

/// How a partition's progress is kept.
pub(crate) struct Commits {
    /// Without a group, and in transactions, none.
    pub(crate) committer: Option<Committer>,
    /// Instead of it.
    pub(crate) transact: Option<Transact>,
}

/// Starts the loop of a partition that begins at `start`, which `shared` was made for.
pub(crate) fn begin(
    source: impl Source,
    start: &Start,
    shared: Arc<Shared>,
    work: Arc<ListenerWork>,
    commits: Commits,
    life: Life,
) -> (PartitionRemote, JoinHandle<()>) {
    let (owner, held) = (Arc::clone(&work), Arc::clone(&shared));
    match shared.desk().cloned() {
        // Transactions go in the partition's order: the configuration refuses the rest.
        Some(desk) => {
            let committer = commits.committer;
            let feeder = Feeder::new(source, start, (shared, desk), work, committer, life);
            let remote = PartitionRemote { shared: Arc::clone(&held), desk: None };
            (remote, tokio::spawn(visibly(owner, held, feeder.run())))
        }
        None => {
            let partition = Partition::new(source, start, shared, work, commits, life);
            (partition.remote(), tokio::spawn(visibly(owner, held, partition.work_off())))
        }
    }
}

/// Runs a partition's loop. A bug of this library stops the partition as visibly as a record does. (An `async fn` would
/// hold the loop twice: as it came, and as it is awaited.)
fn visibly(
    work: Arc<ListenerWork>,
    shared: Arc<Shared>,
    run: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    AssertUnwindSafe(run).catch_unwind().map(move |ended| {
        if ended.is_err() {
            let (listener, partition) = (work.id, shared.partition);
            error!(listener, %partition, "partition stopped: its loop panicked, which is a bug; its offset stays, other partitions go on");
            let cause = "its loop panicked, which is a bug".to_owned();
            shared.set_cause(Some(cause.clone()));
            shared.set_phase(PartitionPhase::Stopped);
            work.events.emit(listener, || EventKind::PartitionStopped { partition, cause });
        }
    })
}

impl<S: Source> Partition<S> {
    /// A partition that begins at `start`; [`Partition::work_off`] runs it.
    fn new(
        source: S,
        start: &Start,
        shared: Arc<Shared>,
        work: Arc<ListenerWork>,
        Commits { committer, transact }: Commits,
        life: Life,
    ) -> Self {
        let issuer = work.settles_late().then(|| {
            let immediate = committer.clone().filter(|_| work.settings.ack == AckMode::ManualImmediate);
            Arc::new(AckIssuer::new(AckDesk::new(Arc::clone(&shared), start.offset, immediate)))
        });
        let lane = Lane::new(Arc::clone(&work), Arc::clone(&shared), issuer.clone(), committer.clone(), life)
            .transacting(transact);
        let exit = work.onward.as_ref().map(|onward| Exit::new(onward, Arc::clone(&shared)));
        let (feed, again) = (Feed::new(source), Again::default());
        let mut this = Self { feed, work, shared, lane, committer, issuer, exit, again };
        this.commit_start(start);
        this
    }

    fn remote(&self) -> PartitionRemote {
        let desk = self.issuer.as_ref().map(|issuer| issuer.shared_desk());
        PartitionRemote { shared: Arc::clone(&self.shared), desk }
    }

    /// Runs until the partition is given away.
    async fn work_off(mut self) {
        loop {
            self.lane.between_batches().await;
            let fed = match self.feed.ready() {
                Some(fed) => fed,
                None => match self.wait().await {
                    Some(fed) => fed,
                    None => break,
                },
            };
            match self.take(fed).await {
                End::Done | End::Redeliver => {}
                End::Moved => self.feed.skip_chunk(),
                End::Leave => break,
                End::Stop => {
                    self.stop_reading().await;
                    break;
                }
            }
        }
        self.drain().await;
    }

    /// The queue is empty: commits what is due, then waits for records, signals, and deliveries that are due again.
    async fn wait(&mut self) -> Option<Fed> {
        self.lane.drained().await;
        loop {
            if self.lane.is_dead() {
                self.stop_reading().await;
                return None;
            }
            let (shared, desk) = (Arc::clone(&self.shared), self.issuer.clone());
            let look = || {
                let news = desk.as_ref().is_some_and(|issuer| issuer.desk().has_news());
                (news || shared.signal() > Signal::Run).then_some(())
            };
            let (again_at, due_at) = (self.lane.again_at, self.lane.transaction_due_at());
            tokio::select! {
                biased;
                () = shared.woken(look) => match shared.signal() {
                    Signal::Run => {}
                    // It is in the stream already.
                    Signal::Look if shared.is_outdated() => return Some(self.feed.next().await),
                    Signal::Look => self.lane.wait_while_paused().await,
                    Signal::Commit => self.lane.commit_as_asked().await,
                    Signal::Drain | Signal::Abort => return None,
                },
                () = sleep_until(again_at), if again_at.is_some() => {}
                () = sleep_until(due_at), if due_at.is_some() => {}
                fed = self.feed.next() => return Some(fed),
            }
            match self.deliver_again().await {
                End::Done | End::Redeliver => self.lane.acknowledged().await,
                End::Moved => {}
                End::Leave => return None,
                End::Stop => {
                    self.stop_reading().await;
                    return None;
                }
            }
        }
    }

    async fn take(&mut self, fed: Fed) -> End {
        match fed {
            Fed::Batch(batch) if self.work.bound.is_batch() => self.dispatch_many(batch).await,
            Fed::Batch(batch) => self.dispatch(slice::from_ref(&batch)).await,
            Fed::Passed { next, leader_epoch } => {
                self.passed(next, leader_epoch);
                End::Done
            }
            Fed::Moved(start) => {
                self.moved(&start);
                End::Done
            }
            Fed::Failed(cause) => {
                self.failed(&cause);
                End::Done
            }
            Fed::Unreadable { offset, cause } => self.lane.unreadable(offset, &cause),
            Fed::Ended => End::Leave,
        }
    }

    /// A batch listener takes what is queued, up to `max.poll.records`; a batch of the wire is not cut for that.
    async fn dispatch_many(&mut self, first: ChunkBatch) -> End {
        let most = self.work.settings.max_poll_records;
        let length = |batch: &ChunkBatch| usize::try_from(batch.batch().header().record_count).unwrap_or(1);
        let (mut batches, mut tail) = (vec![first], None);
        while batches.iter().map(length).sum::<usize>() < most {
            match self.feed.ready() {
                Some(Fed::Batch(batch)) => (_, tail) = (batches.push(batch), None),
                Some(Fed::Passed { next, leader_epoch }) => tail = Some((next, leader_epoch)),
                Some(other) => {
                    self.feed.put_back(other);
                    break;
                }
                None => break,
            }
        }
        let end = self.dispatch(&batches).await;
        if let (End::Done, Some((next, leader_epoch))) = (end, tail) {
            self.passed(next, leader_epoch);
        }
        end
    }

    /// There was nothing for a handler up to there.
    fn passed(&mut self, next: i64, leader_epoch: i32) {
        self.shared.raise_leader_epoch(leader_epoch);
        self.lane.pass_to(next);
    }

    async fn dispatch(&mut self, batches: &[ChunkBatch]) -> End {
        if let Some(last) = batches.last() {
            let header = last.batch().header();
            self.shared.set_timestamp(header.max_timestamp);
            self.shared.raise_leader_epoch(header.leader_epoch);
        }
        if let Some(issuer) = &self.issuer {
            self.again.forget(self.shared.safe().offset);
            issuer.desk().hold(batches);
        }
        self.shared.set_in_hand(batches);
        let end = loop {
            let end = self.drive(batches, self.shared.position(), None, 1).await;
            if end != End::Redeliver {
                break end;
            }
            match self.deliver_again().await {
                End::Done | End::Redeliver => {}
                end => break end,
            }
        };
        self.lane.release();
        if end != End::Stop {
            self.shared.set_in_hand(&[]);
        }
        end
    }

    async fn drive(&mut self, batches: &[ChunkBatch], from: i64, to: Option<i64>, attempt: u32) -> End {
        let Self { work, issuer, exit, lane, shared, .. } = self;
        let most = work.most_at_once();
        let span =
            Span { work, issuer: issuer.as_deref(), exit: exit.as_ref(), batches, from, to, attempt, most };
        tokio::select! {
            biased;
            end = work.bound.drive(span, lane) => return end,
            _ = shared.raised(Signal::Abort) => {}
        }
        // The handler in hand was dropped at its await point.
        lane.abandon();
        End::Leave
    }

    /// Hands out again what was not acknowledged, as far as it is due.
    async fn deliver_again(&mut self) -> End {
        let Some(issuer) = self.issuer.clone() else { return End::Done };
        if !self.again.judge(issuer.desk(), &mut self.lane).await {
            return End::Stop;
        }
        let reached = self.shared.position();
        self.lane.is_again = true;
        let mut end = End::Done;
        while end == End::Done
            && let Some(delivery) = self.again.next_due()
        {
            let batches = issuer.desk().batches(delivery.first, delivery.last);
            end = self.drive(&batches, delivery.first, Some(delivery.last), delivery.attempt).await;
            if end == End::Redeliver {
                // Another one has to be judged before it.
                self.again.put_back(delivery);
            }
        }
        self.lane.is_again = false;
        self.lane.back_to(reached);
        self.lane.again_at = self.again.due_at();
        end
    }

    fn moved(&mut self, start: &Start) {
        info!(listener = self.work.id, partition = %self.shared.partition, offset = start.offset, "the position moved");
        let (partition, offset) = (self.shared.partition, start.offset);
        self.work.events.emit(self.work.id, || EventKind::Moved { partition, offset });
        self.again = Again::default();
        self.lane.again_at = None;
        self.lane.restart(start.offset, start.epoch);
        self.commit_start(start);
    }

    /// A start that was chosen rather than committed is committed at once, or a crash before the first commit would
    /// choose again, further on.
    fn commit_start(&mut self, start: &Start) {
        let chosen = start.committed.as_ref().is_none_or(|committed| committed.offset != start.offset);
        let reset = self.work.settings.consumer.auto_offset_reset;
        if !chosen || reset == OffsetReset::Earliest {
            return;
        }
        self.lane.commit_soon();
        if let Some(committer) = &self.committer {
            committer.insist(&self.shared);
        }
    }

    fn failed(&mut self, cause: &kafka_client::Error) {
        let (listener, partition) = (self.work.id, self.shared.partition);
        error!(listener, %partition, %cause, "partition stopped: it cannot be read; other partitions go on");
        self.lane.rest_stopped(cause.to_string());
    }

    /// A stopped partition reads nothing more and keeps its offset until it is given away.
    async fn stop_reading(&mut self) {
        self.feed.end();
        self.lane.finish_transaction().await;
        loop {
            match self.shared.raised(Signal::Commit).await {
                Signal::Commit => self.lane.commit_as_asked().await,
                _ => return,
            }
        }
    }

    /// Acknowledgements that are on their way are waited for, as a handler in hand is: as long as the member lets it.
    async fn drain(&mut self) {
        self.lane.leave();
        self.lane.finish_transaction().await;
        let Some(issuer) = &self.issuer else { return };
        let look = || (self.shared.signal() == Signal::Abort || issuer.desk().is_clear()).then_some(());
        if self.shared.phase() != PartitionPhase::Stopped {
            self.shared.woken(look).await;
        }
        issuer.desk().close();
    }
}
