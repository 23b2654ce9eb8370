//! An application at work.

use std::any::TypeId;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::listeners::Listeners;
use super::summary::Summary;
use crate::config::Config;
use crate::container::{Board, Health, ListenerState, ListenerStatus, OpenRecord, PartitionLag};
use crate::dead_letter::{Replay, ReplayError, Replayed};
use crate::error::{Error, Result};
use crate::listener::States;
use crate::template::Template;

/// How often [`RunningApp::handled`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// An application at work. Dropping it stops it without waiting: see [`RunningApp::stop`].
pub struct RunningApp {
    pub(super) config: Config,
    pub(super) states: States,
    pub(super) template: Template,
    pub(super) listeners: Listeners,
    /// One for each listener.
    pub(super) crews: JoinSet<()>,
    /// Listeners that failed: id and cause.
    pub(super) failures: mpsc::UnboundedReceiver<(&'static str, String)>,
    pub(super) stop: watch::Sender<Option<Instant>>,
    pub(super) shutdown_timeout: Duration,
}

impl std::fmt::Debug for RunningApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningApp").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl RunningApp {
    /// The template.
    #[must_use]
    pub fn template(&self) -> Template {
        self.template.clone()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A state that was put in.
    #[must_use]
    pub fn get_state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.states.get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }

    /// Sends dead letters back to where they failed, each at most once: see [`Replay`].
    ///
    /// # Errors
    /// Why it ended early; what was sent back until then is noted.
    pub async fn replay(&self, replay: Replay) -> std::result::Result<Replayed, ReplayError> {
        replay.run(&self.config).await
    }

    /// The listeners, to look at and to steer: to keep, and to hand on.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        self.listeners.clone()
    }

    /// Each listener, by id.
    #[must_use]
    pub fn status(&self) -> Vec<ListenerStatus> {
        self.listeners.status()
    }

    /// As [`Listeners::health`].
    #[must_use]
    pub fn health(&self) -> Health {
        self.listeners.health()
    }

    /// As [`Listeners::lag`].
    #[must_use]
    pub fn lag(&self) -> Vec<PartitionLag> {
        self.listeners.lag()
    }

    /// Which records hold up their partitions: those that were begun and are not finished, with their keys, how long it
    /// has been and what they wait for; with `ordering = "key"` the parked ones too. The oldest first.
    #[must_use]
    pub fn explain(&self) -> Vec<OpenRecord> {
        let mut open: Vec<OpenRecord> = self.listeners.boards().flat_map(|board| board.explain()).collect();
        open.sort_by_key(|record| std::cmp::Reverse(record.age));
        open
    }

    /// Waits until each listener that was started holds a partition: what is sent from then on is seen by all of them,
    /// also with `auto-offset-reset: latest`. A listener in reserve (more members than partitions) never holds one, and
    /// none does while brokers are away: put a deadline around it.
    pub async fn ready(&self) {
        let waits = |board: &Board| {
            let status = board.status();
            status.state == ListenerState::Running && status.partitions.is_empty()
        };
        while self.listeners.boards().any(|board| waits(board)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the listener `id` has handled `count` records since the start (batches count their records).
    ///
    /// # Panics
    /// There is no such listener.
    pub async fn handled(&self, id: &str, count: u64) {
        let board = self.listeners.board(id);
        assert!(board.is_some(), "no listener `{id}` runs; there are {:?}", self.listeners.ids());
        while board.is_some_and(|board| board.counts().handled < count) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Commits whatever is handled and not committed, and waits for it; failures are logged as ever.
    pub async fn commit_now(&self) {
        for board in self.listeners.boards() {
            board.commit_now().await;
        }
    }

    /// Stops gracefully within `kafka-runtime.listener.shutdown-timeout`: fetching ends, handlers in hand finish,
    /// offsets are committed, groups are left (not by static members), sends are flushed.
    ///
    /// # Errors
    /// None so far: what was left undone stands in the summary, and is logged.
    pub async fn stop(mut self) -> Result<Summary> {
        Ok(self.stop_all().await)
    }

    async fn stop_all(&mut self) -> Summary {
        let begin = Instant::now();
        let deadline = begin + self.shutdown_timeout;
        self.stop.send_replace(Some(deadline));
        let ended = async { while self.crews.join_next().await.is_some() {} };
        if timeout_at(deadline, ended).await.is_err() {
            warn!(timeout = ?self.shutdown_timeout, "listeners did not stop in time");
            self.crews.abort_all();
        }
        let unsent = self.template.close().await.err().map(|error| error.to_string());
        let summary = Summary {
            listeners: self.status(),
            undone: self.listeners.boards().flat_map(|board| board.undone()).collect(),
            unsent,
            took: begin.elapsed(),
        };
        match summary.is_clean() {
            true => info!("{summary}"),
            false => warn!("{summary}"),
        }
        summary
    }

    /// Runs until `stop`; `hurry` ends the graceful stop early.
    pub(super) async fn run_until(
        mut self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<()> {
        let mut failed = Vec::new();
        {
            let mut stop = std::pin::pin!(stop);
            loop {
                tokio::select! {
                    () = &mut stop => break,
                    Some((id, cause)) = self.failures.recv() => {
                        failed.push(format!("{id}: {cause}"));
                        if self.nothing_is_left() {
                            self.stop_all().await;
                            return Err(Error::AllFailed(failed));
                        }
                    }
                }
            }
        }
        let summary = tokio::select! {
            summary = self.stop_all() => summary,
            () = hurry => return Err(Error::Impatient),
        };
        if summary.is_clean() { Ok(()) } else { Err(Error::Unfinished(Box::new(summary))) }
    }

    /// Whether every listener that was started has failed, and none was stopped by somebody who may start it again.
    fn nothing_is_left(&self) -> bool {
        let over = |board: &Arc<Board>| {
            matches!(board.state(), ListenerState::Failed(_) | ListenerState::NotStarted)
        };
        self.listeners.boards().all(over)
    }
}
