//! What all partitions of a listener share, and never change.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use kafka_client::TopicPartition;
use kafka_client::consumer::{ChunkBatch, Start};
use kafka_client::seams::Rng;

use super::ack::AckIssuer;
use super::batch_drive::drive_batches;
use super::drive::drive;
use super::flow::Flow;
use super::forward::{Exit, Onward};
use super::lane::{End, Lane};
use super::parallel::{self, Desk, Pool, Worker};
use super::permits::Permits;
use super::recovery::{Outlet, Recovery};
use super::shared::Shared;
use super::status::Events;
use super::transact::Transactions;
use crate::config::{AckMode, Cadence, CommitStrategy, ListenerSettings, Ordering};
use crate::listener::{BatchHandler, Handler, Preparation, Prepared};
use crate::template::Template;

/// A listener's handler and what it runs by.
#[derive(Debug)]
pub(crate) struct ListenerWork {
    /// Its id, which metadata carries around.
    pub(crate) id: &'static str,
    pub(crate) settings: ListenerSettings,
    pub(crate) bound: Bound,
    /// `concurrency`: handlers of this listener that run at once.
    pub(crate) permits: Permits,
    /// Those who run them, where records of a partition run side by side.
    pub(crate) pool: Arc<Pool>,
    /// What becomes of records that fail.
    pub(crate) recovery: Recovery,
    /// What all its records pass, where there is a limit or a circuit breaker.
    pub(crate) flow: Option<Arc<Flow>>,
    /// Where what its handler returns goes.
    pub(crate) onward: Option<Onward>,
    /// Where it tells what happens.
    pub(crate) events: Events,
    /// Where its records are handled in transactions.
    pub(crate) transactions: Option<Transactions>,
}

impl ListenerWork {
    pub(crate) fn new(
        id: &'static str,
        settings: ListenerSettings,
        bound: Bound,
        rng: Arc<Rng>,
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        let permits = Permits::new(settings.concurrency);
        let pool = Arc::new(Pool::new(settings.concurrency.unwrap_or(1)));
        let recovery = Recovery::new(id, &settings, rng, outlet);
        let flow = Flow::new(&settings);
        Self {
            id,
            settings,
            bound,
            permits,
            pool,
            recovery,
            flow,
            onward: None,
            events: Events::default(),
            transactions: None,
        }
    }

    /// The same, telling these subscribers.
    pub(crate) fn telling(self, events: Events) -> Self {
        let recovery = self.recovery.telling(events.clone());
        Self { recovery, events, ..self }
    }

    /// The same, sending on what its handler returns, if the settings say where to.
    pub(crate) fn forwarding(self, template: &Template) -> Self {
        let onward = self.settings.send_to.map(|to| Onward { to, template: template.clone() });
        Self { onward, ..self }
    }

    /// The same, handling its records in transactions.
    pub(crate) fn in_transactions(self, transactions: Transactions) -> Self {
        Self { transactions: Some(transactions), ..self }
    }

    /// What the loop of a partition that begins at `start` shares with its member.
    pub(crate) fn shared(&self, partition: TopicPartition, start: &Start) -> Shared {
        let committed = start.committed.as_ref().map_or(-1, |committed| committed.offset);
        let shared = Shared::new(partition, start.offset, start.epoch, committed, self.settles_late());
        match self.settings.ordering {
            Ordering::Partition => shared,
            Ordering::Key | Ordering::None => {
                let desk = Desk::new(start.offset, start.epoch, self.repeats(), self.settings.remember);
                shared.side_by_side(desk)
            }
        }
    }

    /// When its partitions are committed; without a group nothing is, and nothing waits for that.
    pub(crate) fn cadence(&self) -> Cadence {
        match self.settings.consumer.group {
            Some(_) => self.settings.cadence,
            None => Cadence::Every { records: None, time: None },
        }
    }

    /// The most records that one call of a batch handler gets: a crash repeats all of them.
    pub(crate) fn most_at_once(&self) -> usize {
        let bound =
            self.cadence().bound().map_or(usize::MAX, |bound| usize::try_from(bound).unwrap_or(usize::MAX));
        self.settings.max_poll_records.min(bound)
    }

    /// What a crash may repeat of a partition, where records run side by side and there is a bound.
    fn repeats(&self) -> Option<u64> {
        let ListenerSettings { commit, concurrency, .. } = &self.settings;
        match (self.cadence(), commit) {
            // Those in hand.
            (Cadence::Record, CommitStrategy::Sync) => {
                Some(u64::try_from(concurrency.unwrap_or(1)).unwrap_or(u64::MAX).max(1))
            }
            (cadence, _) => cadence.bound(),
        }
    }

