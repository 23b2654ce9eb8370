//! Heartbeats, and what they say of the membership.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{Before, Effect, Identity, Machine, Moment, Phase, is_fatal};
use crate::error::{At, Error, Result};
use crate::group::lease::lease_of_vacancy;
use crate::group::requests::SYNC_GROUP;
use crate::group::retry::Failures;

/// When the next heartbeat is due, and what the last ones brought.
#[derive(Debug)]
pub(super) struct Beat {
    due: Instant,
    under_way: bool,
    last_sent: Option<Instant>,
    failures: Failures,
    /// Until when the session surely lasts.
    pub(super) lease: Option<Instant>,
    /// When the last request was sent that the coordinator acknowledged.
    acknowledged: Option<Instant>,
}

impl Beat {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: now,
            under_way: false,
            last_sent: None,
            failures: Failures::default(),
            lease: None,
            acknowledged: None,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (!self.under_way).then_some(self.due)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    pub(super) fn sent(&mut self, now: Instant, interval: Duration) {
        self.under_way = true;
        self.last_sent = Some(now);
        self.due = now + interval;
    }

    /// The next one, soon; but not in a storm.
    pub(super) fn hurry(&mut self, distance: Duration) {
        let soon = self.last_sent.map_or(self.due, |last| last + distance);
        self.due = self.due.min(soon);
    }

    /// The next one, at once, whatever is under way.
    pub(super) fn now(&mut self, now: Instant) {
        (self.under_way, self.due) = (false, now);
    }

    /// A round brought a new generation: it begins like after a heartbeat.
    pub(super) fn restart(&mut self, now: Instant, interval: Duration) {
        self.due = now + interval;
        self.failures = Failures::default();
    }

    /// All is lost.
    pub(super) fn forget(&mut self) {
        (self.lease, self.acknowledged) = (None, None);
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| lease <= now)
    }
}

impl Machine {
    /// The coordinator acknowledged something that was sent then.
    pub(super) fn acknowledged(&mut self, sent: Instant) {
        let until = sent + self.settings.group.session_timeout;
        let until = self.beat.lease.map_or(until, |lease| lease.max(until));
        self.beat.lease = Some(until);
        self.beat.acknowledged = self.beat.acknowledged.max(Some(sent));
        self.beat.failures = Failures::default();
        self.effects.push(Effect::Lease(until));
    }

    /// Nobody coordinated the group then, so nobody took anything away.
    pub(super) fn vacant(&mut self, now: Instant, then: Instant) {
        let Beat { lease, acknowledged, .. } = self.beat;
        let session = self.settings.group.session_timeout;
        if let Some(until) = lease_of_vacancy(now, then, lease, acknowledged, session) {
            self.beat.lease = Some(until);
            self.effects.push(Effect::Lease(until));
        }
    }

    /// Whether it sends heartbeats, or what takes their place.
    pub(super) fn beats(&self) -> bool {
        match &self.phase {
            Phase::Leaving | Phase::Ended => false,
            Phase::Asking(_) => true,
            _ => self.stamp.is_member(),
        }
    }

    pub(super) fn beaten(&mut self, at: Moment, stamp: &Identity, sent: Instant, answer: Result<()>) {
        if matches!(self.phase, Phase::Asking(_)) {
            // Sent before the session ended.
            return;
        }
        self.beat.under_way = false;
        if *stamp == self.stamp {
            self.answered(at, sent, answer);
        }
    }

    fn answered(&mut self, at: Moment, sent: Instant, answer: Result<()>) {
        let code = answer.as_ref().err().and_then(Error::code);
        match (answer, code) {
            (Ok(()), _) => self.acknowledged(sent),
            (_, Some(ResponseError::RebalanceInProgress)) => {
                self.acknowledged(sent);
                // An answer that came too late says nothing of now: the session may have ended since.
                if matches!(self.phase, Phase::Stable { .. }) && !self.beat.has_expired(at.now) {
                    self.rejoin(at, "the group is rebalancing");
                }
            }
            (_, Some(ResponseError::UnknownMemberId)) => {
                self.lose(false);
                self.start_over(at.now, "the coordinator does not know the member any more");
            }
            // The generation that this member is just joining is there before the answer that tells of it.
            (_, Some(ResponseError::IllegalGeneration))
                if matches!(self.phase, Phase::Joining | Phase::Waiting { .. }) => {}
            (_, Some(ResponseError::IllegalGeneration)) => {
                self.lose(true);
                self.start_over(at.now, "the generation has passed");
            }
            (Err(error), _) if is_fatal(&error) => self.fail(error),
            (Err(error), _) => self.unanswered(at, error),
        }
    }

