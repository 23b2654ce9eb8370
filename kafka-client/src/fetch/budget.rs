//! The prefetch budget: how many bytes of answers may exist at once, over all brokers of a consumer.
//!
//! ```text
//! Seat::reserve ──▶ Reservation ──answer──▶ Block (the answer's memory) ──▶ Part, Part, .. (Bytes)
//!   credit taken     unused is given back     credit returns when the last part is dropped
//! ```
//!
//! A part is a view: while one of them lives, the whole answer stays in memory, and stays charged. That is free of
//! copies, and fine as long as all of an answer goes at about the same time. What a slow reader pins is *waste*:
//! memory that is charged although most of its parts are gone. The rule for copying is therefore about waste alone:
//!
//! - while less than a quarter of the budget is waste, nothing is ever copied (all readers keep pace: the usual case);
//! - above that, a part that is less than an eighth of its answer is copied out, so that it pins only itself.
//!
//! A reservation never takes more than its fair share of half the budget, so idle brokers, whose requests hold their
//! reservation for as long as the broker waits for data, leave the other half to those that have data.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Waste above `limit / WASTE` leads to copies.
const WASTE: usize = 4;
/// Parts below `answer / SMALL` are copied then.
const SMALL: usize = 8;

/// Bytes of a partition that are alive, in its queue or in its reader's hands.
pub(crate) type Usage = Arc<AtomicUsize>;

/// The budget of one consumer.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    counts: Mutex<Counts>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// Taken by requests under way.
    reserved: usize,
    /// Memory of answers that is still held.
    held: usize,
    /// The part of `held` that somebody can still see.
    live: usize,
    /// Loops that share it.
    seats: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), counts: Mutex::default(), freed: Notify::new() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more loop that fetches from this budget.
    pub(crate) fn seat(self: &Arc<Self>) -> Seat {
        let mut seat = Seat { budget: Arc::clone(self), taken: false };
        seat.take(true);
        seat
    }

    /// Resolves at the next return of credit. `enable` it before looking at what there is.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }

    /// What one partition of `among` may take when there is no credit left at all.
    pub(crate) fn emergency_share(&self, among: usize) -> usize {
        self.limit / among.max(1)
    }

    /// Bytes that are reserved or held.
    #[cfg(test)]
    pub(crate) fn charged(&self) -> usize {
        let counts = self.counts();
        counts.reserved + counts.held
    }

    fn block(self: &Arc<Self>, size: usize) -> Arc<Block> {
        let mut counts = self.counts();
        counts.held += size;
        counts.live += size;
        Arc::new(Block { budget: Arc::clone(self), size, live: AtomicUsize::new(size) })
    }
}

/// A fetch loop's place at the budget.
#[derive(Debug)]
pub(crate) struct Seat {
    budget: Arc<Budget>,
    taken: bool,
}

impl Seat {
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Whether the loop has anything to fetch: a share is kept for it only then.
    pub(crate) fn take(&mut self, taken: bool) {
        if self.taken == taken {
            return;
        }
        self.taken = taken;
        if taken {
            self.budget.counts().seats += 1;
        } else {
            self.budget.counts().seats -= 1;
            self.budget.freed.notify_waiters();
        }
    }

    /// Credit for an answer of up to `wish` bytes: that, or this loop's fair share, or what is left if that is a
    /// good part of it. `None` when the loop has to wait.
    pub(crate) fn reserve(&self, wish: usize) -> Option<Reservation> {
        let mut counts = self.budget.counts();
        let wish = wish.min(self.budget.limit / (2 * counts.seats.max(2))).max(1);
        let left = self.budget.limit.saturating_sub(counts.reserved + counts.held);
        // A request for a sliver costs as much as one for a lot.
        if left < wish.div_ceil(4) {
            return None;
        }
        let bytes = wish.min(left);
        counts.reserved += bytes;
        Some(Reservation { budget: Arc::clone(&self.budget), bytes })
    }

    /// For readers that have nothing at all: they may go on although there is no credit.
    pub(crate) fn overdraw(&self) -> Reservation {
        Reservation { budget: Arc::clone(&self.budget), bytes: 0 }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.take(false);
    }
}

/// Credit for an answer that is under way; comes back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer is here and its records take `size` bytes (more than was reserved when its first batch alone is
    /// larger).
    pub(crate) fn received(self, size: usize) -> Arc<Block> {
        self.budget.block(size)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.counts().reserved -= self.bytes;
        self.budget.freed.notify_waiters();
    }
}

/// The memory of one answer; charged until it is dropped.
#[derive(Debug)]
pub(crate) struct Block {
    budget: Arc<Budget>,
    size: usize,
    /// Bytes of it that somebody can still see, or will when it is split up.
    live: AtomicUsize,
}

impl Block {
    /// A partition's part of this answer, to be handed on: a view, or a copy by the rule above.
    pub(crate) fn part(self: &Arc<Self>, bytes: Bytes, usage: &Usage) -> Bytes {
        let (block, bytes) = if self.pins_too_much(bytes.len()) {
            self.unseen(bytes.len());
            (self.budget.block(bytes.len()), Bytes::copy_from_slice(&bytes))
        } else {
            (Arc::clone(self), bytes)
        };
        usage.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Part { bytes, usage: Arc::clone(usage), block })
    }

    /// Nobody sees these bytes of it any more.
    fn unseen(&self, bytes: usize) {
        self.live.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.counts().live -= bytes;
    }

    fn pins_too_much(&self, part: usize) -> bool {
        if part >= self.size / SMALL {
            return false;
        }
        let counts = self.budget.counts();
        counts.held - counts.live > self.budget.limit / WASTE
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut counts = self.budget.counts();
        counts.held -= self.size;
        // What was never handed out, because its reader had gone.
        counts.live -= self.live.load(Ordering::Relaxed);
        drop(counts);
        self.budget.freed.notify_waiters();
    }
}

