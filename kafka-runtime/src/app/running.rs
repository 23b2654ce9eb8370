//! An application at work.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::Error as ClientError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::summary::Summary;
use crate::config::Config;
use crate::container::{Board, ListenerState, ListenerStatus, OpenRecord};
use crate::error::{Error, Result};
use crate::listener::States;
use crate::template::Template;

/// How often [`RunningApp::handled`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How a member of a listener ended.
pub(super) type MemberEnd = (&'static str, std::result::Result<(), ClientError>);

/// An application at work. Dropping it stops it without waiting: see [`RunningApp::stop`].
pub struct RunningApp {
    pub(super) config: Config,
    pub(super) states: States,
    pub(super) template: Template,
    pub(super) boards: BTreeMap<&'static str, Arc<Board>>,
    pub(super) members: JoinSet<MemberEnd>,
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

    /// Each listener, by id.
    #[must_use]
    pub fn status(&self) -> Vec<ListenerStatus> {
        self.boards.values().map(|board| board.status()).collect()
    }

    /// Which records hold up their partitions: those that were begun and are not finished, with their keys, how long it
    /// has been and what they wait for; with `ordering = "key"` the parked ones too. The oldest first.
    #[must_use]
    pub fn explain(&self) -> Vec<OpenRecord> {
        let mut open: Vec<OpenRecord> = self.boards.values().flat_map(|board| board.explain()).collect();
        open.sort_by_key(|record| std::cmp::Reverse(record.age));
        open
    }

    /// Changes the `concurrency` of the listener `id` while it runs: the most handlers at once, at least 1. Those in
    /// hand finish. `false`: no such listener runs. A restart of the listener begins with the configured one again.
    pub fn set_concurrency(&self, id: &str, most: usize) -> bool {
        self.boards.get(id).is_some_and(|board| board.set_concurrency(most))
    }

    /// Waits until each listener that was started holds a partition: what is sent from then on is seen by all of them,
    /// also with `auto-offset-reset: latest`. A listener in reserve (more members than partitions) never holds one, and
    /// none does while brokers are away: put a deadline around it.
    pub async fn ready(&self) {
        let waits = |board: &Board| {
            let status = board.status();
            status.state == ListenerState::Running && status.partitions.is_empty()
        };
        while self.boards.values().any(|board| waits(board)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the listener `id` has handled `count` records since the start (batches count their records).
    ///
    /// # Panics
    /// There is no such listener.
    pub async fn handled(&self, id: &str, count: u64) {
        let board = self.boards.get(id);
        assert!(board.is_some(), "no listener `{id}` runs; there are {:?}", self.boards.keys());
        while board.is_some_and(|board| board.counts().handled < count) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Commits whatever is handled and not committed, and waits for it; failures are logged as ever.
    pub async fn commit_now(&self) {
        for board in self.boards.values() {
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
        let ended = async { while self.members.join_next().await.is_some() {} };
        if timeout_at(deadline, ended).await.is_err() {
            warn!(timeout = ?self.shutdown_timeout, "listeners did not stop in time");
            self.members.abort_all();
        }
        let unsent = self.template.close().await.err().map(|error| error.to_string());
        let summary = Summary {
            listeners: self.status(),
            undone: self.boards.values().flat_map(|board| board.undone()).collect(),
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
                    Some(ended) = self.members.join_next() => {
                        failed.extend(self.note_end(ended));
                        if self.members.is_empty() && !failed.is_empty() {
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

    /// A listener that ends by itself has failed: it said so, and the application goes on without it.
    fn note_end(&self, ended: std::result::Result<MemberEnd, tokio::task::JoinError>) -> Option<String> {
        match ended {
            Ok((_, Ok(()))) => None,
            Ok((id, Err(cause))) => Some(format!("{id}: {cause}")),
            Err(cause) => {
                // A bug of this library; whose member it was is not known here.
                error!(%cause, "a listener's task ended unexpectedly");
                for board in self.boards.values().filter(|_| cause.is_panic()) {
                    board.set_problem(Some(cause.to_string()));
                }
                Some(cause.to_string())
            }
        }
    }

    pub(super) fn new_board(&mut self, id: &'static str, state: ListenerState) -> Arc<Board> {
        let board = Arc::new(Board::new(id, state));
        self.boards.insert(id, Arc::clone(&board));
        board
    }
}
