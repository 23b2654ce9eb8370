//! The classic group protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest};

use crate::asked::{group_id, text};
use crate::kafka::Kafka;
use crate::member::{Member, join, protocols, subscription, two};
use crate::row;
use crate::said;

/// What a first request of a new group leads to.
async fn joining(kafka: Kafka, change: impl Fn(JoinGroupRequest) -> JoinGroupRequest) -> String {
    let group = kafka.name("group");
    let mut wire = kafka.coordinator(&group).await;
    let answer = wire.ask(kafka.version, &change(join(kafka.version, &group, ""))).await;
    said::error(answer.error_code)
}

row!(
    first_join,
    "JoinGroup",
    0..=3,
    "a first member without an id",
    "NONE, generation 1, it leads and sees itself, range",
    async |kafka| {
        let group = kafka.name("group");
        let mut wire = kafka.coordinator(&group).await;
        let joined = wire.ask(kafka.version, &join(kafka.version, &group, "")).await;
        let leads = joined.leader == joined.member_id && !joined.member_id.is_empty();
        let sees = joined.members.len() == 1 && joined.members[0].metadata == subscription(&[], "mine");
        let protocol = joined.protocol_name.as_deref().unwrap_or("null");
        let (error, generation) = (said::error(joined.error_code), joined.generation_id);
        let who = if leads && sees { "it leads and sees itself" } else { "otherwise" };
        format!("{error}, generation {generation}, {who}, {protocol}")
    }
);

row!(
    needs_an_id,
    "JoinGroup",
    4..=9,
    "a first member without an id; again with the id it got",
    "MEMBER_ID_REQUIRED with an id, generation -1; NONE, generation 1",
    async |kafka| {
        let group = kafka.name("group");
        let mut wire = kafka.coordinator(&group).await;
        let first = wire.ask(kafka.version, &join(kafka.version, &group, "")).await;
        let id = if first.member_id.is_empty() { "without an id" } else { "with an id" };
        let again = wire.ask(kafka.version, &join(kafka.version, &group, &first.member_id)).await;
        let (refused, joined) = (said::error(first.error_code), said::error(again.error_code));
        format!(
            "{refused} {id}, generation {}; {joined}, generation {}",
            first.generation_id, again.generation_id
        )
    }
);

row!(join_nameless, "JoinGroup", 0..=9, "the empty group", "INVALID_GROUP_ID", async |kafka| {
    joining(kafka, |request| request.with_group_id(group_id(""))).await
});

row!(
    join_too_short_a_session,
    "JoinGroup",
    0..=9,
    "a session timeout of 1 ms",
    "INVALID_SESSION_TIMEOUT",
    async |kafka| joining(kafka, |request| request.with_session_timeout_ms(1)).await
);

row!(
    join_too_long_a_session,
    "JoinGroup",
    0..=9,
    "a session timeout of 31 minutes",
    "INVALID_SESSION_TIMEOUT",
    async |kafka| joining(kafka, |request| request.with_session_timeout_ms(31 * 60_000)).await
);

row!(join_unknown, "JoinGroup", 0..=9, "a member id that nobody gave", "UNKNOWN_MEMBER_ID", async |kafka| {
    joining(kafka, |request| request.with_member_id(text("me"))).await
});

row!(
    join_without_protocols,
    "JoinGroup",
    0..=9,
    "no protocols",
    "INCONSISTENT_GROUP_PROTOCOL",
    async |kafka| joining(kafka, |request| request.with_protocols(vec![])).await
);

row!(
    join_without_type,
    "JoinGroup",
    0..=9,
    "no protocol type",
    "INCONSISTENT_GROUP_PROTOCOL",
    async |kafka| joining(kafka, |request| request.with_protocol_type(text(""))).await
);

row!(
    join_elsewhere,
    "JoinGroup",
    0..=9,
    "a broker that does not coordinate",
    "NOT_COORDINATOR",
    async |kafka| {
        let group = kafka.name("group");
        let mut wire = kafka.not_coordinator(&group).await;
        said::error(wire.ask(kafka.version, &join(kafka.version, &group, "")).await.error_code)
    }
);

