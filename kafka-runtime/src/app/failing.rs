//! The end of a listener that nobody asked for: told everywhere, never silent.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tracing::error;

use crate::container::{Board, EventKind, Events, ListenerState};

/// Where it is told that a listener has failed.
pub(super) struct Failing {
    pub(super) id: &'static str,
    pub(super) board: Arc<Board>,
    pub(super) events: Events,
    /// The application's ear: id and cause.
    pub(super) failures: mpsc::UnboundedSender<(&'static str, String)>,
}

impl Failing {
    /// Runs what works for the listener. A panic there is a bug of this library, and the end of the listener.
    pub(super) async fn watch(self, run: impl Future<Output = ()>) {
        if AssertUnwindSafe(run).catch_unwind().await.is_err() {
            self.fail("its task panicked, which is a bug".into());
        }
    }

    /// Nobody is left who goes on. A member may have told that already.
    pub(super) fn fail(&self, cause: String) {
        if !matches!(self.board.state(), ListenerState::Failed(_)) {
            error!(listener = self.id, cause, "listener failed; the application goes on without it");
            self.board.set_state(ListenerState::Failed(cause.clone()));
            self.events.emit(self.id, || EventKind::Failed { cause: cause.clone() });
        }
        // The application listens until it has stopped.
        let _ = self.failures.send((self.id, cause));
    }
}

/// What is said of a task of ours that did not run to its end.
pub(super) fn bug(ended: &JoinError) -> String {
    format!("a task of it ended early, which is a bug: {ended}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Health, HealthStatus};

    #[tokio::test]
    async fn a_task_that_panics_takes_the_listener_down_and_tells_it() {
        let (failures, mut heard) = mpsc::unbounded_channel();
        let board = Arc::new(Board::new("bill", ListenerState::Running));
        let events = Events::default();
        let mut told = events.subscribe();
        let failing = Failing { id: "bill", board: Arc::clone(&board), events, failures };
        failing.watch(async { panic!("a bug of the test's") }).await;
        let cause = "its task panicked, which is a bug";
        assert_eq!(heard.recv().await, Some(("bill", cause.into())));
        let event = told.next().await.unwrap();
        assert!(matches!(&event.kind, EventKind::Failed { cause: told } if told == cause), "{event:?}");
        let health = Health::of(&[board.status()]);
        assert_eq!((health.status, health.is_alive()), (HealthStatus::Down, false), "{health:?}");
    }
}
