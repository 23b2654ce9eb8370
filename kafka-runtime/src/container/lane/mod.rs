//! One partition's dispatch: what stands between a record and its handler.
//!
//! The loop over a batch ([`super::drive`]) is generic per handler and knows only this. Per record a lane reads one
//! flag, counts one number down and stores the position; whatever else there is to look at (lease, cadence, permit,
//! fairness) is looked at in [`Lane::pause`], when the number is used up or a handler has waited.

mod commits;
mod failures;
mod leave;
mod transactions;

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_client::TopicPartition;
use kafka_client::group::Life;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

use super::ack::{AckDesk, AckIssuer};
use super::cadence::{Meter, Settled};
use super::commit::{Committer, sleep_until};
use super::flow::Pass;
use super::shared::{Counts, PartitionPhase, Shared, Signal};
use super::status::EventKind;
use super::transact::Transact;
use super::work::ListenerWork;

/// Records between two looks at the lease, while handlers return at once.
const LOOK_EVERY: u64 = 64;
/// Records between two chances for other tasks of the thread, while handlers return at once: between batches, and within
/// one. The first is better, since a batch that is open takes the room that it was unpacked into.
const YIELD_BETWEEN: u64 = 256;
const YIELD_WITHIN: u64 = 1_024;
/// Looks before a permit goes round.
const LOOKS_PER_TURN: u32 = 4;
/// How often a lease that has ended is looked at again, and a refused commit that dispatch waits for is repeated.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long dispatch waits at the bound for more to be settled, before it commits what little there is.
const MORE_TO_SETTLE: Duration = Duration::from_millis(100);

/// How the loop over a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All of it was dispatched.
    Done,
    /// Deliveries were not acknowledged and go first; then the rest of the batch.
    Redeliver,
    /// The position has jumped: the rest of what is in hand is not wanted.
    Moved,
    /// The partition is given away.
    Leave,
    /// The partition stops; the cause is told.
    Stop,
}

/// What the loop does with a record that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Again.
    Retry,
    /// Again, and the last try does not count.
    Again,
    /// Go on behind it.
    Skip,
    /// Leave it as it is.
    End(End),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) work: Arc<ListenerWork>,
    pub(crate) shared: Arc<Shared>,
    issuer: Option<Arc<AckIssuer>>,
    committer: Option<Committer>,
    /// Where records are handled in transactions: instead of a committer.
    transact: Option<Transact>,
    /// In which the work on the partition began.
    life: Life,
    meter: Meter,
    permit: Option<OwnedSemaphorePermit>,
    /// Records that may go before the next look, and how many were granted at the last.
    fuel: u64,
    granted: u64,
    /// What the last look let go, and what was taken beyond; and by whose leave.
    lent: u64,
    pass: Option<Pass>,
    /// What went with a probe's pass, where it is settled later than its handler returns.
    probing: Option<RangeInclusive<i64>>,
    /// Of those granted, done without their handler.
    unhandled: u64,
    since_yield: u64,
    looks: u32,
    /// What it shows while there is nothing to do.
    rest: PartitionPhase,
    /// When a delivery that was not acknowledged is due again.
    pub(crate) again_at: Option<Instant>,
    /// Whether such deliveries are being made: they wait for nobody's acknowledgement.
    pub(crate) is_again: bool,
}

impl Lane {
    pub(crate) fn new(
        work: Arc<ListenerWork>,
        shared: Arc<Shared>,
        issuer: Option<Arc<AckIssuer>>,
        committer: Option<Committer>,
        life: Life,
    ) -> Self {
        let meter = Meter::new(work.cadence(), work.settings.max_poll_records);
        Self {
            work,
            shared,
            issuer,
            committer,
            transact: None,
            life,
            meter,
            permit: None,
            fuel: 0,
            granted: 0,
            lent: 0,
            pass: None,
            probing: None,
            unhandled: 0,
            since_yield: 0,
            looks: 0,
            rest: PartitionPhase::Idle,
            again_at: None,
            is_again: false,
        }
    }

    pub(crate) fn partition(&self) -> TopicPartition {
        self.shared.partition
    }

    // Per record.

