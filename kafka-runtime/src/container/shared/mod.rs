//! What a partition's loop shares with its member: where it is, and what it is asked to do.
//!
//! ```text
//!   loop ──position, counters──▶ Shared ──▶ committer (what to commit), monitor (stuck?), status
//!   loop ◀──signal, wake───────── Shared ◀── member (drain, abort), committer (stop for a commit)
//! ```
//!
//! Each partition has memory of its own for it (no cache line is shared with another partition's), and the loop
//! alone writes what is written per record. `signal`, `safe`, `counts`, `in_hand` and `troubles` are its parts.

mod counts;
mod in_hand;
mod safe;
mod signal;
mod troubles;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_client::consumer::ChunkBatch;
use kafka_client::{TopicName, TopicPartition};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::counts::Counters;
pub use self::counts::Counts;
use self::in_hand::{InHand, Wait};
pub(crate) use self::safe::{Progress, Safe};
pub use self::signal::PartitionPhase;
pub(crate) use self::signal::Signal;
use self::troubles::{Letters, OnItsWay};
pub use self::troubles::{Retrying, Writing};
use super::parallel::Desk;

/// See the module.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Shared {
    pub(crate) partition: TopicPartition,
    signal: AtomicU8,
    phase: AtomicU8,
    /// The offset in hand, or the next one: where nothing is acknowledged by hand, everything below it is settled.
    position: AtomicI64,
    /// The ledger's word, where records are acknowledged by hand.
    acknowledged: Option<AtomicI64>,
    /// What is open, where records run side by side: it has the word then.
    desk: Option<Arc<Desk>>,
    leader_epoch: AtomicI32,
    epoch: AtomicU64,
    /// Where the epoch began.
    start: AtomicI64,
    /// Where the first epoch began.
    origin: i64,
    committed: AtomicI64,
    /// Of the newest record of the batch in hand, as its producer or broker stamped it; -1 before the first.
    timestamp: AtomicI64,
    counters: Counters,
    /// Asks the committer to take this partition along, whatever the time.
    due: AtomicBool,
    /// The try that the record in hand is at.
    attempt: AtomicU32,
    paused: AtomicBool,
    /// Records of earlier epochs are not wanted any more.
    wanted_epoch: AtomicU64,
    /// The offset whose handler is stuck, and the one whose `Ack` is late; -1 for none.
    stuck: AtomicI64,
    unacknowledged: AtomicI64,
    letters: Letters,
    /// Left to itself: it commits nothing any more.
    cut_off: AtomicBool,
    wake: Notify,
    cause: Mutex<Option<String>>,
    in_hand: InHand,
}

impl Shared {
    /// A partition read from `offset`, in the position's epoch `epoch`. `committed` is -1 where nothing is.
    pub(crate) fn new(
        partition: TopicPartition,
        offset: i64,
        epoch: u64,
        committed: i64,
        by_hand: bool,
    ) -> Self {
        Self {
            partition,
            signal: AtomicU8::new(Signal::Run as u8),
            phase: AtomicU8::new(PartitionPhase::Idle as u8),
            position: AtomicI64::new(offset),
            acknowledged: by_hand.then(|| AtomicI64::new(offset)),
            desk: None,
            leader_epoch: AtomicI32::new(-1),
            epoch: AtomicU64::new(epoch),
            start: AtomicI64::new(offset),
            origin: offset,
            committed: AtomicI64::new(committed),
            timestamp: AtomicI64::new(-1),
            counters: Counters::default(),
            due: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            wanted_epoch: AtomicU64::new(epoch),
            stuck: AtomicI64::new(-1),
            unacknowledged: AtomicI64::new(-1),
            letters: Letters::default(),
            cut_off: AtomicBool::new(false),
            wake: Notify::new(),
            cause: Mutex::new(None),
            attempt: AtomicU32::new(1),
            in_hand: InHand::default(),
        }
    }

    /// The same for records that run side by side.
    pub(crate) fn side_by_side(self, desk: Desk) -> Self {
        Self { desk: Some(Arc::new(desk)), ..self }
    }