    /// Changes `concurrency` while it runs: the most handlers at once, over all partitions and members of the listener.
    /// Handlers in hand finish; with fewer than before, no record is handed over until enough of them have, but to partitions that
    /// waited for their turn already.
    pub(crate) fn set_concurrency(self: &Arc<Self>, most: usize) {
        match self.settings.ordering {
            Ordering::Partition => self.permits.set_limit(most),
            Ordering::Key | Ordering::None => self.pool.set_limit(self, most),
        }
    }

    /// Whether records may be settled after their handler's return, where they are handed over one after the other.
    pub(crate) fn settles_late(&self) -> bool {
        self.by_hand() || (self.onward.is_some() && self.transactions.is_none())
    }

    /// Whether records are acknowledged by hand.
    pub(crate) fn by_hand(&self) -> bool {
        self.settings.ack != AckMode::Auto
    }
}

/// A piece of a partition for one call into the handler's loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(crate) work: &'a ListenerWork,
    pub(crate) issuer: Option<&'a AckIssuer>,
    /// Where what the handler returns goes.
    pub(crate) exit: Option<&'a Exit>,
    pub(crate) batches: &'a [ChunkBatch],
    /// Records from here on.
    pub(crate) from: i64,
    /// Records up to here, for a repetition; everything without, and what lies between is passed over.
    pub(crate) to: Option<i64>,
    /// 1 at the first try.
    pub(crate) attempt: u32,
    /// Records of one call at most, for batch handlers.
    pub(crate) most: usize,
}

/// The boxed future of one span.
type Driving<'a> = Pin<Box<dyn Future<Output = End> + Send + 'a>>;

/// The boxed future of one worker.
type Working<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What is dynamic about a handler: one call, one allocation per span.
trait Drive: Send + Sync {
    fn drive<'a>(&'a self, span: Span<'a>, lane: &'a mut Lane) -> Driving<'a>;

    fn work_off<'a>(&'a self, work: &'a Arc<ListenerWork>, worker: Worker) -> Working<'a>;
}

struct Single<H>(Prepared, PhantomData<fn() -> H>);
struct Batches<H>(Prepared, PhantomData<fn() -> H>);

impl<H: Handler> Drive for Single<H> {
    fn drive<'a>(&'a self, span: Span<'a>, lane: &'a mut Lane) -> Driving<'a> {
        Box::pin(drive::<H>(&self.0, span, lane))
    }

    fn work_off<'a>(&'a self, work: &'a Arc<ListenerWork>, worker: Worker) -> Working<'a> {
        Box::pin(parallel::work_off::<H>(&self.0, work, worker))
    }
}

impl<H: BatchHandler> Drive for Batches<H> {
    fn drive<'a>(&'a self, span: Span<'a>, lane: &'a mut Lane) -> Driving<'a> {
        Box::pin(drive_batches::<H>(&self.0, span, lane))
    }

    fn work_off<'a>(&'a self, _: &'a Arc<ListenerWork>, _: Worker) -> Working<'a> {
        // Batches take their records in the partition's order: the configuration refuses the rest.
        Box::pin(std::future::ready(()))
    }
}

/// A handler bound to its state, type-erased: one boxed future per batch.
pub struct Bound {
    drive: Box<dyn Drive>,
    batch: bool,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl Bound {
    /// Binds a record handler.
    #[must_use]
    pub fn single<H: Handler>(preparation: &mut Preparation<'_>) -> Self {
        #[cfg(feature = "testing")]
        if preparation.is_watched() {
            return Self::single_of::<crate::testing::Watched<H>>(preparation);
        }
        Self::single_of::<H>(preparation)
    }

    fn single_of<H: Handler>(preparation: &mut Preparation<'_>) -> Self {
        let prepared = H::prepare(preparation);
        Self { drive: Box::new(Single::<H>(prepared, PhantomData)), batch: false }
    }

    /// Binds a batch handler.
    #[must_use]
    pub fn batch<H: BatchHandler>(preparation: &mut Preparation<'_>) -> Self {
        #[cfg(feature = "testing")]
        if preparation.is_watched() {
            return Self::batch_of::<crate::testing::Watched<H>>(preparation);
        }
        Self::batch_of::<H>(preparation)
    }

    fn batch_of<H: BatchHandler>(preparation: &mut Preparation<'_>) -> Self {
        let prepared = H::prepare(preparation);
        Self { drive: Box::new(Batches::<H>(prepared, PhantomData)), batch: true }
    }

    /// Whether the handler takes batches.
    pub(crate) fn is_batch(&self) -> bool {
        self.batch
    }

    /// Drives the handler over a span.
    pub(crate) fn drive<'a>(&'a self, span: Span<'a>, lane: &'a mut Lane) -> Driving<'a> {
        self.drive.drive(span, lane)
    }

    /// Runs a worker until it is not needed any more.
    pub(crate) fn work_off<'a>(&'a self, work: &'a Arc<ListenerWork>, worker: Worker) -> Working<'a> {
        self.drive.work_off(work, worker)
    }
}
