use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::group::vectors::{by_topic, int, text, topics};
use crate::vectors::{bytes, lines};

type Counts = HashMap<TopicName, usize>;
/// Partitions of each member by its id.
type Shares = BTreeMap<String, BTreeSet<TopicPartition>>;

fn counts(value: &Value) -> Counts {
    let topics = value.as_object().unwrap().iter();
    topics
        .map(|(topic, count)| (topic.as_str().into(), usize::try_from(count.as_i64().unwrap()).unwrap()))
        .collect()
}

fn member(value: &Value) -> GroupMember {
    let subscription = MemberSubscription {
        topics: topics(&value["topics"]),
        user_data: bytes(&value["user_data"]),
        owned: by_topic(&value["owned"]),
        generation: int(&value["generation"]).filter(|generation| *generation >= 0),
        rack: None,
    };
    GroupMember { id: text(&value["id"]).unwrap(), instance_id: text(&value["instance"]), subscription }
}

fn members(value: &Value) -> Vec<GroupMember> {
    value.as_array().unwrap().iter().map(member).collect()
}

/// Members without any leave no trace, as in the vectors.
fn shares<'a>(pairs: impl IntoIterator<Item = (&'a str, Vec<TopicPartition>)>) -> Shares {
    let mut shares = Shares::new();
    for (id, partitions) in pairs {
        let count = partitions.len();
        let set: BTreeSet<_> = partitions.into_iter().collect();
        assert_eq!(set.len(), count, "{id} has something twice");
        if !set.is_empty() {
            shares.insert(id.into(), set);
        }
    }
    shares
}

fn expected(value: &Value) -> Shares {
    shares(value.as_object().unwrap().iter().map(|(id, topics)| (id.as_str(), by_topic(topics))))
}

fn assigned(assignor: Assignor, counts: &Counts, members: &[GroupMember]) -> Shares {
    let assigned = assignor.assign(counts, members);
    assert_eq!(assigned.len(), members.len());
    shares(members.iter().map(|member| member.id.as_str()).zip(assigned))
}

/// Each partition once, and only to somebody who wants its topic.
fn check_valid(shares: &Shares, counts: &Counts, members: &[GroupMember], what: &str) {
    let mut seen = BTreeSet::new();
    for member in members {
        for partition in shares.get(&member.id).into_iter().flatten() {
            assert!(seen.insert(*partition), "{what}: {partition} is given out twice");
            assert!(
                member.subscription.topics.contains(&partition.topic),
                "{what}: {partition} is not wanted"
            );
            let count = counts.get(&partition.topic).copied().unwrap_or(0);
            assert!(usize::try_from(partition.partition).unwrap() < count, "{what}: there is no {partition}");
        }
    }
}

fn check_complete(shares: &Shares, counts: &Counts, members: &[GroupMember], what: &str) {
    let wanted: BTreeSet<_> = members.iter().flat_map(|member| &member.subscription.topics).collect();
    let all: usize = wanted.iter().map(|topic| counts.get(topic).copied().unwrap_or(0)).sum();
    assert_eq!(
        shares.values().map(BTreeSet::len).sum::<usize>(),
        all,
        "{what}: something is given to nobody"
    );
}

/// Nobody could take a partition from somebody who has at least two more.
fn check_balanced(shares: &Shares, members: &[GroupMember], what: &str) {
    let load = |id: &str| shares.get(id).map_or(0, BTreeSet::len);
    for (holder, partitions) in shares {
        for partition in partitions {
            let takers =
                members.iter().filter(|member| member.subscription.topics.contains(&partition.topic));
            for taker in takers {
                let (more, less) = (load(holder), load(&taker.id));
                assert!(
                    more <= less + 1,
                    "{what}: {partition} could go from {holder} ({more}) to {} ({less})",
                    taker.id
                );
            }
        }
    }
}

/// How many partitions stay where they were.
fn kept(shares: &Shares, before: &Shares) -> usize {
    let both = shares.iter().filter_map(|(id, now)| Some(now.intersection(before.get(id)?).count()));
    both.sum()
}

