//! The calls of one connection that wait for their answers, oldest first, and what is known of its life.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ResponseHeader;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::wire;

/// What a deadline beyond all times means.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// A peer that is asked for what any other could tell as well should not take longer than this.
const SILENCE: Duration = Duration::from_secs(1);

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) correlation_id: i32,
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) header_version: i16,
    pub(super) patience: Patience,
    pub(super) answer: oneshot::Sender<Result<Bytes>>,
}

/// Since when, and how long, a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) since: Instant,
    pub(super) deadline: Duration,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Line {
    calls: VecDeque<Waiting>,
    next_id: i32,
    /// Why the connection is closed, once it is.
    closed: Option<Error>,
    throttled_until: Option<Instant>,
    /// When a part of an answer came that is not complete yet.
    receiving: Option<Instant>,
    last_used: Instant,
}

impl Line {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            calls: VecDeque::new(),
            next_id: 0,
            closed: None,
            throttled_until: None,
            receiving: None,
            last_used: now,
        }
    }

    /// A new correlation id, unless the connection is closed.
    pub(super) fn next_id(&mut self, now: Instant) -> Result<i32> {
        if let Some(reason) = &self.closed {
            return Err(reason.clone());
        }
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(0);
        self.last_used = now;
        Ok(id)
    }

    pub(super) fn push(&mut self, call: Waiting) -> Result<()> {
        match &self.closed {
            Some(reason) => return Err(reason.clone()),
            None => self.calls.push_back(call),
        }
        Ok(())
    }

    pub(super) fn closed(&self) -> Option<&Error> {
        self.closed.as_ref()
    }

    /// When a call's patience ends: a throttled broker does not answer until it is allowed to, and an answer that is
    /// on its way counts as life.
    pub(super) fn due(&self, patience: Patience) -> Instant {
        let since = patience.since.max(self.throttled_until.unwrap_or(patience.since));
        let since = since.max(self.receiving.unwrap_or(since));
        since.checked_add(patience.deadline).unwrap_or_else(|| since + FAR)
    }

    /// Whether the oldest call has waited too long: then the connection is broken, not slow.
    pub(super) fn oldest_is_overdue(&self, now: Instant) -> bool {
        self.oldest_due().is_some_and(|due| due <= now)
    }

    fn oldest_due(&self) -> Option<Instant> {
        self.calls.front().map(|oldest| self.due(oldest.patience))
    }

    /// When to look next for a call that nobody waits for any more, if there is one: when the first of them is due or, where
    /// they are all and others stand before them, the oldest of all.
    pub(super) fn left_due(&self, now: Instant) -> Option<Instant> {
        let left = || self.calls.iter().filter(|call| call.answer.is_closed());
        left().next()?;
        let due = left().map(|call| self.due(call.patience)).filter(|due| *due > now).min();
        due.or_else(|| self.oldest_due())
    }

    /// Whether the oldest call waits, and nothing has arrived, for [`SILENCE`].
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let since = |call: &Waiting| {
            let since = call.patience.since.max(self.throttled_until.unwrap_or(call.patience.since));
            since.max(self.receiving.unwrap_or(since))
        };
        self.calls.front().is_some_and(|oldest| now.saturating_duration_since(since(oldest)) > SILENCE)
    }

    pub(super) fn note_arrival(&mut self, now: Instant, incomplete: bool) {
        self.receiving = incomplete.then_some(now);
    }

    /// Takes an answer in and hands it to its call. The error is why it is none.
    pub(super) fn settle(&mut self, mut frame: Bytes, now: Instant) -> Result<(), String> {
        let Some(id) = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes)) else {
            return Err("an answer without a correlation id".to_owned());
        };
        let at = self.calls.iter().position(|call| call.correlation_id == id);
        let Some(call) = at.and_then(|at| self.calls.remove(at)) else {
            return Err(format!("an answer with correlation id {id}, which no request has"));
        };
        wire::decode_part::<ResponseHeader>(&mut frame, call.header_version).map_err(|error| error.0)?;
        let throttled = wire::throttle_millis(call.api_key, call.version, &frame);
        if throttled > 0 {
            self.throttled_until = Some(now + Duration::from_millis(throttled));
        }
        self.last_used = now;
        // A dropped call does not want it any more.
        let _ = call.answer.send(Ok(frame));
        Ok(())
    }

    /// Closes the line; the first reason stays.
    pub(super) fn close(&mut self, reason: &Error) {
        let reason = self.closed.get_or_insert_with(|| reason.clone()).clone();
        for call in self.calls.drain(..) {
            let _ = call.answer.send(Err(reason.clone()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// When the connection has been idle for `longest`.
    pub(super) fn idle_at(&self, longest: Duration, now: Instant) -> Instant {
        let since = if self.calls.is_empty() { self.last_used } else { now };
        since.checked_add(longest).unwrap_or_else(|| since + FAR)
    }
}
