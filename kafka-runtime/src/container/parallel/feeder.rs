//! The loop of a partition whose records run side by side: it admits them as there is room, and follows signals.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use kafka_client::consumer::{ChunkBatch, Start};
use kafka_client::group::Life;
use kafka_client::records::RecordsMark;
use tokio::time::{Duration, Instant};
use tracing::{error, info, warn};

use super::commits::Commits;
use super::desk::{Desk, Gate, Item, Totals};
use super::pool::Joined;
use super::remembered::Remembered;
use super::{Site, window};
use crate::config::Ordering;
use crate::container::commit::{Committer, sleep_until};
use crate::container::feed::{Fed, Feed, Source};
use crate::container::forward::Waiter;
use crate::container::shared::{PartitionPhase, Shared, Signal};
use crate::container::status::EventKind;
use crate::container::work::ListenerWork;

/// Records that are admitted at once.
const CHUNK: usize = 256;
/// The part of the prefetch budget that open records of one partition may keep.
const PARTS: usize = 8;
/// How often a lease that has ended is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Feeder<S> {
    feed: Feed<S>,
    work: Arc<ListenerWork>,
    site: Arc<Site>,
    commits: Commits,
    /// In which the work on the partition began.
    life: Life,
    /// The batch that is being admitted, and from where on.
    batch: Option<(Arc<ChunkBatch>, RecordsMark)>,
    held: HeldBatches,
    /// The position moved; it takes effect when nothing runs any more.
    moved: Option<Start>,
    /// What stood against the next record at the last look.
    stands: Stands,
    reading: bool,
    /// Why it is read no further, other than by a record's outcome.
    unreadable: bool,
    hasher: RandomState,
    /// Whether it was said that records that wait for their next try fill the window.
    said_full: bool,
    _joined: Joined,
}

/// Batches that open records keep in memory.
#[derive(Debug)]
struct HeldBatches {
    batches: Vec<Weak<ChunkBatch>>,
    /// Their bytes; more than they are, since they go without a word.
    bytes: usize,
    most: usize,
}

impl HeldBatches {
    fn new(most: usize) -> Self {
        Self { batches: Vec::new(), bytes: 0, most }
    }

    fn hold(&mut self, batch: &Arc<ChunkBatch>) {
        self.batches.push(Arc::downgrade(batch));
        self.bytes = self.bytes.saturating_add(batch.batch().size());
    }

    /// Whether there are others, of too many bytes, beside the last.
    fn are_too_many(&mut self) -> bool {
        if self.bytes > self.most {
            self.bytes = 0;
            let bytes = &mut self.bytes;
            self.batches.retain(|held| {
                let held = held.upgrade();
                *bytes += held.as_ref().map_or(0, |batch| batch.batch().size());
                held.is_some()
            });
        }
        self.bytes > self.most && self.batches.len() > 1
    }
}

/// What stands against the next record until it is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stands {
    paused: bool,
    outdated: bool,
}

impl Stands {
    fn of(shared: &Shared) -> Self {
        Self { paused: shared.is_paused(), outdated: shared.is_outdated() }
    }
}

impl<S: Source> Feeder<S> {
    /// A partition that begins at `start`, where `desk` says so too; [`Feeder::run`] runs it.
    pub(crate) fn new(
        source: S,
        start: &Start,
        (shared, desk): (Arc<Shared>, Arc<Desk>),
        work: Arc<ListenerWork>,
        committer: Option<Committer>,
        life: Life,
    ) -> Self {
        let committed = start.committed.as_ref().filter(|committed| committed.offset == start.offset);
        let remembered = match committed.filter(|_| work.settings.remember) {
            Some(committed) => Remembered::decode(&committed.metadata, start.offset),
            None => Remembered::default(),
        };
        if remembered.len() > 0 {
            let (listener, partition, records) = (work.id, shared.partition, remembered.len());
            info!(listener, %partition, offset = start.offset, records, "finished ahead of the committed offset by the last owner: not handled again");
        }
        desk.begin(remembered, life.clone());
        let site = Arc::new(Site { shared, desk, waiter: Waiter::default() });
        let work_bytes = work.settings.consumer.fetch.prefetch_bytes / PARTS;
        let commits = Commits::new(committer, Arc::clone(&site), &work.settings);
        commits.of_start(start, work.settings.consumer.auto_offset_reset);
        Self {
            feed: Feed::new(source),
            commits,
            _joined: work.pool.join(),
            work,
            site,
            life,
            batch: None,
            held: HeldBatches::new(work_bytes),
            moved: None,
            stands: Stands::default(),
            reading: true,
            unreadable: false,
            hasher: RandomState::new(),
            said_full: false,
        }
    }