row!(
    join_with_another_type,
    "JoinGroup",
    4..=9,
    "another protocol type than the group's",
    "INCONSISTENT_GROUP_PROTOCOL",
    async |kafka| {
        let mut member = Member::alone(kafka).await;
        let other = join(kafka.version, &member.group, "").with_protocol_type(text("connect"));
        said::error(member.wire.ask(kafka.version, &other).await.error_code)
    }
);

row!(
    join_with_other_protocols,
    "JoinGroup",
    4..=9,
    "no protocol that all members have",
    "INCONSISTENT_GROUP_PROTOCOL",
    async |kafka| {
        let mut member = Member::alone(kafka).await;
        let other = join(kafka.version, &member.group, "").with_protocols(protocols(&[("sticky", "m")]));
        said::error(member.wire.ask(kafka.version, &other).await.error_code)
    }
);

row!(
    protocol_choice,
    "JoinGroup",
    9..=9,
    "members that prefer a, b, c; c, b; b, c",
    "b for all; the leader sees three members with what they said of it, the others none",
    async |kafka| {
        let group = kafka.name("group");
        let wishes: [&[(&str, &str)]; 3] = [
            &[("a", "1a"), ("b", "1b"), ("c", "1c")],
            &[("c", "2c"), ("b", "2b")],
            &[("b", "3b"), ("c", "3c")],
        ];
        let mut members = Vec::new();
        for wish in wishes {
            let mut member = Member::new(kafka, &group).await;
            let request = member.join_request().with_protocols(protocols(wish));
            member.id = member.wire.ask(9, &request).await.member_id;
            member.wire.send(9, &request.with_member_id(member.id.clone())).await;
            if members.is_empty() {
                // Later members come into the rebalance that the second one begins.
                member.joined().await;
            }
            members.push(member);
        }
        let again = members[0].join_request().with_protocols(protocols(wishes[0]));
        members[0].wire.send(9, &again).await;
        let mut said = Vec::new();
        for member in &mut members {
            let joined = member.joined().await;
            let mut seen: Vec<_> = joined
                .members
                .iter()
                .map(|one| String::from_utf8_lossy(&one.metadata[10..]).into_owned())
                .collect();
            seen.sort();
            said.push(format!("{} [{}]", joined.protocol_name.as_deref().unwrap_or("null"), seen.join(" ")));
        }
        match said.join(", ").as_str() {
            "b [1b 2b 3b], b [], b []" => {
                "b for all; the leader sees three members with what they said of it, the others none".into()
            }
            other => other.into(),
        }
    }
);

row!(
    static_member_comes_again,
    "JoinGroup",
    5..=9,
    "a static member again, without an id: its new id, the old one's heartbeat",
    "NONE, another id, the same generation; FENCED_INSTANCE_ID",
    async |kafka| {
        let group = kafka.name("group");
        let mut old = Member::fixed(kafka, &group, "one").await;
        old.join().await;
        old.sync(&[(old.id.clone(), "all")]).await;
        let request = join(kafka.version, &group, "").with_group_instance_id(Some(text("one")));
        let new = kafka.coordinator(&group).await.ask(kafka.version, &request).await;
        let id = if new.member_id == old.id { "the same id" } else { "another id" };
        let generation = if new.generation_id == old.generation { "the same" } else { "another" };
        format!("{}, {id}, {generation} generation; {}", said::error(new.error_code), old.beat().await)
    }
);

row!(
    static_leader_skips,
    "JoinGroup",
    9..=9,
    "a static leader again, with the same wishes",
    "it leads, and may skip the assignment",
    async |kafka| {
        let group = kafka.name("group");
        let mut old = Member::fixed(kafka, &group, "one").await;
        old.join().await;
        old.sync(&[(old.id.clone(), "all")]).await;
        let request = join(kafka.version, &group, "").with_group_instance_id(Some(text("one")));
        let new = kafka.coordinator(&group).await.ask(kafka.version, &request).await;
        let leads = if new.leader == new.member_id { "it leads" } else { "it follows" };
        let skips = if new.skip_assignment { "and may skip the assignment" } else { "and must assign" };
        format!("{leads}, {skips}")
    }
);