/// The owner behind a partition's `Bytes`.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    usage: Usage,
    block: Arc<Block>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let size = self.bytes.len();
        self.block.unseen(size);
        if self.usage.fetch_sub(size, Ordering::Relaxed) == size {
            // The partition has nothing left: it may be fetched even without credit.
            self.block.budget.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn usage() -> Usage {
        Usage::default()
    }

    fn answer(seat: &Seat, size: usize) -> Arc<Block> {
        seat.reserve(size).unwrap().received(size)
    }

    /// Whether `part` lies in the memory of `whole`.
    fn is_view(part: &Bytes, whole: &Bytes) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn credit_returns_with_the_last_view() {
        let seat = Budget::new(LIMIT).seat();
        let bytes = Bytes::from(vec![7; LIMIT]);
        let block = answer(&seat, LIMIT / 4).budget.block(LIMIT);
        let part = block.part(bytes, &usage());
        drop(block);
        assert!(seat.reserve(1).is_none());
        let view = part.slice(10..20);
        drop(part);
        assert!(seat.reserve(1).is_none(), "a view of ten bytes pins all of it");
        drop(view);
        assert_eq!(seat.reserve(usize::MAX).map(|r| r.bytes()), Some(LIMIT / 4));
    }

    #[test]
    fn a_reservation_gives_back_what_the_answer_did_not_need() {
        let seat = Budget::new(LIMIT).seat();
        let one = seat.reserve(usize::MAX).unwrap();
        assert_eq!(one.bytes(), LIMIT / 4, "two readers' worth of half the budget");
        let _held = one.received(10);
        assert_eq!(seat.budget().counts().reserved, 0);
        assert_eq!(seat.budget().counts().held, 10);
    }

    #[test]
    fn idle_loops_leave_half_of_the_budget_to_the_busy_ones() {
        let budget = Budget::new(LIMIT);
        let seats: Vec<_> = (0..10).map(|_| budget.seat()).collect();
        let reserved: Vec<_> = seats.iter().map(|seat| seat.reserve(usize::MAX).unwrap()).collect();
        assert!(reserved.iter().map(Reservation::bytes).sum::<usize>() <= LIMIT / 2);
    }

    #[test]
    fn a_loop_without_partitions_has_no_share() {
        let budget = Budget::new(LIMIT);
        let mut seats: Vec<_> = (0..10).map(|_| budget.seat()).collect();
        let most = |seat: &Seat| seat.reserve(usize::MAX).unwrap().bytes();
        assert_eq!(most(&seats[0]), LIMIT / 20);
        for seat in &mut seats[1..] {
            seat.take(false);
            seat.take(false);
        }
        assert_eq!(most(&seats[0]), LIMIT / 4);
        seats[1].take(true);
        seats[2].take(true);
        assert_eq!(most(&seats[0]), LIMIT / 6);
        drop(seats);
        assert_eq!(budget.counts().seats, 0);
    }

    #[test]
    fn one_answer_larger_than_the_budget_passes_alone() {
        let seat = Budget::new(LIMIT).seat();
        let huge = seat.reserve(100).unwrap().received(10 * LIMIT);
        assert!(seat.reserve(1).is_none());
        drop(huge);
        assert!(seat.reserve(1).is_some());
    }

    #[test]
    fn a_small_part_is_copied_only_when_slow_readers_pin_too_much() {
        let seat = Budget::new(LIMIT).seat();
        let bytes = Bytes::from(vec![1; LIMIT / 4]);
        let split = |block: &Arc<Block>| {
            let (small, large) = (bytes.slice(..100), bytes.slice(100..));
            (block.part(small, &usage()), block.part(large, &usage()))
        };
        let mut slow = Vec::new();
        for _ in 0..2 {
            let (small, _large) = split(&answer(&seat, bytes.len()));
            assert!(is_view(&small, &bytes), "the usual case copies nothing");
            slow.push(small);
        }
        // Half of the budget is pinned by 200 bytes.
        let (small, large) = split(&answer(&seat, bytes.len()));
        assert!(!is_view(&small, &bytes));
        assert!(is_view(&large, &bytes), "most of an answer is never copied");
        drop(large);
        slow.push(small);
        assert_eq!(seat.budget().counts().held, 2 * bytes.len() + 100);
        assert_eq!(seat.budget().counts().live, 300);
        slow.clear();
        assert_eq!(seat.budget().counts().live, 0);
        let (small, _large) = split(&answer(&seat, bytes.len()));
        assert!(is_view(&small, &bytes));
    }

    #[tokio::test]
    async fn a_partition_with_nothing_left_wakes_those_who_wait() {
        let budget = Budget::new(LIMIT);
        let seat = budget.seat();
        let block = answer(&seat, 1000);
        let (one, other) = (usage(), usage());
        let part = block.part(Bytes::from(vec![1; 10]), &one);
        let _other = block.part(Bytes::from(vec![1; 990]), &other);
        let freed = budget.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        drop(part);
        freed.await;
        assert_eq!(one.load(Ordering::Relaxed), 0);
    }
}