    /// Takes `records` that begin at `offset`, if nothing has to be looked at first: everything below `offset` is
    /// dispatched. After `false`, [`Lane::pause`] and take again.
    #[inline]
    pub(crate) fn take(&mut self, offset: i64, records: u64) -> bool {
        // A batch may be larger than the grant, where that is as it was given; one record never is.
        let is_short = records > self.fuel && self.fuel < self.granted;
        if self.fuel == 0 || is_short || self.shared.signal() != Signal::Run {
            return false;
        }
        let beyond = records.saturating_sub(self.fuel);
        self.granted += beyond;
        self.lent += beyond;
        self.fuel = self.fuel.saturating_sub(records);
        self.shared.set_position(offset);
        true
    }

    /// Notes the delivery of what was taken, where it is settled later than its handler returns.
    #[inline]
    pub(crate) fn deliver(&mut self, first: i64, last: i64) {
        if let Some(issuer) = &self.issuer {
            issuer.deliver(first, last);
            self.probing_if_probe(first, last);
        }
    }

    /// The handler of the `records` in hand waits (or they wait for their next try): what was finished before is shown
    /// now, and the next record looks at everything first.
    pub(crate) fn handler_waits(&mut self, records: u64) {
        let finished = (self.granted - self.fuel).saturating_sub(records);
        self.count(finished);
        self.repay();
        (self.granted, self.fuel) = (records, 0);
    }

    // Per look.

    /// How many of `records` may be handed over as one batch: where they are settled late, no more than the bound on
    /// repetition has room for, or who gathers several batches before any is acknowledged would wait for ever.
    pub(crate) fn cut(&self, records: usize) -> usize {
        let is_cut = self.issuer.is_some() && self.meter.bound().is_some() && !self.is_again;
        let room = usize::try_from(self.meter.allowance()).unwrap_or(usize::MAX);
        if is_cut { records.min(room.max(1)) } else { records }
    }

    /// How many have to have room for a batch of `records` to go: all of them, unless it may be cut.
    pub(crate) fn wish(&self, records: u64) -> u64 {
        if self.issuer.is_some() { 1 } else { records }
    }

    /// Looks at everything that may stand between the records from `offset` on and their handler, and waits for it:
    /// `wish` of them need room, none where they have been handed over already. `None`: go on, something may be taken.
    pub(crate) async fn pause(&mut self, offset: i64, wish: u64) -> Option<End> {
        self.settle(offset);
        self.repay();
        loop {
            if let Some(end) = self.clear().await {
                return Some(end);
            }
            if let Some(end) = self.wait_for_acknowledgements(wish).await {
                return Some(end);
            }
            if self.commit_if_due(false, wish).await
                && self.have_leave(LOOK_EVERY).await
                && self.have_permit().await
            {
                break;
            }
        }
        if let Some(end) = self.begin_transaction(offset).await {
            return Some(end);
        }
        self.refuel().await;
        None
    }

    /// Follows the signals and waits for the lease.
    async fn clear(&mut self) -> Option<End> {
        loop {
            if let Some(cause) = self.transact.as_ref().and_then(Transact::death).map(str::to_owned) {
                return Some(self.dead_end(cause));
            }
            match self.shared.signal() {
                Signal::Drain | Signal::Abort => return Some(End::Leave),
                // All that was held was lost since; the event of it is on its way.
                _ if self.life.is_over() => return Some(End::Leave),
                Signal::Commit => self.commit_as_asked().await,
                Signal::Look if self.shared.is_outdated() => return Some(End::Moved),
                Signal::Look => self.wait_while_paused().await,
                Signal::Run if self.life.holds() => return None,
                Signal::Run => self.wait_for_lease().await,
            }
        }
    }

    /// The batch is through: everything below `next` is dispatched or not for a handler.
    pub(crate) fn pass_to(&mut self, next: i64) {
        self.settle(next);
        if let Some(issuer) = &self.issuer {
            issuer.desk().pass_to(next);
        }
    }

    /// Deliveries were made again; the position is where it was before.
    pub(crate) fn back_to(&mut self, reached: i64) {
        self.settle(reached);
        self.release();
    }

    /// The handler in hand was dropped: what was taken is not finished.
    pub(crate) fn abandon(&mut self) {
        self.fuel = self.granted;
    }

