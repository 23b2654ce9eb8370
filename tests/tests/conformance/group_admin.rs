//! DescribeGroups, ListGroups, DeleteGroups.

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use crate::asked::{group_id, text};
use crate::kafka::{Kafka, until};
use crate::member::{Member, two};
use crate::row;
use crate::said;
use crate::wire::Wire;

async fn describe(wire: &mut Wire, version: i16, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    wire.ask(version, &request).await.groups.remove(0)
}

/// `NONE, Stable, range of consumer, 2 members`
fn said(group: &DescribedGroup) -> String {
    let (state, protocol) = (&*group.group_state, &*group.protocol_data);
    let (kind, members) = (&*group.protocol_type, group.members.len());
    format!("{}, {state}, [{protocol}] of [{kind}], {members} members", said::error(group.error_code))
}

row!(
    describe_unknown,
    "DescribeGroups",
    0..=5,
    "a group that does not exist",
    "NONE, Dead, [] of [], 0 members",
    async |kafka| {
        let group = kafka.name("group");
        said(&describe(&mut kafka.coordinator(&group).await, kafka.version, &group).await)
    }
);

row!(
    describe_not_found,
    "DescribeGroups",
    6..=6,
    "a group that does not exist",
    "GROUP_ID_NOT_FOUND, Dead, [] of [], 0 members; Group g not found.",
    async |kafka| {
        let group = kafka.name("group");
        let found = describe(&mut kafka.coordinator(&group).await, kafka.version, &group).await;
        let message = found.error_message.as_deref().unwrap_or("no message").replace(&group, "g");
        format!("{}; {message}", said(&found))
    }
);

row!(
    describe_stable,
    "DescribeGroups",
    0..=6,
    "a stable group of two",
    "NONE, Stable, [range] of [consumer], 2 members; for one, for two; tests on /127.0.0.1",
    async |kafka| {
        let (mut one, two) = two(kafka).await;
        let found = describe(&mut one.wire, kafka.version, &two.group).await;
        let mut parts: Vec<_> = found
            .members
            .iter()
            .map(|one| String::from_utf8_lossy(&one.member_assignment).into_owned())
            .collect();
        parts.sort();
        let first = &found.members[0];
        let (client, host) = (&*first.client_id, &*first.client_host);
        format!("{}; {}; {client} on {host}", said(&found), said::list(parts))
    }
);

row!(
    describe_empty,
    "DescribeGroups",
    0..=6,
    "a group whose only member has left",
    "NONE, Empty, [] of [consumer], 0 members",
    async |kafka| {
        let mut member = emptied(kafka).await;
        let group = member.group.clone();
        said(&describe(&mut member.wire, kafka.version, &group).await)
    }
);

row!(
    describe_waiting,
    "DescribeGroups",
    0..=6,
    "a new group whose leader has not assigned yet, as soon as it is known",
    "NONE, CompletingRebalance, [] of [consumer], 1 members",
    async |kafka| {
        let mut member = Member::new(kafka, &kafka.name("group")).await;
        member.join().await;
        let group = member.group.clone();
        let known = until("the group", async || {
            let found = describe(&mut member.wire, kafka.version, &group).await;
            (&*found.group_state != "Dead").then_some(found)
        });
        said(&known.await)
    }
);

row!(
    describe_elsewhere,
    "DescribeGroups",
    0..=6,
    "a broker that does not coordinate",
    "NOT_COORDINATOR",
    async |kafka| {
        let group = kafka.name("group");
        let mut wire = kafka.not_coordinator(&group).await;
        said::error(describe(&mut wire, kafka.version, &group).await.error_code)
    }
);

/// A group that had a member, whose connection is given.
async fn emptied(kafka: Kafka) -> Member {
    let mut member = Member::alone(kafka).await;
    member.leave().await;
    member
}

/// The group among those that its coordinator lists: `consumer Stable classic`.
async fn listed(kafka: Kafka, member: &mut Member, request: &ListGroupsRequest) -> String {
    let answer = member.wire.ask(kafka.version, request).await;
    if answer.error_code != 0 {
        return said::error(answer.error_code);
    }
    let wanted = group_id(&member.group);
    let Some(group) = answer.groups.iter().find(|group| group.group_id == wanted) else {
        return "not listed".into();
    };
    format!(
        "{} [{}] [{}]",
        group.protocol_type.as_str(),
        group.group_state.as_str(),
        group.group_type.as_str()
    )
}

row!(list_old, "ListGroups", 0..=3, "a stable group", "consumer [] []", async |kafka| {
    let mut member = Member::alone(kafka).await;
    listed(kafka, &mut member, &ListGroupsRequest::default()).await
});

row!(list_states, "ListGroups", 4..=4, "a stable group", "consumer [Stable] []", async |kafka| {
    let mut member = Member::alone(kafka).await;
    listed(kafka, &mut member, &ListGroupsRequest::default()).await
});

row!(list_types, "ListGroups", 5..=5, "a stable group", "consumer [Stable] [classic]", async |kafka| {
    let mut member = Member::alone(kafka).await;
    listed(kafka, &mut member, &ListGroupsRequest::default()).await
});

row!(
    list_by_state,
    "ListGroups",
    4..=5,
    "a stable group among the empty, among the STABLE",
    "not listed; listed",
    async |kafka| {
        let mut member = Member::alone(kafka).await;
        let mut said = Vec::new();
        for state in ["Empty", "STABLE"] {
            let request = ListGroupsRequest::default().with_states_filter(vec![text(state)]);
            let found = listed(kafka, &mut member, &request).await;
            said.push(if found == "not listed" { "not listed" } else { "listed" });
        }
        said.join("; ")
    }
);

row!(
    list_by_type,
    "ListGroups",
    5..=5,
    "a classic group among those of type consumer, of type Classic",
    "not listed; listed",
    async |kafka| {
        let mut member = Member::alone(kafka).await;
        let mut said = Vec::new();
        for kind in ["consumer", "Classic"] {
            let request = ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
            let found = listed(kafka, &mut member, &request).await;
            said.push(if found == "not listed" { "not listed" } else { "listed" });
        }
        said.join("; ")
    }
);

async fn deleted(wire: &mut Wire, version: i16, group: &str) -> String {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
    said::error(wire.ask(version, &request).await.results[0].error_code)
}

row!(
    delete_group,
    "DeleteGroups",
    0..=2,
    "an empty group; and again",
    "NONE; GROUP_ID_NOT_FOUND",
    async |kafka| {
        let mut member = emptied(kafka).await;
        let group = member.group.clone();
        let first = deleted(&mut member.wire, kafka.version, &group).await;
        format!("{first}; {}", deleted(&mut member.wire, kafka.version, &group).await)
    }
);

row!(delete_members, "DeleteGroups", 0..=2, "a group with a member", "NON_EMPTY_GROUP", async |kafka| {
    let mut member = Member::alone(kafka).await;
    let group = member.group.clone();
    deleted(&mut member.wire, kafka.version, &group).await
});

row!(
    delete_elsewhere,
    "DeleteGroups",
    0..=2,
    "a broker that does not coordinate",
    "NOT_COORDINATOR",
    async |kafka| {
        let group = kafka.name("group");
        deleted(&mut kafka.not_coordinator(&group).await, kafka.version, &group).await
    }
);