    /// A heartbeat came to nothing: the next one follows soon, perhaps to another coordinator. The lease goes on.
    fn unanswered(&mut self, at: Moment, error: Error) {
        let wait = self.beat.failures.wait_after(&error, at.now, &self.settings.retry, at.chance);
        self.beat.due = at.now + wait;
        // What waits at that coordinator would wait in vain; but a single late answer can be chance.
        let gone = match &error {
            Error::Timeout { .. } => self.beat.failures.are_several(),
            Error::Broker { code, .. } => *code != ResponseError::CoordinatorLoadInProgress,
            _ => true,
        };
        let waits = matches!(self.phase, Phase::Joining | Phase::Leading { .. } | Phase::Syncing { .. });
        self.effects.extend(self.beat.failures.worth_telling(error, at.now).map(Effect::Problem));
        if gone && waits {
            self.start_over(at.now + wait, "the coordinator did not answer");
        }
    }

    /// No heartbeat was acknowledged for a session timeout: the coordinator has given the partitions away, or will, or
    /// is away itself. Only the last answer of a complete round can be true still.
    pub(super) fn expired(&mut self, at: Moment) {
        self.effects.push(Effect::Problem(Error::Timeout {
            api: "Heartbeat",
            broker: format!("the coordinator of {}", At::Group(self.settings.group.group_id.clone())),
            after: self.settings.group.session_timeout,
        }));
        let before = match self.phase {
            Phase::Stable { assignor } => {
                Some(Before { stamp: self.stamp.clone(), assignor, led: self.led.clone() })
            }
            _ => None,
        };
        self.lose(true);
        self.start_over(at.now, "the session has expired");
        if let Some(before) = before {
            self.phase = Phase::Asking(before);
            self.beat.now(at.now);
        }
    }

    /// The coordinator was asked what the member has in the generation before its session ended.
    pub(super) fn asked(&mut self, at: Moment, stamp: &Identity, sent: Instant, answer: Result<Bytes>) {
        let Phase::Asking(before) = &self.phase else { return };
        if before.stamp != *stamp {
            return;
        }
        self.beat.under_way = false;
        match answer {
            // Its heartbeat was confirmed: there is a coordinator.
            Err(Error::Timeout { api: SYNC_GROUP, .. }) => {
                self.start_over(at.now, "the coordinator answered too late");
            }
            Err(error) => match error.code() {
                Some(ResponseError::RebalanceInProgress) => {
                    self.start_over(at.now, "the group is rebalancing");
                }
                // It was joined by a member that speaks another one since (a rolling change, or KIP-848).
                Some(ResponseError::InconsistentGroupProtocol) => {
                    self.start_over(at.now, "the group has another protocol");
                }
                _ => self.answered(at, sent, Err(error)),
            },
            // It was so when the question arrived, and is for a session from its sending. Who is told too late to be sure
            // would be the next time, too.
            Ok(_) if sent + self.settings.group.session_timeout <= at.now => {
                self.start_over(at.now, "the coordinator answered too late");
            }
            Ok(assignment) => {
                let assignor = before.assignor;
                if let Phase::Asking(before) = std::mem::replace(&mut self.phase, Phase::Syncing { assignor })
                {
                    (self.stamp, self.led) = (before.stamp, before.led);
                }
                self.synced(at, assignor, sent, Ok(assignment));
            }
        }
    }

    /// Whatever is under way is given up; the next attempt begins then.
    pub(super) fn start_over(&mut self, at: Instant, reason: &'static str) {
        self.attempt += 1;
        self.reason = reason;
        self.phase = Phase::Waiting { at: Some(at) };
    }
}
