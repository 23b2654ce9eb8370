//! What a lane does about committing, in the way of the strategy.

use tracing::warn;

use super::{LOOK_AGAIN, Lane};
use crate::config::CommitStrategy;
use crate::container::cadence::Due;
use crate::container::shared::Signal;

impl Lane {
    /// What [`Signal::Commit`] asks for.
    pub(crate) async fn commit_as_asked(&mut self) {
        self.shared.commit_taken();
        self.commit_and_wait().await;
        self.shared.set_phase(self.rest);
    }

    /// Whether dispatch may go on, with `wish` records.
    pub(super) async fn commit_if_due(&mut self, drained: bool, wish: u64) -> bool {
        let Some(committer) = &self.committer else { return self.transaction_if_due(drained, wish).await };
        self.meter.confirmed(self.shared.committed());
        match self.meter.due(drained, wish) {
            // A commit that was confirmed just now may have made some room, and not enough.
            Due::Nothing => drained || self.is_again || wish == 0 || !self.meter.is_held(wish),
            Due::Commit => {
                self.meter.asked();
                match committer.strategy() {
                    CommitStrategy::Sync => self.commit_and_wait().await,
                    CommitStrategy::Async | CommitStrategy::Combined => committer.ask(&self.shared),
                }
                true
            }
            Due::Confirm => {
                self.confirm().await;
                if self.meter.due(drained, wish) == Due::Confirm && self.shared.signal() < Signal::Drain {
                    // Refused: dispatch waits for it all the same, that is what the bound is for.
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                false
            }
        }
    }

    /// Commits what may be, for the room that makes.
    pub(super) async fn confirm(&mut self) {
        self.commit_and_wait().await;
        self.meter.confirmed(self.shared.committed());
    }

    async fn commit_and_wait(&mut self) {
        let Some(committer) = self.committer.clone() else { return };
        self.waiting();
        self.meter.asked();
        let partition = self.partition();
        tokio::select! {
            biased;
            result = committer.commit_sync(&self.shared) => {
                if let Err(cause) = result {
                    let listener = self.work.id;
                    warn!(listener, %partition, %cause, "a synchronous commit failed for good: these records come again after a restart");
                }
            }
            // Whoever takes the partition commits it.
            _ = self.shared.raised(Signal::Drain) => {}
        }
    }
}
