//! Fetch: what the partitions have, waited for where it is not enough.
//!
//! ```text
//! request ──▶ session: which partitions ──▶ read (wait, read again) ──▶ session: what is news ──▶ answer
//! ```

mod answer;
mod reader;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use answer::{Fetched, FetchedPartition};
use reader::{check_reader, leader_hint, nearer};
use session::{Opened, Target};

pub(crate) use session::Sessions;

use super::{NONE, find_partition, find_topic, missing};
use crate::log::{Aborted, Limit, Log, OutOfRange};
use crate::partition::Isolation;
use crate::server::connection::Context;
use crate::topics::Topic;

/// Fetch requests name topics by id from this version on.
const BY_ID: i16 = 13;

/// `fetch.max.bytes` of the broker.
const MAX_BYTES: usize = 57_671_680;

/// What all partitions of a request share.
#[derive(Debug, Clone, Copy)]
struct Terms<'r> {
    /// The client's, empty if it does not say.
    rack: &'r str,
    min_bytes: usize,
    max_bytes: usize,
    isolation: Isolation,
    deadline: Instant,
}

pub(crate) async fn fetch(context: &Context, request: FetchRequest) -> Fetched {
    let bytes = |count: i32| usize::try_from(count).unwrap_or(0);
    let wait = Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into());
    let terms = Terms {
        min_bytes: bytes(request.min_bytes),
        max_bytes: bytes(request.max_bytes).min(MAX_BYTES),
        isolation: Isolation::of(request.isolation_level),
        deadline: Instant::now() + wait,
        rack: &request.rack_id,
    };
    let sessions = &context.cluster.sessions;
    match sessions.open(context.node, context.version >= BY_ID, &request) {
        Err(error) => Fetched { error: error.code(), ..Fetched::default() },
        Ok(Opened::Sessionless(targets)) => read_or_wait(context, || targets.iter(), terms).await,
        Ok(Opened::Session(mut session)) => {
            let mut fetched = read_or_wait(context, || session.targets(), terms).await;
            session.keep_news(&mut fetched);
            sessions.close(context.node, session);
            fetched
        }
    }
}

async fn read_or_wait<'a, T: Iterator<Item = &'a Target>>(
    context: &Context,
    targets: impl Fn() -> T,
    terms: Terms<'_>,
) -> Fetched {
    let mut fetched = read(context, targets(), terms);
    let nothing_asked = fetched.topics.is_empty();
    if nothing_asked || fetched.is_enough(terms.min_bytes) || terms.deadline <= Instant::now() {
        return fetched;
    }
    // Watched before it is read again, so that nothing that arrives in between is missed.
    let waiter = Arc::new(Notify::new());
    watch(context, targets(), &waiter);
    loop {
        fetched = read(context, targets(), terms);
        if fetched.is_enough(terms.min_bytes) || timeout_at(terms.deadline, waiter.notified()).await.is_err()
        {
            return fetched;
        }
    }
}

/// The topics of targets, looked up once for each run of targets of one topic.
struct Lookup<'c, 't> {
    context: &'c Context,
    last: Option<(&'t Target, Result<Arc<Topic>, ResponseError>)>,
}

impl<'c, 't> Lookup<'c, 't> {
    fn new(context: &'c Context) -> Self {
        Self { context, last: None }
    }

    fn topic(&mut self, target: &'t Target) -> Result<Arc<Topic>, ResponseError> {
        match &self.last {
            Some((last, found)) if last.same_topic(target) => found.clone(),
            _ => {
                let by_id = self.context.version >= BY_ID;
                let found = find_topic(self.context, &target.topic, target.topic_id, by_id);
                self.last = Some((target, found.clone()));
                found
            }
        }
    }
}

fn watch<'a>(context: &Context, targets: impl Iterator<Item = &'a Target>, waiter: &Arc<Notify>) {
    let mut lookup = Lookup::new(context);
    for target in targets {
        let Ok(topic) = lookup.topic(target) else { continue };
        if let Some(partition) = topic.partition(target.partition) {
            partition.lock().watch(waiter);
        }
    }
}

