//! Offsets of partitions, asked of their leaders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse, TopicName as WireTopic};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::ClusterMetadata;
use crate::config::StartAt;
use crate::error::{At, Error, Result};
use crate::group::{CommittedOffset, Coordinator, fetch_committed};
use crate::ids::TopicPartition;
use crate::net::{Pool, Purpose, Retry};

/// `default.api.timeout.ms`.
const API_TIMEOUT: Duration = Duration::from_secs(60);

/// A topic that fresh metadata does not know is given so many chances to appear: brokers learn of it one by one.
const CHANCES: u32 = 3;

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// What is asked of each partition, as a timestamp.
type Asked = BTreeMap<TopicPartition, i64>;
type Found = HashMap<TopicPartition, Result<i64>>;

pub(super) async fn committed(
    pool: Arc<Pool>,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<Vec<(TopicPartition, Option<CommittedOffset>)>> {
    let coordinator = Coordinator::new(pool, group);
    let mut found = fetch_committed(&coordinator, partitions, API_TIMEOUT).await?;
    let result = |partition: &TopicPartition| match found.remove(partition) {
        Some(Ok(offset)) => Ok((*partition, offset)),
        Some(Err(code)) => Err(Error::Broker { api: "OffsetFetch", code, at: At::Partition(*partition) }),
        None => Ok((*partition, None)),
    };
    partitions.iter().map(result).collect()
}

pub(super) async fn list(
    pool: &Pool,
    at: &[(TopicPartition, StartAt)],
) -> Result<Vec<(TopicPartition, Result<i64>)>> {
    let (mut asked, mut found) = (Asked::new(), Found::new());
    for (partition, place) in at {
        match place {
            StartAt::Beginning => _ = asked.insert(*partition, EARLIEST),
            StartAt::End => _ = asked.insert(*partition, LATEST),
            StartAt::Timestamp(time) => _ = asked.insert(*partition, (*time).max(0)),
            StartAt::Offset(offset) => _ = found.insert(*partition, Ok(*offset)),
            StartAt::Committed => {
                return Err(Error::Config(format!(
                    "{partition}: a committed offset is a group's, not a partition's"
                )));
            }
        }
    }
    let answered = ask_until_answered(pool, asked.clone()).await;
    // No record is that young: whoever starts there starts at the end.
    let beyond = |(partition, result): (&TopicPartition, &Result<i64>)| match result {
        Ok(offset) if *offset < 0 => Some((*partition, LATEST)),
        _ => None,
    };
    let young = answered.iter().filter_map(beyond).collect::<Asked>();
    found.extend(answered);
    found.extend(ask_until_answered(pool, young).await);
    let result = |partition| found.get(partition).cloned().unwrap_or(Err(Error::Closed));
    Ok(at.iter().map(|(partition, _)| (*partition, result(partition))).collect())
}

/// Asks the leaders, and again for what moved, until each partition has its result.
async fn ask_until_answered(pool: &Pool, mut open: Asked) -> Found {
    let mut found = Found::new();
    let mut retry = Retry::within(pool.cluster(), API_TIMEOUT);
    while !open.is_empty() {
        let results = ask_once(pool, &open, retry.left()).await;
        let mut last = None;
        for (partition, result) in results {
            match result {
                Err(error) if error.is_retriable() && !is_hopeless(&error, retry.attempts()) => {
                    last = Some((partition, error));
                }
                result => {
                    open.remove(&partition);
                    found.insert(partition, result);
                }
            }
        }
        let Some((_, error)) = last else { break };
        pool.cluster().refresh();
        if let Err(error) = retry.after(error).await {
            found.extend(open.keys().map(|partition| (*partition, Err(error.clone()))));
            break;
        }
    }
    found
}

/// Kafka calls an unknown topic retriable, which it is while news of it spread.
fn is_hopeless(error: &Error, attempts: u32) -> bool {
    error.code() == Some(ResponseError::UnknownTopicOrPartition) && attempts >= CHANCES
}

/// One round: each leader once, one after the other. Each open partition has a result, maybe a passing error.
async fn ask_once(pool: &Pool, open: &Asked, left: Duration) -> Vec<(TopicPartition, Result<i64>)> {
    let picture = match picture_of(pool, open).await {
        Ok(picture) => picture,
        Err(error) => return open.keys().map(|partition| (*partition, Err(error.clone()))).collect(),
    };
    let mut results = Vec::with_capacity(open.len());
    let mut by_leader = BTreeMap::<i32, Asked>::new();
    for (partition, timestamp) in open {
        match leader(&picture, *partition) {
            Ok(leader) => _ = by_leader.entry(leader).or_default().insert(*partition, *timestamp),
            Err(error) => results.push((*partition, Err(error))),
        }
    }
    for (leader, asked) in by_leader {
        match ask_leader(pool, leader, &asked, left).await {
            Ok(response) => {
                results.extend(asked.keys().map(|partition| (*partition, offset(&response, *partition))))
            }
            Err(error) => results.extend(asked.keys().map(|partition| (*partition, Err(error.clone())))),
        }
    }
    results
}

/// A picture with all topics in it, fresh if one of them was missing.
async fn picture_of(pool: &Pool, open: &Asked) -> Result<Arc<ClusterMetadata>> {
    let cluster = pool.cluster();
    for partition in open.keys() {
        cluster.track_while_used(partition.topic, false);
    }
    let known = cluster.snapshot();
    match open.keys().all(|partition| known.leader(*partition).is_some()) {
        true => Ok(known),
        false => cluster.refreshed().await,
    }
}

fn leader(picture: &ClusterMetadata, partition: TopicPartition) -> Result<i32> {
    if let Some((leader, _)) = picture.leader(partition) {
        return Ok(leader);
    }
    let known = picture.topics.get(&partition.topic);
    let exists = |count: usize| usize::try_from(partition.partition).is_ok_and(|index| index < count);
    let code = match known {
        Some(topic) if topic.error.is_some() => topic.error.unwrap_or(ResponseError::UnknownTopicOrPartition),
        Some(topic) if exists(topic.partitions.len()) => ResponseError::LeaderNotAvailable,
        _ => ResponseError::UnknownTopicOrPartition,
    };
    Err(Error::Broker { api: "Metadata", code, at: At::Partition(partition) })
}

async fn ask_leader(pool: &Pool, leader: i32, asked: &Asked, left: Duration) -> Result<ListOffsetsResponse> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for (partition, timestamp) in asked {
        topics.entry(partition.topic).or_default().push(
            ListOffsetsPartition::default()
                .with_partition_index(partition.partition)
                .with_timestamp(*timestamp),
        );
    }
    let topic = |(name, partitions): (crate::ids::TopicName, _)| {
        ListOffsetsTopic::default()
            .with_name(WireTopic(StrBytes::from_static_str(name.as_str())))
            .with_partitions(partitions)
    };
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(topics.into_iter().map(topic).collect());
    let deadline = left.min(pool.cluster().config().request_timeout);
    let connection = pool.broker(leader, Purpose::Control).await?;
    Ok(connection.call::<ListOffsetsRequest>(deadline, |_| request).await?.body)
}

fn offset(response: &ListOffsetsResponse, partition: TopicPartition) -> Result<i64> {
    let topic = response.topics.iter().find(|topic| topic.name.0.as_str() == partition.topic.as_str());
    let found = topic
        .and_then(|topic| topic.partitions.iter().find(|found| found.partition_index == partition.partition));
    let code = found.map_or(ResponseError::UnknownServerError.code(), |found| found.error_code);
    match (ResponseError::try_from_code(code), found) {
        (None, Some(found)) => Ok(found.offset),
        (code, _) => Err(Error::Broker {
            api: "ListOffsets",
            code: code.unwrap_or(ResponseError::UnknownServerError),
            at: At::Partition(partition),
        }),
    }
}
