//! What is looked at now and then of a partition: a handler that may be stuck, an acknowledgement that is late, idleness.

use tokio::time::Instant;
use tracing::warn;

use super::partition::PartitionRemote;
use super::shared::PartitionPhase;
use super::status::{EventKind, Idleness, Rest, describe};
use super::work::ListenerWork;

/// What the last look saw.
#[derive(Debug)]
pub(super) struct Watched {
    /// The record that is in hand the longest, and since when it is.
    position: i64,
    since: Instant,
    /// Whether it was said that this is long.
    said: bool,
    /// The record whose acknowledgement is late, if that was said.
    late: Option<i64>,
    idleness: Idleness,
}

impl Watched {
    pub(super) fn new(remote: &PartitionRemote, now: Instant) -> Self {
        let position = remote.shared.longest_running();
        Self { position, since: now, said: false, late: None, idleness: Idleness::new(now) }
    }

    /// Looks again, and tells what has changed.
    pub(super) fn look(&mut self, remote: &PartitionRemote, work: &ListenerWork, now: Instant) {
        // Whoever asks for an explanation is told since when.
        remote.shared.age_in_hand(remote.shared.position());
        self.look_for_stuck(remote, work, now);
        self.look_for_late(remote, work, now);
        self.look_for_idleness(remote, work, now);
    }

    fn look_for_stuck(&mut self, remote: &PartitionRemote, work: &ListenerWork, now: Instant) {
        let (id, shared, limit) = (work.id, &remote.shared, work.settings.max_poll_interval);
        let (partition, offset) = (shared.partition, shared.longest_running());
        let since = now.duration_since(self.since);
        if shared.phase() != PartitionPhase::Running || self.position != offset {
            (self.position, self.since, self.said) = (offset, now, false);
            if shared.stuck().is_some() {
                shared.set_stuck(None);
                work.events.emit(id, || EventKind::NoLongerStuck { partition });
            }
        } else if since > limit / 2 && !self.said {
            self.said = true;
            let record = describe(id, shared, offset);
            warn!(
                listener = id,
                record,
                ?limit,
                "a handler has been running for more than half of max-poll-interval"
            );
        } else if since > limit && shared.stuck().is_none() {
            shared.set_stuck(Some(offset));
            let record = describe(id, shared, offset);
            warn!(
                listener = id,
                record,
                ?limit,
                "a handler has been running for longer than max-poll-interval"
            );
            work.events.emit(id, || EventKind::Stuck { partition, offset, since });
        }
    }

    /// An `Ack` that nobody uses: handlers go on, but nothing behind it is committed.
    fn look_for_late(&mut self, remote: &PartitionRemote, work: &ListenerWork, now: Instant) {
        let (id, shared, limit) = (work.id, &remote.shared, work.settings.max_poll_interval);
        let (partition, in_hand) = (shared.partition, shared.position());
        let is_running = shared.phase() == PartitionPhase::Running;
        let awaited = remote.desk.as_ref().and_then(|desk| desk.awaited());
        let awaited = awaited.map(|(offset, since)| (offset, now.saturating_duration_since(since)));
        let late = awaited.filter(|(offset, since)| *since > limit && !(is_running && *offset == in_hand));
        let was_late = std::mem::replace(&mut self.late, late.map(|(offset, _)| offset));
        match late {
            Some((offset, since)) if was_late != Some(offset) => {
                warn!(
                    listener = id, %partition, offset, ?since,
                    "a record is not acknowledged for longer than max-poll-interval: nothing behind it is committed"
                );
                work.events.emit(id, || EventKind::Stuck { partition, offset, since });
            }
            None if was_late.is_some() => work.events.emit(id, || EventKind::NoLongerStuck { partition }),
            _ => {}
        }
    }

    fn look_for_idleness(&mut self, remote: &PartitionRemote, work: &ListenerWork, now: Instant) {
        let Some(interval) = work.settings.idle_partition_event_interval else { return };
        let (id, shared) = (work.id, &remote.shared);
        let busy = !matches!(shared.phase(), PartitionPhase::Idle | PartitionPhase::Paused);
        let partition = Some(shared.partition);
        match self.idleness.look(shared.longest_running().unsigned_abs(), busy, now, interval) {
            Some(Rest::Idle(since)) => work.events.emit(id, || EventKind::Idle { partition, since }),
            Some(Rest::Over) => work.events.emit(id, || EventKind::NoLongerIdle { partition }),
            None => {}
        }
    }
}
