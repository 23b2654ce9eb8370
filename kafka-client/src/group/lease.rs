//! Until when a member may believe that its partitions are its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::seams::{Clock, SystemClock};

/// What `until` is for a lease that never ends.
const FOREVER: u64 = u64::MAX;

/// Until when a lease lasts that holds `now` and whose coordinator's process was down `then`, if that is longer. Whoever coordinates next counts each member's session anew,
/// from when it has read the group's log; half a session is left for what others knew too late of it. Not beyond a second session
/// after the last acknowledgement: what is refused here may be there for others.
pub(super) fn lease_of_vacancy(
    now: Instant,
    then: Instant,
    lease: Option<Instant>,
    acknowledged: Option<Instant>,
    session: Duration,
) -> Option<Instant> {
    let lease = lease.filter(|lease| *lease > now)?;
    let until = (then + session / 2).min(acknowledged? + session * 2);
    (until > lease).then_some(until)
}

/// The moment until which this member may believe that its partitions are its own: the last acknowledged heartbeat
/// plus the session timeout. Read before each dispatch from any thread.
///
/// A lease that has expired can hold again later, when the member has joined the group again: for other partitions,
/// or the same ones with their positions read anew. Whoever could have slept through that asks its [`Life`] too.
#[derive(Debug)]
pub struct Lease {
    clock: Arc<dyn Clock>,
    base: Instant,
    /// Nanoseconds after `base`.
    until: AtomicU64,
    /// How often everything that the member held was lost.
    epoch: AtomicU64,
}

impl Lease {
    /// One that does not hold yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { base: clock.now(), clock, until: AtomicU64::new(0), epoch: AtomicU64::new(0) })
    }

    /// A lease that never ends, for partitions without a group.
    #[must_use]
    pub fn forever() -> Arc<Self> {
        let lease = Self::new(Arc::new(SystemClock));
        lease.until.store(FOREVER, Ordering::Relaxed);
        lease
    }

    /// Whether it still holds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self.until.load(Ordering::Acquire) {
            FOREVER => true,
            until => self.nanos(self.clock.now()) < until,
        }
    }

    /// The life of what the member holds now.
    #[must_use]
    pub fn life(self: &Arc<Self>) -> Life {
        Life { lease: Arc::clone(self), epoch: self.epoch() }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// It holds until then, or longer if it did already.
    pub(crate) fn extend(&self, until: Instant) {
        self.until.fetch_max(self.nanos(until), Ordering::Release);
    }

    /// It holds until then, also where that is shorter than before: the coordinator's session timeout became known.
    pub(crate) fn set(&self, until: Instant) {
        self.until.store(self.nanos(until), Ordering::Release);
    }

    /// All is lost: it does not hold any more, and a new epoch begins.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base).as_nanos();
        u64::try_from(since).unwrap_or(FOREVER).min(FOREVER - 1)
    }
}

/// From when a member gets partitions until all that it has is lost, whatever the lease says by then. It may have the same
/// again afterwards, in the same generation, read anew from what was committed until then: that is another life.
#[derive(Debug, Clone)]
pub struct Life {
    lease: Arc<Lease>,
    epoch: u64,
}

impl Life {
    /// Whether all was lost since it began.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lease.epoch() != self.epoch
    }

    /// Whether the member may believe now that what it got is its own.
    #[must_use]
    pub fn holds(&self) -> bool {
        // In this order: whoever sees a lease that holds again sees then that it ended before.
        self.lease.is_valid() && !self.is_over()
    }
}

impl PartialEq for Life {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lease, &other.lease) && self.epoch == other.epoch
    }
}

impl Eq for Life {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_holds_until_its_moment_and_never_shrinks() {
        let lease = Lease::new(Arc::new(SystemClock));
        assert!(!lease.is_valid(), "nothing was acknowledged yet");
        let start = Instant::now();
        lease.extend(start + Duration::from_secs(45));
        lease.extend(start + Duration::from_secs(40));
        tokio::time::advance(Duration::from_millis(44_999)).await;
        assert!(lease.is_valid());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!lease.is_valid());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_loss_it_holds_again_in_another_life() {
        let lease = Lease::new(Arc::new(SystemClock));
        lease.extend(Instant::now() + Duration::from_secs(45));
        let life = lease.life();
        assert!(life.holds() && life == lease.life());
        lease.end();
        assert!(!lease.is_valid() && life.is_over());
        lease.extend(Instant::now() + Duration::from_secs(1));
        let next = lease.life();
        assert!(lease.is_valid() && next.holds() && !life.holds());
        assert_ne!(life, next);
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_outlasts_a_lease_that_runs_out_and_is_renewed() {
        let lease = Lease::new(Arc::new(SystemClock));
        lease.extend(Instant::now() + Duration::from_secs(1));
        let life = lease.life();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!life.holds() && !life.is_over());
        lease.extend(Instant::now() + Duration::from_secs(1));
        assert!(life.holds());
    }

    #[test]
    fn forever_is_forever() {
        assert!(Lease::forever().is_valid());
    }
}