/// What the only member's SyncGroup leads to.
async fn syncing(kafka: Kafka, change: impl Fn(SyncGroupRequest) -> SyncGroupRequest) -> String {
    let mut member = Member::new(kafka, &kafka.name("group")).await;
    member.join().await;
    let request = member.sync_request(&[(member.id.clone(), "all")]);
    let request =
        if kafka.version < 5 { request.with_protocol_type(None).with_protocol_name(None) } else { request };
    let answer = member.wire.ask(kafka.version, &change(request)).await;
    format!("{} [{}]", said::error(answer.error_code), String::from_utf8_lossy(&answer.assignment))
}

row!(sync, "SyncGroup", 0..=5, "the leader's assignment", "NONE [all]", async |kafka| {
    syncing(kafka, |request| request).await
});

row!(sync_old, "SyncGroup", 0..=5, "a generation that was", "ILLEGAL_GENERATION []", async |kafka| {
    syncing(kafka, |request| request.with_generation_id(0)).await
});

row!(
    sync_unknown,
    "SyncGroup",
    0..=5,
    "a member id that nobody gave",
    "UNKNOWN_MEMBER_ID []",
    async |kafka| { syncing(kafka, |request| request.with_member_id(text("me"))).await }
);

row!(
    sync_other_protocol,
    "SyncGroup",
    5..=5,
    "another protocol than the chosen one",
    "INCONSISTENT_GROUP_PROTOCOL []",
    async |kafka| syncing(kafka, |request| request.with_protocol_name(Some(text("sticky")))).await
);

row!(
    sync_while_rebalancing,
    "SyncGroup",
    5..=5,
    "while another member joins",
    "REBALANCE_IN_PROGRESS",
    async |kafka| {
        let mut one = Member::alone(kafka).await;
        let mut two = Member::new(kafka, &one.group).await;
        two.begin_join().await;
        one.beats_until("REBALANCE_IN_PROGRESS").await;
        said::error(one.sync(&[]).await.error_code)
    }
);

row!(
    sync_again,
    "SyncGroup",
    5..=5,
    "a follower's, in a stable group, again",
    "NONE [for two], protocol range of consumer",
    async |kafka| {
        let (_one, mut two) = two(kafka).await;
        let answer = two.sync(&[]).await;
        let assignment = String::from_utf8_lossy(&answer.assignment);
        let name = |name: Option<kafka_protocol::protocol::StrBytes>| {
            name.map_or("null".to_owned(), |name| name.to_string())
        };
        let (protocol, kind) = (name(answer.protocol_name), name(answer.protocol_type));
        format!("{} [{assignment}], protocol {protocol} of {kind}", said::error(answer.error_code))
    }
);

/// What a stable member's heartbeat leads to.
async fn beating(kafka: Kafka, change: impl Fn(&mut Member)) -> String {
    let mut member = Member::alone(kafka).await;
    change(&mut member);
    let request = member.beat_request();
    said::error(member.wire.ask(kafka.version, &request).await.error_code)
}

row!(heartbeat, "Heartbeat", 0..=4, "a stable member's", "NONE", async |kafka| beating(kafka, |_| {}).await);

row!(heartbeat_old, "Heartbeat", 0..=4, "a generation that was", "ILLEGAL_GENERATION", async |kafka| {
    beating(kafka, |member| member.generation -= 1).await
});

row!(
    heartbeat_unknown,
    "Heartbeat",
    0..=4,
    "a member id that nobody gave",
    "UNKNOWN_MEMBER_ID",
    async |kafka| { beating(kafka, |member| member.id = text("me")).await }
);

row!(heartbeat_nameless, "Heartbeat", 0..=4, "the empty group", "INVALID_GROUP_ID", async |kafka| {
    beating(kafka, |member| member.group.clear()).await
});

row!(
    heartbeat_unknown_instance,
    "Heartbeat",
    3..=4,
    "an instance id that nobody has",
    "UNKNOWN_MEMBER_ID",
    async |kafka| beating(kafka, |member| member.instance = Some(text("nobody"))).await
);

