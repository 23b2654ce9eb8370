//! ConsumerGroupHeartbeat, ConsumerGroupDescribe, and what becomes of groups of KIP-848 elsewhere.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest, DescribeConfigsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use crate::asked::{group_id, text, topic_name};
use crate::kafka::{Kafka, Topic, until};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// A group of a row's own.
struct Group {
    kafka: Kafka,
    name: String,
    topic: Topic,
    wire: Wire,
}

impl Group {
    async fn new(kafka: Kafka) -> Self {
        let (name, topic) = (kafka.name("group"), kafka.topic(4).await);
        let wire = kafka.coordinator(&name).await;
        Self { kafka, name, topic, wire }
    }

    fn beat(&self, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(text(member))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    fn join(&self, member: &str) -> ConsumerGroupHeartbeatRequest {
        self.beat(member, 0)
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic_name(&self.topic.name)]))
            .with_topic_partitions(Some(Vec::new()))
    }

    fn owns(&self, member: &str, epoch: i32, partitions: &[i32]) -> ConsumerGroupHeartbeatRequest {
        let owned =
            TopicPartitions::default().with_topic_id(self.topic.id).with_partitions(partitions.to_vec());
        self.beat(member, epoch).with_topic_partitions(Some(vec![owned]))
    }

    async fn ask(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let version = if (0..=1).contains(&self.kafka.version) { self.kafka.version } else { 1 };
        self.wire.ask(version, request).await
    }

    /// `2: 0 1`: the epoch, and what the member is to have where it is told.
    async fn told(&mut self, request: &ConsumerGroupHeartbeatRequest) -> String {
        let response = self.ask(request).await;
        if response.error_code != 0 {
            return said::error(response.error_code);
        }
        let assignment = response.assignment.map_or("as before".to_owned(), |assignment| {
            let partitions = assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone());
            let mut partitions: Vec<i32> = partitions.collect();
            partitions.sort_unstable();
            partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        format!("{}: {assignment}", response.member_epoch)
    }

    async fn all(&mut self, requests: &[ConsumerGroupHeartbeatRequest]) -> String {
        let mut said = Vec::new();
        for request in requests {
            said.push(self.told(request).await);
        }
        said.join("; ")
    }

    /// The error and the words.
    async fn refusals(&mut self, requests: &[ConsumerGroupHeartbeatRequest]) -> String {
        let mut all = Vec::new();
        for request in requests {
            let response = self.ask(request).await;
            let words =
                response.error_message.map(|words| words.replace(&self.name, "g")).unwrap_or_default();
            all.push(format!("{} {words}", said::error(response.error_code)));
        }
        all.join("; ")
    }

    async fn commit(&mut self, version: i16, member: &str, epoch: i32) -> String {
        let part = OffsetCommitRequestPartition::default().with_committed_offset(3);
        let part = OffsetCommitRequestTopic::default()
            .with_name(topic_name(&self.topic.name))
            .with_partitions(vec![part]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![part]);
        said::error(self.wire.ask(version, &request).await.topics[0].partitions[0].error_code)
    }

    async fn fetch(&mut self, member: Option<&str>, epoch: i32) -> String {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&self.topic.name))
            .with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topics]));
        let answer = self.wire.ask(9, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
        said::error(answer.groups[0].error_code)
    }

    fn classic(&self, member: &str, protocol_type: &str, protocol: &str) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(protocol))
            .with_metadata(subscription(&self.topic.name));
        JoinGroupRequest::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(text(member))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(text(protocol_type))
            .with_protocols(vec![protocol])
    }

    /// A classic member that leads alone: its id.
    async fn classic_alone(&mut self, protocol_type: &str) -> String {
        let asked = self.wire.ask(9, &self.classic("", protocol_type, "range")).await;
        let joined = self.wire.ask(9, &self.classic(&asked.member_id, protocol_type, "range")).await;
        assert_eq!(said::error(joined.error_code), "NONE");
        joined.member_id.to_string()
    }
}

/// A consumer's subscription, version 0.
fn subscription(topic: &str) -> bytes::Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    bytes.into()
}

row!(
    a_member_gets_everything_and_a_second_one_its_half,
    "ConsumerGroupHeartbeat",
    0..=1,
    "two members of four partitions, the second waits until the first has given back; one leaves",
    "1: 0 1 2 3; 1: as before; 2: ; 1: 0 1; 2: as before; 1: as before; 2: as before; 2: 2 3; -1: as before; 3: 0 1 2 3",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let requests = [
            group.join("one"),
            group.owns("one", 1, &[0, 1, 2, 3]),
            group.join("two"),
            group.beat("one", 1),
            group.beat("two", 2),
            group.owns("one", 1, &[0, 1, 3]),
            group.owns("one", 1, &[0, 1]),
            group.beat("two", 2),
            group.beat("one", -1),
            group.beat("two", 2),
        ];
        group.all(&requests).await
    }
);

