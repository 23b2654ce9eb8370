//! Every version that the broker offers, of every API, is answered in its own layout.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use kafka_client::wire::{decode, decode_part};
use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ApiVersionsRequest, ApiVersionsResponse,
    BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, FetchRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest, ListPartitionReassignmentsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, ResponseHeader, SyncGroupRequest, TopicName,
    describe_topic_partitions_request, elect_leaders_request, incremental_alter_configs_request,
};
use kafka_protocol::protocol::Request;

use crate::peer::{Peer, plain, produce_request, text, topic};

/// One broker, a topic with a record, and what is offered.
pub(crate) struct Bench {
    kafka: EmbeddedKafka,
    peer: Peer,
    offered: ApiVersionsResponse,
    covered: Vec<i16>,
}

impl Bench {
    async fn new() -> Self {
        let kafka = EmbeddedKafka::builder().topic("orders", 2).in_memory().start().await.unwrap();
        let mut peer = Peer::connect(&kafka, 1).await;
        let offered = peer.call(0, &ApiVersionsRequest::default()).await;
        Self { kafka, peer, offered, covered: Vec::new() }
    }

    /// Calls each offered version of `R` with what `request` makes for it; `check` looks at the answers.
    pub(crate) async fn each<R: Request<Response: Debug>>(
        &mut self,
        request: impl Fn(i16) -> R,
        check: impl Fn(i16, R::Response) -> Result<(), String>,
    ) {
        let offered = self.offered.api_keys.iter().find(|api| api.api_key == R::KEY).expect("offered");
        // Produce is offered from 0 for librdkafka's sake and served from 3.
        for version in offered.min_version.max(R::VERSIONS.min)..=offered.max_version {
            let answer = self.peer.call(version, &request(version)).await;
            let name = std::any::type_name::<R>();
            self.refused_by_a_fault::<R>(version, &request(version), name).await;
            check(version, answer).unwrap_or_else(|problem| panic!("{name} v{version}: {problem}"));
        }
        self.covered.push(R::KEY);
    }

    /// A fault finds the place of the error, and that of the throttle time, in every version of every answer.
    async fn refused_by_a_fault<R: Request<Response: Debug>>(
        &mut self,
        version: i16,
        request: &R,
        name: &str,
    ) {
        let api = Api::try_from(R::KEY).unwrap();
        let refused = self.kafka.faults().on(api).answer(ErrorCode::Unknown(4711));
        let throttled = self.kafka.faults().on(api).throttle(Duration::from_millis(7));
        let answer = format!("{:?}", self.peer.call(version, request).await);
        assert_eq!((refused.strikes(), throttled.strikes()), (1, 1), "{name} v{version}");
        assert!(answer.contains("error_code: 4711"), "{name} v{version}: {answer}");
        if version >= throttled_from(api) {
            assert!(answer.contains("throttle_time_ms: 7,"), "{name} v{version}: {answer}");
        }
        self.kafka.faults().clear();
    }
}

/// The first version whose answers say for how long the client is throttled.
fn throttled_from(api: Api) -> i16 {
    match api {
        // It has the field, but a fault does not look for it behind the versions.
        Api::ApiVersions => i16::MAX,
        // It has no such field.
        Api::WriteTxnMarkers => i16::MAX,
        Api::Metadata | Api::OffsetCommit | Api::OffsetFetch => 3,
        Api::ListOffsets | Api::JoinGroup => 2,
        Api::FindCoordinator
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::SyncGroup
        | Api::DescribeGroups
        | Api::ListGroups => 1,
        _ => 0,
    }
}

pub(crate) fn is(code: i16, expected: i16) -> Result<(), String> {
    if code == expected { Ok(()) } else { Err(format!("error {code} instead of {expected}")) }
}

fn orders() -> TopicName {
    topic("orders")
}

fn group() -> GroupId {
    GroupId(text("group"))
}

#[tokio::test(start_paused = true)]
async fn every_offered_version_is_answered() {
    let mut bench = everything().await;
    let offered: Vec<i16> = bench.offered.api_keys.iter().map(|api| api.api_key).collect();
    bench.covered.sort_unstable();
    assert_eq!(bench.covered, offered, "every API has a case here, and they are offered in order");
}

async fn everything() -> Bench {
    let mut bench = Bench::new().await;
    data(&mut bench).await;
    groups(&mut bench).await;
    topics(&mut bench).await;
    cluster(&mut bench).await;
    consumer_groups(&mut bench).await;
    crate::transactions::every_version(&mut bench).await;
    bench
}

/// A sensible request of every version of every API, as it goes over the wire.
pub(crate) async fn frames() -> Vec<Bytes> {
    everything().await.peer.sent
}

