//! The workers of a listener: standing tasks, at most `concurrency` of them, that take records from the desks of all of
//! its partitions.
//!
//! ```text
//!   a partition's loop ──offer──▶ Pool (who has records, who is idle) ──▶ worker ──take / finish / park──▶ Desk
//! ```
//!
//! A worker is started when there is more to do than workers that stand idle, and lives as long as the listener holds
//! partitions. It takes its records from one partition for a while, then from the next that has some.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Site;
use crate::container::work::ListenerWork;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// The most handlers at once.
    limit: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Partitions that have records for workers.
    waiting: VecDeque<Arc<Site>>,
    idle: Vec<Arc<Notify>>,
    workers: usize,
    /// Partitions that may still have records.
    partitions: usize,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit: AtomicUsize::new(limit.max(1)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most handlers at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the most handlers at once. Those in hand finish.
    pub(crate) fn set_limit(&self, work: &Arc<ListenerWork>, limit: usize) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
        let waiting: Vec<_> = {
            let mut state = self.state();
            // Whoever is above the limit finds out and goes.
            state.idle.drain(..).for_each(|idle| idle.notify_one());
            state.waiting.iter().cloned().collect()
        };
        for site in waiting {
            self.offer(work, &site);
        }
    }

    /// A partition that will have records, until it is dropped.
    pub(crate) fn join(self: &Arc<Self>) -> Joined {
        self.state().partitions += 1;
        Joined(Arc::clone(self))
    }

    /// The partition has records that may be taken: as many workers as can take one are called.
    pub(crate) fn offer(&self, work: &Arc<ListenerWork>, site: &Arc<Site>) {
        let ready = site.desk.takeable();
        if ready == 0 {
            return;
        }
        let (called, started) = {
            let mut state = self.state();
            state.list(site);
            let stay = state.idle.len().saturating_sub(ready);
            let called = state.idle.split_off(stay);
            let started = (ready - called.len()).min(self.limit().saturating_sub(state.workers));
            state.workers += started;
            (called, started)
        };
        called.iter().for_each(|idle| idle.notify_one());
        for _ in 0..started {
            let worker = Worker { pool: Arc::clone(&work.pool), call: Arc::default(), gone: false };
            let work = Arc::clone(work);
            tokio::spawn(async move { work.bound.work_off(&work, worker).await });
        }
    }
}

impl State {
    fn list(&mut self, site: &Arc<Site>) {
        if !site.desk.listed.swap(true, Ordering::Relaxed) {
            self.waiting.push_back(Arc::clone(site));
        }
    }

    /// The next partition with records; it stays in the line while it has more than one.
    fn next(&mut self) -> Option<Arc<Site>> {
        let site = self.waiting.pop_front()?;
        site.desk.listed.store(false, Ordering::Relaxed);
        if site.desk.takeable() > 1 {
            self.list(&site);
        }
        Some(site)
    }
}

/// A partition's part in the pool.
#[derive(Debug)]
pub(crate) struct Joined(Arc<Pool>);

impl Drop for Joined {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.partitions -= 1;
        if state.partitions == 0 {
            // Nobody calls them any more.
            state.waiting.clear();
            state.idle.drain(..).for_each(|idle| idle.notify_one());
        }
    }
}

/// One worker's place in the pool.
#[derive(Debug)]
pub(crate) struct Worker {
    pool: Arc<Pool>,
    call: Arc<Notify>,
    /// It is counted no more.
    gone: bool,
}

impl Worker {
    /// The next partition with records, when there is one. `None`: it is not needed any more.
    pub(crate) async fn next(&mut self) -> Option<Arc<Site>> {
        loop {
            {
                let mut state = self.pool.state();
                if state.partitions == 0 || state.workers > self.pool.limit() {
                    // Under the same lock: of two that are one too many, one stays.
                    state.workers -= 1;
                    self.gone = true;
                    return None;
                }
                if let Some(site) = state.next() {
                    return Some(site);
                }
                state.idle.push(Arc::clone(&self.call));
            }
            self.call.notified().await;
        }
    }

    /// Whether there are more workers than may be.
    pub(crate) fn is_too_many(&self) -> bool {
        self.pool.state().workers > self.pool.limit()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.gone {
            self.pool.state().workers -= 1;
        }
    }
}