row!(
    heartbeat_while_rebalancing,
    "Heartbeat",
    0..=4,
    "while another member joins",
    "REBALANCE_IN_PROGRESS",
    async |kafka| {
        let mut one = Member::alone(kafka).await;
        let mut two = Member::new(kafka, &one.group).await;
        two.begin_join().await;
        one.beats_until("REBALANCE_IN_PROGRESS").await;
        let request = one.beat_request();
        said::error(one.wire.ask(kafka.version, &request).await.error_code)
    }
);

/// `NONE: NONE, UNKNOWN_MEMBER_ID`
fn left(answer: &LeaveGroupResponse) -> String {
    let members = answer.members.iter().map(|member| said::error(member.error_code));
    format!("{}: {}", said::error(answer.error_code), said::list(members))
}

row!(leave_one, "LeaveGroup", 0..=2, "a member; and again", "NONE; UNKNOWN_MEMBER_ID", async |kafka| {
    let mut member = Member::alone(kafka).await;
    let request =
        LeaveGroupRequest::default().with_group_id(group_id(&member.group)).with_member_id(member.id.clone());
    let first = member.wire.ask(kafka.version, &request).await;
    let again = member.wire.ask(kafka.version, &request).await;
    format!("{}; {}", said::error(first.error_code), said::error(again.error_code))
});

row!(
    leave_many,
    "LeaveGroup",
    3..=5,
    "a member, one that nobody knows, and an instance that nobody has",
    "NONE: NONE, UNKNOWN_MEMBER_ID, UNKNOWN_MEMBER_ID",
    async |kafka| {
        let mut member = Member::alone(kafka).await;
        let dynamic =
            |id: &str| MemberIdentity::default().with_member_id(text(id)).with_group_instance_id(None);
        let nobody = MemberIdentity::default().with_group_instance_id(Some(text("nobody")));
        let request = LeaveGroupRequest::default().with_group_id(group_id(&member.group)).with_members(vec![
            dynamic(&member.id),
            dynamic("me"),
            nobody,
        ]);
        left(&member.wire.ask(kafka.version, &request).await)
    }
);

row!(
    leave_by_instance,
    "LeaveGroup",
    3..=5,
    "a static member by its instance id, as an administrator does",
    "NONE: NONE; then its heartbeat: UNKNOWN_MEMBER_ID",
    async |kafka| {
        let mut member = Member::fixed(kafka, &kafka.name("group"), "one").await;
        member.join().await;
        member.sync(&[(member.id.clone(), "all")]).await;
        let who = MemberIdentity::default().with_group_instance_id(Some(text("one")));
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(&member.group)).with_members(vec![who]);
        let answer = left(&member.wire.ask(kafka.version, &request).await);
        format!("{answer}; then its heartbeat: {}", member.beat().await)
    }
);

row!(
    leaving_begins_a_rebalance,
    "LeaveGroup",
    3..=5,
    "one of two members; the other's heartbeat, its next generation",
    "NONE: NONE; REBALANCE_IN_PROGRESS; generation 3 with 1 member",
    async |kafka| {
        let (mut one, mut two) = two(kafka).await;
        let who = MemberIdentity::default().with_member_id(two.id.clone()).with_group_instance_id(None);
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(&two.group)).with_members(vec![who]);
        let answer = left(&two.wire.ask(kafka.version, &request).await);
        let beat = one.beat().await;
        let joined = one.join().await;
        format!("{answer}; {beat}; generation {} with {} member", joined.generation_id, joined.members.len())
    }
);

row!(
    expired,
    "Heartbeat",
    4..=4,
    "a member after its session timeout of 1 s",
    "UNKNOWN_MEMBER_ID",
    async |kafka| {
        let mut member = Member::new(kafka, &kafka.name("group")).await;
        let request = member.join_request().with_session_timeout_ms(1000);
        member.id = member.wire.ask(9, &request).await.member_id;
        member.wire.send(9, &request.with_member_id(member.id.clone())).await;
        member.joined().await;
        member.sync(&[(member.id.clone(), "all")]).await;
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        member.beat().await
    }
);
