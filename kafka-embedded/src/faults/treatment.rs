//! What is done to a request that was struck.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::sleep;

use super::Rule;
use super::rule::Effect;
use super::subject::{Subject, ThrottleField};
use crate::server::connection::Context;
use crate::server::dispatch::{Closed, close};
use crate::server::response::Response;

/// The faults that struck one request, in the order of their installation.
#[derive(Debug)]
pub(crate) struct Treatment(Vec<Arc<Rule>>);

/// How an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    ByteByByte,
    /// So many bytes at most, and then the end.
    Cut(usize),
}

impl Treatment {
    pub(super) fn new(struck: Vec<Arc<Rule>>) -> Self {
        Self(struck)
    }

    /// What happens before the request is handled: the answer that takes the place of handling it, or an error where
    /// its connection is closed.
    pub(crate) async fn before<R: Subject>(
        &self,
        context: &mut Context,
        correlation: i32,
        request: &R,
    ) -> Result<Option<Response>, Closed> {
        for rule in &self.0 {
            match rule.effect {
                Effect::Delay(delay) => sleep(delay).await,
                Effect::Hold => rule.held().await,
                Effect::DropRequest => pending().await,
                Effect::Close => return Err(Closed::Fault),
                _ => {}
            }
        }
        match self.refusal(context, request) {
            None => Ok(None),
            // Whoever wants no answer learns of an error by the end of the connection, as from Kafka.
            Some(_) if !request.wants_answer() => Err(Closed::Fault),
            Some(refusal) => close::<R>(context, correlation, &refusal),
        }
    }

    /// The answer with an error. Where only some of what the request names is refused there is none: the handler
    /// learns of it through `context` ([`allowed`]).
    fn refusal<R: Subject>(&self, context: &mut Context, request: &R) -> Option<R::Response> {
        for rule in &self.0 {
            let Effect::Answer(error) = rule.effect else { continue };
            let answer = match rule.picks_partitions() && R::ASKS_PER_PARTITION {
                true => None,
                false => request.refuse(context, error),
            };
            if answer.is_some() {
                return answer;
            }
            context.refusing.push(Arc::clone(rule));
        }
        None
    }

    /// What happens to the answer.
    pub(crate) async fn after<R: Subject>(
        &self,
        context: &mut Context,
        mut response: Option<Response>,
    ) -> Result<Option<Response>, Closed> {
        context.refusing.clear();
        for rule in &self.0 {
            match rule.effect {
                Effect::DelayAnswer(delay) => sleep(delay).await,
                Effect::HoldAnswer => rule.held().await,
                Effect::DropAnswer => pending().await,
                Effect::CloseAfter => return Err(Closed::Fault),
                Effect::Cut(bytes) => response = response.map(|response| response.cut(bytes)),
                Effect::ByteByByte => response = response.map(Response::byte_by_byte),
                Effect::Throttle(time) => {
                    response = response.map(|response| throttled::<R>(context.version, response, time));
                }
                _ => {}
            }
        }
        Ok(response)
    }
}

fn throttled<R: Subject>(version: i16, response: Response, time: Duration) -> Response {
    let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let at = match R::THROTTLE {
        ThrottleField::First { from } if version >= from => Some(0),
        ThrottleField::Second => Some(2),
        _ => None,
    };
    match (at, R::THROTTLE) {
        (Some(at), _) => response.throttled(R::header_size(version) + at, millis, time),
        // Produce has it last: before the tagged fields, which are empty, from version 9 on.
        (None, ThrottleField::Last { flexible_from }) => {
            let behind = usize::from(version >= flexible_from);
            response.throttled_at_end(4 + behind, millis, time)
        }
        _ => response.muted(time),
    }
}

/// Whether a fault refuses this partition of the request that is being handled (a negative index: the topic).
pub(crate) fn allowed(context: &Context, topic: &str, partition: i32) -> Result<(), ResponseError> {
    let mut errors = context.refusing.iter().filter_map(|rule| rule.refuses(topic, partition));
    errors.next().map_or(Ok(()), Err)
}
