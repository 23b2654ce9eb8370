//! What a lane does about transactions; nothing where the listener has none.
//!
//! Three rules: a commit is made at a record's boundary, with the position as its offset; whatever was aborted takes the
//! position back to the committed offset before anything else is handed over (until then it is spoiled, and nothing of it
//! is committed); a partition that is not held any more commits nothing.

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use tracing::{error, warn};

use super::{End, LOOK_AGAIN, Lane};
use crate::container::cadence::Due;
use crate::container::shared::{PartitionPhase, Signal};
use crate::container::transact::{Transact, Tried, Trouble, Way};
use crate::template::Tx;

use kafka_client::Error;
use kafka_client::config::StartAt;

impl Lane {
    /// The same, handling its records in transactions.
    pub(crate) fn transacting(self, transact: Option<Transact>) -> Self {
        Self { transact, ..self }
    }

    /// The transaction that records are handled in now. To be let go of before the record's boundary.
    #[inline]
    pub(crate) fn tx(&self) -> Option<Arc<Tx>> {
        self.transact.as_ref()?.tx()
    }

    /// How the record at `offset` failed, where it comes again only because others had to be done before it.
    #[inline]
    pub(crate) fn failed_before(&mut self, offset: i64) -> Option<Tried> {
        self.transact.as_mut()?.bounds.take_failure(offset)
    }

    /// The record that has to begin a transaction, and so a batch.
    pub(crate) fn to_itself(&self) -> Option<i64> {
        self.transact.as_ref()?.bounds.to_itself()
    }

    /// The next boundary is a commit.
    pub(crate) fn commit_soon(&mut self) {
        if let Some(transact) = &mut self.transact {
            transact.bounds.soon();
            self.repay();
            self.granted -= self.fuel;
            self.fuel = 0;
        }
    }

    /// When the transaction is due, if nothing else ends it before.
    pub(crate) fn transaction_due_at(&self) -> Option<Instant> {
        self.transact.as_ref()?.bounds.due_at()
    }

    /// The record at `offset` failed, with `in_hand` records taken: what its transaction holds is aborted. Either the
    /// failure is at the front of a new one, or the position goes back.
    pub(crate) async fn roll_back(&mut self, offset: i64, tried: Tried, in_hand: u64) -> Result<Tried, End> {
        let Some(transact) = &mut self.transact else { return Ok(tried) };
        transact.abort().await;
        match transact.bounds.failed(offset, tried) {
            Way::InPlace(tried) => {
                self.handler_waits(in_hand);
                match self.begin_transaction(offset).await {
                    None => Ok(tried),
                    Some(end) => {
                        self.give_back(in_hand);
                        Err(end)
                    }
                }
            }
            Way::Back => {
                self.handler_waits(in_hand);
                self.give_back(in_hand);
                self.go_back(Duration::ZERO).await;
                Err(End::Moved)
            }
        }
    }

    /// What the transaction holds of the record in hand is not wanted.
    pub(super) async fn abort_transaction(&mut self) {
        if let Some(transact) = &mut self.transact {
            transact.abort().await;
            transact.bounds.aborted();
        }
    }

    /// Commits what is handled below `next`, and begins anew there, within a batch.
    pub(crate) async fn commit_before(&mut self, next: i64, in_hand: u64) -> Option<End> {
        self.transact.as_ref()?;
        self.commit_transaction().await;
        let end = self.begin_transaction(next).await;
        if end.is_some() {
            self.give_back(in_hand);
        }
        end
    }

    /// Sees to it that there is a transaction for the record at `offset`. `Some` ends the batch.
    pub(super) async fn begin_transaction(&mut self, offset: i64) -> Option<End> {
        self.transact.as_ref()?;
        Box::pin(self.until_begun(offset)).await
    }

    async fn until_begun(&mut self, offset: i64) -> Option<End> {
        loop {
            if let Some(end) = self.clear().await {
                return Some(end);
            }
            let shared = Arc::clone(&self.shared);
            let transact = self.transact.as_mut()?;
            let begun = tokio::select! {
                biased;
                begun = transact.begin(offset) => begun,
                _ = shared.raised(Signal::Drain) => continue,
            };
            let trouble = match begun {
                Ok(()) => return None,
                Err(trouble) => trouble,
            };
            if let Some(wait) = self.in_trouble(trouble) {
                self.rest_until_drained(wait).await;
            }
        }
    }

    /// Whether the transaction is due, and committed if so. `false`: look again at what stands against the next record.
    pub(super) async fn transaction_if_due(&mut self, drained: bool, wish: u64) -> bool {
        let Some(transact) = &self.transact else { return true };
        if transact.bounds.is_spoiled() {
            return true;
        }
        let next = self.shared.position();
        if self.meter.due(drained, wish) != Due::Nothing || transact.bounds.is_due(next, Instant::now()) {
            self.commit_transaction().await;
            return false;
        }
        if drained && !transact.bounds.is_open() && self.shared.is_behind() {
            // Records that are not for the handler are passed too, in their time.
            return self.begin_transaction(next).await.is_none() || self.shared.signal() > Signal::Run;
        }
        true
    }

