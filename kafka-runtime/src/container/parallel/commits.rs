//! When a partition whose records run side by side asks for a commit.
//!
//! A bound on what a crash repeats is kept by the desk, which hands out no more than that; here a commit is asked for
//! when half of it is used, so that dispatch need not stand still for it.

use std::sync::Arc;

use kafka_client::config::OffsetReset;
use kafka_client::consumer::Start;
use tokio::time::{Duration, Instant};
use tracing::warn;

use super::Site;
use super::desk::{Gate, Totals};
use crate::config::{Cadence, CommitStrategy, ListenerSettings};
use crate::container::commit::{Answer, Committer};
use crate::container::shared::Signal;

/// When a commit that was refused is asked for again, where dispatch waits for it.
const AGAIN: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Commits {
    committer: Option<Committer>,
    site: Arc<Site>,
    listener: Arc<str>,
    cadence: Cadence,
    /// The most that one drain of the queue hands over.
    drain: u64,
    /// Records that were finished when a commit was asked for last.
    asked: u64,
    /// A commit that dispatch may come to wait for.
    awaited: Option<Answer>,
    again: Option<Instant>,
}

impl Commits {
    pub(super) fn new(committer: Option<Committer>, site: Arc<Site>, settings: &ListenerSettings) -> Self {
        Self {
            committer,
            site,
            listener: settings.id.as_str().into(),
            cadence: settings.cadence,
            drain: u64::try_from(settings.max_poll_records).unwrap_or(u64::MAX).max(1),
            asked: 0,
            awaited: None,
            again: None,
        }
    }

    /// A start that was chosen rather than committed is committed at once, or a crash before the first commit would
    /// choose again, further on.
    pub(super) fn of_start(&self, start: &Start, reset: OffsetReset) {
        let chosen = start.committed.as_ref().is_none_or(|committed| committed.offset != start.offset);
        if let Some(committer) = self.committer.as_ref().filter(|_| chosen && reset != OffsetReset::Earliest)
        {
            committer.insist(&self.site.shared);
        }
    }

    /// A new epoch of the position.
    pub(super) fn restart(&mut self) {
        (self.asked, self.awaited, self.again) = (0, None, None);
    }

    fn bound(&self) -> Option<u64> {
        self.cadence.bound().filter(|_| self.committer.is_some())
    }

    /// Asks for a commit if one is due, in the way of the strategy. When to look again, if that is not for others to say.
    pub(super) async fn if_due(&mut self, now: Instant) -> Option<Instant> {
        let committer = self.committer.clone()?;
        if self.again.take_if(|again| *again <= now).is_some() {
            self.asked = 0;
        }
        let totals = self.site.desk.totals();
        if self.is_due(&totals) && self.again.is_none() {
            match committer.strategy() {
                // The next one is asked for when this is answered.
                _ if self.awaited.is_some() => return self.again,
                CommitStrategy::Sync => self.and_wait(&committer).await,
                _ if self.bound().is_some() => {
                    self.awaited = Some(committer.request_sync(&self.site.shared));
                }
                CommitStrategy::Async | CommitStrategy::Combined => committer.ask(&self.site.shared),
            }
            self.asked = totals.finished;
        }
        self.again
    }

    fn is_due(&self, totals: &Totals) -> bool {
        let since = totals.finished.saturating_sub(self.asked);
        since > 0
            && match (self.cadence, self.bound()) {
                (Cadence::Record, _) => true,
                (Cadence::Batch, _) => since >= self.drain || totals.window == 0,
                (_, Some(bound)) => {
                    let is_blocked = totals.ready > 0 && totals.takeable == 0;
                    is_blocked || (totals.finished - totals.confirmed).saturating_mul(2) >= bound
                }
                _ => false,
            }
    }

    /// Lets the desk say when the next commit is due, or when no more than `window` records are open.
    /// `false`: that is so already.
    pub(super) fn tell_at(&self, window: Option<usize>) -> bool {
        let totals = self.site.desk.totals();
        let next = totals.finished.max(self.asked) + 1;
        let finished = match (self.cadence, self.bound()) {
            (Cadence::Record, _) => next,
            (Cadence::Batch, _) => next.max(self.asked.saturating_add(self.drain)),
            (_, Some(bound)) => next.max(totals.confirmed.saturating_add(bound.div_ceil(2))),
            _ => u64::MAX,
        };
        match window {
            Some(low) if totals.window > low => self.site.desk.tell_at(finished, Some(low)),
            // What is finished ahead of an open record blocks it.
            Some(_) => self.site.desk.tell_at(next, None),
            None => self.site.desk.tell_at(finished, None),
        }
    }

    /// What [`Signal::Commit`] asks for.
    pub(super) async fn as_asked(&mut self) {
        self.site.shared.commit_taken();
        if let Some(committer) = self.committer.clone() {
            self.asked = self.site.desk.totals().finished;
            self.and_wait(&committer).await;
        }
    }

    /// Nothing is handed out until the commit is answered, and the loop has looked at what else stands against it.
    async fn and_wait(&mut self, committer: &Committer) {
        let Site { shared, desk, .. } = &*self.site;
        desk.set_gate(Gate::Held);
        tokio::select! {
            biased;
            result = committer.commit_sync(shared) => if let Err(cause) = result {
                self.again = Some(Instant::now() + AGAIN);
                let (listener, partition) = (&*self.listener, shared.partition);
                warn!(listener, %partition, %cause, "a synchronous commit failed for good: these records come again after a restart");
            },
            // Whoever takes the partition commits it.
            _ = shared.raised(Signal::Drain) => {}
        }
    }

    /// Waits for the answer that dispatch may wait for; forever without one.
    pub(super) async fn answered(&mut self) {
        let Some(answer) = &mut self.awaited else { return std::future::pending().await };
        let answer = answer.await;
        self.awaited = None;
        if answer.is_ok_and(|answer| answer.is_err()) {
            self.again = Some(Instant::now() + AGAIN);
        }
    }
}
