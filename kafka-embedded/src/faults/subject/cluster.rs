//! The cluster: versions, brokers, leaders and replicas.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiVersionsRequest,
    ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListConfigResourcesRequest, ListConfigResourcesResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Named, See, Subject, ThrottleField, see_all_partitions};
use crate::server::connection::Context;

impl Subject for ApiVersionsRequest {
    const THROTTLE: ThrottleField = ThrottleField::Elsewhere;

    fn names(&self, _: &Context, _: See<'_>) {}

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ApiVersionsResponse> {
        Some(ApiVersionsResponse::default().with_error_code(error.code()))
    }
}

impl Subject for DescribeClusterRequest {
    fn names(&self, _: &Context, _: See<'_>) {}

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DescribeClusterResponse> {
        Some(DescribeClusterResponse::default().with_error_code(error.code()))
    }
}

impl Subject for ListConfigResourcesRequest {
    fn names(&self, _: &Context, _: See<'_>) {}

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ListConfigResourcesResponse> {
        Some(ListConfigResourcesResponse::default().with_error_code(error.code()))
    }
}

impl Subject for ElectLeadersRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, context: &Context, see: See<'_>) {
        if self.topic_partitions.is_none() {
            see_all_partitions(context, see);
        }
        for topic in self.topic_partitions.iter().flatten() {
            topic.partitions.iter().for_each(|index| see(Named::Partition(&topic.topic, *index)));
        }
    }

    fn refuse(&self, context: &Context, error: ResponseError) -> Option<ElectLeadersResponse> {
        let response = ElectLeadersResponse::default();
        if context.version >= 1 {
            return Some(response.with_error_code(error.code()));
        }
        let results = self.topic_partitions.iter().flatten().map(|topic| {
            let partitions = topic.partitions.iter().map(|index| {
                PartitionResult::default().with_partition_id(*index).with_error_code(error.code())
            });
            ReplicaElectionResult::default()
                .with_topic(topic.topic.clone())
                .with_partition_result(partitions.collect())
        });
        Some(response.with_replica_election_results(results.collect()))
    }
}

impl Subject for AlterPartitionReassignmentsRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        see_partitions!(see, self.topics, name, partition_index);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<AlterPartitionReassignmentsResponse> {
        Some(AlterPartitionReassignmentsResponse::default().with_error_code(error.code()))
    }
}

impl Subject for ListPartitionReassignmentsRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        for topic in self.topics.iter().flatten() {
            topic.partition_indexes.iter().for_each(|index| see(Named::Partition(&topic.name, *index)));
        }
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ListPartitionReassignmentsResponse> {
        Some(ListPartitionReassignmentsResponse::default().with_error_code(error.code()))
    }
}
