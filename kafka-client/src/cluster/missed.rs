//! Brokers that somebody wants and does not reach; pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// By then a cluster has missed a broker that died, also one that led the others (`broker.session.timeout.ms`).
pub(crate) const NOTICED: Duration = Duration::from_secs(30);

/// Brokers to which connections fail.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Who wants a broker has tried again by then.
    quiet: Duration,
    brokers: HashMap<i32, Failures>,
}

/// Attempts that failed in a row.
#[derive(Debug, Clone, Copy)]
struct Failures {
    first: Instant,
    last: Instant,
}

impl Missed {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, brokers: HashMap::new() }
    }

    pub(super) fn failed(&mut self, broker: i32, now: Instant) {
        self.brokers.entry(broker).or_insert(Failures { first: now, last: now }).last = now;
    }

    pub(super) fn reached(&mut self, broker: i32) {
        self.brokers.remove(&broker);
    }

    /// Whether one of the cluster's is missed, for so short a time that the cluster may not have noticed yet. One that only this
    /// client does not reach is none, after a while.
    pub(super) fn any(&mut self, is_known: impl Fn(i32) -> bool, now: Instant) -> bool {
        let quiet = self.quiet;
        self.brokers.retain(|broker, failures| is_known(*broker) && now < failures.last + quiet);
        self.brokers.values().any(|failures| now < failures.first + NOTICED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u32) -> Duration {
        Duration::from_secs(count.into())
    }

    #[test]
    fn a_broker_is_missed_as_long_as_somebody_tries_and_it_may_be_news() {
        let start = Instant::now();
        let mut missed = Missed::new(seconds(4));
        let all = |_| true;
        assert!(!missed.any(all, start));
        missed.failed(1, start);
        assert!(missed.any(all, start + seconds(3)));
        assert!(!missed.any(all, start + seconds(4)), "nobody wants it any more");
        for second in 10..70 {
            missed.failed(1, start + seconds(second));
            assert_eq!(missed.any(all, start + seconds(second)), second < 40, "{second}");
        }
        assert!(!missed.any(all, start + seconds(80)));
        missed.failed(1, start + seconds(81));
        assert!(missed.any(all, start + seconds(81)), "after a quiet time it is another story");
        missed.failed(2, start + seconds(81));
        missed.reached(1);
        assert!(missed.any(all, start + seconds(82)));
        assert!(!missed.any(|broker| broker != 2, start + seconds(82)), "the cluster knows");
    }
}
