//! Every version of the APIs of topics, leaders and the cluster.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ApiVersionsRequest, BrokerId,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest, ListPartitionReassignmentsRequest,
    MetadataRequest, describe_topic_partitions_request, elect_leaders_request,
    incremental_alter_configs_request,
};

use crate::peer::{text, topic};
use crate::versions::{Bench, is, orders};

pub(crate) async fn every_version(bench: &mut Bench) {
    topics(bench).await;
    cluster(bench).await;
}

async fn topics(bench: &mut Bench) {
    let named = |version: i16| topic(&format!("made-{version}"));
    let create = |version| {
        let wanted = CreatableTopic::default().with_name(named(version)).with_num_partitions(1);
        CreateTopicsRequest::default().with_topics(vec![wanted.with_replication_factor(1)])
    };
    bench.each::<CreateTopicsRequest>(create, |_, answer| is(answer.topics[0].error_code, 0)).await;
    bench
        .each::<CreateTopicsRequest>(create, |_, answer| {
            is(answer.topics[0].error_code, ResponseError::TopicAlreadyExists.code())
        })
        .await;
    bench.covered.pop();
    let grow = |version: i16| {
        let wanted = CreatePartitionsTopic::default().with_name(orders()).with_count(3 + i32::from(version));
        CreatePartitionsRequest::default().with_topics(vec![wanted.with_assignments(None)])
    };
    bench.each::<CreatePartitionsRequest>(grow, |_, answer| is(answer.results[0].error_code, 0)).await;
    let delete = |version| {
        if version < 6 {
            return DeleteTopicsRequest::default().with_topic_names(vec![named(version + 1)]);
        }
        let wanted = DeleteTopicState::default().with_name(Some(topic("none")));
        DeleteTopicsRequest::default().with_topics(vec![wanted])
    };
    bench
        .each::<DeleteTopicsRequest>(delete, |version, answer| {
            let unknown = ResponseError::UnknownTopicOrPartition.code();
            is(answer.responses[0].error_code, if version < 6 { 0 } else { unknown })
        })
        .await;
    let describe = |_| {
        let resource = |kind, name: &str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        let resources = vec![resource(2, "orders"), resource(4, "1"), resource(2, "none")];
        DescribeConfigsRequest::default().with_resources(resources).with_include_synonyms(true)
    };
    bench
        .each::<DescribeConfigsRequest>(describe, |_, answer| {
            let codes: Vec<i16> = answer.results.iter().map(|result| result.error_code).collect();
            if codes == [0, 0, 3] { Ok(()) } else { Err(format!("{codes:?}")) }
        })
        .await;
    let alter = |_| {
        let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("5")));
        let resource =
            AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("orders"));
        AlterConfigsRequest::default().with_resources(vec![resource.with_configs(vec![config])])
    };
    bench.each::<AlterConfigsRequest>(alter, |_, answer| is(answer.responses[0].error_code, 0)).await;
    let change = |_| {
        let resource = incremental_alter_configs_request::AlterConfigsResource::default();
        let resource = resource.with_resource_type(4).with_resource_name(text("1"));
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    bench
        .each::<IncrementalAlterConfigsRequest>(change, |_, answer| is(answer.responses[0].error_code, 0))
        .await;
}

async fn leaders(bench: &mut Bench) {
    let elect = |_| {
        let asked = elect_leaders_request::TopicPartitions::default();
        let asked = asked.with_topic(orders()).with_partitions(vec![0, 99]);
        ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked]))
    };
    bench
        .each::<ElectLeadersRequest>(elect, |_, answer| {
            let results = &answer.replica_election_results[0].partition_result;
            is(results[0].error_code, ResponseError::ElectionNotNeeded.code())?;
            is(results[1].error_code, ResponseError::UnknownTopicOrPartition.code())
        })
        .await;
    let reassign = |_| {
        let to = |index, id| {
            ReassignablePartition::default()
                .with_partition_index(index)
                .with_replicas(Some(vec![BrokerId(id)]))
        };
        let asked = ReassignableTopic::default().with_name(orders());
        let asked = asked.with_partitions(vec![to(0, 1), to(0, 7), to(99, 1)]);
        AlterPartitionReassignmentsRequest::default().with_topics(vec![asked])
    };
    bench
        .each::<AlterPartitionReassignmentsRequest>(reassign, |_, answer| {
            let codes: Vec<i16> =
                answer.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
            let (invalid, unknown) =
                (ResponseError::InvalidReplicaAssignment, ResponseError::UnknownTopicOrPartition);
            if codes == [0, invalid.code(), unknown.code()] { Ok(()) } else { Err(format!("{codes:?}")) }
        })
        .await;
    bench
        .each::<ListConfigResourcesRequest>(
            |_| ListConfigResourcesRequest::default(),
            |version, answer| {
                is(answer.error_code, 0)?;
                let topics = answer.config_resources.iter().filter(|found| found.resource_type == 2).count();
                let listed = topics > 0;
                if listed == (version > 0) { Ok(()) } else { Err(format!("{topics} topics")) }
            },
        )
        .await;
    bench
        .each::<ListPartitionReassignmentsRequest>(
            |_| ListPartitionReassignmentsRequest::default().with_topics(None),
            |_, answer| is(answer.error_code, 0),
        )
        .await;
    bench
        .each::<DescribeTopicPartitionsRequest>(
            |_| {
                let asked = describe_topic_partitions_request::TopicRequest::default().with_name(orders());
                DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![asked])
                    .with_response_partition_limit(1)
                    .with_cursor(None)
            },
            |_, answer| {
                is(answer.topics[0].error_code, 0)?;
                let next = answer.next_cursor.map(|cursor| cursor.partition_index);
                if next == Some(1) { Ok(()) } else { Err(format!("cursor at {next:?}")) }
            },
        )
        .await;
}

async fn cluster(bench: &mut Bench) {
    let metadata = |_| {
        let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic(name)));
        MetadataRequest::default().with_topics(Some(vec![named("orders"), named("or/ders")]))
    };
    bench
        .each::<MetadataRequest>(metadata, |_, answer| {
            is(answer.topics[0].error_code, 0)?;
            is(answer.topics[1].error_code, ResponseError::InvalidTopicException.code())
        })
        .await;
    leaders(bench).await;
    bench
        .each::<DescribeClusterRequest>(
            |_| DescribeClusterRequest::default(),
            |_, answer| is(answer.error_code, 0),
        )
        .await;
    let software = |version| {
        let request = ApiVersionsRequest::default();
        if version < 3 {
            return request;
        }
        request.with_client_software_name(text("peer")).with_client_software_version(text("1.0"))
    };
    bench.each::<ApiVersionsRequest>(software, |_, answer| is(answer.error_code, 0)).await;
}