async fn data(bench: &mut Bench) {
    let unknown_id = ResponseError::UnknownTopicId.code();
    let produce = |version| {
        let mut request = produce_request("orders", 0, plain(&["x"]));
        if version >= 13 {
            request.topic_data[0].name = TopicName::default();
        }
        request
    };
    bench
        .each::<ProduceRequest>(produce, |version, answer| {
            let expected = if version >= 13 { unknown_id } else { 0 };
            is(answer.responses[0].partition_responses[0].error_code, expected)
        })
        .await;
    let fetch = |version| {
        let topic = crate::peer::fetch_topic("orders", &[(0, 0)]);
        let topic = if version >= 13 { topic.with_topic(TopicName::default()) } else { topic };
        FetchRequest::default().with_max_bytes(1000).with_topics(vec![topic])
    };
    bench
        .each::<FetchRequest>(fetch, |version, answer| {
            is(answer.responses[0].partitions[0].error_code, if version >= 13 { unknown_id } else { 0 })
        })
        .await;
    let list = |version| {
        let partition = ListOffsetsPartition::default().with_timestamp(if version % 2 == 0 { -1 } else { 5 });
        let topic = ListOffsetsTopic::default().with_name(orders()).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    };
    bench
        .each::<ListOffsetsRequest>(list, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
    let epoch = |_| {
        let partition = OffsetForLeaderPartition::default();
        let topic = OffsetForLeaderTopic::default().with_topic(orders()).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    bench
        .each::<OffsetForLeaderEpochRequest>(epoch, |_, answer| {
            is(answer.topics[0].partitions[0].error_code, 0)
        })
        .await;
    let delete = |_| {
        let partition = DeleteRecordsPartition::default().with_offset(1);
        let topic = DeleteRecordsTopic::default().with_name(orders()).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic])
    };
    bench
        .each::<DeleteRecordsRequest>(delete, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
    let init = |_| InitProducerIdRequest::default().with_transactional_id(None);
    bench.each::<InitProducerIdRequest>(init, |_, answer| is(answer.error_code, 0)).await;
}

async fn groups(bench: &mut Bench) {
    let find = |version| {
        let request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.with_coordinator_keys(vec![text("g")])
        } else {
            request.with_key(text("g"))
        }
    };
    bench
        .each::<FindCoordinatorRequest>(find, |version, answer| {
            let node = if version >= 4 { answer.coordinators[0].node_id } else { answer.node_id };
            is(answer.error_code, 0)
                .and_then(|()| if node.0 == 1 { Ok(()) } else { Err(format!("{node:?}")) })
        })
        .await;
    commits(bench).await;
    let join = |_| {
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from("m"));
        let request = JoinGroupRequest::default().with_group_id(group()).with_session_timeout_ms(10_000);
        request.with_protocol_type(text("consumer")).with_protocols(vec![protocol])
    };
    let member_id_required = ResponseError::MemberIdRequired.code();
    // Each join comes as another member: the later ones would wait for the first to come again.
    bench.peer.send(0, &join(0)).await;
    bench.peer.receive::<JoinGroupRequest>(0, 0).await;
    bench
        .each::<HeartbeatRequest>(
            |_| HeartbeatRequest::default().with_group_id(group()),
            |_, answer| is(answer.error_code, ResponseError::UnknownMemberId.code()),
        )
        .await;
    bench
        .each::<SyncGroupRequest>(
            |_| SyncGroupRequest::default().with_group_id(group()),
            |version, answer| {
                // From version 5 on the protocol must be named.
                let unnamed = ResponseError::InconsistentGroupProtocol.code();
                is(
                    answer.error_code,
                    if version >= 5 { unnamed } else { ResponseError::UnknownMemberId.code() },
                )
            },
        )
        .await;
    bench
        .each::<DescribeGroupsRequest>(
            |_| DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("none"))]),
            |version, answer| {
                let (known, unknown): (Vec<_>, Vec<_>) =
                    answer.groups.iter().partition(|one| one.group_id == group());
                let missing = if version >= 6 { ResponseError::GroupIdNotFound.code() } else { 0 };
                is(known[0].error_code, 0)?;
                is(unknown[0].error_code, missing)
            },
        )
        .await;
    bench
        .each::<JoinGroupRequest>(
            |version| {
                // Old versions would wait here; they are refused for another reason.
                let request = join(version);
                if version < 4 { request.with_session_timeout_ms(1) } else { request }
            },
            |version, answer| {
                let refused = ResponseError::InvalidSessionTimeout.code();
                is(answer.error_code, if version < 4 { refused } else { member_id_required })
            },
        )
        .await;
    let leave = |version| {
        let request = LeaveGroupRequest::default().with_group_id(group());
        let nobody = MemberIdentity::default().with_member_id(text("nobody"));
        if version >= 3 { request.with_members(vec![nobody]) } else { request.with_member_id(text("nobody")) }
    };
    bench
        .each::<LeaveGroupRequest>(leave, |version, answer| {
            let code = if version >= 3 { answer.members[0].error_code } else { answer.error_code };
            is(code, ResponseError::UnknownMemberId.code())
        })
        .await;
    bench
        .each::<ListGroupsRequest>(|_| ListGroupsRequest::default(), |_, answer| is(answer.error_code, 0))
        .await;
    let delete = |_| DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    bench
        .each::<DeleteGroupsRequest>(delete, |_, answer| {
            is(answer.results[0].error_code, ResponseError::NonEmptyGroup.code())
        })
        .await;
}