    /// Runs until the partition is given away.
    pub(crate) async fn run(mut self) {
        while self.is_held().await {
            let next = self.look().await;
            if let Some(fed) = self.wants().then(|| self.feed.ready()).flatten() {
                self.take(fed);
            }
            match self.admit() {
                true => tokio::task::yield_now().await,
                false => self.wait(next).await,
            }
        }
        self.drain().await;
    }

    /// Follows the signals. `false`: the partition is given away.
    async fn is_held(&mut self) -> bool {
        match self.site.shared.signal() {
            Signal::Drain | Signal::Abort => return false,
            // All that was held was lost since; the event of it is on its way.
            _ if self.life.is_over() => return false,
            Signal::Commit => self.commits.as_asked().await,
            Signal::Look => self.site.shared.looked(),
            Signal::Run => {}
        }
        true
    }

    /// Looks at everything that may have changed. When it has to look again at the latest.
    async fn look(&mut self) -> Option<Instant> {
        let (desk, now) = (Arc::clone(&self.site.desk), Instant::now());
        let totals = desk.look();
        self.look_for_stop();
        if let Some(start) = self.moved.take_if(|_| totals.running == 0) {
            self.restart(&start);
        }
        let again = self.commits.if_due(now).await;
        let leased = self.life.holds();
        self.stands = Stands::of(&self.site.shared);
        if self.stands.outdated {
            self.forget();
        }
        let open = leased && self.moved.is_none() && self.stands == Stands::default();
        desk.set_gate(if open { Gate::Open } else { Gate::Held });
        let due = desk.wake(now);
        self.work.pool.offer(&self.work, &self.site);
        let totals = desk.totals();
        self.show(totals);
        let lease = (!leased).then(|| now + LOOK_AGAIN);
        [due, again, lease].into_iter().flatten().min()
    }

    /// A record whose outcome is to stop the partition.
    fn look_for_stop(&mut self) {
        if let Some(cause) = self.site.desk.stopped().filter(|_| self.reading) {
            self.tell_stopped(cause);
            self.stop_reading();
        }
    }

    fn tell_stopped(&self, cause: String) {
        let (listener, partition) = (self.work.id, self.site.shared.partition);
        self.site.shared.set_cause(Some(cause.clone()));
        // Before it is told: who seeks or resumes on the event meets a partition that has stopped.
        self.site.shared.set_phase(PartitionPhase::Stopped);
        self.work.events.emit(listener, || EventKind::PartitionStopped { partition, cause });
    }

    /// The position has jumped: what waits is not wanted. The stream says where to.
    fn forget(&mut self) {
        self.site.desk.discard();
        self.feed.skip_chunk();
        self.batch = None;
    }

    fn stop_reading(&mut self) {
        self.feed.end();
        (self.batch, self.reading) = (None, false);
    }

    fn show(&mut self, totals: Totals) {
        let Totals { running, window: open, ready, parked, .. } = totals;
        let phase = match () {
            () if self.unreadable || self.site.desk.stopped().is_some() => PartitionPhase::Stopped,
            () if running > 0 => PartitionPhase::Running,
            () if self.stands.paused => PartitionPhase::Paused,
            () if open == 0 => PartitionPhase::Idle,
            () if ready == 0 && parked > 0 => PartitionPhase::Retrying,
            () => PartitionPhase::Waiting,
        };
        self.site.shared.set_phase(phase);
        let is_full = phase == PartitionPhase::Retrying && self.batch.is_some() && self.room() == 0;
        if is_full && !self.said_full {
            let (listener, partition) = (self.work.id, self.site.shared.partition);
            warn!(listener, %partition, open, parked, "the partition is read no further: all records that may be open wait for the next try of one of their key");
        }
        self.said_full = is_full;
    }

    fn room(&mut self) -> usize {
        match self.held.are_too_many() {
            true => 0,
            false => self.site.desk.room(window(self.work.pool.limit())),
        }
    }

