//! Transactions: the pure machine of each transactional id behind a lock, the markers that end it, and one task for
//! all timeouts.
//!
//! ```text
//! api::transactions, produce ──▶ Cluster::transaction ──▶ Transaction (pure)
//!                                        │                     ▲
//!                                        ▼                     │ expire
//!            partitions, groups ◀── write_marker         run_timers
//! ```
//! Locks are taken in the order transactional id, then partition or group: whoever writes as part of a transaction
//! holds the id's lock until it has written, so that no marker overtakes it.

mod machine;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_client::records::control::{EndMarker, Ending};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

pub(crate) use machine::{Identity, Init, Now, Participant, Protocol, State, Transaction};

use crate::alarm::Alarm;
use crate::cluster::Cluster;
use crate::replicas::NOBODY;
use crate::topics::owned;

/// The transaction coordinator's own epoch, as it stands in markers.
const COORDINATOR_EPOCH: i32 = 0;
/// How long markers wait that cannot be written yet, since a partition has no leader.
const AGAIN: Duration = Duration::from_millis(100);

/// A transactional id, and when it was used last.
#[derive(Debug)]
struct Held {
    transaction: Transaction,
    used: Instant,
}

type Cell = Arc<Mutex<Held>>;

fn lock(cell: &Cell) -> MutexGuard<'_, Held> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All transactional ids.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    cells: Mutex<BTreeMap<StrBytes, Cell>>,
    alarm: Alarm,
}

impl Transactions {
    fn cells(&self) -> MutexGuard<'_, BTreeMap<StrBytes, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Cell> {
        self.cells().values().cloned().collect()
    }

    /// Forgets the ids that nobody has used for as long as `expiration`, and that nobody is about to use.
    fn forget_unused(&self, expiration: Duration, now: Instant) {
        self.cells().retain(|_, cell| {
            let held = lock(cell);
            let over = held.transaction.may_expire() && now.duration_since(held.used) >= expiration;
            !over || Arc::strong_count(cell) > 1
        });
    }

    /// The transactional ids, sorted.
    pub(crate) fn ids(&self) -> Vec<StrBytes> {
        self.cells().keys().cloned().collect()
    }
}

impl Cluster {
    /// Runs `change` on a transactional id, if there is one, and writes the markers of what it ends.
    pub(crate) fn transaction<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Transaction, Now) -> T,
    ) -> Option<T> {
        let cell = self.transactions.cells().get(id.as_bytes()).cloned()?;
        Some(self.run_transaction(&cell, change))
    }

    /// Runs `change` on a transactional id, made now if there is none.
    pub(crate) fn transaction_or_new<T>(
        &self,
        id: &StrBytes,
        change: impl FnOnce(&mut Transaction, Now) -> T,
    ) -> T {
        let cell = {
            let mut cells = self.transactions.cells();
            match cells.get(id.as_bytes()) {
                Some(cell) => Arc::clone(cell),
                None => {
                    let transaction = Transaction::new(self.new_producer_id());
                    let cell = Arc::new(Mutex::new(Held { transaction, used: Instant::now() }));
                    cells.insert(owned(id), Arc::clone(&cell));
                    cell
                }
            }
        };
        self.run_transaction(&cell, change)
    }

    fn run_transaction<T>(&self, cell: &Cell, change: impl FnOnce(&mut Transaction, Now) -> T) -> T {
        let (result, next) = {
            let mut held = lock(cell);
            let now = Now { instant: Instant::now(), wall: self.clock.wall_millis() };
            let before = held.transaction.written();
            let result = change(&mut held.transaction, now);
            self.write_markers(&mut held.transaction, now);
            if held.transaction.written() != before {
                held.used = now.instant;
            }
            (result, self.next_deadline(&held, now))
        };
        self.transactions.alarm.arm(next);
        result
    }

    fn write_markers(&self, transaction: &mut Transaction, now: Now) {
        transaction.write_markers(|participant, ending, by| match participant {
            Participant::Partition(topic, index) => {
                let marker = EndMarker {
                    ending,
                    producer_id: by.producer_id,
                    producer_epoch: by.epoch,
                    coordinator_epoch: COORDINATOR_EPOCH,
                    timestamp: now.wall,
                };
                self.write_marker(topic, *index, &marker)
            }
            Participant::Offsets(group) => {
                let commit = ending == Ending::Commit;
                self.groups.run(group, |group, _| group.offsets.end_transaction(by.producer_id, commit));
                true
            }
        });
    }

    /// Whether the partition needs no marker any more.
    fn write_marker(&self, topic: &TopicName, index: i32, marker: &EndMarker) -> bool {
        let Some(topic) = self.topics.by_name(topic) else { return true };
        let Some(partition) = topic.partition(index) else { return true };
        let mut state = partition.lock();
        if !state.deleted && state.replicas.leader() == NOBODY {
            return false;
        }
        if let Err(error) = state.append_marker(&topic.configs, marker) {
            tracing::debug!(topic = %topic.name.0, index, %error, ?marker, "a marker that came too late");
        }
        true
    }

    /// Aborts the transactions whose time is up, writes the markers that had to wait, and forgets the ids that are not
    /// used, for ever.
    pub(crate) async fn run_transaction_timers(&self) {
        let expire = |cell: &Cell| {
            let mut held = lock(cell);
            let now = Now { instant: Instant::now(), wall: self.clock.wall_millis() };
            let before = held.transaction.written();
            held.transaction.expire(now.instant);
            self.write_markers(&mut held.transaction, now);
            if held.transaction.written() != before {
                held.used = now.instant;
            }
            self.next_deadline(&held, now)
        };
        let all = || {
            self.transactions.forget_unused(self.settings.transactional_id_expiration, Instant::now());
            self.transactions.all().iter().filter_map(expire).min()
        };
        self.transactions.alarm.run(all).await;
    }

    fn next_deadline(&self, held: &Held, now: Now) -> Option<Instant> {
        if held.transaction.ending().is_some() {
            return Some(now.instant + AGAIN);
        }
        let expires = held.used.checked_add(self.settings.transactional_id_expiration);
        held.transaction.deadline().or(expires.filter(|_| held.transaction.may_expire()))
    }
}
