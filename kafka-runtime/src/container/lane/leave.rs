//! What a lane does at the listener's gate: rate limit, circuit breaker, what is down.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::{Lane, Verdict};
use crate::container::commit::sleep_until;
use crate::container::flow::{Fate, Pass};
use crate::container::outcome::told;
use crate::container::recovery::Failed;
use crate::container::shared::{Counts, PartitionPhase, Signal};
use crate::container::status::EventKind;
use crate::listener::Failure;

impl Lane {
    /// Waits until the gate lets a record go. `false`: something else has to be looked at first.
    pub(super) async fn have_leave(&mut self, wish: u64) -> bool {
        let Some(flow) = self.work.flow.clone().filter(|_| self.pass.is_none()) else { return true };
        // Whoever waits here needs no permit.
        self.permit = None;
        let shared = Arc::clone(&self.shared);
        let due = self.transaction_due_at();
        tokio::select! {
            biased;
            pass = flow.pass(wish) => {
                self.pass = Some(pass);
                true
            }
            _ = shared.raised(Signal::Look) => false,
            () = sleep_until(due), if due.is_some() => false,
        }
    }

    /// What was taken is paid for, what was not comes back. A probe stays out until its outcome is known.
    pub(super) fn repay(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.spend(self.lent.saturating_sub(self.fuel));
            pass.give_back();
            self.lent = self.fuel;
            if !pass.is_probe() {
                self.pass = None;
            }
        }
    }

    /// Records were handled.
    pub(super) fn went_well(&mut self) {
        let Some(flow) = &self.work.flow else { return };
        if flow.succeeded(self.pass.as_ref().is_some_and(Pass::is_probe)) {
            info!(listener = self.work.id, "a probe succeeded: the circuit is closed, the listener goes on");
            self.work.events.emit(self.work.id, || EventKind::CircuitClosed);
        }
        if let Some(pass) = &mut self.pass {
            pass.settled();
        }
    }

    /// Whether the circuit has something to say to a failure.
    pub(super) fn fate(&mut self, failure: &Failure) -> Fate {
        let Some(flow) = &self.work.flow else { return Fate::Policy };
        let pass = self.pass.take();
        let fate =
            flow.failed(self.work.recovery.may_pass(failure), pass.as_ref().is_some_and(Pass::is_probe));
        if let (Some(mut pass), Fate::Again(_)) = (pass, fate) {
            pass.settled();
        }
        fate
    }

    /// The circuit is open, or something is down: the record waits with all others, and is tried again as if it had not been.
    pub(super) async fn wait_for_circuit(
        &mut self,
        failed: &Failed<'_>,
        failure: &Failure,
        opened: Option<Duration>,
    ) -> Verdict {
        let (listener, record, cause) = (self.work.id, failed.at(), told(failure));
        self.shared.add(Counts { failed: 1, ..Counts::default() });
        self.tell_failed(failed, &cause);
        let held_up_by = self.work.flow.as_ref().map(|flow| flow.held_up_by()).unwrap_or_default();
        self.shared.set_cause(Some(format!("{held_up_by} since {record}: {cause}")));
        if let Some(pause) = opened {
            warn!(listener, %record, ?pause, cause, "the circuit is open: the listener pauses, then probes with one record");
            self.work.events.emit(listener, || EventKind::CircuitOpened { pause, cause });
        }
        self.shared.set_phase(PartitionPhase::Retrying);
        self.try_again(Verdict::Again).await
    }
}
