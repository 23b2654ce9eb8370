//! Both protocols in one group: classic requests of members of KIP-848, groups that go from one protocol to the other.

use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest};

use crate::asked::{group_id, text};
use crate::consumer_group::Group;
use crate::row;
use crate::said;

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
