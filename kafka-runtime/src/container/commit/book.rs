//! Who wants which offset committed, what was sent and what was confirmed (pure: the time is given in).
//!
//! A partition that went away and came back is another one: what is left of its last life, answers included, means nothing
//! to it. Within one epoch of a position nothing is sent that is not above what was confirmed; since at most one commit of a
//! partition is in flight and offsets only grow, none can overtake another.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_client::config::Backoff;
use kafka_client::{Error, ResponseError, TopicPartition};
use tokio::time::Instant;

use super::super::shared::{Progress, Safe, Shared, Signal};
use crate::config::CommitStrategy;

/// How long a commit is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tries {
    /// One request; a failure is only told.
    Once,
    /// Again while the failure may pass, until then.
    Until(Instant),
}

/// All partitions of a member. `W` waits for an answer.
#[derive(Debug)]
pub(crate) struct Book<W> {
    entries: HashMap<TopicPartition, Entry<W>>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Entry<W> {
    shared: Arc<Shared>,
    epoch: u64,
    /// The most that was confirmed in this epoch, and what was sent last.
    confirmed: Option<Progress>,
    sent: Option<Progress>,
    is_in_flight: bool,
    /// What is wanted beyond what is in flight, and who waits for it.
    demand: Option<Demand>,
    waiters: Vec<W>,
    /// What was safe at the last tick.
    seen: Progress,
}

#[derive(Debug, Clone, Copy)]
struct Demand {
    tries: Tries,
    failures: u32,
    not_before: Option<Instant>,
}

impl Demand {
    /// After a failure: with a later moment for the next try, if there is one.
    fn after(self, error: &Error, again: Instant) -> Option<Self> {
        let is_tried = error.is_retriable() && self.tries > Tries::Until(again);
        is_tried.then_some(Self { failures: self.failures + 1, not_before: Some(again), ..self })
    }
}

impl<W> Entry<W> {
    fn new(shared: Arc<Shared>, confirmed: Option<i64>) -> Self {
        let safe = shared.safe();
        let confirmed = confirmed.map(|offset| Progress { offset, covered: 0 });
        let (epoch, seen) = (safe.epoch, safe.progress());
        let (sent, demand, waiters) = (confirmed, None, Vec::new());
        Self { shared, epoch, confirmed, sent, is_in_flight: false, demand, waiters, seen }
    }

    /// What may be committed; a new epoch forgets what was confirmed before.
    fn safe(&mut self) -> Safe {
        let safe = self.shared.safe();
        self.note_epoch(safe.epoch);
        safe
    }

    /// The same with its metadata.
    fn next_commit(&mut self) -> (Safe, String) {
        let (safe, metadata) = self.shared.to_commit();
        self.note_epoch(safe.epoch);
        (safe, metadata)
    }

    fn note_epoch(&mut self, epoch: u64) {
        if epoch != self.epoch {
            (self.epoch, self.confirmed, self.sent) = (epoch, None, None);
        }
    }

    fn demand(&mut self, tries: Tries) {
        match &mut self.demand {
            Some(demand) => demand.tries = demand.tries.max(tries),
            None => self.demand = Some(Demand { tries, failures: 0, not_before: None }),
        }
    }

    fn end_demand(&mut self) -> Vec<W> {
        self.demand = None;
        std::mem::take(&mut self.waiters)
    }

    /// What was sent is wanted still, with what was asked for meanwhile.
    fn want_again(&mut self, mut demand: Demand, waiters: Vec<W>) {
        if let Some(newer) = self.demand {
            demand.tries = demand.tries.max(newer.tries);
        }
        self.demand = Some(demand);
        self.waiters.splice(..0, waiters);
    }
}

/// One partition of a round.
#[derive(Debug)]
pub(crate) struct Sent<W> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) safe: Safe,
    pub(crate) metadata: String,
    demand: Demand,
    waiters: Vec<W>,
}

