//! One partition between its fetch loop and its reader: the queue, and the position of the next fetch. One value,
//! under one short lock, so that a position moves exactly when the chunk that moves it is queued.
//!
//! ```text
//! broker loop ──deliver──▶ Slot ──poll_next──▶ PartitionStream
//!             ◀──Signal──       (room again)
//! consumer task ──move_to, fail, end──▶
//! ```
//!
//! Nothing else keeps late answers out: a delivery names the epoch and the offset that it was asked at, and is taken
//! only if the slot still stands there.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::consumer::{Chunk, LogEnd, Start, StreamItem};
use crate::error::Error;
use crate::fetch::budget::Usage;
use crate::ids::TopicPartition;

/// Chunks that may wait in a queue, beside the one in the reader's hands. Two, so that one waits while the next is
/// on its way; each has at most about `max_partition_bytes`.
const QUEUE: usize = 2;

/// Where the next fetch of a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: i64,
    /// Leader epoch of the record before it, -1 where unknown: what KIP-320 compares.
    pub(crate) leader_epoch: i32,
}

/// Partitions that a loop should look at again, told from any thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    partitions: Mutex<Vec<TopicPartition>>,
    told: Notify,
}

impl Signal {
    fn tell(&self, partition: TopicPartition) {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).push(partition);
        self.told.notify_one();
    }

    /// What was told since the last call.
    pub(crate) fn take(&self) -> Vec<TopicPartition> {
        std::mem::take(&mut *self.partitions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when something was told that nobody waited for yet.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

/// What a loop sees of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Its queue has room: fetch it from here.
    Room { epoch: u64, position: Position },
    /// Its queue is full. The signal tells when that changes.
    Full,
    /// Nobody reads it any more.
    Over,
}

/// A chunk on its way into the queue.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) epoch: u64,
    /// The offset that was asked for.
    pub(crate) asked: i64,
    /// The position after the chunk.
    pub(crate) next: Position,
    pub(crate) chunk: Chunk,
}

/// What of the queue survives a jump of the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is read first; then the jump is seen.
    Kept,
    Dropped,
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Slot {
    partition: TopicPartition,
    usage: Usage,
    log_end: Arc<LogEnd>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    items: VecDeque<StreamItem>,
    position: Position,
    epoch: u64,
    over: bool,
    reader: Option<Waker>,
    /// Whom to tell of room in the queue, or of the end.
    keeper: Option<Arc<Signal>>,
    /// Whether the keeper waits for room.
    full: bool,
}

impl State {
    fn chunks(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, StreamItem::Chunk(_))).count()
    }

    /// The keeper, if it waits for room and there is some.
    fn room_for(&mut self) -> Option<Arc<Signal>> {
        if self.full && self.chunks() < QUEUE {
            self.full = false;
            self.keeper.clone()
        } else {
            None
        }
    }
}

