//! Committed offsets: read with retries that never mistake trouble for "none", written in one stamped request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::timeout;

use super::coordinator::is_elsewhere;
use super::protocol::{by_topic, wire_name};
use super::{CommittedOffset, Coordinator, Identity};
use crate::error::{Error, Result};
use crate::ids::{TopicName, TopicPartition};
use crate::net::{COORDINATION_DEADLINE, Connection, Purpose, Retry};

/// How long some partitions wait for others.
const PATIENCE: Duration = Duration::from_secs(1);
/// From here on many groups are asked for in one request (KIP-709).
const MANY_GROUPS: i16 = 8;

/// What the group committed for one partition, or why that is not known.
type Committed = Result<Option<CommittedOffset>, ResponseError>;
/// For each partition of a commit `None`, or why it was refused.
pub(crate) type Answers = Vec<(TopicPartition, Option<ResponseError>)>;

/// What the group committed for each of `partitions`; `Ok(None)` means that it never did (or that it expired), and
/// nothing else means that. Offsets of open transactions are waited for (`require_stable`).
///
/// Everything that can pass by itself (no broker, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
/// UNSTABLE_OFFSET_COMMIT...) is tried again with back-off until `deadline` from now, but once something is known only
/// for a moment more: one unstable partition must not keep the others from starting. Every partition asked for is in
/// the answer, with its own error if it is still not known. The future may be dropped.
///
/// # Errors
/// The last failure, if it concerned all partitions: at the deadline, or at once if it does not pass
/// (GROUP_AUTHORIZATION_FAILED).
pub(crate) async fn fetch_committed(
    coordinator: &Coordinator,
    partitions: &[TopicPartition],
    deadline: Duration,
) -> Result<HashMap<TopicPartition, Committed>> {
    fetch_committed_watched(coordinator, partitions, deadline, |_| {}).await
}

/// [`fetch_committed`] that tells, once, of each partition whose offset an open transaction holds up: whoever can end
/// that need not wait for its timeout.
pub(crate) async fn fetch_committed_watched(
    coordinator: &Coordinator,
    partitions: &[TopicPartition],
    deadline: Duration,
    held_up: impl Fn(Vec<TopicPartition>),
) -> Result<HashMap<TopicPartition, Committed>> {
    let cluster = coordinator.pool().cluster();
    let mut retry = Retry::within(cluster, deadline);
    let mut known: HashMap<TopicPartition, Committed> = HashMap::new();
    // Answers that may pass.
    let mut open: HashMap<TopicPartition, ResponseError> = HashMap::new();
    let mut known_since = None;
    let last = loop {
        // In the caller's order, so that a run repeats exactly.
        let ask: Vec<_> = partitions.iter().copied().filter(|one| !known.contains_key(one)).collect();
        if ask.is_empty() {
            return Ok(known);
        }
        let error = match timeout(retry.left(), ask_once(coordinator, &ask)).await {
            Err(_) => {
                Error::Timeout { api: "OffsetFetch", broker: coordinator.at().to_string(), after: deadline }
            }
            Ok(Err(error)) => {
                coordinator.heed(&error);
                error
            }
            Ok(Ok(answers)) => {
                let mut unstable = Vec::new();
                for (partition, answer) in answers {
                    match answer {
                        Err(code) if code.is_retriable() => {
                            let before = open.insert(partition, code);
                            if code == ResponseError::UnstableOffsetCommit && before != Some(code) {
                                unstable.push(partition);
                            }
                        }
                        answer => _ = known.insert(partition, answer),
                    }
                }
                if !unstable.is_empty() {
                    held_up(unstable);
                }
                let code = ask.iter().find_map(|one| open.get(one)).copied();
                let code = code.unwrap_or(ResponseError::CoordinatorNotAvailable);
                Error::Broker { api: "OffsetFetch", code, at: coordinator.at() }
            }
        };
        if partitions.iter().all(|partition| known.contains_key(partition)) {
            return Ok(known);
        }
        let now = cluster.seams().clock.now();
        let since = (!known.is_empty()).then(|| *known_since.get_or_insert(now));
        if since.is_some_and(|since| now.duration_since(since) >= PATIENCE) {
            break error;
        }
        tracing::debug!(%error, "committed offsets are not known yet");
        if let Err(error) = retry.after(error).await {
            break error;
        }
    };
    if known.is_empty() && open.is_empty() {
        return Err(last);
    }
    let code = last.code().unwrap_or(ResponseError::CoordinatorNotAvailable);
    for partition in partitions {
        known.entry(*partition).or_insert_with(|| Err(open.remove(partition).unwrap_or(code)));
    }
    Ok(known)
}

/// One request. What concerns the whole group is an error.
async fn ask_once(
    coordinator: &Coordinator,
    partitions: &[TopicPartition],
) -> Result<Vec<(TopicPartition, Committed)>> {
    let connection = coordinator.connection(Purpose::Group).await?;
    let topics = by_topic(partitions);
    let request = |version: i16| fetch_request(coordinator, topics, version);
    let deadline = coordinator.pool().cluster().config().request_timeout;
    let answer = connection.call::<OffsetFetchRequest>(deadline, request).await?;
    fetched(answer.body, answer.version).map_err(|code| Error::Broker {
        api: "OffsetFetch",
        code,
        at: coordinator.at(),
    })
}

