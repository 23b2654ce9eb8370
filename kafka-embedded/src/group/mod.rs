//! Groups: the pure machine of each behind a lock, the requests that wait for it, and one task for all their timers.
//!
//! ```text
//! api::membership ──▶ Groups::run ──▶ Classic (pure) ──answers──▶ whoever waits
//!                                        ▲
//!          run_timers ── expire ─────────┘
//! ```

mod classic;
mod member;
mod offsets;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use classic::{Answer, Classic, Joined, NotJoined, State, Synced, Syncing, Token};
pub(crate) use member::{Joining, MemberId};
pub(crate) use offsets::{Committed, Offsets};

use crate::alarm::Alarm;

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) classic: Classic,
    pub(crate) offsets: Offsets,
    waiting: HashMap<Token, oneshot::Sender<Answer>>,
    next_token: Token,
}

impl Group {
    /// A token for a request that may have to wait, and where its answer will come.
    pub(crate) fn wait(&mut self) -> (Token, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        self.next_token += 1;
        self.waiting.insert(self.next_token, sender);
        (self.next_token, receiver)
    }

    fn deliver(&mut self) {
        for (token, answer) in self.classic.take_answers() {
            if let Some(sender) = self.waiting.remove(&token) {
                // A client that has gone does not want it any more.
                let _ = sender.send(answer);
            }
        }
    }
}

type Cell = Arc<Mutex<Group>>;

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    cells: Mutex<BTreeMap<StrBytes, Cell>>,
    alarm: Alarm,
}

impl Groups {
    fn cells(&self) -> std::sync::MutexGuard<'_, BTreeMap<StrBytes, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on the group, if there is one, and delivers what it answers.
    pub(crate) fn run<T>(&self, id: &str, change: impl FnOnce(&mut Group, Instant) -> T) -> Option<T> {
        let cell = self.cells().get(id.as_bytes()).cloned()?;
        Some(self.run_cell(&cell, change))
    }

    /// Runs `change` on the group, made now if there is none.
    pub(crate) fn run_or_create<T>(
        &self,
        id: &StrBytes,
        initial_delay: Duration,
        change: impl FnOnce(&mut Group, Instant) -> T,
    ) -> T {
        let cell = {
            let mut cells = self.cells();
            match cells.get(id.as_bytes()) {
                Some(cell) => Arc::clone(cell),
                None => {
                    let group = Group {
                        classic: Classic::new(initial_delay),
                        offsets: Offsets::default(),
                        waiting: HashMap::new(),
                        next_token: 0,
                    };
                    let cell = Arc::new(Mutex::new(group));
                    cells.insert(crate::topics::owned(id), Arc::clone(&cell));
                    cell
                }
            }
        };
        self.run_cell(&cell, change)
    }

    fn run_cell<T>(&self, cell: &Cell, change: impl FnOnce(&mut Group, Instant) -> T) -> T {
        let (result, next) = {
            let mut group = cell.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut group, Instant::now());
            group.deliver();
            (result, group.classic.next_deadline())
        };
        self.alarm.arm(next);
        result
    }

    /// Forgets all offsets of a topic that is gone.
    pub(crate) fn forget_topic(&self, topic: &TopicName) {
        for (_, cell) in self.all() {
            self.run_cell(&cell, |group, _| group.offsets.remove_topic(topic));
        }
    }

    /// Deletes a group that has no members.
    pub(crate) fn delete(&self, id: &StrBytes) -> Result<(), ResponseError> {
        let mut cells = self.cells();
        let cell = cells.get(id).cloned().ok_or(ResponseError::GroupIdNotFound)?;
        let mut group = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if group.classic.state() != State::Empty {
            return Err(ResponseError::NonEmptyGroup);
        }
        group.classic.kill();
        cells.remove(id);
        Ok(())
    }

    /// The groups' ids, sorted.
    pub(crate) fn ids(&self) -> Vec<StrBytes> {
        self.cells().keys().cloned().collect()
    }

    fn all(&self) -> Vec<(StrBytes, Cell)> {
        self.cells().iter().map(|(id, cell)| (id.clone(), Arc::clone(cell))).collect()
    }

    /// Lets the groups' time pass, for ever.
    pub(crate) async fn run_timers(&self) {
        self.alarm.run(|| self.expire()).await;
    }

    /// Expires what is due; the next deadline of all.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let expire = |cell: &Cell| {
            let mut group = cell.lock().unwrap_or_else(PoisonError::into_inner);
            if group.classic.next_deadline().is_some_and(|at| at <= now) {
                group.classic.expire(now);
                group.deliver();
            }
            group.classic.next_deadline()
        };
        self.all().iter().filter_map(|(_, cell)| expire(cell)).min()
    }
}
