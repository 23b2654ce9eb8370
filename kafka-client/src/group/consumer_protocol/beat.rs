//! Heartbeats: when, and what they say.

use std::time::Duration;

use tokio::time::Instant;

use super::{Effect, JOIN, Known, Machine, Phase, Report};
use crate::group::lease::lease_of_vacancy;
use crate::group::retry::Failures;

/// When the next heartbeat is due, and what the last ones brought.
#[derive(Debug)]
pub(super) struct Beat {
    due: Instant,
    /// The heartbeat that is under way.
    under_way: Option<u64>,
    last_sent: Option<Instant>,
    /// When the last one was sent that was answered.
    acknowledged: Option<Instant>,
    turns: u64,
    pub(super) failures: Failures,
    /// The coordinator's `group.consumer.session.timeout.ms`.
    pub(super) session: Duration,
    /// Until when the session surely lasts.
    pub(super) lease: Option<Instant>,
    /// Said by the heartbeat that is under way.
    saying: Known,
}

impl Beat {
    pub(super) fn new(now: Instant, session: Duration) -> Self {
        Self {
            due: now,
            under_way: None,
            last_sent: None,
            acknowledged: None,
            turns: 0,
            failures: Failures::default(),
            session,
            lease: None,
            saying: Known::default(),
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.under_way.is_none().then_some(self.due)
    }

    /// The next one, soon; but not in a storm.
    pub(super) fn hurry(&mut self, distance: Duration) {
        let soon = self.last_sent.map_or(self.due, |last| last + distance);
        self.due = self.due.min(soon);
    }

    pub(super) fn wait_until(&mut self, at: Instant) {
        self.due = at;
    }

    /// Whether this is the answer that is waited for.
    pub(super) fn is_over(&mut self, turn: u64) -> bool {
        self.under_way.take_if(|waited| *waited == turn).is_some()
    }

    /// What was sent then was answered. When the last one before it was sent.
    pub(super) fn acknowledged(&mut self, sent: Instant, interval: Duration) -> Option<Instant> {
        self.failures = Failures::default();
        self.due = sent + interval;
        self.lease = Some(sent + self.session);
        self.acknowledged.replace(sent)
    }

    /// The coordinator's session timeout is known: it counts from the last answer on.
    pub(super) fn set_session(&mut self, session: Duration) {
        self.session = session;
        self.lease = self.lease.and(self.acknowledged).map(|sent| sent + session);
    }

    /// The number of the last heartbeat.
    #[cfg(test)]
    pub(super) fn turn(&self) -> u64 {
        self.turns
    }

    pub(super) fn last_acknowledged(&self) -> Option<Instant> {
        self.acknowledged
    }

    pub(super) fn take_saying(&mut self) -> Known {
        std::mem::take(&mut self.saying)
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| lease <= now)
    }

    /// All is lost: what is under way means nothing any more.
    pub(super) fn forget(&mut self) {
        self.under_way = None;
        self.acknowledged = None;
        self.lease = None;
    }
}

impl Machine {
    /// Nobody coordinated the group then, so nobody took anything away.
    pub(super) fn vacant(&mut self, now: Instant, then: Instant) {
        let Beat { lease, acknowledged, session, .. } = self.beat;
        if let Some(until) = lease_of_vacancy(now, then, lease, acknowledged, session) {
            self.beat.lease = Some(until);
            self.effects.push(Effect::Lease(until));
        }
    }

    /// Sends a heartbeat. One that joins, or follows one without an answer, says everything.
    pub(super) fn send(&mut self, now: Instant) {
        let epoch = match self.phase {
            Phase::Joining => JOIN,
            Phase::Asking { epoch } => epoch,
            _ => self.stamp.generation,
        };
        let introduces = epoch == JOIN || self.unsure;
        let topics =
            Some(self.wanted()).filter(|wanted| introduces || self.known.topics.as_ref() != Some(wanted));
        let held =
            Some(self.held.clone()).filter(|held| introduces || self.known.held.as_ref() != Some(held));
        let by_id =
            held.as_ref().map(|held| held.iter().map(|(partition, id)| (*id, partition.partition)).collect());
        let report = Report { epoch, introduces, topics: topics.clone(), held: by_id };
        self.beat.turns += 1;
        self.beat.under_way = Some(self.beat.turns);
        self.beat.last_sent = Some(now);
        self.beat.saying = Known { topics, held };
        self.effects.push(Effect::Beat { turn: self.beat.turns, report });
    }
}