fn rounds(assignor: Assignor, case: &Value) -> usize {
    let mut counts = counts(&case["topics"]);
    let mut last = Shares::new();
    let mut free = 0;
    for round in case[assignor.name()].as_array().unwrap() {
        let what = format!("case {} {}: {}", case["case"], assignor.name(), round["what"]);
        if !round["topics"].is_null() {
            counts = self::counts(&round["topics"]);
        }
        let members = match &round["subscriptions"] {
            Value::Null => first_round(assignor, &case["members"]),
            subscriptions => members(subscriptions),
        };
        let ours = assigned(assignor, &counts, &members);
        let javas = expected(&round["assignment"]);
        check_valid(&ours, &counts, &members, &what);
        if round["hash_order_matters"] == Value::Bool(true) {
            free += 1;
            assert_eq!(kept(&ours, &last), kept(&javas, &last), "{what}: not as many partitions stay");
            if assignor == Assignor::Sticky {
                check_complete(&ours, &counts, &members, &what);
                check_balanced(&ours, &members, &what);
            }
        } else {
            assert_eq!(ours, javas, "{what}");
        }
        last = javas;
    }
    free
}

/// Nothing owned, no generation; what the assignor adds before its first assignment.
fn first_round(assignor: Assignor, value: &Value) -> Vec<GroupMember> {
    let mut members = members(value);
    for member in &mut members {
        member.subscription.user_data = assignor.user_data(None);
    }
    members
}

#[test]
fn all_assignors_are_javas() {
    let cases = lines("assignors.jsonl");
    assert_eq!(cases.len(), 200);
    let mut free = 0;
    for case in &cases {
        let (counts, members) = (counts(&case["topics"]), members(&case["members"]));
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            let what = format!("case {} {}", case["case"], assignor.name());
            assert_eq!(assigned(assignor, &counts, &members), expected(&case[assignor.name()]), "{what}");
        }
        free += rounds(Assignor::Sticky, case) + rounds(Assignor::CooperativeSticky, case);
    }
    assert!(free < 100, "{free} rounds are free");
}

const NAMES: [&str; 4] = ["a", "b", "c", "\u{ff5e}"];

fn partition_counts() -> impl Strategy<Value = Counts> {
    proptest::collection::vec(0usize..9, 4).prop_map(|counts| {
        NAMES.iter().zip(counts).map(|(name, count)| (TopicName::new(name), count)).collect()
    })
}

/// Members by number, some of them static, each with a choice of topics.
fn some_members() -> impl Strategy<Value = Vec<GroupMember>> {
    let wishes = proptest::collection::vec(any::<bool>(), 4);
    proptest::collection::btree_map(0u8..12, (any::<bool>(), wishes), 1..7).prop_map(|members| {
        let member = |(number, (fixed, wishes)): (u8, (bool, Vec<bool>))| GroupMember {
            id: format!("m{number}"),
            instance_id: fixed.then(|| format!("i{}", 20 - number)),
            subscription: MemberSubscription {
                topics: NAMES
                    .iter()
                    .zip(wishes)
                    .filter(|(_, wanted)| *wanted)
                    .map(|(name, _)| (*name).into())
                    .collect(),
                ..MemberSubscription::default()
            },
        };
        members.into_iter().map(member).collect()
    })
}

/// What each member tells after a round.
fn remember(assignor: Assignor, members: &mut [GroupMember], shares: &Shares, generation: i32) {
    for member in members {
        let partitions: Vec<_> = shares.get(&member.id).into_iter().flatten().copied().collect();
        let memory = Memory { partitions, generation };
        member.subscription.user_data = assignor.user_data(Some(&memory));
        member.subscription.generation = Some(generation);
        if assignor == Assignor::CooperativeSticky {
            member.subscription.owned = memory.partitions;
        }
    }
}

/// The same members with other topics, and those that are new.
fn changed(before: &[GroupMember], after: &[GroupMember]) -> Vec<GroupMember> {
    let known = |member: &GroupMember| before.iter().find(|old| old.id == member.id);
    let mut members = after.to_vec();
    for member in &mut members {
        if let Some(old) = known(member) {
            let topics = std::mem::take(&mut member.subscription.topics);
            member.subscription = MemberSubscription { topics, ..old.subscription.clone() };
        }
    }
    members
}