    pub(crate) fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.as_ref()
    }

    // What it is asked to do.

    /// Read before each record.
    #[inline]
    pub(crate) fn signal(&self) -> Signal {
        Signal::from_u8(self.signal.load(Ordering::Relaxed))
    }

    /// Asks for at least `signal`.
    pub(crate) fn raise(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        self.wake.notify_waiters();
    }

    /// The commit that was asked for is being made.
    pub(crate) fn commit_taken(&self) {
        // A stronger signal stays.
        self.lower(Signal::Commit);
    }

    /// What stood against the next record was looked at; it stays where it still holds.
    pub(crate) fn looked(&self) {
        self.lower(Signal::Look);
    }

    /// From `signal`, where it stands there, to what holds without it.
    fn lower(&self, signal: Signal) {
        let _ = self.signal.compare_exchange(
            signal as u8,
            Signal::Run as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        // Looked at afterwards, so that what came meanwhile is not lost.
        if self.is_paused() || self.is_outdated() {
            self.raise(Signal::Look);
        }
    }

    /// What it still does comes to nothing: the partition may be another's by now.
    pub(crate) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Release);
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Hands out no further records; the one in hand is finished.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::Release);
        if let Some(desk) = &self.desk {
            desk.set_paused(true);
        }
        self.raise(Signal::Look);
    }

    /// Goes on after [`Shared::pause`].
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::Release);
        if let Some(desk) = &self.desk {
            desk.set_paused(false);
        }
        self.lower(Signal::Look);
        self.wake();
    }

    /// The position has jumped: the stream says where to, and what is in hand of earlier epochs is not wanted any more.
    pub(crate) fn outdate(&self, epoch: u64) {
        self.wanted_epoch.fetch_max(epoch, Ordering::AcqRel);
        if self.is_outdated() {
            self.raise(Signal::Look);
        }
    }

    /// Whether the loop has to catch up with a jump of the position.
    pub(crate) fn is_outdated(&self) -> bool {
        self.wanted_epoch.load(Ordering::Acquire) > self.epoch.load(Ordering::Acquire)
    }

    /// Whether it was told to pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Waits for at least `signal`.
    pub(crate) async fn raised(&self, signal: Signal) -> Signal {
        self.woken(|| Some(self.signal()).filter(|now| *now >= signal)).await
    }

    /// Waits until `ready` has something, looking whenever it is woken.
    pub(crate) async fn woken<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut notified = pin!(self.wake.notified());
            notified.as_mut().enable();
            if let Some(found) = ready() {
                return found;
            }
            notified.await;
        }
    }

    /// Lets the loop look again.
    pub(crate) fn wake(&self) {
        self.wake.notify_waiters();
    }

    // Where it is.

    #[inline]
    pub(crate) fn set_position(&self, offset: i64) {
        // Release: whoever commits this offset sees what the handlers below it did.
        self.position.store(offset, Ordering::Release);
    }

    pub(crate) fn position(&self) -> i64 {
        match &self.desk {
            None => self.position.load(Ordering::Acquire),
            Some(desk) => desk.position(),
        }
    }

    /// The ledger's word; the position where there is none.
    pub(crate) fn acknowledged_to(&self, offset: i64) {
        if let Some(acknowledged) = &self.acknowledged {
            acknowledged.store(offset, Ordering::Release);
        }
    }

    /// Records of this leader's are handed over from now on. Said before any of them is: an offset that is committed with an
    /// epoch that had ended before it looks, to its next reader, as if the log had been cut off there.
    pub(crate) fn raise_leader_epoch(&self, epoch: i32) {
        self.leader_epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// What may be committed now.
    pub(crate) fn safe(&self) -> Safe {
        if let Some(desk) = &self.desk {
            return desk.safe();
        }
        // The epoch first: a new one is stored after its offset, so that an old offset never goes with it.
        let epoch = self.epoch.load(Ordering::Acquire);
        let offset = self.acknowledged.as_ref().unwrap_or(&self.position).load(Ordering::Acquire);
        Safe { epoch, offset, leader_epoch: self.leader_epoch.load(Ordering::Acquire), covered: 0 }
    }

    /// What may be committed now, with its metadata.
    pub(crate) fn to_commit(&self) -> (Safe, String) {
        match &self.desk {
            None => (self.safe(), String::new()),
            Some(desk) => desk.to_commit(),
        }
    }

    /// The broker refused metadata of this length.
    pub(crate) fn metadata_refused(&self, length: usize) {
        if let Some(desk) = &self.desk {
            desk.metadata_refused(length);
        }
    }

    /// A new epoch of the position.
    pub(crate) fn restart(&self, offset: i64, epoch: u64) {
        self.leader_epoch.store(-1, Ordering::Release);
        self.start.store(offset, Ordering::Release);
        self.acknowledged_to(offset);
        self.set_position(offset);
        if let Some(desk) = &self.desk {
            desk.restart(offset, epoch);
        }
        self.epoch.store(epoch, Ordering::Release);
        self.lower(Signal::Look);
    }

    /// Where the epoch began.
    pub(crate) fn start(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// Whether something was handled that is not confirmed.
    pub(crate) fn is_behind(&self) -> bool {
        self.has_moved(self.safe().offset) || self.desk.as_ref().is_some_and(|desk| desk.is_behind())
    }

    /// Whether this is another offset than the one at which the next owner would begin as it is; it is that also when a seek,
    /// and no record, led there.
    pub(crate) fn has_moved(&self, offset: i64) -> bool {
        match self.committed() {
            committed @ 0.. => offset != committed,
            _ => offset != self.origin,
        }
    }

    pub(crate) fn set_committed(&self, sent: &Safe) {
        if let Some(desk) = &self.desk {
            desk.confirm(sent);
        }
        self.committed.store(sent.offset, Ordering::Release);
        self.wake();
    }

    /// The last offset that was confirmed; -1 before the first.
    pub(crate) fn committed(&self) -> i64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Asks for a commit at the committer's next look.
    pub(crate) fn set_due(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// Whether a commit was asked for since the last look.
    pub(crate) fn take_due(&self) -> bool {
        // Mostly it is not: look before writing.
        self.due.load(Ordering::Acquire) && self.due.swap(false, Ordering::AcqRel)
    }

    // What it shows.

    pub(crate) fn set_phase(&self, phase: PartitionPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> PartitionPhase {
        PartitionPhase::from_u8(self.phase.load(Ordering::Relaxed))
    }

    /// Once per batch.
    pub(crate) fn set_timestamp(&self, millis: i64) {
        self.timestamp.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn timestamp(&self) -> Option<i64> {
        Some(self.timestamp.load(Ordering::Relaxed)).filter(|millis| *millis >= 0)
    }

    /// The handler of this offset is stuck, or none is.
    pub(crate) fn set_stuck(&self, offset: Option<i64>) {
        self.stuck.store(offset.unwrap_or(-1), Ordering::Relaxed);
    }

    pub(crate) fn stuck(&self) -> Option<i64> {
        Some(self.stuck.load(Ordering::Relaxed)).filter(|offset| *offset >= 0)
    }

    /// This offset is not acknowledged for longer than `max-poll-interval`, or none is.
    pub(crate) fn set_unacknowledged(&self, offset: Option<i64>) {
        self.unacknowledged.store(offset.unwrap_or(-1), Ordering::Relaxed);
    }

    pub(crate) fn unacknowledged(&self) -> Option<i64> {
        Some(self.unacknowledged.load(Ordering::Relaxed)).filter(|offset| *offset >= 0)
    }

    /// The record at `offset` is being written to a dead-letter or retry topic, until this is dropped.
    pub(crate) fn write_to(&self, topic: TopicName, offset: i64) -> OnItsWay<'_> {
        self.letters.write(offset, topic)
    }

    /// Those records.
    pub(crate) fn written(&self) -> Vec<i64> {
        self.letters.offsets()
    }

    /// Of those the one that takes the longest.
    pub(crate) fn writing(&self) -> Option<Writing> {
        self.letters.oldest()
    }

    /// These batches are in hand, or nothing is.
    pub(crate) fn set_in_hand(&self, batches: &[ChunkBatch]) {
        self.in_hand.set(batches);
    }

    /// The key of the record at `offset`, if that is in hand and has one.
    pub(crate) fn key_in_hand(&self, offset: i64) -> Option<Vec<u8>> {
        self.in_hand.key(offset)
    }

    /// The record in hand waits for so long, or until this is dropped.
    pub(crate) fn wait_in_hand(&self, wait: Duration) -> Wait<'_> {
        self.in_hand.wait(wait)
    }

    /// When that is over.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        self.in_hand.waits_until()
    }

    /// How long it has been at `offset`, as far as anybody looked.
    pub(crate) fn age_in_hand(&self, offset: i64) -> Duration {
        self.in_hand.age(offset)
    }

    /// The record whose handler has run longest, or the next one.
    pub(crate) fn longest_running(&self) -> i64 {
        let oldest = self.desk.as_ref().and_then(|desk| desk.oldest_running());
        oldest.unwrap_or_else(|| self.position())
    }

    /// Records that handlers have in hand.
    pub(crate) fn running(&self) -> Vec<i64> {
        self.desk.as_ref().map_or_else(|| vec![self.position()], |desk| desk.running())
    }

    /// The record in hand is at this try.
    pub(crate) fn set_attempt(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// Why it stopped, or why it is trying again.
    pub(crate) fn set_cause(&self, cause: Option<String>) {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    pub(crate) fn cause(&self) -> Option<String> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Only the loop counts; once per batch, not per record.
    pub(crate) fn add(&self, more: Counts) {
        self.counters.add(more);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared::new(TopicPartition::new("orders", 0), 10, 1, -1, false)
    }

    #[test]
    fn a_pause_outlasts_a_commit_and_gives_way_to_the_end() {
        let shared = shared();
        shared.pause();
        assert_eq!(shared.signal(), Signal::Look);
        shared.raise(Signal::Commit);
        shared.commit_taken();
        assert_eq!(shared.signal(), Signal::Look, "it is still paused");
        shared.raise(Signal::Drain);
        shared.resume();
        assert_eq!(shared.signal(), Signal::Drain);
    }

    #[test]
    fn a_jump_is_over_when_its_epoch_begins() {
        let shared = shared();
        shared.pause();
        shared.outdate(2);
        shared.resume();
        assert_eq!((shared.signal(), shared.is_outdated()), (Signal::Look, true));
        shared.restart(50, 2);
        assert_eq!((shared.signal(), shared.is_outdated()), (Signal::Run, false));
        // The loop was faster than whoever tells it.
        shared.outdate(2);
        assert_eq!(shared.signal(), Signal::Run);
    }

    #[test]
    fn what_was_looked_at_for_nothing_goes_on() {
        let shared = shared();
        shared.raise(Signal::Look);
        shared.looked();
        assert_eq!(shared.signal(), Signal::Run);
    }
}