fn read<'a>(context: &Context, targets: impl Iterator<Item = &'a Target>, terms: Terms<'_>) -> Fetched {
    let mut fetched = Fetched { isolation: terms.isolation, ..Fetched::default() };
    let mut lookup = Lookup::new(context);
    for target in targets {
        let part = match lookup.topic(target) {
            Ok(topic) => read_one(context, &topic, target, terms, &mut fetched),
            Err(error) => Err(missing(context, &target.topic, target.partition, error)),
        };
        let part = part.unwrap_or_else(|error| FetchedPartition::failed(target.partition, error));
        fetched.push(target, part);
    }
    add_leader_hints(context, &mut fetched);
    fetched
}

fn read_one(
    context: &Context,
    topic: &Topic,
    target: &Target,
    terms: Terms<'_>,
    fetched: &mut Fetched,
) -> Result<FetchedPartition, ResponseError> {
    let state = find_partition(context, topic, target.partition)?.lock();
    if let Err(error) = check_reader(context, &state, target.leader_epoch) {
        let failed = FetchedPartition::failed(target.partition, error);
        return Ok(FetchedPartition { leader: leader_hint(&state, error), ..failed });
    }
    if let Some(preferred) = nearer(context, &state, terms.rack) {
        return Ok(FetchedPartition {
            index: target.partition,
            high_watermark: state.log.end(),
            log_start: state.log.start(),
            preferred,
            ..FetchedPartition::default()
        });
    }
    if let Some(from) = diverging(&state.log, target)? {
        let (high_watermark, log_start) = (state.log.end(), state.log.start());
        let part =
            FetchedPartition { index: target.partition, high_watermark, log_start, ..Default::default() };
        return Ok(FetchedPartition { diverging: Some(from), ..part });
    }
    let limit = Limit {
        bytes: target.max_bytes.min(terms.max_bytes.saturating_sub(fetched.bytes)),
        // Within the whole answer, the first batch passes whatever its size (KIP-74).
        at_least_one: fetched.bytes == 0,
        until: state.readable_until(terms.isolation),
    };
    let first = fetched.batches.len();
    let bytes = state
        .log
        .read(target.offset, limit, &mut fetched.batches)
        .map_err(|OutOfRange| ResponseError::OffsetOutOfRange)?;
    fetched.bytes += bytes;
    let batches = first..fetched.batches.len();
    let last = fetched.batches.get(batches.clone()).and_then(|read| read.last());
    let aborted: Vec<Aborted> = match (terms.isolation, last) {
        (Isolation::ReadCommitted, Some(last)) => {
            state.log.aborted(target.offset, last.last_offset + 1).collect()
        }
        _ => Vec::new(),
    };
    Ok(FetchedPartition {
        index: target.partition,
        high_watermark: state.log.end(),
        last_stable: state.last_stable_offset(),
        log_start: state.log.start(),
        aborted,
        batches,
        bytes,
        ..FetchedPartition::default()
    })
}

/// Where the client's log, which ends in the epoch that it fetched last, leaves this one.
fn diverging(log: &Log, target: &Target) -> Result<Option<(i32, i64)>, ResponseError> {
    if target.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let (epoch, end) = log.end_of_epoch(target.last_fetched_epoch).ok_or(ResponseError::OffsetOutOfRange)?;
    let is_behind = epoch < target.last_fetched_epoch || end < target.offset;
    Ok(is_behind.then_some((epoch, end)))
}

/// KIP-951: who leads the partitions that this broker does not.
fn add_leader_hints(context: &Context, fetched: &mut Fetched) {
    let partitions = fetched.topics.iter().flat_map(|topic| &topic.partitions);
    let failed = partitions.filter(|part| part.error != NONE);
    let leaders: BTreeSet<i32> = failed.filter_map(|part| part.leader).map(|(id, _)| id).collect();
    fetched.endpoints = leaders.into_iter().filter_map(|id| context.cluster.live_node(id).cloned()).collect();
}
