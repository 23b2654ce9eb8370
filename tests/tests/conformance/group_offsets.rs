//! OffsetCommit, OffsetFetch, OffsetDelete.

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};

use crate::asked::{group_id, text, topic_name};
use crate::kafka::{Kafka, Topic};
use crate::member::{Member, subscription};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// Versions in which offsets are committed and looked at where a row does not say otherwise.
const COMMIT: i16 = 8;
const FETCH: i16 = 8;

/// A commit of `offset` for partition 0 by nobody's member.
fn commit(version: i16, group: &str, topic: &Topic, offset: i64) -> OffsetCommitRequest {
    let part = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let part = if version >= 6 { part.with_committed_leader_epoch(0) } else { part };
    let part =
        OffsetCommitRequestTopic::default().with_name(topic_name(&topic.name)).with_partitions(vec![part]);
    OffsetCommitRequest::default().with_group_id(group_id(group)).with_topics(vec![part])
}

async fn committed(wire: &mut Wire, version: i16, request: &OffsetCommitRequest) -> String {
    said::error(wire.ask(version, request).await.topics[0].partitions[0].error_code)
}

/// What is committed for partition 0: `NONE, 5 in epoch 0 [note]`.
async fn fetched(wire: &mut Wire, version: i16, group: &str, topic: &Topic) -> String {
    let (error, offset, epoch, note) = if version >= 8 {
        let asked = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&topic.name))
            .with_partition_indexes(vec![0]);
        let asked =
            OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(Some(vec![asked]));
        let answer = wire.ask(version, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
        let group = &answer.groups[0];
        let Some(topic) = group.topics.first() else { return said::error(group.error_code) };
        let part = &topic.partitions[0];
        (part.error_code, part.committed_offset, part.committed_leader_epoch, part.metadata.clone())
    } else {
        let asked = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&topic.name))
            .with_partition_indexes(vec![0]);
        let request =
            OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(Some(vec![asked]));
        let answer = wire.ask(version, &request).await;
        let Some(topic) = answer.topics.first() else { return said::error(answer.error_code) };
        let part = &topic.partitions[0];
        (part.error_code, part.committed_offset, part.committed_leader_epoch, part.metadata.clone())
    };
    let epoch = if version >= 5 { epoch.to_string() } else { "?".into() };
    format!("{}, {offset} in epoch {epoch} [{}]", said::error(error), note.as_deref().unwrap_or("null"))
}

row!(
    commit_and_fetch,
    "OffsetCommit",
    6..=9,
    "offset 5 of a group without members; then fetched",
    "NONE; NONE, 5 in epoch 0 [note]",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        let done = committed(&mut wire, kafka.version, &commit(kafka.version, &group, &topic, 5)).await;
        format!("{done}; {}", fetched(&mut wire, FETCH, &group, &topic).await)
    }
);

row!(
    commit_without_epoch,
    "OffsetCommit",
    2..=5,
    "offset 5 of a group without members; then fetched",
    "NONE; NONE, 5 in epoch -1 [note]",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        let done = committed(&mut wire, kafka.version, &commit(kafka.version, &group, &topic, 5)).await;
        format!("{done}; {}", fetched(&mut wire, FETCH, &group, &topic).await)
    }
);

row!(
    commit_lower,
    "OffsetCommit",
    2..=9,
    "offset 5, then 3",
    "NONE; NONE, 3 in epoch 0 [note]",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        committed(&mut wire, COMMIT, &commit(COMMIT, &group, &topic, 5)).await;
        let done =
            committed(&mut wire, kafka.version, &commit(COMMIT.min(kafka.version), &group, &topic, 3)).await;
        let found = fetched(&mut wire, FETCH, &group, &topic).await;
        format!("{done}; {}", found.replace("epoch -1", "epoch 0"))
    }
);

