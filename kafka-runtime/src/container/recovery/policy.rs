//! What the configuration makes of a failure (pure).

use std::time::Duration;

use super::backoff::{self, Tried};
use crate::config::{ListenerSettings, OnExhausted, Retry};
use crate::listener::Failure;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// Again, after this wait.
    Retry(Duration),
    /// The record is passed over.
    Skip,
    /// The partition stops.
    Stop,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    retry: Retry,
    on_exhausted: OnExhausted,
}

impl Policy {
    pub(super) fn new(settings: &ListenerSettings) -> Self {
        Self { retry: settings.retry, on_exhausted: settings.on_exhausted }
    }

    /// What failed in a way that may pass is tried again; then `on-exhausted` decides. `unit` in `0.0..1.0` is the
    /// chance of the wait's jitter.
    pub(super) fn decide(&self, failure: &Failure, tried: Tried, unit: f64) -> Decision {
        let wait = match failure {
            // The same bytes do not decode the next time either.
            Failure::Decode(_) => None,
            _ => backoff::wait_after(&self.retry, tried, unit),
        };
        match (wait, self.on_exhausted) {
            (Some(wait), _) => Decision::Retry(wait),
            (None, OnExhausted::Skip) => Decision::Skip,
            (None, OnExhausted::Stop) => Decision::Stop,
        }
    }
}