row!(
    the_first_answer_names_the_member,
    "ConsumerGroupHeartbeat",
    0..=0,
    "a member that leaves its id to the broker",
    "NONE, an id",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let request = group.join("");
        let answer = group.ask(&request).await;
        let named = answer.member_id.is_some_and(|id| !id.is_empty());
        format!("{}, {}", said::error(answer.error_code), if named { "an id" } else { "none" })
    }
);

row!(
    heartbeats_that_cannot_be,
    "ConsumerGroupHeartbeat",
    1..=1,
    "no member id; no group; no rebalance timeout; partitions of who joins; no subscription; -2 without an instance id; \
     an epoch below; an assignor that there is not",
    "INVALID_REQUEST MemberId can't be empty.; INVALID_REQUEST GroupId can't be empty.; \
     INVALID_REQUEST RebalanceTimeoutMs must be provided in first request.; \
     INVALID_REQUEST TopicPartitions must be empty when (re-)joining.; \
     INVALID_REQUEST Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.; \
     INVALID_REQUEST InstanceId can't be null.; \
     INVALID_REQUEST MemberEpoch is invalid.; \
     UNSUPPORTED_ASSIGNOR ServerAssignor none is not supported. Supported assignors: uniform, range.",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let requests = [
            group.join(""),
            group.join("one").with_group_id(group_id("")),
            group.join("one").with_rebalance_timeout_ms(-1),
            group.join("one").with_topic_partitions(None),
            group.join("one").with_subscribed_topic_names(None),
            group.beat("one", -2),
            group.beat("one", -3),
            group.join("one").with_server_assignor(Some(text("none"))),
        ];
        group.refusals(&requests).await
    }
);

row!(
    strangers_and_other_epochs,
    "ConsumerGroupHeartbeat",
    1..=1,
    "before there is a group; a stranger; an epoch ahead",
    "GROUP_ID_NOT_FOUND Consumer group g not found.; UNKNOWN_MEMBER_ID Member two is not a member of group g.; \
     FENCED_MEMBER_EPOCH The consumer group member has a greater member epoch (9) than the one known by the group \
     coordinator (1). The member must abandon all its partitions and rejoin.",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let before = group.refusals(&[group.beat("one", 1)]).await;
        group.told(&group.join("one")).await;
        let requests = [group.beat("two", 1), group.beat("one", 9)];
        format!("{before}; {}", group.refusals(&requests).await)
    }
);

row!(
    a_lost_answer_is_forgiven,
    "ConsumerGroupHeartbeat",
    1..=1,
    "the last epoch again: without partitions, with those of the member, with others; after joining: joining again; \
     later: joining while known",
    "FENCED_MEMBER_EPOCH; 2: as before; FENCED_MEMBER_EPOCH; 2: 2 3; FENCED_MEMBER_EPOCH",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        for request in
            [group.join("one"), group.join("two"), group.beat("one", 1), group.owns("one", 1, &[0, 1])]
        {
            group.told(&request).await;
        }
        let requests = [
            group.beat("one", 1),
            group.owns("one", 1, &[0, 1]),
            group.owns("one", 1, &[0, 2]),
            group.join("two"),
            group.join("one"),
        ];
        group.all(&requests).await
    }
);

row!(
    a_static_member_comes_back,
    "ConsumerGroupHeartbeat",
    1..=1,
    "another with its instance id; gone for a while (-2), another; the first one; an instance id that nobody has",
    "UNRELEASED_INSTANCE_ID; -2: as before; 1: 0 1 2 3; FENCED_INSTANCE_ID; UNKNOWN_MEMBER_ID",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let named = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
        group.told(&named(group.join("one"))).await;
        let requests = [
            named(group.join("two")),
            named(group.beat("one", -2)),
            named(group.join("two")),
            named(group.beat("one", 1)),
            group.beat("two", 1).with_instance_id(Some(text("other"))),
        ];
        group.all(&requests).await
    }
);

