//! Scenes: what Kafka 4.1 does, step by step.

use kafka_protocol::ResponseError as E;

use super::assignor::Candidate;
use super::*;

pub(super) fn name(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic(text: &str) -> TopicName {
    TopicName(name(text))
}

/// Topics as a list.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) version: u64,
    pub(super) topics: BTreeMap<TopicName, Facts>,
}

impl Shelf {
    pub(super) fn put(&mut self, title: &str, id: u128, partitions: i32) {
        self.version += 1;
        self.topics.insert(topic(title), (Uuid::from_u128(id), partitions));
    }
}

impl Catalog for Shelf {
    fn version(&self) -> u64 {
        self.version
    }
    fn facts(&self, name: &TopicName) -> Option<Facts> {
        self.topics.get(name).copied()
    }
    fn names(&self) -> Vec<TopicName> {
        self.topics.keys().cloned().collect()
    }
}

pub(super) fn joining(id: &str, topics: &[&str]) -> Beat {
    Beat {
        member_id: name(id),
        rebalance_timeout: Some(Duration::from_secs(60)),
        topics: Some(topics.iter().map(|title| topic(title)).collect()),
        owned: Some(Partitions::new()),
        ..Beat::default()
    }
}

pub(super) fn beat(id: &str, epoch: i32) -> Beat {
    Beat { member_id: name(id), epoch, ..Beat::default() }
}

const ORDERS: u128 = 1;

fn orders(numbers: &[i32]) -> Partitions {
    numbers.iter().map(|number| (Uuid::from_u128(ORDERS), *number)).collect()
}

pub(super) fn terms() -> Terms {
    Terms {
        session_timeout: Duration::from_secs(45),
        heartbeat_interval: Duration::from_secs(5),
        max_size: 3,
    }
}

struct Bench {
    group: ConsumerGroup,
    shelf: Shelf,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut shelf = Shelf::default();
        shelf.put("orders", ORDERS, 4);
        Self { group: ConsumerGroup::new(name("billing"), terms()), shelf, now: Instant::now() }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.group.expire(self.now);
    }

    fn ask(&mut self, beat: &Beat) -> Result<Beaten, Refusal> {
        self.group.heartbeat(self.now, &self.shelf, beat)
    }

    /// Epoch and what is told.
    fn told(&mut self, beat: &Beat) -> (i32, Option<Partitions>) {
        let beaten = self.ask(beat).expect("accepted");
        assert_eq!(beaten.member_id, beat.member_id);
        (beaten.epoch, beaten.assignment)
    }

    fn refused(&mut self, beat: &Beat) -> ResponseError {
        self.ask(beat).expect_err("refused").error
    }
}

#[test]
fn partitions_go_from_one_member_to_the_next_only_when_given_back() {
    let mut bench = Bench::new();
    assert_eq!(bench.told(&joining("a", &["orders"])), (1, Some(orders(&[0, 1, 2, 3]))));
    assert_eq!(bench.told(&beat("a", 1)), (1, None));
    assert_eq!(bench.group.state_name(), "Stable");
    // The second one waits.
    assert_eq!(bench.told(&joining("b", &["orders"])), (2, Some(orders(&[]))));
    assert_eq!(bench.group.state_name(), "Reconciling");
    // The first one is told to give back, and stays in its epoch until it did.
    assert_eq!(bench.told(&beat("a", 1)), (1, Some(orders(&[0, 1]))));
    assert_eq!(bench.told(&beat("b", 2)), (2, None));
    let slow = Beat { owned: Some(orders(&[0, 1, 3])), ..beat("a", 1) };
    assert_eq!(bench.told(&slow), (1, None));
    assert_eq!(bench.told(&beat("b", 2)), (2, None));
    let done = Beat { owned: Some(orders(&[0, 1])), ..beat("a", 1) };
    assert_eq!(bench.told(&done), (2, None));
    assert_eq!(bench.told(&beat("b", 2)), (2, Some(orders(&[2, 3]))));
    assert_eq!((bench.group.state_name(), bench.group.epoch()), ("Stable", 2));
    // One leaves, the other has everything in the next epoch.
    assert_eq!(bench.group.leave(&beat("a", LEAVE)).unwrap().epoch, LEAVE);
    assert_eq!(bench.group.state_name(), "Assigning");
    assert_eq!(bench.told(&beat("b", 2)), (3, Some(orders(&[0, 1, 2, 3]))));
}

