//! How long a member waits after a failure, and when failures are worth telling.

use std::time::Duration;

use kafka_protocol::ResponseError as E;
use tokio::time::Instant;

use super::coordinator::is_elsewhere;
use crate::cluster::NOTICED;
use crate::config::Backoff;
use crate::error::Error;

/// A broker that is to be the coordinator and is not ready is asked again so often before the usual wait: after an eighth of
/// that, and then each time after a quarter.
const AT_THE_DOOR: u32 = 20;
/// Everyday trouble, as while a coordinator starts or moves, is told of when it lasts for so long.
const EVERYDAY: Duration = Duration::from_secs(2);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    /// The last ones that came from a broker that is to be the coordinator, and does not know that yet or reads the group's log.
    not_ready: u32,
    since: Option<Instant>,
}

impl Failures {
    /// One more; how long to wait. `chance` is the jitter's.
    ///
    /// For a coordinator that is on its way the wait does not grow at first: nothing is handled until it is found.
    pub(super) fn wait_after(
        &mut self,
        error: &Error,
        now: Instant,
        retry: &Backoff,
        chance: f64,
    ) -> Duration {
        let code = error.code();
        let is_not_ready = matches!(code, Some(E::NotCoordinator | E::CoordinatorLoadInProgress));
        let is_gone = matches!(error, Error::Disconnected { .. } | Error::Refused { .. });
        let is_on_its_way = is_not_ready || is_gone || code.is_some_and(is_elsewhere);
        let is_soon = is_on_its_way && self.last_for(now) < NOTICED;
        let wait = if is_soon && is_not_ready && self.not_ready < AT_THE_DOOR {
            let shorter = Backoff { initial: retry.initial / 8, max: retry.initial / 4 };
            shorter.wait(self.not_ready, chance)
        } else {
            retry.wait(if is_soon { 0 } else { self.count }, chance)
        };
        self.not_ready = if is_not_ready { self.not_ready.saturating_add(1) } else { 0 };
        self.count(now);
        wait
    }

    /// One more that may be tried again at once, for the first `at_once` in a row; how long to wait.
    pub(super) fn wait_again(
        &mut self,
        at_once: u32,
        now: Instant,
        retry: &Backoff,
        chance: f64,
    ) -> Duration {
        let beyond = self.count.checked_sub(at_once);
        let wait = beyond.map_or(Duration::ZERO, |failures| retry.wait(failures, chance));
        self.count(now);
        wait
    }

    fn count(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
    }

    /// Whether there was more than one.
    pub(super) fn are_several(&self) -> bool {
        self.count > 1
    }

    /// `error`, the last one, if it is worth telling: not what happens every day, unless it lasts.
    pub(super) fn worth_telling(&self, error: Error, now: Instant) -> Option<Error> {
        let everyday = error.code().is_some_and(|code| code.is_retriable());
        (!everyday || self.last_for(now) >= EVERYDAY).then_some(error)
    }

    fn last_for(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::At;

    const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };

    fn gone() -> Error {
        Error::Disconnected { broker: "one:9092".into(), reason: "gone".into() }
    }

    fn answered(code: E) -> Error {
        Error::Broker { api: "JoinGroup", code, at: At::Group("billing".into()) }
    }

    /// The waits after so many failures that follow each other, in tenths of a millisecond.
    fn waits(failures: &mut Failures, error: &Error, now: &mut Instant, times: usize) -> Vec<u128> {
        let mut wait = || {
            let wait = failures.wait_after(error, *now, &RETRY, 0.5);
            *now += wait;
            wait.as_micros() / 100
        };
        (0..times).map(|_| wait()).collect()
    }

    #[test]
    fn a_coordinator_that_moves_is_soon_asked_for_again_until_that_takes_long() {
        for error in [gone(), answered(E::CoordinatorNotAvailable)] {
            let (mut failures, mut now) = (Failures::default(), Instant::now());
            assert_eq!(waits(&mut failures, &error, &mut now, 300), [1000; 300], "{error}");
            assert_eq!(waits(&mut failures, &error, &mut now, 2), [10_000, 10_000], "{error}");
        }
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        let other = waits(&mut failures, &answered(E::UnknownServerError), &mut now, 5);
        assert_eq!(other, [1000, 2000, 4000, 8000, 10_000]);
    }

    #[test]
    fn a_broker_that_is_about_to_be_the_coordinator_is_asked_again_at_once() {
        let (loading, elsewhere) = (answered(E::CoordinatorLoadInProgress), answered(E::NotCoordinator));
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        waits(&mut failures, &gone(), &mut now, 50);
        assert_eq!(waits(&mut failures, &elsewhere, &mut now, 1), [125]);
        assert_eq!(waits(&mut failures, &loading, &mut now, 19), [250; 19]);
        assert_eq!(waits(&mut failures, &loading, &mut now, 2), [1000; 2]);
        // Not for ever.
        now += NOTICED;
        assert_eq!(waits(&mut failures, &loading, &mut now, 1), [10_000]);
    }

    #[test]
    fn everyday_trouble_is_told_of_when_it_lasts() {
        let (mut failures, begun) = (Failures::default(), Instant::now());
        let (everyday, rare) = (answered(E::NotCoordinator), answered(E::UnknownServerError));
        for tenth in 0..40 {
            let now = begun + tenth * Duration::from_millis(100);
            failures.wait_after(&everyday, now, &RETRY, 0.5);
            assert_eq!(failures.worth_telling(everyday.clone(), now).is_some(), tenth >= 20);
            assert!(failures.worth_telling(rare.clone(), now).is_some());
            assert!(failures.worth_telling(gone(), now).is_some());
        }
    }

    #[test]
    fn what_may_be_tried_at_once_is_not_for_ever() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let mut again = || failures.wait_again(2, now, &RETRY, 0.5).as_millis();
        assert_eq!([again(), again(), again(), again()], [0, 0, 100, 200]);
    }
}