row!(
    patterns,
    "ConsumerGroupHeartbeat",
    1..=1,
    "a pattern, until its topic was found; no regular expression",
    "0 1 2 3; INVALID_REGULAR_EXPRESSION",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let pattern = |request: ConsumerGroupHeartbeatRequest, pattern: &str| {
            request.with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text(pattern)))
        };
        let found = format!("{}.{{{}}}", &group.topic.name[..3], group.topic.name.len() - 3);
        let found = format!("(?:{})|{found}x", group.topic.name);
        let mut told = group.told(&pattern(group.join("one"), &found)).await;
        for _ in 0..100 {
            let (epoch, partitions) = told.split_once(": ").expect("no error");
            if partitions == "0 1 2 3" {
                let refused = group.told(&pattern(group.join("two"), "(")).await;
                return format!("{partitions}; {refused}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let full = pattern(group.owns("one", epoch.parse().unwrap(), &[]), &found);
            told = group.told(&full.with_rebalance_timeout_ms(60_000)).await;
        }
        told
    }
);

row!(
    offsets_by_members_of_an_epoch,
    "OffsetCommit",
    9..=9,
    "by an outsider before anyone joins; by the member; in another epoch; by a stranger; by an outsider; in version 8",
    "NONE; NONE; STALE_MEMBER_EPOCH; UNKNOWN_MEMBER_ID; UNKNOWN_MEMBER_ID; UNSUPPORTED_VERSION",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let mut said = vec![group.commit(9, "", -1).await];
        group.told(&group.join("one")).await;
        for (version, member, epoch) in
            [(9, "one", 1), (9, "one", 2), (9, "two", 1), (9, "", -1), (8, "one", 1)]
        {
            said.push(group.commit(version, member, epoch).await);
        }
        said.join("; ")
    }
);

row!(
    offsets_for_members_of_an_epoch,
    "OffsetFetch",
    9..=9,
    "by an outsider; by the member; in another epoch; by a stranger",
    "NONE; NONE; STALE_MEMBER_EPOCH; UNKNOWN_MEMBER_ID",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let mut said = Vec::new();
        for (member, epoch) in [(None, -1), (Some("one"), 1), (Some("one"), 2), (Some("two"), 1)] {
            said.push(group.fetch(member, epoch).await);
        }
        said.join("; ")
    }
);

row!(
    described,
    "ConsumerGroupDescribe",
    0..=1,
    "a group of one member; a classic group; none",
    "NONE Stable, epochs 1 and 1, uniform, one member in epoch 1; GROUP_ID_NOT_FOUND Group classic is not a consumer \
     group.; GROUP_ID_NOT_FOUND Group none not found.",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let mut classic = Group::new(kafka).await;
        classic.classic_alone("consumer").await;
        let none = kafka.name("group");
        let mut said = Vec::new();
        for name in [&group.name, &classic.name, &none] {
            let mut wire = kafka.coordinator(name).await;
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(name)]);
            // Kafka shows a group when it is written.
            let known = until("the group", async || {
                let one = wire.ask(kafka.version, &request).await.groups.remove(0);
                let missing = one.error_message.as_deref().is_some_and(|words| words.ends_with("not found."));
                (!missing || *name == none).then_some(one)
            });
            let one = known.await;
            said.push(match one.members.first() {
                Some(member) => format!(
                    "NONE {}, epochs {} and {}, {}, one member in epoch {}",
                    &*one.group_state,
                    one.group_epoch,
                    one.assignment_epoch,
                    &*one.assignor_name,
                    member.member_epoch
                ),
                None => {
                    let words = one.error_message.unwrap_or_default();
                    let words = words.replace(&classic.name, "classic").replace(&none, "none");
                    format!("{} {words}", said::error(one.error_code))
                }
            });
        }
        said.join("; ")
    }
);

row!(
    a_group_of_the_new_protocol_described_the_old_way,
    "DescribeGroups",
    6..=6,
    "a group of KIP-848",
    "GROUP_ID_NOT_FOUND Dead Group g is not a classic group.",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group.name)]);
        let one = group.wire.ask(6, &request).await.groups.remove(0);
        let words = one.error_message.unwrap_or_default().replace(&group.name, "g");
        format!("{} {} {words}", said::error(one.error_code), &*one.group_state)
    }
);

row!(
    listed_by_type,
    "ListGroups",
    5..=5,
    "a group of KIP-848, asked for by type",
    "consumer Stable consumer; not classic",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let of = |kind: &str| ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
        let own = |groups: Vec<kafka_protocol::messages::list_groups_response::ListedGroup>| {
            groups.into_iter().find(|one| *one.group_id == *text(&group.name))
        };
        let listed = own(group.wire.ask(5, &of("consumer")).await.groups).expect("listed");
        let classic = own(group.wire.ask(5, &of("classic")).await.groups);
        let classic = if classic.is_some() { "classic too" } else { "not classic" };
        format!("{} {} {}; {classic}", &*listed.protocol_type, &*listed.group_state, &*listed.group_type)
    }
);

