//! ConsumerGroupHeartbeat, and the offsets of members of KIP-848.

use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;

use crate::asked::{group_id, text};
use crate::consumer_group::Group;
use crate::row;
use crate::said;

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