    /// Takes in a part of the batch in hand. `false`: there is none, or no room.
    fn admit(&mut self) -> bool {
        let Some((batch, mark)) = self.batch.clone() else { return false };
        let room = self.room().min(CHUNK);
        if room == 0 {
            return false;
        }
        let mut records = batch.batch().resume(mark);
        let mut admitted = Vec::with_capacity(room);
        let mut failed = None;
        for record in records.by_ref().take(room) {
            match record {
                Ok(record) => {
                    let lane = record.key.filter(|_| self.work.settings.ordering == Ordering::Key);
                    let lane = lane.map(|key| self.hasher.hash_one(key));
                    admitted.push((record.offset, lane, record.position));
                }
                Err(error) => failed = Some(error.to_string()),
            }
        }
        let leader_epoch = batch.batch().header().leader_epoch;
        let next = admitted.last().map(|(offset, ..)| offset + 1);
        let item = |(offset, lane, position)| (offset, lane, Item { batch: Arc::clone(&batch), position });
        let is_whole = admitted.len() < room;
        self.site.desk.admit(leader_epoch, admitted.into_iter().map(item));
        self.batch = None;
        match failed {
            // The batch may begin below the position.
            Some(cause) => self.unreadable(next.unwrap_or_else(|| self.site.desk.frontier()), &cause),
            None if is_whole => self.site.desk.pass_to(batch.next_offset(), leader_epoch),
            None => self.batch = Some((Arc::clone(&batch), records.mark())),
        }
        self.work.pool.offer(&self.work, &self.site);
        true
    }

    fn wants(&self) -> bool {
        self.reading && self.batch.is_none() && self.moved.is_none()
    }

    /// Waits for records, for signals, for what workers say.
    async fn wait(&mut self, next: Option<Instant>) {
        let site = Arc::clone(&self.site);
        // Blocked by records finished ahead of an open one, it looks with each that is finished.
        let low = window(self.work.pool.limit()) / 4 * 3;
        let low = if self.held.are_too_many() { usize::MAX } else { low };
        if !self.commits.tell_at(self.batch.is_some().then_some(low)) {
            return;
        }
        let stands = self.stands;
        let news = || {
            let signal = site.shared.signal() > Signal::Look || Stands::of(&site.shared) != stands;
            (signal || site.desk.has_news()).then_some(())
        };
        let wants = self.wants();
        let fed = tokio::select! {
            biased;
            () = site.shared.woken(news) => return,
            () = sleep_until(next), if next.is_some() => return,
            () = self.commits.answered() => return,
            fed = self.feed.next(), if wants => fed,
        };
        self.take(fed);
    }

    fn take(&mut self, fed: Fed) {
        match fed {
            Fed::Batch(batch) => {
                let mark = batch.records().mark();
                self.site.shared.set_timestamp(batch.batch().header().max_timestamp);
                let batch = Arc::new(batch);
                self.held.hold(&batch);
                self.batch = Some((batch, mark));
            }
            Fed::Passed { next, leader_epoch } => self.site.desk.pass_to(next, leader_epoch),
            Fed::Moved(start) => {
                self.forget();
                self.moved = Some(start);
            }
            Fed::Failed(cause) => {
                let (listener, partition) = (self.work.id, self.site.shared.partition);
                error!(listener, %partition, %cause, "partition stopped: it cannot be read; other partitions go on");
                self.tell_stopped(cause.to_string());
                self.unreadable = true;
            }
            Fed::Unreadable { offset, cause } => self.unreadable(offset, &cause),
            Fed::Ended => self.reading = false,
        }
    }

    fn unreadable(&mut self, offset: i64, cause: &str) {
        let (listener, partition) = (self.work.id, self.site.shared.partition);
        error!(
            listener, %partition, offset, cause,
            "partition stopped: it cannot be read from here on; its offset stays, other partitions go on"
        );
        self.tell_stopped(format!("{partition} at offset {offset}: {cause}"));
        self.unreadable = true;
        self.stop_reading();
    }

    /// A new epoch of the position begins.
    fn restart(&mut self, start: &Start) {
        let (listener, shared) = (self.work.id, &self.site.shared);
        let (partition, offset) = (shared.partition, start.offset);
        info!(listener, %partition, offset, "the position moved");
        self.work.events.emit(listener, || EventKind::Moved { partition, offset });
        shared.restart(start.offset, start.epoch);
        shared.set_cause(None);
        self.unreadable = false;
        self.commits.restart();
        self.commits.of_start(start, self.work.settings.consumer.auto_offset_reset);
    }

    /// Handlers in hand finish; what waits is the next owner's.
    async fn drain(&mut self) {
        let Site { shared, desk, .. } = &*self.site;
        desk.set_gate(Gate::Closed);
        shared.woken(|| (shared.signal() == Signal::Abort || desk.totals().running == 0).then_some(())).await;
    }
}

impl<S> Drop for Feeder<S> {
    fn drop(&mut self) {
        self.site.desk.abort();
    }
}