/// What a commit leads to, and for whom.
async fn committing(kafka: Kafka, change: impl Fn(OffsetCommitRequest) -> OffsetCommitRequest) -> String {
    let topic = kafka.topic(1).await;
    let mut member = Member::alone(kafka).await;
    let request = commit(kafka.version, &member.group, &topic, 5)
        .with_member_id(member.id.clone())
        .with_generation_id_or_member_epoch(member.generation);
    committed(&mut member.wire, kafka.version, &change(request)).await
}

row!(commit_by_member, "OffsetCommit", 2..=9, "by a stable member", "NONE", async |kafka| {
    committing(kafka, |request| request).await
});

row!(
    commit_old,
    "OffsetCommit",
    2..=9,
    "by a member of a generation that was",
    "ILLEGAL_GENERATION",
    async |kafka| { committing(kafka, |request| request.with_generation_id_or_member_epoch(0)).await }
);

row!(
    commit_unknown,
    "OffsetCommit",
    2..=9,
    "by a member id that nobody gave",
    "UNKNOWN_MEMBER_ID",
    async |kafka| committing(kafka, |request| request.with_member_id(text("me"))).await
);

row!(
    commit_past_members,
    "OffsetCommit",
    2..=9,
    "by nobody, in a group that has members",
    "UNKNOWN_MEMBER_ID",
    async |kafka| {
        committing(kafka, |request| request.with_member_id(text("")).with_generation_id_or_member_epoch(-1))
            .await
    }
);

/// What generation 3 of a group that does not exist leads to.
async fn committing_in_no_group(kafka: Kafka) -> String {
    let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
    let request = commit(kafka.version, &group, &topic, 5).with_generation_id_or_member_epoch(3);
    committed(&mut kafka.coordinator(&group).await, kafka.version, &request).await
}

row!(
    commit_in_no_group,
    "OffsetCommit",
    2..=8,
    "generation 3 of a group that does not exist",
    "ILLEGAL_GENERATION",
    async |kafka| committing_in_no_group(kafka).await
);

row!(
    commit_in_group_not_found,
    "OffsetCommit",
    9..=9,
    "generation 3 of a group that does not exist",
    "GROUP_ID_NOT_FOUND",
    async |kafka| committing_in_no_group(kafka).await
);

row!(
    commit_large_note,
    "OffsetCommit",
    2..=9,
    "metadata of 5000 letters",
    "OFFSET_METADATA_TOO_LARGE",
    async |kafka| {
        committing(kafka, |mut request| {
            request.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(5000)));
            request
        })
        .await
    }
);

row!(
    commit_unknown_topic,
    "OffsetCommit",
    2..=9,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let none = kafka.name("none");
        committing(kafka, |mut request| {
            request.topics[0].name = topic_name(&none);
            request
        })
        .await
    }
);

row!(
    commit_elsewhere,
    "OffsetCommit",
    2..=9,
    "a broker that does not coordinate",
    "NOT_COORDINATOR",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.not_coordinator(&group).await;
        committed(&mut wire, kafka.version, &commit(kafka.version, &group, &topic, 5)).await
    }
);

row!(
    commit_while_rebalancing,
    "OffsetCommit",
    2..=9,
    "by a member while another joins, then after the join and before the sync",
    "NONE; REBALANCE_IN_PROGRESS",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut one = Member::alone(kafka).await;
        let mut two = Member::new(kafka, &one.group).await;
        two.begin_join().await;
        one.beats_until("REBALANCE_IN_PROGRESS").await;
        let by = |one: &Member| {
            commit(kafka.version, &one.group, &topic, 5)
                .with_member_id(one.id.clone())
                .with_generation_id_or_member_epoch(one.generation)
        };
        let request = by(&one);
        let before = committed(&mut one.wire, kafka.version, &request).await;
        one.join().await;
        let request = by(&one);
        format!("{before}; {}", committed(&mut one.wire, kafka.version, &request).await)
    }
);

row!(
    fetch_nothing,
    "OffsetFetch",
    5..=9,
    "a group that does not exist",
    "NONE, -1 in epoch -1 []",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        fetched(&mut kafka.coordinator(&group).await, kafka.version, &group, &topic).await
    }
);