#[test]
fn who_does_not_give_back_in_time_is_fenced() {
    let mut bench = Bench::new();
    bench.told(&joining("a", &["orders"]));
    bench.told(&joining("b", &["orders"]));
    bench.told(&beat("a", 1));
    for _ in 0..5 {
        bench.pass(10);
        bench.told(&Beat { owned: Some(orders(&[0, 1, 2, 3])), ..beat("a", 1) });
        assert_eq!(bench.told(&beat("b", 2)).1, None);
    }
    bench.pass(10);
    assert_eq!(bench.refused(&beat("a", 1)), E::UnknownMemberId);
    assert_eq!(bench.told(&beat("b", 2)), (3, Some(orders(&[0, 1, 2, 3]))));
}

#[test]
fn who_is_silent_is_fenced_after_the_session() {
    let mut bench = Bench::new();
    bench.told(&joining("a", &["orders"]));
    bench.pass(44);
    assert_eq!(bench.group.members().len(), 1);
    bench.pass(1);
    assert_eq!((bench.group.state_name(), bench.group.epoch()), ("Empty", 2));
    assert_eq!(bench.group.next_deadline(), None);
    assert_eq!(bench.refused(&beat("a", 1)), E::UnknownMemberId);
}

#[test]
fn epochs_are_held_against_the_groups() {
    let mut bench = Bench::new();
    bench.told(&joining("a", &["orders"]));
    bench.told(&joining("b", &["orders"]));
    bench.told(&beat("a", 1));
    bench.told(&Beat { owned: Some(orders(&[0, 1])), ..beat("a", 1) });
    assert_eq!(bench.refused(&beat("a", 3)), E::FencedMemberEpoch);
    // The answer that told of epoch 2 was lost: the last epoch counts, with what belongs to the member.
    assert_eq!(bench.refused(&beat("a", 1)), E::FencedMemberEpoch);
    assert_eq!(bench.refused(&Beat { owned: Some(orders(&[0, 3])), ..beat("a", 1) }), E::FencedMemberEpoch);
    assert_eq!(bench.told(&Beat { owned: Some(orders(&[0])), ..beat("a", 1) }), (2, None));
    assert_eq!(bench.refused(&beat("c", 2)), E::UnknownMemberId);
    // Only the last one.
    bench.told(&joining("c", &["orders"]));
    bench.told(&Beat { owned: Some(orders(&[0, 1])), ..beat("a", 2) });
    assert_eq!(bench.told(&Beat { owned: Some(orders(&[0])), ..beat("b", 2) }).0, 3);
    assert_eq!(bench.refused(&Beat { owned: Some(orders(&[])), ..beat("b", 1) }), E::FencedMemberEpoch);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut bench = Bench::new();
    let instance = Some(name("one"));
    let join = |id: &str| Beat { instance_id: instance.clone(), ..joining(id, &["orders"]) };
    let with = |beat: Beat| Beat { instance_id: instance.clone(), ..beat };
    bench.told(&join("a"));
    bench.told(&joining("b", &["orders"]));
    bench.told(&with(beat("a", 1)));
    bench.told(&with(Beat { owned: Some(orders(&[0, 1])), ..beat("a", 1) }));
    bench.told(&beat("b", 2));
    // Nobody else takes its place while it is there.
    assert_eq!(bench.refused(&join("c")), E::UnreleasedInstanceId);
    bench.group.leave(&with(beat("a", LEAVE_FOR_A_WHILE))).unwrap();
    assert_eq!(bench.group.epoch(), 2);
    assert_eq!(bench.told(&beat("b", 2)), (2, None));
    assert_eq!(bench.told(&join("c")), (2, Some(orders(&[0, 1]))));
    assert_eq!(bench.refused(&with(beat("a", 2))), E::FencedInstanceId);
    assert_eq!(bench.refused(&Beat { instance_id: Some(name("two")), ..beat("a", 2) }), E::UnknownMemberId);
    // Away for longer than its session: its partitions are another's.
    bench.group.leave(&with(beat("c", LEAVE_FOR_A_WHILE))).unwrap();
    bench.pass(30);
    bench.told(&beat("b", 2));
    bench.pass(15);
    assert_eq!(bench.told(&beat("b", 2)), (3, Some(orders(&[0, 1, 2, 3]))));
    // And a static member can leave for good.
    bench.told(&join("d"));
    bench.group.leave(&with(beat("d", LEAVE))).unwrap();
    assert_eq!(bench.group.members().len(), 1);
}

