//! What the configuration says of the batches of a partition.

use std::time::Duration;

use super::batch::Batch;
use crate::config::{Acks, Backoff, ProducerConfig};

/// What the configuration says of queues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) batch_size: usize,
    pub(super) largest_batch: usize,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) retries: u32,
    pub(super) idempotent: bool,
    pub(super) transactional: bool,
    pub(super) most_on_wire: usize,
    pub(super) backoff: Backoff,
}

impl Rules {
    /// `config` as [`super::settle_idempotence`] left it.
    pub(super) fn new(config: &ProducerConfig, backoff: Backoff) -> Self {
        let order_is_safe = config.idempotence || config.retries == 0 || config.acks == Acks::None;
        Self {
            batch_size: config.batch_size,
            largest_batch: match config.batch_size {
                // Without batches nothing grows.
                0 => 0,
                // Nor beyond a request.
                size => size.max(config.batch_max_size.min(config.max_request_size)),
            },
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            retries: config.retries,
            idempotent: config.idempotence,
            transactional: false,
            most_on_wire: if order_is_safe { config.max_in_flight } else { 1 },
            backoff,
        }
    }

    /// How many batches of `batch.size` one is worth.
    pub(super) fn fills(&self, batch: &Batch) -> usize {
        batch.size().checked_div(self.batch_size).unwrap_or(0).max(1)
    }

    /// The same for batches of transactions, where no queue raises the epoch by itself and every failure counts.
    pub(super) fn transactional(self) -> Self {
        Self { transactional: true, ..self }
    }
}
