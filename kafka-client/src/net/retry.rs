//! Trying again, with back-off, until a deadline.

use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::config::Backoff;
use crate::error::{Error, Result};

/// The attempts at one thing.
///
/// ```text
/// let mut retry = Retry::within(&cluster, deadline);
/// loop {
///     match attempt(retry.left()).await {
///         Err(error) => retry.after(error).await?,
///         done => return done,
///     }
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    cluster: &'a Cluster,
    backoff: Backoff,
    until: Instant,
    attempts: u32,
}

impl<'a> Retry<'a> {
    pub(crate) fn within(cluster: &'a Cluster, time: Duration) -> Self {
        let now = cluster.seams().clock.now();
        let until = now.checked_add(time).unwrap_or(now);
        Self { cluster, backoff: cluster.config().retry_backoff, until, attempts: 0 }
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(self.cluster.seams().clock.now())
    }

    /// How many attempts failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Waits before the next attempt. The error comes back if it is none that goes by itself, or if the time is over
    /// before.
    pub(crate) async fn after(&mut self, error: Error) -> Result<()> {
        match error.is_retriable() || error.code() == Some(ResponseError::NotController) {
            true => self.after_passing(error, Duration::MAX).await,
            false => Err(error),
        }
    }

    /// [`Retry::after`] an error that the caller knows to go by itself, waiting no longer than `longest`.
    pub(crate) async fn after_passing(&mut self, error: Error, longest: Duration) -> Result<()> {
        let wait = self.backoff.wait(self.attempts, self.cluster.seams().rng.unit()).min(longest);
        if self.left() <= wait {
            return Err(error);
        }
        self.attempts += 1;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