fn fetch_request(
    coordinator: &Coordinator,
    topics: Vec<(TopicName, Vec<i32>)>,
    version: i16,
) -> OffsetFetchRequest {
    let request = OffsetFetchRequest::default().with_require_stable(version >= 7);
    if version < MANY_GROUPS {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetFetchRequestTopic::default().with_name(wire_name(topic)).with_partition_indexes(partitions)
        });
        return request.with_group_id(coordinator.group_id()).with_topics(Some(topics.collect()));
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetFetchRequestTopics::default().with_name(wire_name(topic)).with_partition_indexes(partitions)
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(coordinator.group_id())
        .with_topics(Some(topics.collect()));
    request.with_groups(vec![group])
}

/// What was answered for each partition, or the code that stands for all of them.
fn fetched(
    response: OffsetFetchResponse,
    version: i16,
) -> Result<Vec<(TopicPartition, Committed)>, ResponseError> {
    let whole = |code| ResponseError::try_from_code(code).map_or(Ok(()), Err);
    let mut answers = Vec::new();
    // Two types with the same fields.
    macro_rules! read {
        ($topics:expr) => {
            for topic in $topics {
                let name = TopicName::new(&topic.name.0);
                for one in topic.partitions {
                    let partition = TopicPartition { topic: name, partition: one.partition_index };
                    let offset = (one.committed_offset, one.committed_leader_epoch, one.metadata);
                    answers.push((partition, committed(one.error_code, offset)));
                }
            }
        };
    }
    if version < MANY_GROUPS {
        whole(response.error_code)?;
        read!(response.topics);
    }
    for group in response.groups {
        whole(group.error_code)?;
        read!(group.topics);
    }
    Ok(answers)
}

fn committed(code: i16, (offset, leader_epoch, metadata): (i64, i32, Option<StrBytes>)) -> Committed {
    match ResponseError::try_from_code(code) {
        Some(code) => Err(code),
        None if offset < 0 => Ok(None),
        None => {
            let metadata = metadata.map(|metadata| metadata.to_string()).unwrap_or_default();
            Ok(Some(CommittedOffset { offset, leader_epoch, metadata }))
        }
    }
}

/// One OffsetCommit request over a connection to the coordinator, stamped with `identity` (`Identity::none()` for a reader
/// of fixed partitions); never repeated here, and sent when the future is first polled. The answer is for each partition
/// `None` or why it was refused; the coordinator is forgotten if that says so. An empty `offsets` asks nothing.
///
/// A member that was lost has no generation, and a commit without one succeeds while the group is empty: ask
/// [`Identity::is_member`] before committing for a subscription.
///
/// # Errors
/// No answer (it may have been committed all the same).
pub(crate) fn commit(
    coordinator: &Arc<Coordinator>,
    connection: &Arc<Connection>,
    identity: &Identity,
    instance_id: Option<&str>,
    offsets: &[(TopicPartition, CommittedOffset)],
) -> impl Future<Output = Result<Answers>> + Send + use<> {
    let request = OffsetCommitRequest::default()
        .with_group_id(coordinator.group_id())
        .with_generation_id_or_member_epoch(identity.generation)
        .with_member_id(StrBytes::from_string(identity.member_id.clone()))
        .with_group_instance_id(instance_id.map(|id| StrBytes::from_string(id.to_owned())))
        .with_topics(commit_topics(offsets));
    let partitions: Vec<_> = offsets.iter().map(|(partition, _)| *partition).collect();
    let (coordinator, connection) = (Arc::clone(coordinator), Arc::clone(connection));
    async move {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let answer = connection.call::<OffsetCommitRequest>(COORDINATION_DEADLINE, |_| request).await;
        let answer = answer.inspect_err(|error| coordinator.heed(error))?.body;
        Ok(committed_as(&coordinator, answer, &partitions))
    }
}

/// What was answered for each of these partitions.
fn committed_as(
    coordinator: &Coordinator,
    answer: OffsetCommitResponse,
    partitions: &[TopicPartition],
) -> Answers {
    let mut codes = HashMap::new();
    for topic in answer.topics {
        let name = TopicName::new(&topic.name.0);
        for one in topic.partitions {
            let partition = TopicPartition { topic: name, partition: one.partition_index };
            codes.insert(partition, ResponseError::try_from_code(one.error_code));
        }
    }
    if codes.values().flatten().any(is_the_coordinators) {
        coordinator.forget();
    }
    // What was not answered was not committed, for all that is known.
    let outcome =
        |partition| codes.get(&partition).copied().unwrap_or(Some(ResponseError::UnknownServerError));
    partitions.iter().map(|partition| (*partition, outcome(*partition))).collect()
}

fn is_the_coordinators(code: &ResponseError) -> bool {
    is_elsewhere(*code) || *code == ResponseError::RequestTimedOut
}

fn commit_topics(offsets: &[(TopicPartition, CommittedOffset)]) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    let mut places: HashMap<TopicName, usize> = HashMap::new();
    for (partition, committed) in offsets {
        let place = *places.entry(partition.topic).or_insert_with(|| {
            topics.push(OffsetCommitRequestTopic::default().with_name(wire_name(partition.topic)));
            topics.len() - 1
        });
        let one = OffsetCommitRequestPartition::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_committed_metadata(Some(StrBytes::from_string(committed.metadata.clone())));
        if let Some(topic) = topics.get_mut(place) {
            topic.partitions.push(one);
        }
    }
    topics
}
