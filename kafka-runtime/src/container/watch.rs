//! What is looked at now and then of a partition: a handler that may be stuck, an acknowledgement that is late, idleness.

use std::time::Duration;

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
    /// With its handler.
    handler: Patience,
    /// With who has its `Ack`.
    acknowledgement: Patience,
    idleness: Idleness,
}

/// How long a record is waited for: each news of that once.
#[derive(Debug, Default)]
struct Patience {
    offset: Option<i64>,
    said: Option<Length>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Length {
    /// More than half of what is allowed.
    Long,
    TooLong,
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    Waits(Length),
    /// What was waited for too long is not waited for any more.
    Over,
}

impl Patience {
    /// The record that is waited for, and how long by now.
    fn look(&mut self, waited: Option<(i64, Duration)>, limit: Duration) -> Option<News> {
        let offset = waited.map(|(offset, _)| offset);
        if self.offset != offset {
            let before = std::mem::replace(self, Self { offset, said: None });
            if before.said == Some(Length::TooLong) {
                return Some(News::Over);
            }
        }
        let length = match waited?.1 {
            time if time > limit => Length::TooLong,
            time if time > limit / 2 => Length::Long,
            _ => return None,
        };
        let is_news = self.said < Some(length);
        self.said = self.said.max(Some(length));
        is_news.then_some(News::Waits(length))
    }
}

impl Watched {
    pub(super) fn new(remote: &PartitionRemote, now: Instant) -> Self {
        Self {
            position: remote.shared.longest_running(),
            since: now,
            handler: Patience::default(),
            acknowledgement: Patience::default(),
            idleness: Idleness::new(now),
        }
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
        let is_running = shared.phase() == PartitionPhase::Running;
        if !is_running || self.position != offset {
            (self.position, self.since) = (offset, now);
        }
        let since = now.duration_since(self.since);
        let words = match self.handler.look(is_running.then_some((offset, since)), limit) {
            None => return,
            Some(News::Over) => {
                shared.set_stuck(None);
                return work.events.emit(id, || EventKind::NoLongerStuck { partition });
            }
            Some(News::Waits(Length::Long)) => {
                "a handler has been running for more than half of max-poll-interval"
            }
            Some(News::Waits(Length::TooLong)) => {
                shared.set_stuck(Some(offset));
                work.events.emit(id, || EventKind::Stuck { partition, offset, since });
                "a handler has been running for longer than max-poll-interval"
            }
        };
        let record = describe(id, remote, offset);
        warn!(listener = id, %record, ?limit, "{words}");
    }

    /// An `Ack` that nobody uses: handlers go on, but nothing behind it is committed.
    fn look_for_late(&mut self, remote: &PartitionRemote, work: &ListenerWork, now: Instant) {
        let (id, shared, limit) = (work.id, &remote.shared, work.settings.max_poll_interval);
        let (partition, in_hand) = (shared.partition, shared.position());
        let is_running = shared.phase() == PartitionPhase::Running;
        let awaited = remote.desk.as_ref().and_then(|desk| desk.awaited());
        let awaited = awaited.map(|(offset, since)| (offset, now.saturating_duration_since(since)));
        // One that its handler still has is the handler's.
        let awaited = awaited.filter(|(offset, _)| !(is_running && *offset == in_hand));
        let late = awaited.filter(|(_, since)| *since > limit);
        shared.set_unacknowledged(late.map(|(offset, _)| offset));
        let Some(news) = self.acknowledgement.look(awaited, limit) else { return };
        let (News::Waits(length), Some((offset, since))) = (news, awaited) else {
            return work.events.emit(id, || EventKind::NoLongerStuck { partition });
        };
        let words = match length {
            Length::Long => "a record is not acknowledged for more than half of max-poll-interval",
            Length::TooLong => {
                work.events.emit(id, || EventKind::Stuck { partition, offset, since });
                "a record is not acknowledged for longer than max-poll-interval"
            }
        };
        let record = describe(id, remote, offset);
        warn!(listener = id, %record, ?limit, "{words}: nothing behind it is committed");
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn it_is_said_at_half_time_and_when_it_is_too_long_and_when_it_is_over() {
        let mut patience = Patience::default();
        let mut said = Vec::new();
        for second in 0..400 {
            let news = patience.look(Some((7, seconds(second))), LIMIT);
            said.extend(news.map(|news| (second, news)));
        }
        assert_eq!(said, [(151, News::Waits(Length::Long)), (301, News::Waits(Length::TooLong))]);
        assert_eq!(patience.look(None, LIMIT), Some(News::Over));
        assert_eq!(patience.look(None, LIMIT), None);
    }

    #[test]
    fn another_record_begins_anew() {
        let mut patience = Patience::default();
        assert_eq!(patience.look(Some((7, seconds(200))), LIMIT), Some(News::Waits(Length::Long)));
        assert_eq!(
            patience.look(Some((8, seconds(100))), LIMIT),
            None,
            "long is not too long: nothing is over"
        );
        assert_eq!(patience.look(Some((8, seconds(301))), LIMIT), Some(News::Waits(Length::TooLong)));
        assert_eq!(patience.look(Some((9, seconds(200))), LIMIT), Some(News::Over));
        assert_eq!(patience.look(Some((9, seconds(201))), LIMIT), Some(News::Waits(Length::Long)));
    }
}
