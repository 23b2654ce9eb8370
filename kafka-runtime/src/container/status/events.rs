//! What happens to listeners, for whoever wants to know: one bounded queue per subscriber.
//!
//! Emitting never waits: a subscriber that is too slow loses the oldest events, and is told how many.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::TopicPartition;
use tokio::sync::broadcast;

use crate::container::commit::CommitEvent;

/// How many events wait for a subscriber before the oldest is dropped.
const QUEUE: usize = 1024;

/// Something that happened to a listener.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerEvent {
    /// The listener's id; empty for [`EventKind::Missed`].
    pub listener: &'static str,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// It was started: with the application, or by hand.
    Started,
    /// It was stopped by hand, or with the application; partitions were given back and committed.
    Stopped,
    /// It has ended and will not recover by itself.
    Failed {
        /// Why.
        cause: String,
    },
    /// Something stands in its way (no broker answers, a topic is missing, a permission); it goes on trying.
    Problem {
        /// What.
        cause: String,
    },
    /// A member got these partitions.
    Assigned(Vec<TopicPartition>),
    /// A member is giving these partitions back: handlers in hand finish, then a commit.
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone without a goodbye: what was handled and not committed is handled again by their next
    /// owner.
    Lost(Vec<TopicPartition>),
    /// The listener was paused, or one of its partitions.
    Paused(Option<TopicPartition>),
    /// The listener was resumed, or one of its partitions.
    Resumed(Option<TopicPartition>),
    /// The position of a partition jumped to this offset: a seek, a reset, a truncated log.
    Moved {
        /// Which.
        partition: TopicPartition,
        /// Where it goes on.
        offset: i64,
    },
    /// A try of a record failed; what comes of it is the policy's to say.
    RecordFailed {
        /// Which partition.
        partition: TopicPartition,
        /// Which record.
        offset: i64,
        /// The try, from 1.
        attempt: u32,
        /// The error with its causes.
        cause: String,
    },
    /// The tries of a record are spent, and its dead letter is written and acknowledged.
    DeadLettered {
        /// Which partition.
        partition: TopicPartition,
        /// Which record.
        offset: i64,
        /// Where the letter is.
        letter: TopicPartition,
        /// Its offset there.
        letter_offset: i64,
        /// The error with its causes.
        cause: String,
    },
    /// A record was sent to a retry topic, and acknowledged there.
    RetriedLater {
        /// Which partition.
        partition: TopicPartition,
        /// Which record.
        offset: i64,
        /// Where it waits for its next try.
        retry_topic: TopicPartition,
        /// After how long it is due.
        wait: Duration,
        /// The error with its causes.
        cause: String,
    },
    /// The tries of a record are spent, and it is passed over (`on-exhausted: skip`).
    Skipped {
        /// Which partition.
        partition: TopicPartition,
        /// Which record.
        offset: i64,
        /// The error with its causes.
        cause: String,
    },
    /// A partition stopped at a record, or because it cannot be read; others go on. A seek or `resume` starts it again.
    PartitionStopped {
        /// Which.
        partition: TopicPartition,
        /// Why.
        cause: String,
    },
    /// So many tries failed in a row that the listener pauses (`circuit-breaker`), or a probe failed.
    CircuitOpened {
        /// How long until a record is tried.
        pause: Duration,
        /// The last failure.
        cause: String,
    },
    /// A probe succeeded: the listener goes on.
    CircuitClosed,
    /// A check says that what the handlers need is down: the listener pauses (`pause-when`).
    DownstreamDown {
        /// The check's name.
        check: String,
        /// What it said.
        cause: String,
    },
    /// It is up again: the listener goes on.
    DownstreamUp {
        /// The check's name.
        check: String,
    },
    /// A handler has been running for longer than `max-poll-interval`, or its record was not acknowledged for so long (by
    /// hand, or by the broker that it was sent on to).
    Stuck {
        /// Which partition.
        partition: TopicPartition,
        /// The record in hand.
        offset: i64,
        /// For how long.
        since: Duration,
    },
    /// It goes on after [`EventKind::Stuck`].
    NoLongerStuck {
        /// Which partition.
        partition: TopicPartition,
    },
    /// No record was handled for `idle-event-interval`, of one partition (`idle-partition-event-interval`) or of all.
    /// Repeated while it lasts.
    Idle {
        /// `None`: of the whole listener.
        partition: Option<TopicPartition>,
        /// For how long.
        since: Duration,
    },
    /// Records come again after [`EventKind::Idle`].
    NoLongerIdle {
        /// `None`: of the whole listener.
        partition: Option<TopicPartition>,
    },
    /// A commit request was answered, whatever came of it.
    Committed(CommitEvent),
    /// The subscriber was too slow: so many events were dropped before this one.
    Missed(u64),
}

/// Where events are emitted; clones share the subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Events(broadcast::Sender<Arc<ListenerEvent>>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(QUEUE))
    }
}

impl Events {
    /// Tells all subscribers. Does nothing, not even `kind`, where there is none.
    pub(crate) fn emit(&self, listener: &'static str, kind: impl FnOnce() -> EventKind) {
        if self.0.receiver_count() > 0 {
            let event = ListenerEvent { listener, kind: kind() };
            // The last subscriber may be leaving.
            let _ = self.0.send(Arc::new(event));
        }
    }

    pub(crate) fn subscribe(&self) -> EventStream {
        EventStream(self.0.subscribe())
    }
}

/// Events of all listeners from the subscription on, see [`Listeners::events`](crate::Listeners::events). At most 1024
/// wait; then the oldest are dropped, and an [`EventKind::Missed`] stands in their place.
#[derive(Debug)]
pub struct EventStream(broadcast::Receiver<Arc<ListenerEvent>>);

impl EventStream {
    /// The next event; `None` when the application has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<ListenerEvent> {
        match self.0.recv().await {
            Ok(event) => Some(Arc::unwrap_or_clone(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                Some(ListenerEvent { listener: "", kind: EventKind::Missed(count) })
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_is_told() {
        let events = Events::default();
        events.emit("bill", || unreachable!("nobody listens"));
        let mut slow = events.subscribe();
        for _ in 0..QUEUE + 5 {
            events.emit("bill", || EventKind::Started);
        }
        events.emit("bill", || EventKind::Stopped);
        drop(events);
        let first = slow.next().await.unwrap();
        assert!(matches!(first.kind, EventKind::Missed(6)), "{first:?}");
        let mut rest = Vec::new();
        while let Some(event) = slow.next().await {
            rest.push(event);
        }
        assert_eq!(rest.len(), QUEUE);
        assert!(matches!(rest.last().unwrap().kind, EventKind::Stopped));
    }
}
