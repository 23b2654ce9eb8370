//! Metadata: brokers, topics by name or id, and their creation on first use. DescribeCluster.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse, TopicName,
};

use super::topics::each_once;
use super::{NONE, text};
use crate::cluster::Node;
use crate::faults::allowed;
use crate::replicas::NOBODY;
use crate::server::connection::Context;
use crate::topics::{Topic, check_name, owned};

pub(crate) async fn metadata(context: &Context, request: MetadataRequest) -> MetadataResponse {
    let cluster = &context.cluster;
    // Version 0 has no null: there the empty list asks for all.
    let named = request.topics.filter(|topics| context.version > 0 || !topics.is_empty());
    let may_create = request.allow_auto_topic_creation || context.version < 4;
    let topics = match named {
        None => cluster.topics.all().iter().map(|topic| describe(context, topic)).collect(),
        Some(named) => {
            let (each, _) = each_once(&named, |wanted| (wanted.name.clone(), wanted.topic_id));
            each.into_iter().map(|wanted| one(context, wanted, may_create)).collect::<Vec<_>>()
        }
    };
    let on_topics = if request.include_topic_authorized_operations { ON_TOPICS } else { NOT_ASKED };
    let on_the_cluster =
        if request.include_cluster_authorized_operations { ON_THE_CLUSTER } else { NOT_ASKED };
    let topics = topics.into_iter().map(|topic| match topic.error_code {
        NONE => topic.with_topic_authorized_operations(on_topics),
        _ => topic,
    });
    let brokers = cluster.live_nodes().map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(node.host.clone())
            .with_port(i32::from(node.port))
            .with_rack(if context.version >= 1 { node.rack.clone() } else { None })
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(cluster.id.clone()))
        .with_controller_id(controller(context))
        .with_cluster_authorized_operations(on_the_cluster)
        .with_topics(topics.collect())
}

/// The broker that answers for the controller.
fn controller(context: &Context) -> BrokerId {
    BrokerId(context.cluster.live_nodes().next().map_or(-1, |node| node.id))
}

/// DescribeCluster's kinds of endpoint.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// What is told where nobody asked which operations are allowed.
const NOT_ASKED: i32 = i32::MIN;
/// All operations that there are on a topic: read, write, create, delete, alter, describe, describe and alter configs.
const ON_TOPICS: i32 = 0b1101_1111_1000;
/// On the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent write.
const ON_THE_CLUSTER: i32 = 0b1_1111_1010_0000;

pub(crate) async fn describe_cluster(
    context: &Context,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let cluster = &context.cluster;
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(ResponseError::MismatchedEndpointType),
        _ => Some(ResponseError::UnsupportedEndpointType),
    };
    if let Some(error) = refused {
        return DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(text("The request was sent to an endpoint of the wrong type."));
    }
    let shown = |node: &&Node| request.include_fenced_brokers || cluster.brokers.is_live(node.id);
    let brokers = cluster.nodes.iter().filter(shown).map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id))
            .with_host(node.host.clone())
            .with_port(i32::from(node.port))
            .with_rack(node.rack.clone())
            .with_is_fenced(!cluster.brokers.is_live(node.id))
    });
    DescribeClusterResponse::default()
        .with_error_code(NONE)
        .with_cluster_id(cluster.id.clone())
        .with_controller_id(controller(context))
        .with_cluster_authorized_operations(if request.include_cluster_authorized_operations {
            ON_THE_CLUSTER
        } else {
            NOT_ASKED
        })
        .with_brokers(brokers.collect())
}

fn one(context: &Context, wanted: &MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
    let Some(name) = &wanted.name else {
        return match context.cluster.topics.by_id(wanted.topic_id) {
            Some(topic) => describe(context, &topic),
            None => MetadataResponseTopic::default()
                .with_name(if context.version >= 12 { None } else { Some(TopicName::default()) })
                .with_topic_id(wanted.topic_id)
                .with_error_code(ResponseError::UnknownTopicId.code()),
        };
    };
    let found = allowed(context, name, -1).and_then(|()| find_or_create(context, name, may_create));
    match found {
        Ok(topic) => describe(context, &topic),
        Err(error) => {
            MetadataResponseTopic::default().with_name(Some(name.clone())).with_error_code(error.code())
        }
    }
}

fn find_or_create(
    context: &Context,
    name: &TopicName,
    may_create: bool,
) -> Result<Arc<Topic>, ResponseError> {
    let cluster = &context.cluster;
    if let Some(topic) = cluster.topics.by_name(name) {
        return Ok(topic);
    }
    check_name(name).map_err(|_| ResponseError::InvalidTopicException)?;
    if !may_create || !cluster.settings.auto_create_topics {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    Ok(cluster.ensure_topic(&owned(name), usize::try_from(cluster.settings.default_partitions).unwrap_or(1)))
}

fn describe(context: &Context, topic: &Topic) -> MetadataResponseTopic {
    if let Err(error) = allowed(context, &topic.name, -1) {
        return MetadataResponseTopic::default()
            .with_name(Some(topic.name.clone()))
            .with_topic_id(topic.id)
            .with_error_code(error.code());
    }
    let partitions = (0..).zip(&topic.partitions).map(|(index, partition)| {
        let state = partition.lock();
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let replicas = &state.replicas;
        let led = replicas.leader() != NOBODY;
        let response = MetadataResponsePartition::default()
            .with_error_code(if led { NONE } else { ResponseError::LeaderNotAvailable.code() })
            .with_partition_index(index)
            .with_leader_id(BrokerId(replicas.leader()))
            .with_leader_epoch(replicas.epoch())
            .with_replica_nodes(ids(replicas.all()))
            .with_isr_nodes(ids(replicas.in_sync()));
        let offline = context.cluster.offline(replicas);
        if context.version >= 5 { response.with_offline_replicas(ids(&offline)) } else { response }
    });
    MetadataResponseTopic::default()
        .with_error_code(NONE)
        .with_name(Some(topic.name.clone()))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}