impl Slot {
    /// A partition that will be read from `position`.
    pub(crate) fn new(partition: TopicPartition, position: Position) -> Arc<Self> {
        let state = State {
            items: VecDeque::new(),
            position,
            epoch: 0,
            over: false,
            reader: None,
            keeper: None,
            full: false,
        };
        Arc::new(Self {
            partition,
            usage: Usage::default(),
            log_end: Arc::default(),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// Where its log ends.
    pub(crate) fn log_end(&self) -> &Arc<LogEnd> {
        &self.log_end
    }

    /// Where the count of its bytes is kept.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Whether none of its bytes exist, neither queued nor in the reader's hands.
    pub(crate) fn is_starving(&self) -> bool {
        self.usage.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn position(&self) -> Position {
        self.state().position
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// What a loop, which listens to `signal`, can do with it.
    pub(crate) fn look(&self, signal: &Arc<Signal>) -> Look {
        let mut state = self.state();
        if state.over {
            return Look::Over;
        }
        if !state.keeper.as_ref().is_some_and(|keeper| Arc::ptr_eq(keeper, signal)) {
            state.keeper = Some(Arc::clone(signal));
        }
        state.full = state.chunks() >= QUEUE;
        if state.full { Look::Full } else { Look::Room { epoch: state.epoch, position: state.position } }
    }

    /// Queues a chunk and moves the position behind it; `false` if it is not what comes next here.
    pub(crate) fn deliver(&self, delivery: Delivery) -> bool {
        let mut state = self.state();
        if state.over || state.epoch != delivery.epoch || state.position.offset != delivery.asked {
            return false;
        }
        state.position = delivery.next;
        state.items.push_back(StreamItem::Chunk(delivery.chunk));
        wake(state);
        true
    }

    /// The first offset that the reader has not taken yet.
    pub(crate) fn first_unread(&self) -> i64 {
        let state = self.state();
        match state.items.front() {
            Some(StreamItem::Chunk(chunk)) => chunk.position(),
            Some(StreamItem::Moved(start)) => start.offset,
            Some(StreamItem::Failed(_)) | None => state.position.offset,
        }
    }

    /// Sets the place of the first fetch, before there is a reader.
    pub(crate) fn begin_at(&self, position: Position) {
        self.state().position = position;
    }

    /// Begins a new epoch of the position.
    pub(crate) fn move_to(&self, position: Position, queued: Queued) {
        let mut state = self.state();
        if state.over {
            return;
        }
        let dropped = match queued {
            Queued::Kept => VecDeque::new(),
            Queued::Dropped => std::mem::take(&mut state.items),
        };
        state.epoch += 1;
        state.position = position;
        let start = Start { offset: position.offset, committed: None, epoch: state.epoch };
        state.items.push_back(StreamItem::Moved(start));
        let keeper = state.room_for();
        wake(state);
        tell(keeper, self.partition);
        drop(dropped);
    }

    /// Tells the reader that it cannot be read on.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state();
        if !state.over {
            state.items.push_back(StreamItem::Failed(error));
            wake(state);
        }
    }

    /// Ends the stream; what is queued is dropped.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        let dropped = std::mem::take(&mut state.items);
        let keeper = state.keeper.take();
        wake(state);
        tell(keeper, self.partition);
        drop(dropped);
    }

    /// The next item; `None` once the stream has ended.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        let mut state = self.state();
        if let Some(item) = self.pop(&mut state) {
            return Poll::Ready(Some(item));
        }
        if state.over {
            return Poll::Ready(None);
        }
        match &mut state.reader {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether nobody reads it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state().over
    }

    /// Whether something waits for the reader.
    pub(crate) fn has_items(&self) -> bool {
        !self.state().items.is_empty()
    }

    pub(crate) fn try_next(&self) -> Option<StreamItem> {
        self.pop(&mut self.state())
    }

    fn pop(&self, state: &mut State) -> Option<StreamItem> {
        let item = state.items.pop_front()?;
        tell(state.room_for(), self.partition);
        Some(item)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

fn tell(keeper: Option<Arc<Signal>>, partition: TopicPartition) {
    if let Some(keeper) = keeper {
        keeper.tell(partition);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::consumer::chunk::Part;

    fn at(offset: i64) -> Position {
        Position { offset, leader_epoch: 0 }
    }

    fn slot() -> Arc<Slot> {
        Slot::new(TopicPartition::new("orders", 0), at(10))
    }

    fn delivery(epoch: u64, asked: i64, next: i64) -> Delivery {
        let chunk = Chunk::new(Part {
            partition: TopicPartition::new("orders", 0),
            epoch,
            position: asked,
            end_offset: 100,
            bytes: Bytes::new(),
            check_crcs: true,
            aborted: None,
        });
        Delivery { epoch, asked, next: at(next), chunk }
    }

    fn taken(slot: &Slot) -> Option<(u64, i64)> {
        match slot.try_next()? {
            StreamItem::Chunk(chunk) => Some((chunk.epoch(), chunk.position())),
            StreamItem::Moved(start) => Some((start.epoch, start.offset)),
            StreamItem::Failed(error) => panic!("{error}"),
        }
    }

    #[test]
    fn only_what_comes_next_is_taken() {
        let slot = slot();
        assert!(slot.deliver(delivery(0, 10, 15)));
        assert!(!slot.deliver(delivery(0, 10, 15)), "another loop brought the same");
        assert!(!slot.deliver(delivery(0, 20, 25)));
        assert_eq!(slot.position(), at(15));
        slot.move_to(at(15), Queued::Kept);
        assert!(!slot.deliver(delivery(0, 15, 20)), "asked for in an earlier epoch");
        assert!(slot.deliver(delivery(1, 15, 20)));
        slot.end();
        assert!(!slot.deliver(delivery(1, 20, 25)));
        assert_eq!(taken(&slot), None);
    }

    #[test]
    fn a_jump_keeps_or_drops_what_is_queued() {
        let slot = slot();
        slot.deliver(delivery(0, 10, 15));
        slot.move_to(at(50), Queued::Kept);
        assert_eq!((taken(&slot), taken(&slot), taken(&slot)), (Some((0, 10)), Some((1, 50)), None));
        slot.deliver(delivery(1, 50, 60));
        slot.fail(Error::Closed);
        slot.move_to(at(5), Queued::Dropped);
        assert_eq!((taken(&slot), taken(&slot)), (Some((2, 5)), None));
    }

    #[test]
    fn what_is_unread_begins_with_the_queue() {
        let slot = slot();
        assert_eq!(slot.first_unread(), 10);
        slot.deliver(delivery(0, 10, 15));
        slot.deliver(delivery(0, 15, 20));
        assert_eq!(slot.first_unread(), 10);
        taken(&slot);
        assert_eq!(slot.first_unread(), 15);
        slot.move_to(at(40), Queued::Dropped);
        slot.deliver(delivery(1, 40, 50));
        assert_eq!(slot.first_unread(), 40);
    }

    #[tokio::test]
    async fn a_reader_waits_and_a_keeper_hears_of_room_and_of_the_end() {
        let (slot, signal) = (slot(), Arc::new(Signal::default()));
        assert!(matches!(slot.look(&signal), Look::Room { epoch: 0, .. }));
        let reading = tokio::spawn({
            let slot = Arc::clone(&slot);
            async move { std::future::poll_fn(|context| slot.poll_next(context)).await.is_some() }
        });
        tokio::task::yield_now().await;
        slot.deliver(delivery(0, 10, 15));
        assert!(reading.await.unwrap());
        assert_eq!(signal.take(), [], "it was not full");
        slot.deliver(delivery(0, 15, 20));
        slot.deliver(delivery(0, 20, 25));
        assert_eq!(slot.look(&signal), Look::Full);
        taken(&slot);
        signal.told().await;
        assert_eq!(signal.take().len(), 1);
        slot.end();
        assert_eq!(signal.take().len(), 1);
        assert_eq!(slot.look(&signal), Look::Over);
    }
}