#[test]
fn topics_that_come_and_grow_are_given_out() {
    let mut bench = Bench::new();
    assert_eq!(bench.told(&joining("a", &["later"])), (1, Some(Partitions::new())));
    bench.shelf.put("later", 2, 1);
    let first = (Uuid::from_u128(2), 0);
    assert_eq!(bench.told(&beat("a", 1)), (2, Some(Partitions::from([first]))));
    bench.shelf.put("later", 2, 2);
    let second = (Uuid::from_u128(2), 1);
    assert_eq!(bench.told(&beat("a", 2)), (3, Some(Partitions::from([first, second]))));
    // A topic of no interest.
    bench.shelf.put("other", 3, 1);
    assert_eq!(bench.told(&beat("a", 3)), (3, None));
    // Created anew: another topic.
    bench.shelf.put("later", 4, 1);
    assert_eq!(bench.told(&beat("a", 3)), (3, Some(Partitions::new())));
    let anew = Partitions::from([(Uuid::from_u128(4), 0)]);
    assert_eq!(bench.told(&Beat { owned: Some(Partitions::new()), ..beat("a", 3) }), (4, Some(anew)));
}

#[test]
fn patterns_match_whole_names_and_find_new_topics() {
    let mut bench = Bench::new();
    let pattern = Pattern::new(name("ord.*|later")).unwrap();
    let join = Beat { topics: None, pattern: Some(Some(pattern)), ..joining("a", &[]) };
    assert_eq!(bench.told(&join), (1, Some(orders(&[0, 1, 2, 3]))));
    bench.shelf.put("later", 2, 1);
    bench.shelf.put("much-later", 3, 1);
    let mut all = orders(&[0, 1, 2, 3]);
    all.insert((Uuid::from_u128(2), 0));
    assert_eq!(bench.told(&beat("a", 1)), (2, Some(all)));
    assert_eq!(bench.group.subscribed(), BTreeSet::from([topic("orders"), topic("later")]));
    // Names instead.
    let named = Beat { topics: Some(BTreeSet::from([topic("orders")])), pattern: Some(None), ..beat("a", 2) };
    assert_eq!(bench.told(&named).1, Some(orders(&[0, 1, 2, 3])));
    assert_eq!(Pattern::new(name("(")).unwrap_err().error, E::InvalidRegularExpression);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::new();
    for id in ["a", "b", "c"] {
        bench.told(&joining(id, &["orders"]));
    }
    assert_eq!(bench.refused(&joining("d", &["orders"])), E::GroupMaxSizeReached);
    bench.told(&beat("c", 3));
    assert_eq!(bench.group.epoch(), 3);
}

