//! Groups: membership, offsets, administration.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Named, See, Subject, ThrottleField, see_all_partitions};
use crate::server::connection::Context;

/// Requests that name one group, and whose answer has one error for all.
macro_rules! of_one_group {
    ($($request:ty, $response:ty, $from:literal;)*) => {$(
        impl Subject for $request {
            const THROTTLE: ThrottleField = ThrottleField::First { from: $from };

            fn names(&self, _: &Context, see: See<'_>) {
                see(Named::Group(&self.group_id));
            }

            fn refuse(&self, _: &Context, error: ResponseError) -> Option<$response> {
                Some(<$response>::default().with_error_code(error.code()))
            }
        }
    )*};
}

of_one_group! {
    HeartbeatRequest, HeartbeatResponse, 1;
    LeaveGroupRequest, LeaveGroupResponse, 1;
    SyncGroupRequest, SyncGroupResponse, 1;
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, 0;
}

impl Subject for JoinGroupRequest {
    const THROTTLE: ThrottleField = ThrottleField::First { from: 2 };

    fn names(&self, _: &Context, see: See<'_>) {
        see(Named::Group(&self.group_id));
    }

    fn refuse(&self, context: &Context, error: ResponseError) -> Option<JoinGroupResponse> {
        let response = JoinGroupResponse::default()
            .with_error_code(error.code())
            .with_generation_id(-1)
            .with_member_id(self.member_id.clone());
        // The name may be null from version 7 on only.
        let named = context.version < 7;
        Some(if named { response.with_protocol_name(Some(StrBytes::default())) } else { response })
    }
}

impl Subject for OffsetCommitRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::First { from: 3 };

    fn names(&self, _: &Context, see: See<'_>) {
        see(Named::Group(&self.group_id));
        see_partitions!(see, self.topics, name, partition_index);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<OffsetCommitResponse> {
        let topics = refused!(error in self.topics => OffsetCommitResponseTopic, with_name(name), OffsetCommitResponsePartition, with_partition_index(partition_index));
        Some(OffsetCommitResponse::default().with_topics(topics))
    }
}

impl Subject for OffsetFetchRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::First { from: 3 };

    fn names(&self, context: &Context, see: See<'_>) {
        let of_all = self.groups.iter().any(|group| group.topics.is_none());
        if of_all || (context.version < 8 && self.topics.is_none()) {
            see_all_partitions(context, see);
        }
        if context.version < 8 {
            see(Named::Group(&self.group_id));
        }
        for topic in self.topics.iter().flatten() {
            topic.partition_indexes.iter().for_each(|index| see(Named::Partition(&topic.name, *index)));
        }
        for group in &self.groups {
            see(Named::Group(&group.group_id));
            for topic in group.topics.iter().flatten() {
                topic.partition_indexes.iter().for_each(|index| see(Named::Partition(&topic.name, *index)));
            }
        }
    }

    fn refuse(&self, context: &Context, error: ResponseError) -> Option<OffsetFetchResponse> {
        let response = OffsetFetchResponse::default();
        Some(match context.version {
            8.. => {
                let groups = self.groups.iter().map(|group| {
                    OffsetFetchResponseGroup::default()
                        .with_group_id(group.group_id.clone())
                        .with_error_code(error.code())
                });
                response.with_groups(groups.collect())
            }
            2.. => response.with_error_code(error.code()),
            _ => {
                let topics = self.topics.iter().flatten().map(|topic| {
                    let partitions = topic.partition_indexes.iter().map(|index| {
                        OffsetFetchResponsePartition::default()
                            .with_partition_index(*index)
                            .with_committed_offset(-1)
                            .with_error_code(error.code())
                    });
                    OffsetFetchResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions.collect())
                });
                response.with_topics(topics.collect())
            }
        })
    }
}

impl Subject for OffsetDeleteRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::Second;

    fn names(&self, _: &Context, see: See<'_>) {
        see(Named::Group(&self.group_id));
        see_partitions!(see, self.topics, name, partition_index);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<OffsetDeleteResponse> {
        Some(OffsetDeleteResponse::default().with_error_code(error.code()))
    }
}

impl Subject for FindCoordinatorRequest {
    const THROTTLE: ThrottleField = ThrottleField::First { from: 1 };

    fn names(&self, context: &Context, see: See<'_>) {
        let old = (context.version < 4).then_some(&self.key);
        for key in self.coordinator_keys.iter().chain(old) {
            // 0 are groups, 1 are transactional ids.
            see(if self.key_type == 1 { Named::TransactionalId(key) } else { Named::Group(key) });
        }
    }

    fn refuse(&self, context: &Context, error: ResponseError) -> Option<FindCoordinatorResponse> {
        let response = FindCoordinatorResponse::default();
        if context.version < 4 {
            return Some(response.with_error_code(error.code()).with_node_id(BrokerId(-1)).with_port(-1));
        }
        let coordinators = self.coordinator_keys.iter().map(|key| {
            Coordinator::default()
                .with_key(key.clone())
                .with_error_code(error.code())
                .with_node_id(BrokerId(-1))
                .with_port(-1)
        });
        Some(response.with_coordinators(coordinators.collect()))
    }
}

impl Subject for DescribeGroupsRequest {
    const THROTTLE: ThrottleField = ThrottleField::First { from: 1 };

    fn names(&self, _: &Context, see: See<'_>) {
        self.groups.iter().for_each(|group| see(Named::Group(group)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DescribeGroupsResponse> {
        let groups = self.groups.iter().map(|group| {
            DescribedGroup::default().with_group_id(group.clone()).with_error_code(error.code())
        });
        Some(DescribeGroupsResponse::default().with_groups(groups.collect()))
    }
}

impl Subject for ConsumerGroupDescribeRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        self.group_ids.iter().for_each(|group| see(Named::Group(group)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ConsumerGroupDescribeResponse> {
        let groups = self.group_ids.iter().map(|group| {
            DescribedConsumerGroup::default().with_group_id(group.clone()).with_error_code(error.code())
        });
        Some(ConsumerGroupDescribeResponse::default().with_groups(groups.collect()))
    }
}

impl Subject for ListGroupsRequest {
    const THROTTLE: ThrottleField = ThrottleField::First { from: 1 };

    fn names(&self, _: &Context, _: See<'_>) {}

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ListGroupsResponse> {
        Some(ListGroupsResponse::default().with_error_code(error.code()))
    }
}

impl Subject for DeleteGroupsRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        self.groups_names.iter().for_each(|group| see(Named::Group(group)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DeleteGroupsResponse> {
        let results = self.groups_names.iter().map(|group| {
            DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(error.code())
        });
        Some(DeleteGroupsResponse::default().with_results(results.collect()))
    }
}