row!(
    deleted_when_empty,
    "DeleteGroups",
    2..=2,
    "a group of KIP-848 with a member, and without; then a heartbeat",
    "NON_EMPTY_GROUP; NONE; GROUP_ID_NOT_FOUND",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let delete = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group.name)]);
        let full = said::error(group.wire.ask(2, &delete).await.results[0].error_code);
        group.told(&group.beat("one", -1)).await;
        let empty = said::error(group.wire.ask(2, &delete).await.results[0].error_code);
        format!("{full}; {empty}; {}", group.told(&group.beat("one", 1)).await)
    }
);

row!(
    classic_requests_of_a_member_of_the_new_protocol,
    "Heartbeat",
    4..=4,
    "Heartbeat, SyncGroup, LeaveGroup by a member that speaks KIP-848; it is gone then",
    "UNKNOWN_MEMBER_ID; UNKNOWN_MEMBER_ID; NONE; UNKNOWN_MEMBER_ID",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let id = group_id(&group.name);
        let beat = HeartbeatRequest::default()
            .with_group_id(id.clone())
            .with_member_id(text("one"))
            .with_generation_id(1);
        let sync = SyncGroupRequest::default()
            .with_group_id(id.clone())
            .with_member_id(text("one"))
            .with_generation_id(1)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")));
        let leave = LeaveGroupRequest::default().with_group_id(id).with_member_id(text("one"));
        let codes = [
            group.wire.ask(4, &beat).await.error_code,
            group.wire.ask(5, &sync).await.error_code,
            group.wire.ask(2, &leave).await.error_code,
        ];
        format!("{}; {}", codes.map(said::error).join("; "), group.told(&group.beat("one", 1)).await)
    }
);

row!(
    what_a_group_is_told_to_keep_to,
    "DescribeConfigs",
    4..=4,
    "heartbeat interval and session timeout of a group that there is not yet",
    "NONE; consumer.heartbeat.interval.ms, a number by default; consumer.session.timeout.ms, a number by default",
    async |kafka| {
        let mut wire = kafka.any().await;
        let names = ["consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"];
        let resource = DescribeConfigsResource::default()
            .with_resource_type(32)
            .with_resource_name(text(&kafka.name("group")))
            .with_configuration_keys(Some(names.map(text).to_vec()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let result = wire.ask(4, &request).await.results.remove(0);
        let mut told = vec![said::error(result.error_code)];
        let mut configs = result.configs;
        configs.sort_by_key(|config| config.name.to_string());
        for config in configs {
            let number = config.value.is_some_and(|value| value.parse::<u32>().is_ok());
            let source = match config.config_source {
                5 => "default".to_owned(),
                other => other.to_string(),
            };
            told.push(format!("{}, {} by {source}", &*config.name, if number { "a number" } else { "none" }));
        }
        told.join("; ")
    }
);

row!(
    an_empty_group_is_anyones,
    "ConsumerGroupHeartbeat",
    1..=1,
    "joining a classic group that all have left; its offsets",
    "1: 0 1 2 3; NONE",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let member = group.classic_alone("consumer").await;
        let leave =
            LeaveGroupRequest::default().with_group_id(group_id(&group.name)).with_member_id(text(&member));
        group.wire.ask(2, &leave).await;
        let joined = group.told(&group.join("one")).await;
        format!("{joined}; {}", group.fetch(Some("one"), 1).await)
    }
);

row!(
    a_group_of_another_kind,
    "ConsumerGroupHeartbeat",
    1..=1,
    "joining a group whose members are no consumers; a classic member of another kind joins a group of KIP-848",
    "GROUP_ID_NOT_FOUND Cannot upgrade classic group g to consumer group because the group does not use the \
     consumer embedded protocol.; INCONSISTENT_GROUP_PROTOCOL",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.classic_alone("connect").await;
        let refused = group.refusals(&[group.join("one")]).await;
        let mut other = Group::new(kafka).await;
        other.told(&other.join("one")).await;
        let joined = other.wire.ask(9, &other.classic("", "connect", "range")).await;
        format!("{refused}; {}", said::error(joined.error_code))
    }
);

/// An assignment, version 0.
fn assignment(topic: &str, partitions: &[i32]) -> bytes::Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend(i32::try_from(partitions.len()).unwrap().to_be_bytes());
    bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
    bytes.extend([0xff; 4]);
    bytes.into()
}

/// A member of the classic protocol, and its requests in words.
struct Classic {
    id: String,
    generation: i32,
}