proptest! {
    #[test]
    fn range_and_round_robin_share_everything_out(counts in partition_counts(), members in some_members()) {
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            let shares = assigned(assignor, &counts, &members);
            check_valid(&shares, &counts, &members, assignor.name());
            check_complete(&shares, &counts, &members, assignor.name());
        }
    }

    #[test]
    fn sticky_is_balanced_and_sticks(
        counts in partition_counts(), then in partition_counts(), members in some_members(), others in some_members(),
    ) {
        let first = assigned(Assignor::Sticky, &counts, &members);
        let mut members = members;
        let mut shares = first;
        for (generation, counts, after) in [(1, &counts, &members.clone()), (2, &then, &others), (3, &then, &others)] {
            let before = shares.clone();
            remember(Assignor::Sticky, &mut members, &shares, generation);
            let same = after == &members || generation != 2;
            members = changed(&members, after);
            shares = assigned(Assignor::Sticky, counts, &members);
            check_valid(&shares, counts, &members, "sticky");
            check_complete(&shares, counts, &members, "sticky");
            check_balanced(&shares, &members, "sticky");
            prop_assert!(!same || shares == before, "something moved for nothing: {before:?} {shares:?}");
        }
    }

    #[test]
    fn cooperative_never_gives_away_what_is_held(
        counts in partition_counts(), then in partition_counts(), members in some_members(), others in some_members(),
    ) {
        let assignor = Assignor::CooperativeSticky;
        let mut shares = assigned(assignor, &counts, &members);
        let mut members = members;
        remember(assignor, &mut members, &shares, 1);
        members = changed(&members, &others);
        for generation in 2..8 {
            let before = shares.clone();
            shares = assigned(assignor, &then, &members);
            check_valid(&shares, &then, &members, "cooperative");
            for (id, partitions) in &shares {
                let held_by_others = before.iter().filter(|(other, _)| *other != id && members.iter().any(|member| member.id == **other));
                for (other, held) in held_by_others {
                    prop_assert!(partitions.is_disjoint(held), "{id} gets what {other} holds");
                }
            }
            if shares == before {
                break;
            }
            remember(assignor, &mut members, &shares, generation);
        }
        check_complete(&shares, &then, &members, "cooperative");
        check_balanced(&shares, &members, "cooperative");
    }

    #[test]
    fn any_user_data_is_read_or_ignored(data in proptest::collection::vec(any::<u8>(), 0..60), counts in partition_counts(), members in some_members()) {
        let mut members = members;
        if let Some(member) = members.first_mut() {
            member.subscription.user_data = Some(data.into());
        }
        for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
            check_complete(&assigned(assignor, &counts, &members), &counts, &members, assignor.name());
        }
    }
}

#[test]
fn one_eager_assignor_makes_the_member_eager() {
    use Assignor::{CooperativeSticky, Range, RoundRobin, Sticky};
    assert_eq!(RebalanceProtocol::of(&[CooperativeSticky]), RebalanceProtocol::Cooperative);
    for eager in
        [&[Range, CooperativeSticky][..], &[Range], &[RoundRobin], &[Sticky], &[CooperativeSticky, Sticky]]
    {
        assert_eq!(RebalanceProtocol::of(eager), RebalanceProtocol::Eager);
    }
}

#[test]
fn names_are_kafkas() {
    for name in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        assert_eq!(Assignor::by_name(name).unwrap().name(), name);
    }
    assert_eq!(Assignor::by_name("uniform"), None);
}

#[test]
fn a_large_group_is_shared_out_quickly_enough_to_be_tested() {
    let counts: Counts = (0..100).map(|topic| (TopicName::new(&format!("t{topic}")), 50)).collect();
    let topics: Vec<_> = counts.keys().copied().collect();
    let members: Vec<_> = (0..100usize)
        .map(|number| GroupMember {
            id: format!("m{number}"),
            subscription: MemberSubscription {
                topics: topics.iter().copied().skip(number % 7).collect(),
                ..MemberSubscription::default()
            },
            ..GroupMember::default()
        })
        .collect();
    let shares = assigned(Assignor::Sticky, &counts, &members);
    check_complete(&shares, &counts, &members, "large");
    check_balanced(&shares, &members, "large");
}
