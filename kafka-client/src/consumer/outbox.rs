//! Events on their way to the user.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ConsumerEvent;
use crate::error::Error;
use crate::fetch::Map;

/// The same problem is told again after this time at the earliest.
const AGAIN: Duration = Duration::from_secs(10);

/// Where events go; nowhere, once the consumer has ended.
#[derive(Debug)]
pub(super) struct Outbox {
    events: Option<mpsc::UnboundedSender<ConsumerEvent>>,
    /// When each problem was told last.
    told: Map<String, Instant>,
}

impl Outbox {
    pub(super) fn new(events: mpsc::UnboundedSender<ConsumerEvent>) -> Self {
        Self { events: Some(events), told: Map::default() }
    }

    pub(super) fn send(&self, event: ConsumerEvent) {
        if let Some(events) = &self.events {
            // A consumer that was dropped is noticed elsewhere.
            let _ = events.send(event);
        }
    }

    /// For whoever has something to tell while the consumer lasts. It does not make it last.
    pub(super) fn apart(&self) -> Option<mpsc::WeakUnboundedSender<ConsumerEvent>> {
        self.events.as_ref().map(mpsc::UnboundedSender::downgrade)
    }

    /// Tells of a problem, if it was not told just now.
    pub(super) fn problem(&mut self, error: Error, now: Instant) {
        self.told.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        let text = error.to_string();
        if self.told.contains_key(&text) {
            return;
        }
        tracing::debug!("{text}");
        self.told.insert(text, now);
        self.send(ConsumerEvent::Problem(error));
    }

    /// After this the consumer's `next` is `None`.
    pub(super) fn close(&mut self) {
        self.events = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_that_lasts_is_told_every_ten_seconds() {
        let (events, mut told) = mpsc::unbounded_channel();
        let mut outbox = Outbox::new(events);
        let start = Instant::now();
        for tenth in 0..205 {
            outbox.problem(Error::Closed, start + Duration::from_millis(100) * tenth);
        }
        outbox.problem(Error::Config("another".into()), start);
        outbox.close();
        let mut count = 0;
        while told.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, 3 + 1);
    }
}