impl Classic {
    async fn heartbeat(&self, group: &mut Group) -> String {
        let beat = HeartbeatRequest::default()
            .with_group_id(group_id(&group.name))
            .with_member_id(text(&self.id))
            .with_generation_id(self.generation);
        said::error(group.wire.ask(4, &beat).await.error_code)
    }

    async fn join(&mut self, group: &mut Group) -> String {
        let joined = group.wire.ask(9, &group.classic(&self.id, "consumer", "range")).await;
        self.generation = joined.generation_id;
        let leads = if joined.leader == joined.member_id { "leads" } else { "follows" };
        format!("{} generation {} {leads}", said::error(joined.error_code), joined.generation_id)
    }

    /// The partitions that it is told.
    async fn sync(&self, group: &mut Group, own: &[i32]) -> String {
        let part = SyncGroupRequestAssignment::default()
            .with_member_id(text(&self.id))
            .with_assignment(assignment(&group.topic.name, own));
        let sync = SyncGroupRequest::default()
            .with_group_id(group_id(&group.name))
            .with_member_id(text(&self.id))
            .with_generation_id(self.generation)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(if own.is_empty() { Vec::new() } else { vec![part] });
        let answer = group.wire.ask(5, &sync).await;
        let numbers: Vec<String> = (0..4)
            .filter(|number| assignment_has(&answer.assignment, &group.topic.name, *number))
            .map(|number| number.to_string())
            .collect();
        format!("{} {}", said::error(answer.error_code), numbers.join(" "))
    }
}

fn assignment_has(assignment: &[u8], topic: &str, number: i32) -> bool {
    let Some(list) = assignment.get(6 + 2 + topic.len() + 4..) else { return false };
    list[..list.len() - 4].chunks(4).any(|chunk| *chunk == number.to_be_bytes())
}

row!(
    a_classic_group_becomes_one_of_the_new_protocol_and_classic_again,
    "ConsumerGroupHeartbeat",
    1..=1,
    "a classic member has everything; one that speaks KIP-848 joins, the classic one is told to join and syncs, the \
     new one has its half; it leaves, and the classic one joins a classic group",
    "NONE 0 1 2 3; 2: ; REBALANCE_IN_PROGRESS; NONE generation 2 follows; NONE 0 1; NONE; 2: 2 3; -1: as before; \
     REBALANCE_IN_PROGRESS; NONE generation 3 leads",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        let id = group.classic_alone("consumer").await;
        let mut classic = Classic { id, generation: 1 };
        let mut said = vec![classic.sync(&mut group, &[0, 1, 2, 3]).await];
        said.push(group.told(&group.join("one")).await);
        said.push(classic.heartbeat(&mut group).await);
        said.push(classic.join(&mut group).await);
        said.push(classic.sync(&mut group, &[]).await);
        said.push(classic.heartbeat(&mut group).await);
        said.push(group.told(&group.beat("one", 2)).await);
        said.push(group.told(&group.beat("one", -1)).await);
        said.push(classic.heartbeat(&mut group).await);
        said.push(classic.join(&mut group).await);
        said.join("; ")
    }
);

row!(
    a_classic_member_joins_a_group_of_the_new_protocol,
    "JoinGroup",
    9..=9,
    "its id; joining: a generation, nobody leads; its partitions, once they are given back; a commit in another \
     generation; leaving",
    "MEMBER_ID_REQUIRED; NONE generation 2 follows; NONE ; 1: 0 1; REBALANCE_IN_PROGRESS; NONE generation 2 follows; \
     NONE 2 3; ILLEGAL_GENERATION; NONE; NONE",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        group.told(&group.owns("one", 1, &[0, 1, 2, 3])).await;
        let asked = group.wire.ask(9, &group.classic("", "consumer", "range")).await;
        let mut said = vec![said::error(asked.error_code)];
        let mut classic = Classic { id: asked.member_id.to_string(), generation: -1 };
        said.push(classic.join(&mut group).await);
        said.push(classic.sync(&mut group, &[]).await);
        said.push(group.told(&group.beat("one", 1)).await);
        group.told(&group.owns("one", 1, &[0, 1])).await;
        said.push(classic.heartbeat(&mut group).await);
        said.push(classic.join(&mut group).await);
        said.push(classic.sync(&mut group, &[]).await);
        said.push(group.commit(8, &classic.id, 9).await);
        said.push(group.commit(8, &classic.id, 2).await);
        let leave = LeaveGroupRequest::default()
            .with_group_id(group_id(&group.name))
            .with_member_id(text(&classic.id));
        said.push(said::error(group.wire.ask(2, &leave).await.error_code));
        said.join("; ")
    }
);
