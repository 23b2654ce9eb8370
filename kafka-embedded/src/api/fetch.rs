//! Fetch: what the partitions have, waited for where it is not enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::{FetchRequest, TopicName};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::fetch_answer::{Fetched, FetchedPartition, FetchedTopic};
use super::{NONE, check_leader, find_partition, find_topic};
use crate::log::Limit;
use crate::server::connection::Context;
use crate::topics::Topic;

/// Fetch requests name topics by id from this version on.
pub(super) const BY_ID: i16 = 13;

/// A topic whose partitions are asked for. The request names it; the lookup may fail.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: TopicName,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<FetchPartition>,
}

/// What all partitions of a request share.
#[derive(Debug, Clone, Copy)]
struct Terms {
    min_bytes: usize,
    max_bytes: usize,
    read_committed: bool,
}

pub(crate) async fn fetch(context: &Context, request: FetchRequest) -> Fetched {
    let bytes = |count: i32| usize::try_from(count).unwrap_or(0);
    let terms = Terms {
        min_bytes: bytes(request.min_bytes),
        max_bytes: bytes(request.max_bytes),
        read_committed: request.isolation_level == 1,
    };
    let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into());
    let wanted: Vec<Wanted> = request
        .topics
        .into_iter()
        .map(|topic| Wanted { name: topic.topic, id: topic.topic_id, partitions: topic.partitions })
        .collect();
    read_or_wait(context, &wanted, terms, deadline).await
}

async fn read_or_wait(context: &Context, wanted: &[Wanted], terms: Terms, deadline: Instant) -> Fetched {
    let nothing_asked = wanted.iter().all(|topic| topic.partitions.is_empty());
    let mut fetched = read(context, wanted, terms);
    if nothing_asked || fetched.is_enough(terms.min_bytes) || deadline <= Instant::now() {
        return fetched;
    }
    // Watched before it is read again, so that nothing that arrives in between is missed.
    let waiter = Arc::new(Notify::new());
    watch(context, wanted, &waiter);
    loop {
        fetched = read(context, wanted, terms);
        if fetched.is_enough(terms.min_bytes) || timeout_at(deadline, waiter.notified()).await.is_err() {
            return fetched;
        }
    }
}

fn watch(context: &Context, wanted: &[Wanted], waiter: &Arc<Notify>) {
    for topic in wanted {
        let Ok(known) = find_topic(context, &topic.name, topic.id, context.version >= BY_ID) else {
            continue;
        };
        for partition in topic.partitions.iter().filter_map(|asked| known.partition(asked.partition)) {
            partition.lock().watch(waiter);
        }
    }
}

fn read(context: &Context, wanted: &[Wanted], terms: Terms) -> Fetched {
    let mut fetched = Fetched { read_committed: terms.read_committed, ..Fetched::default() };
    for topic in wanted {
        let known = find_topic(context, &topic.name, topic.id, context.version >= BY_ID);
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| {
                let known = known.as_ref().map_err(|error| *error);
                let part = known.and_then(|known| read_partition(context, known, asked, terms, &mut fetched));
                part.unwrap_or_else(|error| FetchedPartition::failed(asked.partition, error))
            })
            .collect();
        fetched.topics.push(FetchedTopic { name: topic.name.clone(), id: topic.id, partitions });
    }
    add_leader_hints(context, &mut fetched);
    fetched
}

fn read_partition(
    context: &Context,
    topic: &Topic,
    asked: &FetchPartition,
    terms: Terms,
    fetched: &mut Fetched,
) -> Result<FetchedPartition, ResponseError> {
    let state = find_partition(topic, asked.partition)?.lock();
    let mut part = FetchedPartition { index: asked.partition, ..FetchedPartition::default() };
    if let Err(error) = check_leader(context, &state, asked.current_leader_epoch) {
        part.error = error.code();
        part.leader = Some((state.leader, state.leader_epoch));
        return Ok(part);
    }
    (part.high_watermark, part.log_start) = (state.log.end(), state.log.start());
    let limit = Limit {
        bytes: usize::try_from(asked.partition_max_bytes)
            .unwrap_or(0)
            .min(terms.max_bytes.saturating_sub(fetched.bytes)),
        // Within the whole answer, the first batch passes whatever its size (KIP-74).
        at_least_one: fetched.bytes == 0,
    };
    let first = fetched.batches.len();
    match state.log.read(asked.fetch_offset, limit, &mut fetched.batches) {
        Ok(bytes) => {
            fetched.bytes += bytes;
            part.bytes = bytes;
            part.batches = first..fetched.batches.len();
        }
        Err(_) => {
            part.error = ResponseError::OffsetOutOfRange.code();
            part.high_watermark = -1;
            part.log_start = -1;
        }
    }
    Ok(part)
}

/// KIP-951: who leads the partitions that this broker does not.
fn add_leader_hints(context: &Context, fetched: &mut Fetched) {
    let partitions = fetched.topics.iter().flat_map(|topic| &topic.partitions);
    let leaders: BTreeSet<i32> = partitions
        .filter(|part| part.error != NONE)
        .filter_map(|part| part.leader)
        .map(|(id, _)| id)
        .collect();
    fetched.endpoints = leaders.into_iter().filter_map(|id| context.cluster.node(id).cloned()).collect();
}
