//! How long a member waits after a failure.

use std::time::Duration;

use kafka_protocol::ResponseError as E;

use super::coordinator::is_elsewhere;
use crate::config::Backoff;
use crate::error::Error;

/// For so many failures in a row a coordinator that is on its way to another broker is soon asked for again: by then a cluster
/// has missed a broker that died.
const SOON: u32 = 100;

/// The wait after a failure, with so many before it in a row. For a coordinator that is on its way it does not grow at first:
/// nothing is handled until it is found. `chance` is the jitter's.
pub(super) fn wait_after(retry: &Backoff, error: &Error, failures: u32, chance: f64) -> Duration {
    let is_on_its_way = match error {
        Error::Disconnected { .. } => true,
        Error::Broker { code, .. } => is_elsewhere(*code) || *code == E::CoordinatorLoadInProgress,
        _ => false,
    };
    retry.wait(if is_on_its_way { failures.saturating_sub(SOON) } else { failures }, chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::At;

    #[test]
    fn a_coordinator_that_moves_is_soon_asked_for_again_until_that_takes_long() {
        let retry = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
        let wait = |error: &Error, failures| wait_after(&retry, error, failures, 0.5).as_millis();
        let gone = Error::Disconnected { broker: "one:9092".into(), reason: "gone".into() };
        let answered = |code| Error::Broker { api: "JoinGroup", code, at: At::Group("billing".into()) };
        for error in [gone, answered(E::CoordinatorLoadInProgress), answered(E::NotCoordinator)] {
            let waits = [0, 5, SOON, SOON + 1, SOON + 5].map(|failures| wait(&error, failures));
            assert_eq!(waits, [100, 100, 100, 200, 1000], "{error}");
        }
        let waits = [0, 1, 5].map(|failures| wait(&answered(E::UnknownServerError), failures));
        assert_eq!(waits, [100, 200, 1000]);
    }
}