    /// The partition is given away: what was finished is counted.
    pub(crate) fn leave(&mut self) {
        self.settle(self.shared.position());
        self.permit = None;
    }

    /// The queue is empty.
    pub(crate) async fn drained(&mut self) {
        self.permit = None;
        while !self.commit_if_due(true, 1).await && self.shared.signal() < Signal::Drain {}
        self.shared.set_phase(self.rest);
    }

    /// Records were acknowledged while the queue is empty.
    pub(crate) async fn acknowledged(&mut self) {
        self.count(0);
        self.drained().await;
    }

    /// It can be read no further; `Moved` may change that.
    pub(crate) fn rest_stopped(&mut self, cause: String) {
        self.rest = PartitionPhase::Stopped;
        self.shared.set_cause(Some(cause.clone()));
        self.shared.set_phase(self.rest);
        let (listener, partition) = (self.work.id, self.partition());
        self.work.events.emit(listener, || EventKind::PartitionStopped { partition, cause });
    }

    /// A batch is through: other partitions of the listener may run (see `concurrency`).
    pub(crate) fn release(&mut self) {
        self.permit = None;
        self.repay();
        self.granted -= self.fuel;
        self.since_yield = self.since_yield.saturating_sub(self.fuel);
        self.fuel = 0;
    }

    /// A new epoch of the position begins.
    pub(crate) fn restart(&mut self, offset: i64, epoch: u64) {
        self.settle(self.shared.position());
        self.shared.restart(offset, epoch);
        self.shared.set_cause(None);
        self.rest = PartitionPhase::Idle;
        self.shared.set_phase(self.rest);
        self.meter.restart();
        // A probe whose record is not wanted is another one's.
        (self.pass, self.probing) = (None, None);
        if let Some(transact) = &mut self.transact {
            transact.bounds.moved();
        }
        if let Some(issuer) = &self.issuer {
            issuer.desk().restart(offset);
        }
    }

    /// Everything below `offset` is dispatched, and so is what was taken.
    fn settle(&mut self, offset: i64) {
        self.shared.set_position(offset);
        let taken = self.granted - self.fuel;
        self.granted = self.fuel;
        self.count(taken);
    }

    fn count(&mut self, taken: u64) {
        let unhandled = self.unhandled.min(taken);
        self.unhandled -= unhandled;
        self.shared.add(Counts { handled: taken - unhandled, ..Counts::default() });
        let is_well = match &self.issuer {
            // The acknowledgement says so, not the handler's return.
            Some(issuer) => self.work.flow.is_some() && issuer.desk().take_acknowledged(),
            None => taken > unhandled,
        };
        if is_well {
            self.went_well();
        }
        let settled = match &self.issuer {
            Some(issuer) => issuer.desk().take_settled(),
            None => Settled { records: taken, safe: self.shared.safe().offset, ahead: 0, open: 0 },
        };
        self.meter.finished(&settled);
    }

    async fn refuel(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        self.yield_after(YIELD_WITHIN).await;
        // At least one: an allowance of none was waited for.
        let leave = self.pass.as_ref().map_or(LOOK_EVERY, Pass::left);
        let most = if self.to_itself().is_some() { 1 } else { LOOK_EVERY };
        self.granted = self.room().min(leave).clamp(1, most);
        self.fuel = self.granted;
        self.lent = self.granted;
        self.since_yield += self.granted;
        self.shared.set_phase(PartitionPhase::Running);
    }

    /// No batch is in hand: other tasks have their chance, if they had none for long.
    pub(crate) async fn between_batches(&mut self) {
        self.yield_after(YIELD_BETWEEN).await;
    }