row!(
    fetch_committed,
    "OffsetFetch",
    5..=9,
    "what was committed",
    "NONE, 5 in epoch 0 [note]",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        committed(&mut wire, COMMIT, &commit(COMMIT, &group, &topic, 5)).await;
        fetched(&mut wire, kafka.version, &group, &topic).await
    }
);

row!(
    fetch_all,
    "OffsetFetch",
    2..=9,
    "no list of topics: all that the group has committed",
    "2 topics",
    async |kafka| {
        let group = kafka.name("group");
        let mut wire = kafka.coordinator(&group).await;
        for topic in [kafka.topic(1).await, kafka.topic(1).await] {
            committed(&mut wire, COMMIT, &commit(COMMIT, &group, &topic, 5)).await;
        }
        let request = match kafka.version {
            8.. => {
                let asked =
                    OffsetFetchRequestGroup::default().with_group_id(group_id(&group)).with_topics(None);
                OffsetFetchRequest::default().with_groups(vec![asked])
            }
            _ => OffsetFetchRequest::default().with_group_id(group_id(&group)).with_topics(None),
        };
        let answer = wire.ask(kafka.version, &request).await;
        let count = answer.groups.first().map_or(answer.topics.len(), |group| group.topics.len());
        format!("{count} topics")
    }
);

row!(
    fetch_elsewhere,
    "OffsetFetch",
    8..=9,
    "a broker that does not coordinate",
    "NOT_COORDINATOR",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        fetched(&mut kafka.not_coordinator(&group).await, kafka.version, &group, &topic).await
    }
);

/// `NONE: NONE`, or the error of the whole.
async fn deleted(kafka: Kafka, wire: &mut Wire, group: &str, topic: &str) -> String {
    let part = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let part = OffsetDeleteRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![part]);
    let request = OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![part]);
    let answer = wire.ask(kafka.version, &request).await;
    let parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let parts = said::list(parts.map(|part| said::error(part.error_code)));
    if parts.is_empty() {
        said::error(answer.error_code)
    } else {
        format!("{}: {parts}", said::error(answer.error_code))
    }
}

row!(
    delete_offset,
    "OffsetDelete",
    0..=0,
    "an offset of a group without members; then fetched",
    "NONE: NONE; NONE, -1 in epoch -1 []",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        committed(&mut wire, COMMIT, &commit(COMMIT, &group, &topic, 5)).await;
        let done = deleted(kafka, &mut wire, &group, &topic.name).await;
        format!("{done}; {}", fetched(&mut wire, FETCH, &group, &topic).await)
    }
);

row!(
    delete_offset_of_no_group,
    "OffsetDelete",
    0..=0,
    "a group that does not exist",
    "GROUP_ID_NOT_FOUND",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        deleted(kafka, &mut kafka.coordinator(&group).await, &group, &topic.name).await
    }
);

row!(
    delete_offset_of_unknown_topic,
    "OffsetDelete",
    0..=0,
    "a topic that does not exist",
    "NONE: UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let (topic, group) = (kafka.topic(1).await, kafka.name("group"));
        let mut wire = kafka.coordinator(&group).await;
        committed(&mut wire, COMMIT, &commit(COMMIT, &group, &topic, 5)).await;
        deleted(kafka, &mut wire, &group, &kafka.name("none")).await
    }
);

row!(
    delete_offset_in_use,
    "OffsetDelete",
    0..=0,
    "a topic that a member subscribes to",
    "NONE: GROUP_SUBSCRIBED_TO_TOPIC",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut member = Member::new(kafka, &kafka.name("group")).await;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(subscription(&[&topic.name], ""));
        let request = member.join_request().with_protocols(vec![protocol]);
        member.id = member.wire.ask(9, &request).await.member_id;
        member.wire.send(9, &request.with_member_id(member.id.clone())).await;
        member.joined().await;
        member.sync(&[]).await;
        let group = member.group.clone();
        deleted(kafka, &mut member.wire, &group, &topic.name).await
    }
);
