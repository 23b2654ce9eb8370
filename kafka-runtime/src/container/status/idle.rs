//! Whether something stands still for long; pure.

use std::time::Duration;

use tokio::time::Instant;

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It has stood still for so long; told again after each interval.
    Idle(Duration),
    /// It goes on, after it was told to be idle.
    Over,
}

/// Watches a number that moves while there is work.
#[derive(Debug)]
pub(crate) struct Idleness {
    seen: u64,
    since: Instant,
    told: Option<Instant>,
}

impl Idleness {
    pub(crate) fn new(now: Instant) -> Self {
        Self { seen: 0, since: now, told: None }
    }

    /// `busy` while something is in hand, however long it takes.
    pub(crate) fn look(&mut self, number: u64, busy: bool, now: Instant, interval: Duration) -> Option<Rest> {
        if busy || number != self.seen {
            (self.seen, self.since) = (number, now);
            return self.told.take().map(|_| Rest::Over);
        }
        let last = self.told.unwrap_or(self.since);
        if now.saturating_duration_since(last) < interval {
            return None;
        }
        self.told = Some(now);
        Some(Rest::Idle(now.saturating_duration_since(self.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_after_each_interval_and_once_when_it_is_over() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut idleness = Idleness::new(start);
        let mut look =
            |after: u32, number, busy| idleness.look(number, busy, start + second * after, second * 3);
        assert_eq!(look(1, 5, false), None);
        assert_eq!(look(3, 5, false), None);
        assert_eq!(look(4, 5, false), Some(Rest::Idle(second * 3)));
        assert_eq!(look(5, 5, false), None);
        assert_eq!(look(7, 5, false), Some(Rest::Idle(second * 6)));
        assert_eq!(look(8, 5, true), Some(Rest::Over));
        assert_eq!(look(20, 5, true), None, "a long handler is work");
        assert_eq!(look(21, 6, false), None);
        assert_eq!(look(24, 6, false), Some(Rest::Idle(second * 3)));
    }
}