async fn commits(bench: &mut Bench) {
    let commit = |_| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        let topic = OffsetCommitRequestTopic::default().with_name(orders()).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default().with_group_id(GroupId(text("offsets")));
        request.with_generation_id_or_member_epoch(-1).with_topics(vec![topic])
    };
    bench
        .each::<OffsetCommitRequest>(commit, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
    let fetch = |version| {
        let id = GroupId(text("offsets"));
        if version < 8 {
            let topic =
                OffsetFetchRequestTopic::default().with_name(orders()).with_partition_indexes(vec![0]);
            return OffsetFetchRequest::default().with_group_id(id).with_topics(Some(vec![topic]));
        }
        let topic = OffsetFetchRequestTopics::default().with_name(orders()).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default().with_group_id(id).with_topics(Some(vec![topic]));
        OffsetFetchRequest::default().with_groups(vec![asked])
    };
    bench
        .each::<OffsetFetchRequest>(fetch, |version, answer| {
            let offset = if version < 8 {
                answer.topics[0].partitions[0].committed_offset
            } else {
                answer.groups[0].topics[0].partitions[0].committed_offset
            };
            if offset == 7 { Ok(()) } else { Err(format!("offset {offset}")) }
        })
        .await;
    let forget = |_| {
        let partition = OffsetDeleteRequestPartition::default();
        let topic = OffsetDeleteRequestTopic::default().with_name(orders()).with_partitions(vec![partition]);
        OffsetDeleteRequest::default().with_group_id(GroupId(text("offsets"))).with_topics(vec![topic])
    };
    bench
        .each::<OffsetDeleteRequest>(forget, |_, answer| is(answer.topics[0].partitions[0].error_code, 0))
        .await;
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
        .each::<IncrementalAlterConfigsRequest>(change, |_, answer| {
            is(answer.responses[0].error_code, ResponseError::InvalidRequest.code())
        })
        .await;
}

async fn consumer_groups(bench: &mut Bench) {
    let joining = |version: i16| {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text("consumer-group")))
            .with_member_id(text(if version == 0 { "" } else { "member" }))
            .with_rebalance_timeout_ms(1000)
            .with_subscribed_topic_names(Some(vec![orders()]))
            .with_topic_partitions(Some(Vec::new()))
    };
    bench
        .each::<ConsumerGroupHeartbeatRequest>(joining, |version, answer| {
            assert_eq!(answer.member_epoch, 1 + i32::from(version));
            is(answer.error_code, 0)
        })
        .await;
    let describe =
        |_| ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text("consumer-group"))]);
    bench
        .each::<ConsumerGroupDescribeRequest>(describe, |_, answer| is(answer.groups[0].error_code, 0))
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

#[tokio::test(start_paused = true)]
async fn a_version_of_api_versions_that_is_not_known_is_answered_in_version_0() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    // Key 18, version 99, correlation 7, and what this broker cannot know.
    peer.write(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]).await;
    let mut frame = peer.frame().await.unwrap();
    let header: ResponseHeader = decode_part(&mut frame, 0).unwrap();
    let answer: ApiVersionsResponse = decode(frame, 0).unwrap();
    assert_eq!((header.correlation_id, answer.error_code), (7, ResponseError::UnsupportedVersion.code()));
    let versions: Vec<_> =
        answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(versions, [(18, 0, 4)]);
    // The connection goes on with a version that both know.
    assert_eq!(peer.call(0, &ApiVersionsRequest::default()).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_must_have_a_decent_name() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let named = |name: &str| {
        ApiVersionsRequest::default()
            .with_client_software_name(text(name))
            .with_client_software_version(text("1"))
    };
    let invalid = ResponseError::InvalidRequest.code();
    assert_eq!(peer.call(3, &named("lib-rd.kafka")).await.error_code, 0);
    assert_eq!(peer.call(3, &named("-x")).await.error_code, invalid);
    assert_eq!(peer.call(3, &named("a b")).await.error_code, invalid);
}