    async fn yield_after(&mut self, records: u64) {
        if self.since_yield >= records {
            self.since_yield = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Until it goes on, or something stronger is asked for.
    pub(crate) async fn wait_while_paused(&mut self) {
        let shared = Arc::clone(&self.shared);
        let stays = || shared.signal() == Signal::Look && shared.is_paused() && !shared.is_outdated();
        if stays() {
            self.permit = None;
            self.commit_transaction().await;
        }
        if stays() {
            shared.set_phase(PartitionPhase::Paused);
            shared.woken(|| (!stays()).then_some(())).await;
            shared.set_phase(self.rest);
        }
        shared.looked();
    }

    async fn wait_for_lease(&mut self) {
        // A lease that has ended mostly means Lost, which will be said. It may also be renewed: the membership was
        // cut off for a while but not replaced; then the same records go on.
        self.waiting();
        let look_again = tokio::time::sleep(LOOK_AGAIN);
        tokio::select! {
            biased;
            _ = self.shared.raised(Signal::Drain) => {}
            () = look_again => {}
        }
    }

    /// Bounds how far deliveries run ahead of their acknowledgements; those that failed go first when they are due.
    /// Behind a probe nothing goes before it is settled.
    async fn wait_for_acknowledgements(&mut self, wish: u64) -> Option<End> {
        let issuer = self.issuer.clone().filter(|_| wish > 0)?;
        let desk = issuer.desk();
        let mut commit_at = None;
        loop {
            let is_probing = self.is_probing();
            if self.is_again && !is_probing {
                return None;
            }
            let again_at = self.again_at.filter(|_| !is_probing);
            // Before it is looked at, so that no commit falls in between.
            let committed = self.shared.committed();
            if desk.has_failures() || again_at.is_some_and(|at| at <= Instant::now()) {
                return Some(End::Redeliver);
            }
            if !is_probing && !self.is_far_ahead(desk, wish) {
                return None;
            }
            self.waiting();
            let shared = Arc::clone(&self.shared);
            let is_held = self.meter.is_held(wish);
            // Who holds the open ones may wait for more before any of them is settled.
            let is_behind = is_held && self.meter.is_behind();
            commit_at = is_behind.then(|| commit_at.unwrap_or_else(|| Instant::now() + MORE_TO_SETTLE));
            let each = is_probing || self.work.onward.is_some() || is_held;
            let look = || {
                let settled = if each { desk.has_news() } else { !desk.is_full() };
                let made_room = is_held && shared.committed() != committed;
                settled || made_room || shared.signal() > Signal::Run || desk.has_failures()
            };
            tokio::select! {
                biased;
                () = shared.woken(|| look().then_some(())) => {}
                () = sleep_until(again_at), if again_at.is_some() => {}
                () = sleep_until(commit_at), if is_behind => {
                    self.confirm().await;
                    commit_at = None;
                }
            }
            if let Some(end) = self.clear().await {
                return Some(end);
            }
        }
    }

    /// Whether no delivery may be made before an earlier one is settled.
    fn is_far_ahead(&mut self, desk: &AckDesk, wish: u64) -> bool {
        self.count(0);
        self.meter.confirmed(self.shared.committed());
        // What is settled by hand need not be settled soon; what is sent on keeps its order, through its tries too.
        let is_tried_again = self.work.onward.is_some() && self.again_at.is_some();
        desk.is_full() || self.meter.is_held(wish) || is_tried_again
    }

    /// How many more deliveries may be made before another look.
    fn room(&self) -> u64 {
        let allowance = self.meter.allowance();
        self.issuer.as_ref().map_or(allowance, |issuer| allowance.min(issuer.desk().room()))
    }

    async fn have_permit(&mut self) -> bool {
        let Some(permits) = self.work.permits.bound() else { return true };
        if self.permit.is_some() && !self.turn_is_over(&permits) {
            return true;
        }
        self.permit = None;
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            self.permit = Some(permit);
            return true;
        }
        self.shared.set_phase(PartitionPhase::Waiting);
        // A transaction does not wait along.
        let due = self.transaction_due_at();
        tokio::select! {
            biased;
            permit = permits.acquire_owned() => {
                self.permit = permit.ok();
                true
            }
            _ = self.shared.raised(Signal::Look) => false,
            () = sleep_until(due), if due.is_some() => false,
        }
    }

    /// A permit goes round: a long batch does not hold it against partitions that wait.
    fn turn_is_over(&self, permits: &Semaphore) -> bool {
        permits.available_permits() == 0 && self.looks.is_multiple_of(LOOKS_PER_TURN)
    }

    fn waiting(&mut self) {
        self.permit = None;
        self.shared.set_phase(PartitionPhase::Waiting);
    }
}