    /// Commits everything that is handled; if that fails, the position goes back.
    pub(super) async fn commit_transaction(&mut self) {
        self.permit = None;
        if self.transact.is_some() {
            // Boxed: what most partitions never do takes no room in their loops.
            Box::pin(self.commit_or_go_back()).await;
        }
    }

    async fn commit_or_go_back(&mut self) {
        if let Some(wait) = self.try_to_commit().await {
            self.go_back(wait).await;
        }
    }

    /// The partition is given away, or read no further: what is handled is committed, if that may still be.
    pub(crate) async fn finish_transaction(&mut self) {
        if self.transact.is_some() {
            let _ = Box::pin(self.try_to_commit()).await;
        }
    }

    /// How long to wait before the position goes back, if it has to.
    async fn try_to_commit(&mut self) -> Option<Duration> {
        let transact = self.transact.as_mut()?;
        let safe = self.shared.safe();
        let idle = !transact.bounds.is_wanted(safe.offset) && !self.shared.is_behind();
        if transact.bounds.is_spoiled() || idle {
            transact.bounds.renewed(Instant::now());
            return None;
        }
        // The stamp before the look: who loses the partition afterwards is refused by it.
        let stamp = transact.stamp();
        let is_held = self.life.holds() && !self.shared.is_cut_off() && self.shared.signal() != Signal::Abort;
        let outcome = match stamp {
            Ok(stamp) if is_held => transact.commit(&safe, stamp).await,
            Ok(_) => Err(Trouble::Passing("the partition is not held any more".into())),
            Err(trouble) => Err(trouble),
        };
        match outcome {
            Ok(()) => {
                self.meter.asked();
                self.shared.set_committed(&safe);
                self.meter.confirmed(self.shared.committed());
                None
            }
            Err(trouble) => {
                transact.abort().await;
                // Without a wait it is known to be lasting, and told.
                Some(self.in_trouble(trouble).unwrap_or_default())
            }
        }
    }

    /// Tells of trouble: what is in hand is spoiled. How long to wait, unless it stays.
    fn in_trouble(&mut self, trouble: Trouble) -> Option<Duration> {
        let (listener, partition) = (self.work.id, self.partition());
        let unit = self.work.recovery.unit();
        let backoff = self.work.settings.client.retry_backoff;
        let transact = self.transact.as_mut()?;
        let wait = transact.bounds.lost(backoff, unit);
        match trouble {
            Trouble::Passing(cause) => {
                warn!(listener, %partition, ?wait, cause, "no transaction was committed: its records are handled again");
                Some(wait)
            }
            Trouble::Lasting(cause) => {
                transact.died(format!("{partition}: {cause}"));
                None
            }
        }
    }

    /// The position goes back to the committed offset, which the stream will say; not if the partition is given away.
    async fn go_back(&mut self, mut wait: Duration) {
        self.waiting();
        loop {
            self.rest_until_drained(wait).await;
            let shared = Arc::clone(&self.shared);
            let Some(transact) = self.transact.as_mut().filter(|transact| !transact.is_dead()) else {
                return;
            };
            if shared.signal() >= Signal::Drain {
                return;
            }
            // Whoever gets a producer ready while its partition is another's aborts the work of that one.
            if !self.life.holds() {
                wait = LOOK_AGAIN;
                continue;
            }
            let found = tokio::select! {
                biased;
                found = committed_again(transact, &shared) => found,
                _ = shared.raised(Signal::Drain) => return,
            };
            match found {
                Ok(epoch) => return shared.outdate(epoch),
                Err(trouble) => wait = self.in_trouble(trouble).unwrap_or_default(),
            }
        }
    }

    /// The partition stops: there will be no more transactions.
    pub(super) fn dead_end(&mut self, cause: String) -> End {
        if self.rest != PartitionPhase::Stopped {
            let (listener, partition) = (self.work.id, self.partition());
            error!(listener, %partition, cause, "partition stopped: its transactions cannot go on; its offset stays, other partitions go on");
            self.rest_stopped(cause);
        }
        End::Stop
    }

    /// Whether the partition has stopped because of its transactions.
    pub(crate) fn is_dead(&mut self) -> bool {
        let death = self.transact.as_ref().and_then(Transact::death).map(str::to_owned);
        death.map(|cause| self.dead_end(cause)).is_some()
    }

    async fn rest_until_drained(&self, wait: Duration) {
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait, self.shared.raised(Signal::Drain)).await;
        }
    }
}

/// Moves the position to where the last transaction that was committed left it. The position's new epoch.
async fn committed_again(
    transact: &mut Transact,
    shared: &crate::container::shared::Shared,
) -> Result<u64, Trouble> {
    // A transaction whose end nobody knows has one afterwards.
    transact.ready().await?;
    let passing = |error: Error| Trouble::Passing(error.to_string());
    match transact.handle.seek(shared.partition, StartAt::Committed).await {
        Err(Error::NoOffset { .. }) => {
            // Nothing was ever committed.
            let start = StartAt::Offset(shared.start());
            transact.handle.seek(shared.partition, start).await.map_err(passing)
        }
        sought => sought.map_err(passing),
    }
}