#[test]
fn the_assignor_that_most_ask_for_is_taken() {
    let mut bench = Bench::new();
    bench.told(&Beat { assignor: Some(Assignor::Range), ..joining("b", &["orders"]) });
    assert_eq!(bench.group.preferred_assignor(), Assignor::Range);
    bench.told(&Beat { assignor: Some(Assignor::Uniform), ..joining("a", &["orders"]) });
    bench.told(&Beat { assignor: Some(Assignor::Range), ..joining("c", &["orders"]) });
    assert_eq!(bench.group.preferred_assignor(), Assignor::Range);
    assert_eq!(bench.group.target(&name("a")), Some(&orders(&[0, 1])));
    assert_eq!(bench.group.target(&name("b")), Some(&orders(&[2])));
}

#[test]
fn commits_carry_the_members_epoch() {
    let mut bench = Bench::new();
    assert_eq!(bench.group.validate_commit(&name(""), -1), Ok(()));
    bench.told(&joining("a", &["orders"]));
    assert_eq!(bench.group.validate_commit(&name("a"), 1), Ok(()));
    assert_eq!(bench.group.validate_commit(&name("a"), 0), Err(E::StaleMemberEpoch));
    assert_eq!(bench.group.validate_commit(&name("a"), 2), Err(E::StaleMemberEpoch));
    assert_eq!(bench.group.validate_commit(&name("b"), 1), Err(E::UnknownMemberId));
    assert_eq!(bench.group.validate_commit(&name(""), -1), Err(E::UnknownMemberId));
    assert_eq!(bench.group.validate_fetch(None, -1), Ok(()));
    assert_eq!(bench.group.validate_fetch(Some(&name("a")), 1), Ok(()));
    assert_eq!(bench.group.validate_fetch(Some(&name("a")), 2), Err(E::StaleMemberEpoch));
    assert_eq!(bench.group.validate_fetch(Some(&name("b")), 1), Err(E::UnknownMemberId));
}

fn candidate(id: &str, topics: &[u128], has: &[(u128, i32)]) -> Candidate {
    Candidate {
        id: name(id),
        instance_id: None,
        topics: topics.iter().map(|topic| Uuid::from_u128(*topic)).collect(),
        has: has.iter().map(|(topic, partition)| (Uuid::from_u128(*topic), *partition)).collect(),
    }
}

#[test]
fn range_gives_each_topic_in_ranges_to_its_subscribers() {
    let counts = BTreeMap::from([(Uuid::from_u128(1), 3), (Uuid::from_u128(2), 2)]);
    let mut late = candidate("a", &[1, 2], &[]);
    late.instance_id = Some(name("z"));
    let candidates = [candidate("b", &[1], &[]), late];
    let assigned = Assignor::Range.assign(&counts, &candidates);
    let all = |list: &[(u128, i32)]| list.iter().map(|(topic, at)| (Uuid::from_u128(*topic), *at)).collect();
    assert_eq!(assigned, [all(&[(1, 2)]), all(&[(1, 0), (1, 1), (2, 0), (2, 1)])]);
}

#[test]
fn uniform_moves_as_little_as_it_can() {
    let counts = BTreeMap::from([(Uuid::from_u128(1), 5)]);
    let all = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)];
    let candidates = [candidate("b", &[1], &[]), candidate("a", &[1], &all)];
    let assigned = Assignor::Uniform.assign(&counts, &candidates);
    // Who has most keeps the odd one.
    assert_eq!(assigned.iter().map(BTreeSet::len).collect::<Vec<_>>(), [2, 3]);
    // Different subscriptions: what only one wants leaves room for the other.
    let counts = BTreeMap::from([(Uuid::from_u128(1), 4), (Uuid::from_u128(2), 2)]);
    let has = [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0)];
    let candidates = [candidate("a", &[1, 2], &has), candidate("b", &[1], &[])];
    let assigned = Assignor::Uniform.assign(&counts, &candidates);
    assert_eq!(assigned.iter().map(BTreeSet::len).collect::<Vec<_>>(), [3, 3]);
}
