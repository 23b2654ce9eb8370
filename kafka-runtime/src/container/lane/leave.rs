//! What a lane does at the listener's gate: rate limit, circuit breaker, what is down.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Lane;
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

    /// Whether it holds the probe.
    fn has_probe(&self) -> bool {
        self.pass.as_ref().is_some_and(Pass::is_probe)
    }

    /// What is delivered now shows if the circuit may close.
    #[inline]
    pub(super) fn probing_if_probe(&mut self, first: i64, last: i64) {
        if self.has_probe() {
            self.probing = Some(first..=last);
        }
    }

    /// Whether the probe is out and not settled yet.
    pub(super) fn is_probing(&mut self) -> bool {
        if self.probing.is_some() {
            self.count(0);
        }
        self.probing.is_some()
    }

    /// Records were handled.
    pub(super) fn went_well(&mut self) {
        let Some(flow) = &self.work.flow else { return };
        let is_settled = match (&self.issuer, &self.probing) {
            (Some(issuer), Some(offsets)) => !issuer.desk().is_open_within(offsets),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let is_probe = is_settled && self.has_probe();
        if flow.succeeded(is_probe) {
            info!(listener = self.work.id, "a probe succeeded: the circuit is closed, the listener goes on");
            self.work.events.emit(self.work.id, || EventKind::CircuitClosed);
        }
        if let Some(pass) = self.pass.as_mut().filter(|_| is_probe) {
            pass.settled();
            self.probing = None;
            self.repay();
        }
    }

    /// Whether the circuit, or the check, has something to say to the failure of the record at `offset`.
    pub(crate) async fn fate(&mut self, failure: &Failure, offset: i64) -> Fate {
        let Some(flow) = self.work.flow.clone() else { return Fate::Policy };
        let is_probe = match (&self.issuer, &self.probing) {
            (Some(_), probing) => probing.as_ref().is_some_and(|offsets| offsets.contains(&offset)),
            (None, _) => self.has_probe(),
        };
        let mut pass = self.pass.take_if(|_| is_probe);
        if is_probe {
            self.probing = None;
        }
        // Whoever waits for the check needs no permit.
        self.permit = None;
        let fate = tokio::select! {
            biased;
            fate = flow.failed(self.work.recovery.may_pass(failure), is_probe) => fate,
            // The next owner tries it; a probe is another one's.
            _ = self.shared.raised(Signal::Drain) => return Fate::Again(None),
        };
        if let (Some(pass), Fate::Again(_)) = (&mut pass, fate) {
            pass.settled();
        }
        fate
    }

    /// The circuit is open, or something is down: the record waits with all others, and is tried again as if it had not been.
    pub(crate) fn tell_held_up(&self, failed: &Failed<'_>, failure: &Failure, opened: Option<Duration>) {
        let (listener, record, cause) = (self.work.id, failed.at(), told(failure));
        self.shared.add(Counts { failed: 1, ..Counts::default() });
        self.tell_failed(failed, &cause);
        self.shared.set_cause(self.work.flow.as_ref().map(|flow| flow.held_up_since(record, &cause)));
        if let Some(pause) = opened {
            warn!(listener, %record, ?pause, cause, "the circuit is open: the listener pauses, then probes with one record");
            self.work.events.emit(listener, || EventKind::CircuitOpened { pause, cause });
        }
        self.shared.set_phase(PartitionPhase::Retrying);
    }
}
