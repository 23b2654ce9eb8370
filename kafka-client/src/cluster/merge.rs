//! From an answer to the next picture. Pure.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

use super::{Broker, ClusterMetadata, PartitionMetadata, TopicMetadata};
use crate::ids::TopicName;

/// The picture that an answer shows, by somebody who remembers `last`.
pub(crate) fn picture(response: &MetadataResponse, last: &ClusterMetadata) -> ClusterMetadata {
    let brokers = response.brokers.iter().filter_map(|broker| {
        let port = u16::try_from(broker.port).ok()?;
        let rack = broker.rack.as_ref().map(ToString::to_string);
        Some((broker.node_id.0, Broker { id: broker.node_id.0, host: broker.host.to_string(), port, rack }))
    });
    let topics = response.topics.iter().filter_map(|topic| {
        let name = TopicName::new(topic.name.as_ref()?.as_str());
        Some((name, topic_picture(topic, last.topics.get(&name))))
    });
    ClusterMetadata {
        cluster_id: response.cluster_id.as_ref().map(ToString::to_string),
        controller: (response.controller_id.0 >= 0).then_some(response.controller_id.0),
        brokers: brokers.collect(),
        topics: topics.collect(),
    }
}

/// Adds the topics of a second answer.
pub(super) fn add_topics(to: &mut ClusterMetadata, from: ClusterMetadata) {
    to.topics.extend(from.topics);
}

/// Whether another picture is needed soon, because of a topic that was asked for by name: something is missing that
/// comes by itself (a topic being created, a leader being elected).
pub(super) fn is_incomplete(picture: &ClusterMetadata, asked: impl IntoIterator<Item = TopicName>) -> bool {
    let incomplete = |topic: &TopicMetadata| match topic.error {
        Some(error) => error.is_retriable(),
        None => topic.partitions.iter().any(|partition| partition.leader.is_none()),
    };
    asked.into_iter().any(|name| picture.topics.get(&name).is_none_or(incomplete))
}

fn topic_picture(topic: &MetadataResponseTopic, last: Option<&TopicMetadata>) -> TopicMetadata {
    let id = topic.topic_id.as_u128();
    let mut partitions = partitions(&topic.partitions);
    // A broker that lags behind must not take us back. A topic with another id is another topic.
    if let Some(last) = last.filter(|last| last.id == id && topic.error_code == 0) {
        for (new, old) in partitions.iter_mut().zip(&last.partitions) {
            if new.leader_epoch < old.leader_epoch && new.leader_epoch >= 0 {
                new.clone_from(old);
            }
        }
        if id != 0 && partitions.len() < last.partitions.len() {
            partitions.extend(last.partitions.iter().skip(partitions.len()).cloned());
        }
    }
    let error = ResponseError::try_from_code(topic.error_code);
    TopicMetadata { id, internal: topic.is_internal, partitions, error }
}

/// Partitions by number; a number beyond their count is nonsense and left out, a missing one has no leader.
fn partitions(answered: &[MetadataResponsePartition]) -> Vec<PartitionMetadata> {
    let unknown = PartitionMetadata { leader: None, leader_epoch: -1, replicas: vec![], isr: vec![] };
    let mut partitions = vec![unknown; answered.len()];
    for partition in answered {
        let index = usize::try_from(partition.partition_index).ok();
        if let Some(place) = index.and_then(|index| partitions.get_mut(index)) {
            *place = PartitionMetadata {
                leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
                leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes.iter().map(|id| id.0).collect(),
                isr: partition.isr_nodes.iter().map(|id| id.0).collect(),
            };
        }
    }
    partitions
}

/// Names of the topics whose ids changed: deleted and created again.
pub(super) fn recreated(from: &ClusterMetadata, to: &ClusterMetadata) -> Vec<TopicName> {
    let old: HashMap<_, _> = from.topics.iter().filter(|(_, topic)| topic.id != 0).collect();
    let changed = to
        .topics
        .iter()
        .filter(|(name, topic)| topic.id != 0 && old.get(name).is_some_and(|before| before.id != topic.id));
    changed.map(|(name, _)| *name).collect()
}
