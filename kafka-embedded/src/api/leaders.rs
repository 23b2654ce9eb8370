//! Who holds and leads partitions: ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};

use super::topics::{Refused, refused};
use super::{NONE, text};
use crate::faults::allowed;
use crate::replicas::{Replicas, Rules};
use crate::server::connection::Context;

/// What is to be elected, as the request numbers it.
#[derive(Debug, Clone, Copy)]
enum Election {
    Preferred,
    Unclean,
}

impl Election {
    fn hold(self, replicas: &mut Replicas, rules: Rules<'_>) -> Result<(), ResponseError> {
        match self {
            Self::Preferred => replicas.elect_preferred(rules),
            Self::Unclean => replicas.elect_unclean(rules),
        }
    }
}

pub(crate) async fn elect(context: &Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return ElectLeadersResponse::default().with_error_code(ResponseError::InvalidRequest.code()),
    };
    let results = match request.topic_partitions {
        Some(topics) => {
            let results = topics.into_iter().map(|asked| {
                let elect = |index: &i32| result(*index, elect_one(context, &asked.topic, *index, election));
                let partitions = asked.partitions.iter().map(elect).collect();
                elected(asked.topic, partitions)
            });
            results.collect()
        }
        None => elect_all(context, election),
    };
    ElectLeadersResponse::default().with_error_code(NONE).with_replica_election_results(results)
}

/// Of all partitions, those are told of that had another leader than they should.
fn elect_all(context: &Context, election: Election) -> Vec<ReplicaElectionResult> {
    let topics = context.cluster.topics.all().into_iter().map(|topic| {
        let partitions = (0..).zip(&topic.partitions).map(|(index, _)| {
            let done = elect_one(context, &topic.name, index, election);
            (done != Err(needless())).then(|| result(index, done))
        });
        elected(topic.name.clone(), partitions.flatten().collect())
    });
    topics.filter(|topic| !topic.partition_result.is_empty()).collect()
}

fn needless() -> Refused {
    refused(ResponseError::ElectionNotNeeded)
}

fn elected(topic: TopicName, partitions: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default().with_topic(topic).with_partition_result(partitions)
}

fn result(index: i32, done: Result<(), Refused>) -> PartitionResult {
    let result = PartitionResult::default().with_partition_id(index);
    match done {
        Ok(()) => result.with_error_code(NONE).with_error_message(None),
        Err((error, message)) => result.with_error_code(error.code()).with_error_message(text(message)),
    }
}

fn elect_one(context: &Context, name: &TopicName, index: i32, election: Election) -> Result<(), Refused> {
    let change = |replicas: &mut Replicas, rules: Rules<'_>| election.hold(replicas, rules);
    on_partition(context, name, index, change)?.map_err(refused)
}

/// Runs `change` on the replicas of a partition, unless a fault refuses it.
fn on_partition<T>(
    context: &Context,
    name: &TopicName,
    index: i32,
    change: impl FnOnce(&mut Replicas, Rules<'_>) -> T,
) -> Result<T, Refused> {
    allowed(context, name, index).map_err(refused)?;
    let unknown = |what: String| (ResponseError::UnknownTopicOrPartition, what);
    let topic = context.cluster.topics.by_name(name);
    let topic = topic.ok_or_else(|| unknown(format!("No such topic as {}", name.as_str())))?;
    let found = topic.partition(index);
    let partition =
        found.ok_or_else(|| unknown(format!("No such partition as {}-{index}", name.as_str())))?;
    Ok(context.cluster.change_replicas(&topic, partition, change))
}

pub(crate) async fn reassign(
    context: &Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let partitions = asked.partitions.iter().map(|part| {
            let response =
                ReassignablePartitionResponse::default().with_partition_index(part.partition_index);
            let keep_factor = !request.allow_replication_factor_change;
            match reassign_one(context, &asked.name, part, keep_factor) {
                Ok(()) => response.with_error_code(NONE).with_error_message(None),
                Err((error, message)) => {
                    response.with_error_code(error.code()).with_error_message(text(message))
                }
            }
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(asked.name).with_partitions(partitions)
    });
    let response = AlterPartitionReassignmentsResponse::default()
        .with_error_code(NONE)
        .with_error_message(None)
        .with_responses(topics.collect());
    let allowed = request.allow_replication_factor_change;
    if context.version >= 1 { response.with_allow_replication_factor_change(allowed) } else { response }
}

fn reassign_one(
    context: &Context,
    name: &TopicName,
    part: &ReassignablePartition,
    keep_factor: bool,
) -> Result<(), Refused> {
    let Some(nodes) = &part.replicas else {
        on_partition(context, name, part.partition_index, |_, _| ())?;
        // They are done at once, so there is none to cancel.
        return Err(refused(ResponseError::NoReassignmentInProgress));
    };
    let nodes: Vec<i32> = nodes.iter().map(|id| id.0).collect();
    let distinct: BTreeSet<i32> = nodes.iter().copied().collect();
    let known = nodes.iter().all(|id| context.cluster.node(*id).is_some());
    on_partition(context, name, part.partition_index, |replicas, rules| {
        if nodes.is_empty() || !known || distinct.len() < nodes.len() {
            let message = "The manual partition assignment includes no broker, one twice, or one that is not registered.";
            return Err((ResponseError::InvalidReplicaAssignment, message.to_owned()));
        }
        if keep_factor && nodes.len() != replicas.all().len() {
            return Err(refused(ResponseError::InvalidReplicationFactor));
        }
        replicas.reassign(nodes, rules);
        Ok(())
    })?
}

/// None is ever under way.
pub(crate) async fn list_reassignments(
    _: &Context,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_code(NONE).with_error_message(None)
}