impl<W> Book<W> {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { entries: HashMap::new(), backoff }
    }

    /// A partition that is held from now on; `confirmed` is its committed offset, if that is where it starts.
    pub(crate) fn hold(&mut self, shared: Arc<Shared>, confirmed: Option<i64>) {
        self.entries.insert(shared.partition, Entry::new(shared, confirmed));
    }

    /// A partition that is not held any more, unless it is held anew. Its waiters are dropped with it.
    pub(crate) fn forget(&mut self, shared: &Arc<Shared>) {
        if self.entry(shared).is_some() {
            self.entries.remove(&shared.partition);
        }
    }

    fn entry(&mut self, shared: &Arc<Shared>) -> Option<&mut Entry<W>> {
        self.entries.get_mut(&shared.partition).filter(|entry| Arc::ptr_eq(&entry.shared, shared))
    }

    /// Somebody wants this partition committed as far as it is safe. Gives the waiter back if it is not held.
    pub(crate) fn demand(&mut self, shared: &Arc<Shared>, tries: Tries, waiter: Option<W>) -> Option<W> {
        let Some(entry) = self.entry(shared) else { return waiter };
        entry.demand(tries);
        entry.waiters.extend(waiter);
        None
    }

    /// Takes over what the loops flagged as due.
    pub(crate) fn collect_due(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.shared.take_due() {
                entry.demand(Tries::Once);
            }
        }
    }

    /// The ticker: what is behind is committed in the way of the strategy. Without a cadence of time (`timed`) only
    /// partitions that stand still are looked at, so that their last records do not wait for the next ones.
    pub(crate) fn tick(&mut self, strategy: CommitStrategy, timed: bool, until: Instant) {
        // What is in flight is looked at when it is over.
        for entry in self.entries.values_mut().filter(|entry| !entry.is_in_flight) {
            let safe = entry.safe();
            let idle = std::mem::replace(&mut entry.seen, safe.progress()) == safe.progress();
            let behind = |known: Option<Progress>| {
                known.is_none_or(|known| safe.is_ahead_of(&known)) && entry.has_moved(&safe)
            };
            let (unconfirmed, unsent) = (behind(entry.confirmed), behind(entry.sent));
            if !timed && !idle {
                continue;
            }
            match strategy {
                CommitStrategy::Sync if unconfirmed => entry.shared.raise(Signal::Commit),
                CommitStrategy::Async if unsent => entry.demand(Tries::Once),
                CommitStrategy::Combined if unconfirmed && idle => entry.demand(Tries::Until(until)),
                CommitStrategy::Combined if unsent => entry.demand(Tries::Once),
                _ => {}
            }
        }
    }

    /// What to send now, in the order of the partitions, of those that nothing is in flight of; who waited for what is
    /// confirmed already is answered.
    pub(crate) fn round(&mut self, now: Instant) -> (Vec<Sent<W>>, Vec<W>) {
        let (mut round, mut satisfied) = (Vec::new(), Vec::new());
        for entry in self.entries.values_mut().filter(|entry| !entry.is_in_flight) {
            let Some(demand) = entry.demand else { continue };
            let (safe, metadata) = entry.next_commit();
            if entry.confirmed.is_some_and(|confirmed| !safe.is_ahead_of(&confirmed)) {
                satisfied.extend(entry.end_demand());
            } else if demand.not_before.is_none_or(|then| then <= now) {
                (entry.sent, entry.is_in_flight) = (Some(safe.progress()), true);
                let waiters = entry.end_demand();
                round.push(Sent { shared: Arc::clone(&entry.shared), safe, metadata, demand, waiters });
            }
        }
        round.sort_unstable_by_key(|sent| sent.shared.partition);
        (round, satisfied)
    }

    /// The answer for one partition of a round: those who are told it, unless it is tried again. `unit` in `0.0..1.0` is the
    /// chance in the wait before that.
    pub(crate) fn answered(
        &mut self,
        sent: Sent<W>,
        result: &Result<(), Error>,
        now: Instant,
        unit: f64,
    ) -> Vec<W> {
        let backoff = self.backoff;
        let Sent { shared, safe, metadata, demand, waiters } = sent;
        if result.is_ok() {
            // Known in its last life too.
            shared.set_committed(&safe);
        }
        let Some(entry) = self.entry(&shared) else { return waiters };
        entry.is_in_flight = false;
        let again = match result {
            Ok(()) => {
                entry.confirmed = Some(safe.progress());
                None
            }
            Err(error) if is_metadata_refused(error) && !metadata.is_empty() => {
                // At once, with less of it.
                shared.metadata_refused(metadata.len());
                Some(demand)
            }
            Err(error) => demand.after(error, now + backoff.wait(demand.failures, unit)),
        };
        match again {
            Some(demand) => {
                entry.want_again(demand, waiters);
                Vec::new()
            }
            None => waiters,
        }
    }

    /// When a failed commit is tried again.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.demand?.not_before).min()
    }
}

impl<W> Entry<W> {
    /// Whether there is anything to say at all: a partition where nothing was handled since it started, and that has
    /// no committed offset, is not committed by the ticker.
    fn has_moved(&self, safe: &Safe) -> bool {
        self.sent.is_some() || self.shared.has_moved(safe.offset) || safe.covered > 0
    }
}

/// The broker's `offset.metadata.max.bytes` is smaller than what was sent.
fn is_metadata_refused(error: &Error) -> bool {
    error.code() == Some(ResponseError::OffsetMetadataTooLarge)
}
