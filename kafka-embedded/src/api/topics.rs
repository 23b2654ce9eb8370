//! Creating and deleting topics, and adding partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{NONE, text};
use crate::configs::{KNOWN, TopicConfigs};
use crate::faults::allowed;
use crate::server::connection::Context;
use crate::topics::{Topic, check_name};

/// A refusal and its message.
pub(super) type Refused = (ResponseError, String);

/// What a request names, each once, and the keys of what it names more often.
pub(super) fn each_once<T, K: Ord + Clone>(all: &[T], key: impl Fn(&T) -> K) -> (Vec<&T>, BTreeSet<K>) {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    let each = all.iter().filter(|one| {
        let is_new = seen.insert(key(one));
        if !is_new {
            twice.insert(key(one));
        }
        is_new
    });
    (each.collect(), twice)
}

/// A refusal with the error's own words.
pub(super) fn refused(error: ResponseError) -> Refused {
    (error, error.to_string())
}

pub(crate) async fn create(context: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let count =
        |topic: &CreatableTopic| request.topics.iter().filter(|other| other.name == topic.name).count();
    let excessive =
        exceeds(request.topics.iter().map(|topic| {
            topic.num_partitions.max(i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX))
        }));
    let mut answered = BTreeSet::new();
    let each_once = request.topics.iter().filter(|wanted| answered.insert(&wanted.name));
    let topics = each_once.map(|wanted| {
        let created = if excessive {
            Err(too_many())
        } else if count(wanted) > 1 {
            Err((ResponseError::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else {
            create_one(context, wanted, request.validate_only)
        };
        let result = CreatableTopicResult::default().with_name(wanted.name.clone());
        match created {
            Ok(topic) => created_topic(context, result, &topic),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(text(message))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        }
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

/// Partitions that one request may create.
const MAX_PARTITIONS: i64 = 10_000;

fn exceeds(counts: impl Iterator<Item = i32>) -> bool {
    counts.map(i64::from).sum::<i64>() > MAX_PARTITIONS
}

fn too_many() -> Refused {
    (ResponseError::PolicyViolation, "Excessively large number of partitions per request.".to_owned())
}

fn create_one(context: &Context, wanted: &CreatableTopic, validate_only: bool) -> Result<Topic, Refused> {
    let cluster = &context.cluster;
    allowed(context, &wanted.name, -1).map_err(refused)?;
    check_name(&wanted.name).map_err(|message| (ResponseError::InvalidTopicException, message))?;
    let exists =
        || (ResponseError::TopicAlreadyExists, format!("Topic '{}' already exists.", wanted.name.as_str()));
    if cluster.topics.by_name(&wanted.name).is_some() {
        return Err(exists());
    }
    if let Some(other) = cluster.topics.colliding(&wanted.name) {
        let message =
            format!("Topic '{}' collides with existing topic: {}", wanted.name.as_str(), other.as_str());
        return Err((ResponseError::InvalidTopicException, message));
    }
    let replicas = replicas(context, wanted)?;
    let mut set = BTreeMap::new();
    for config in &wanted.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic configs: {}", config.name.as_str());
            return Err((ResponseError::InvalidConfig, message));
        };
        set.insert(config.name.to_string(), value.to_string());
    }
    let configs = TopicConfigs::new(set).map_err(|message| (ResponseError::InvalidConfig, message))?;
    let topic = cluster.new_topic(&wanted.name, replicas, configs);
    if validate_only {
        return Ok(topic);
    }
    cluster.topics.insert(topic).map(|topic| Topic::clone(&topic)).map_err(|_| exists())
}

fn replicas(context: &Context, wanted: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refused> {
    if !wanted.assignments.is_empty() {
        return assigned(context, wanted);
    }
    let brokers = context.cluster.nodes.len();
    let partitions = match wanted.num_partitions {
        -1 => context.cluster.settings.default_partitions,
        count => count,
    };
    let Some(count) = usize::try_from(partitions).ok().filter(|count| *count > 0) else {
        let message = "Number of partitions was set to an invalid non-positive value.".to_owned();
        return Err((ResponseError::InvalidPartitions, message));
    };
    match wanted.replication_factor {
        -1 => Ok(context.cluster.spread(count, context.cluster.default_replication())),
        factor => match usize::try_from(factor).ok().filter(|factor| *factor > 0) {
            None => {
                let message =
                    "Replication factor must be larger than 0, or -1 to use the default value.".to_owned();
                Err((ResponseError::InvalidReplicationFactor, message))
            }
            Some(factor) if factor > brokers => {
                let message = format!(
                    "Unable to replicate the partition {factor} time(s): \
                     The target replication factor of {factor} cannot be reached because only {brokers} broker(s) are registered."
                );
                Err((ResponseError::InvalidReplicationFactor, message))
            }
            Some(factor) => Ok(context.cluster.spread(count, factor)),
        },
    }
}

/// Replicas as the request places them.
fn assigned(context: &Context, wanted: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refused> {
    let refuse = |message: &str| Err((ResponseError::InvalidReplicaAssignment, message.to_owned()));
    if wanted.num_partitions != -1 || wanted.replication_factor != -1 {
        let message = "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.";
        return Err((ResponseError::InvalidRequest, message.to_owned()));
    }
    let mut placed = BTreeMap::new();
    for assignment in &wanted.assignments {
        let nodes = nodes(context, &assignment.broker_ids)?;
        if placed.values().any(|others: &Vec<i32>| others.len() != nodes.len()) {
            return refuse("The manual partition assignment gives partitions different numbers of replicas.");
        }
        if placed.insert(assignment.partition_index, nodes).is_some() {
            return refuse("Found multiple manual partition assignments for one partition.");
        }
    }
    if !(0..).zip(placed.keys()).all(|(expected, index)| expected == *index) {
        return refuse("Partitions should be a consecutive 0-based integer sequence.");
    }
    Ok(placed.into_values().collect())
}

fn created_topic(context: &Context, result: CreatableTopicResult, topic: &Topic) -> CreatableTopicResult {
    let result = result.with_error_code(NONE);
    if context.version < 5 {
        return result;
    }
    let factor = topic
        .partitions
        .first()
        .map_or(-1, |partition| i16::try_from(partition.lock().replicas.all().len()).unwrap_or(-1));
    let configs = KNOWN.iter().map(|(name, _, default)| {
        let set = topic.configs.set().get(*name);
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(text(set.map_or(*default, String::as_str)))
            .with_config_source(if set.is_some() { 1 } else { 5 })
    });
    let result = result
        .with_num_partitions(i32::try_from(topic.partitions.len()).unwrap_or(-1))
        .with_replication_factor(factor)
        .with_configs(Some(configs.collect()));
    if context.version >= 7 { result.with_topic_id(topic.id) } else { result }
}

/// The brokers that a request places a partition on.
fn nodes(context: &Context, ids: &[BrokerId]) -> Result<Vec<i32>, Refused> {
    let known = |id: &BrokerId| context.cluster.node(id.0).is_some();
    let distinct: BTreeSet<i32> = ids.iter().map(|id| id.0).collect();
    if ids.is_empty() || !ids.iter().all(known) || distinct.len() < ids.len() {
        let message =
            "The manual partition assignment includes no broker, one twice, or one that is not registered.";
        return Err((ResponseError::InvalidReplicaAssignment, message.to_owned()));
    }
    Ok(ids.iter().map(|id| id.0).collect())
}

pub(crate) async fn delete(context: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let all: Vec<DeleteTopicState> = named.chain(request.topics).collect();
    let (each, twice) = each_once(&all, |wanted| (wanted.name.clone(), wanted.topic_id));
    let responses = each.into_iter().cloned().map(|wanted| {
        let deleted = match twice.contains(&(wanted.name.clone(), wanted.topic_id)) {
            true => Err(ResponseError::InvalidRequest),
            false => delete_one(context, &wanted),
        };
        let (result, error) = match deleted {
            Ok(topic) => (
                DeletableTopicResult::default().with_name(Some(topic.name.clone())).with_topic_id(topic.id),
                None,
            ),
            Err(error) => {
                let result =
                    DeletableTopicResult::default().with_name(wanted.name).with_topic_id(wanted.topic_id);
                (result, Some(error))
            }
        };
        match error {
            None => result.with_error_code(NONE),
            Some(error) => result.with_error_code(error.code()).with_error_message(text(error.to_string())),
        }
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

fn delete_one(context: &Context, wanted: &DeleteTopicState) -> Result<Arc<Topic>, ResponseError> {
    let cluster = &context.cluster;
    let topic = match (&wanted.name, wanted.topic_id.is_nil()) {
        (Some(name), true) => {
            allowed(context, name, -1)?;
            cluster.topics.remove(name).ok_or(ResponseError::UnknownTopicOrPartition)
        }
        (None, false) => {
            let known = cluster.topics.by_id(wanted.topic_id).ok_or(ResponseError::UnknownTopicId)?;
            allowed(context, &known.name, -1)?;
            cluster.topics.remove(&known.name).ok_or(ResponseError::UnknownTopicId)
        }
        _ => Err(ResponseError::InvalidRequest),
    }?;
    cluster.groups.forget_topic(&topic.name);
    Ok(topic)
}

pub(crate) async fn add_partitions(
    context: &Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let (each, twice) = each_once(&request.topics, |wanted| wanted.name.clone());
    let results = each.into_iter().map(|wanted| {
        let result = CreatePartitionsTopicResult::default().with_name(wanted.name.clone());
        let added = match twice.contains(&wanted.name) {
            true => Err((ResponseError::InvalidRequest, "Duplicate topic name.".to_owned())),
            false => add_to_one(context, wanted, request.validate_only),
        };
        match added {
            Ok(()) => result.with_error_code(NONE),
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(text(message)),
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn add_to_one(context: &Context, wanted: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let topics = &context.cluster.topics;
    allowed(context, &wanted.name, -1).map_err(refused)?;
    let unknown = || refused(ResponseError::UnknownTopicOrPartition);
    let topic = topics.by_name(&wanted.name).ok_or_else(unknown)?;
    let present = topic.partitions.len();
    let count = usize::try_from(wanted.count).unwrap_or(0);
    if count <= present {
        let message = match count == present {
            true => format!("Topic already has {present} partition(s)."),
            false => format!(
                "The topic {} currently has {present} partition(s); {} would not be an increase.",
                wanted.name.as_str(),
                wanted.count
            ),
        };
        return Err((ResponseError::InvalidPartitions, message));
    }
    if exceeds(std::iter::once(i32::try_from(count - present).unwrap_or(i32::MAX))) {
        return Err(too_many());
    }
    let factor = topic.partitions.first().map_or(1, |partition| partition.lock().replicas.all().len());
    let replicas = match &wanted.assignments {
        None => context.cluster.spread(count - present, factor),
        Some(assignments) if assignments.len() == count - present => {
            let placed = assignments.iter().map(|placed| nodes(context, &placed.broker_ids));
            let placed = placed.collect::<Result<Vec<_>, _>>()?;
            if placed.iter().any(|nodes| nodes.len() != factor) {
                let message = format!("The manual partition assignment has not {factor} replica(s) of each.");
                return Err((ResponseError::InvalidReplicaAssignment, message));
            }
            placed
        }
        Some(assignments) => {
            let message = format!(
                "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                count - present,
                assignments.len()
            );
            return Err((ResponseError::InvalidReplicaAssignment, message));
        }
    };
    if !validate_only {
        let grown = replicas.into_iter().map(|nodes| context.cluster.new_partition(nodes));
        topics.update(&wanted.name, |topic| {
            // Another request may have been faster.
            topic.partitions.extend(grown.skip(topic.partitions.len() - present));
        });
    }
    Ok(())
}
