//! One member whose coordinator, consumer and clock are the test.

use std::collections::HashMap;

use kafka_protocol::ResponseError as E;

use super::*;
use crate::cluster::{PartitionMetadata, TopicMetadata};
use crate::config::Subscription;
use crate::error::Result;

mod chaos;

const SECOND: Duration = Duration::from_secs(1);
const T: u128 = 7;

/// Topics `t`, `u`... with the ids 7, 8...
fn picture(counts: &[usize]) -> Arc<ClusterMetadata> {
    let partition = PartitionMetadata { leader: Some(1), leader_epoch: 0, replicas: vec![1], isr: vec![1] };
    let topics = counts.iter().zip("tuvw".chars()).zip(T..).map(|((count, name), id)| {
        let partitions = vec![partition.clone(); *count];
        (TopicName::new(&name.to_string()), TopicMetadata { id, internal: false, partitions, error: None })
    });
    Arc::new(ClusterMetadata { topics: topics.collect::<HashMap<_, _>>(), ..ClusterMetadata::default() })
}

fn t(numbers: impl IntoIterator<Item = i32>) -> Vec<TopicPartition> {
    numbers.into_iter().map(|number| TopicPartition::new("t", number)).collect()
}

fn ids(numbers: impl IntoIterator<Item = i32>) -> Vec<(u128, i32)> {
    numbers.into_iter().map(|number| (T, number)).collect()
}

fn refused<T>(code: E) -> Result<T> {
    Err(Error::Broker { api: "ConsumerGroupHeartbeat", code, at: At::Group("g".into()) })
}

struct Scene {
    machine: Machine,
    now: Instant,
    effects: Vec<Effect>,
}

impl Scene {
    fn with(subscription: Subscription, instance_id: Option<&str>) -> Self {
        let mut group = GroupConfig::new("g");
        group.session_timeout = 10 * SECOND;
        group.rebalance_timeout = 60 * SECOND;
        group.instance_id = instance_id.map(str::to_owned);
        let retry = Backoff { initial: SECOND / 10, max: SECOND };
        let settings = Settings { group, interest: Interest::of(subscription).unwrap(), retry };
        let now = Instant::now();
        Self { machine: Machine::new(settings, "m".into(), now), now, effects: Vec::new() }
    }

    /// One that has sent its first heartbeat.
    fn joining(instance_id: Option<&str>) -> Self {
        let mut scene = Self::with(Subscription::Topics(vec!["t".into()]), instance_id);
        scene.put(Input::Picture(picture(&[4])));
        scene
    }

    /// A member in epoch 1 that has these, and said so.
    fn member(numbers: impl IntoIterator<Item = i32> + Clone) -> Self {
        let mut scene = Self::joining(None);
        scene.answer(1, Some(ids(numbers.clone())));
        assert_eq!(scene.assigned(), t(numbers.clone()));
        assert_eq!(scene.beat().1.held, Some(ids(numbers)));
        scene.effects.clear();
        scene.confirm(1, None);
        scene.effects.clear();
        scene
    }

    fn put(&mut self, input: Input) {
        let effects = self.machine.handle(Moment { now: self.now, chance: 0.5 }, input);
        self.effects.extend(effects);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.put(Input::Wake);
    }

    /// The next effect that `pick` knows; what came before is skipped.
    fn next<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> T {
        let found = self.effects.iter().position(|effect| pick(effect).is_some());
        let place = found.unwrap_or_else(|| panic!("not among {:#?}", self.effects));
        let picked = pick(&self.effects[place]).unwrap();
        self.effects.drain(..=place);
        picked
    }

    /// Whether nobody was told of partitions.
    fn is_quiet(&self) -> bool {
        !self.effects.iter().any(|effect| {
            matches!(
                effect,
                Effect::Assigned(_) | Effect::Revoked { .. } | Effect::Lost(_) | Effect::Fatal(_)
            )
        })
    }

    fn beat(&mut self) -> (u64, Report) {
        self.next(|effect| match effect {
            Effect::Beat { turn, report } => Some((*turn, report.clone())),
            _ => None,
        })
    }

    fn assigned(&mut self) -> Vec<TopicPartition> {
        self.next(|effect| match effect {
            Effect::Assigned(partitions) => Some(partitions.clone()),
            _ => None,
        })
    }

    fn revoked(&mut self) -> (u64, Vec<TopicPartition>, Instant) {
        self.next(|effect| match effect {
            Effect::Revoked { round, partitions, deadline } => Some((*round, partitions.clone(), *deadline)),
            _ => None,
        })
    }

    fn lost(&mut self) -> Vec<TopicPartition> {
        self.next(|effect| match effect {
            Effect::Lost(partitions) => Some(partitions.clone()),
            _ => None,
        })
    }

    fn identity(&mut self) -> i32 {
        self.next(|effect| match effect {
            Effect::Identity(identity) => Some(identity.generation),
            _ => None,
        })
    }

    fn parts(&mut self) -> i32 {
        self.next(|effect| match effect {
            Effect::Part { epoch } => Some(*epoch),
            _ => None,
        })
    }

    /// Answers the heartbeat that was seen last, or comes next.
    fn answer(&mut self, epoch: i32, assignment: Option<Vec<(u128, i32)>>) {
        self.beat();
        self.confirm(epoch, assignment);
    }

    fn confirm(&mut self, epoch: i32, assignment: Option<Vec<(u128, i32)>>) {
        let answer = Answer { epoch, interval: 3 * SECOND, assignment };
        self.put(Input::Beaten { turn: self.machine.beat.turn(), sent: self.now, answer: Ok(answer) });
    }

    fn refuse(&mut self, error: Result<Answer>) {
        self.put(Input::Beaten { turn: self.machine.beat.turn(), sent: self.now, answer: error });
    }
}

#[test]
fn it_says_everything_once_and_then_what_changes() {
    let mut scene = Scene::joining(None);
    let (_, first) = scene.beat();
    assert_eq!((first.epoch, first.introduces), (0, true));
    assert_eq!((first.topics, first.held), (Some(vec![TopicName::new("t")]), Some(vec![])));
    scene.confirm(5, Some(ids([1, 2])));
    assert_eq!(scene.identity(), 5);
    assert_eq!(scene.assigned(), t([1, 2]));
    // What it took on is said at once, and never again.
    let (_, second) = scene.beat();
    assert_eq!((second.epoch, second.introduces, second.topics), (5, false, None));
    assert_eq!(second.held, Some(ids([1, 2])));
    scene.confirm(5, None);
    scene.pass(3 * SECOND);
    assert_eq!(scene.beat().1.held, None);
    // No answer: everything again, since nobody knows what of it arrived.
    scene.refuse(Err(Error::Disconnected { broker: "b:1".into(), reason: "test".into() }));
    scene.pass(SECOND);
    let (_, again) = scene.beat();
    assert_eq!((again.epoch, again.introduces, again.held), (5, true, Some(ids([1, 2]))));
    scene.confirm(5, Some(ids([1, 2])));
    assert!(scene.is_quiet());
}

#[test]
fn what_it_gives_back_is_its_own_until_that_is_done() {
    let mut scene = Scene::member([0, 1, 2, 3]);
    scene.pass(3 * SECOND);
    let sent = scene.now;
    scene.answer(1, Some(ids([0, 1])));
    let (round, partitions, deadline) = scene.revoked();
    assert_eq!(partitions, t([2, 3]));
    // From the heartbeat before: the coordinator may have begun to wait with this one, and nothing says when it came.
    assert_eq!(deadline, sent - 3 * SECOND + 54 * SECOND);
    scene.pass(3 * SECOND);
    assert_eq!(scene.beat().1.held, None);
    scene.confirm(1, None);
    scene.put(Input::GivenBack { round });
    assert_eq!(scene.beat().1.held, Some(ids([0, 1])));
    scene.confirm(2, None);
    assert_eq!(scene.identity(), 2);
    assert!(scene.is_quiet());
}

#[test]
fn what_comes_back_while_it_is_given_back_comes_anew() {
    let mut scene = Scene::member([0, 1]);
    scene.pass(3 * SECOND);
    scene.answer(1, Some(ids([0])));
    let (round, ..) = scene.revoked();
    scene.pass(3 * SECOND);
    scene.answer(1, Some(ids([0, 1])));
    assert!(scene.is_quiet());
    scene.put(Input::GivenBack { round });
    assert_eq!(scene.assigned(), t([1]));
}

#[test]
fn what_it_gives_back_too_late_is_lost() {
    let mut scene = Scene::member([0, 1]);
    scene.pass(3 * SECOND);
    scene.answer(1, Some(ids([0])));
    let (round, _, deadline) = scene.revoked();
    while scene.now + 3 * SECOND < deadline {
        scene.pass(3 * SECOND);
        scene.answer(1, None);
    }
    scene.pass(deadline - scene.now);
    assert_eq!(scene.lost(), t([1]));
    assert_eq!(scene.beat().1.held, Some(ids([0])));
    scene.put(Input::GivenBack { round });
    assert!(scene.is_quiet());
}

#[test]
fn who_is_fenced_says_goodbye_and_joins_anew() {
    let mut scene = Scene::member([0, 1]);
    scene.pass(3 * SECOND);
    scene.beat();
    scene.refuse(refused(E::FencedMemberEpoch));
    assert_eq!((scene.lost(), scene.identity(), scene.parts()), (t([0, 1]), -1, -1));
    scene.put(Input::Parted);
    let (_, report) = scene.beat();
    assert_eq!((report.epoch, report.held), (0, Some(vec![])));
    scene.confirm(4, Some(ids([1])));
    assert_eq!((scene.identity(), scene.assigned()), (4, t([1])));
}

#[test]
fn who_is_not_known_joins_anew_at_once() {
    for code in [E::UnknownMemberId, E::GroupIdNotFound] {
        let mut scene = Scene::member([0]);
        scene.pass(3 * SECOND);
        scene.beat();
        scene.refuse(refused(code));
        assert_eq!(scene.lost(), t([0]));
        assert_eq!(scene.beat().1.epoch, 0);
        // Again and again: not in a storm.
        scene.refuse(refused(E::UnknownMemberId));
        assert!(!scene.effects.iter().any(|effect| matches!(effect, Effect::Beat { .. })));
        scene.pass(SECOND);
        assert_eq!(scene.beat().1.epoch, 0);
    }
}

/// A member that heard nothing of a heartbeat for its session.
fn expired() -> Scene {
    let mut scene = Scene::member([0]);
    scene.put(Input::Session(6 * SECOND));
    scene.pass(3 * SECOND);
    scene.answer(1, None);
    scene.pass(5 * SECOND);
    assert!(scene.is_quiet());
    let late = scene.machine.beat.turn();
    // It was frozen, and wakes: nothing may be handled before it has asked.
    scene.pass(SECOND);
    assert_eq!((scene.lost(), scene.identity()), (t([0]), -1));
    // An answer that comes late is of another life.
    let answer = Answer { epoch: 1, interval: 3 * SECOND, assignment: Some(ids([0])) };
    scene.put(Input::Beaten { turn: late, sent: scene.now - SECOND, answer: Ok(answer) });
    assert!(scene.is_quiet());
    scene
}

#[test]
fn whose_coordinator_was_away_has_again_what_it_is_to_have() {
    let mut scene = expired();
    for _ in 0..50 {
        let (_, report) = scene.beat();
        assert_eq!((report.epoch, report.introduces, report.held), (1, true, Some(vec![])), "it has nothing");
        scene.refuse(refused(E::NotCoordinator));
        scene.pass(6 * SECOND / 5);
    }
    assert!(scene.is_quiet());
    scene.answer(1, Some(ids([0])));
    assert_eq!((scene.identity(), scene.assigned()), (1, t([0])));
    assert_eq!(scene.beat().1.held, Some(ids([0])), "and says that it has it");
    // Nothing was asked for while it was away.
    let mut scene = expired();
    scene.answer(1, None);
    assert_eq!(scene.parts(), -1);
}

#[test]
fn whose_group_went_on_joins_it() {
    let mut scene = expired();
    scene.beat();
    scene.refuse(refused(E::UnknownMemberId));
    assert_eq!(scene.beat().1.epoch, 0);
    let mut scene = expired();
    scene.beat();
    scene.refuse(refused(E::FencedMemberEpoch));
    assert_eq!(scene.parts(), -1);
    scene.put(Input::Parted);
    scene.answer(3, Some(ids([0])));
    assert_eq!(scene.assigned(), t([0]));
}

#[test]
fn an_answer_that_came_too_late_says_nothing() {
    let mut scene = expired();
    let ((turn, _), sent) = (scene.beat(), scene.now);
    scene.now += 6 * SECOND;
    let answer = Answer { epoch: 1, interval: 3 * SECOND, assignment: Some(ids([0])) };
    scene.put(Input::Beaten { turn, sent, answer: Ok(answer) });
    assert!(scene.is_quiet());
    scene.answer(1, Some(ids([0])));
    assert_eq!(scene.assigned(), t([0]));
}

#[test]
fn a_static_member_takes_the_place_of_its_ghost() {
    let mut scene = Scene::joining(Some("one"));
    scene.beat();
    scene.refuse(refused(E::UnreleasedInstanceId));
    scene.next(|effect| matches!(effect, Effect::Release).then_some(()));
    scene.put(Input::Released(Ok(())));
    scene.answer(3, Some(ids([2])));
    assert_eq!(scene.assigned(), t([2]));
    // Fenced by the next one: for good.
    scene.answer(3, None);
    scene.pass(3 * SECOND);
    scene.beat();
    scene.refuse(refused(E::FencedInstanceId));
    assert_eq!(scene.lost(), t([2]));
    scene.next(|effect| matches!(effect, Effect::Fatal(_)).then_some(()));
    assert!(scene.machine.has_ended());
}

#[test]
fn it_leaves_as_it_is_told() {
    let leaves = [
        (None, Leave::Default, Some(-1)),
        (None, Leave::Never, None),
        (Some("one"), Leave::Default, Some(-2)),
        (Some("one"), Leave::Always, Some(-1)),
    ];
    for (instance, leave, expected) in leaves {
        let mut scene = Scene::joining(instance);
        scene.answer(1, Some(ids([0])));
        scene.effects.clear();
        scene.put(Input::Leave(leave));
        let said = scene.effects.iter().find_map(|effect| match effect {
            Effect::Goodbye { epoch } => Some(*epoch),
            _ => None,
        });
        assert_eq!(said, expected);
        assert!(scene.effects.iter().any(|effect| matches!(effect, Effect::LeaseEnds)));
        scene.put(Input::Left);
        assert!(scene.machine.has_ended());
    }
}

#[test]
fn a_topic_without_a_name_waits_for_a_picture() {
    let mut scene = Scene::with(Subscription::Topics(vec!["t".into(), "u".into()]), None);
    scene.put(Input::Picture(picture(&[1])));
    scene.answer(1, Some(vec![(T, 0), (T + 1, 0)]));
    assert_eq!(scene.assigned(), t([0]));
    assert_eq!(scene.beat().1.held, Some(ids([0])));
    scene.effects.clear();
    scene.confirm(1, None);
    // With every heartbeat it asks again.
    scene.next(|effect| matches!(effect, Effect::Refresh).then_some(()));
    scene.put(Input::Picture(picture(&[1, 1])));
    assert_eq!(scene.assigned(), [TopicPartition::new("u", 0)]);
    scene.pass(3 * SECOND);
    assert_eq!(scene.beat().1.held, Some(vec![(T, 0), (T + 1, 0)]));
}

#[test]
fn who_was_told_that_nobody_coordinates_keeps_what_it_has_for_a_second_session() {
    let mut scene = Scene::member([0]);
    scene.pass(3 * SECOND);
    scene.beat();
    let acknowledged = scene.machine.beat.last_acknowledged().unwrap();
    let session = scene.machine.session();
    while scene.now < acknowledged + 2 * session {
        assert!(!scene.effects.iter().any(|effect| matches!(effect, Effect::Lost(_))));
        scene.put(Input::Vacant(scene.now));
        scene.refuse(Err(Error::Disconnected { broker: "b:1".into(), reason: "test".into() }));
        scene.now = scene.machine.wakes_at().unwrap();
        scene.put(Input::Wake);
    }
    assert_eq!(scene.now, acknowledged + 2 * session);
    assert!(scene.effects.iter().any(|effect| matches!(effect, Effect::Lost(lost) if *lost == t([0]))));
    scene.effects.clear();
    scene.put(Input::Vacant(scene.now));
    assert!(!scene.effects.iter().any(|effect| matches!(effect, Effect::Lease(_))));
}

#[test]
fn a_pattern_follows_the_picture() {
    let mut scene = Scene::with(Subscription::Pattern("t|u".into()), None);
    scene.put(Input::Wake);
    assert!(scene.effects.is_empty(), "it does not know its topics yet");
    scene.put(Input::Picture(picture(&[1])));
    let (_, report) = scene.beat();
    assert_eq!(report.topics, Some(vec![TopicName::new("t")]));
    scene.confirm(1, Some(vec![]));
    scene.put(Input::Picture(picture(&[1, 1, 1])));
    let (_, report) = scene.beat();
    assert_eq!(report.topics, Some(vec![TopicName::new("t"), TopicName::new("u")]));
}

#[test]
fn a_doubt_asks_soon_and_trouble_is_told_when_it_stays() {
    let mut scene = Scene::member([0]);
    scene.put(Input::Doubt);
    scene.pass(SECOND / 10);
    scene.beat();
    for attempt in 0..6 {
        scene.refuse(refused(E::NotCoordinator));
        let told = scene.effects.drain(..).any(|effect| matches!(effect, Effect::Problem(_)));
        assert_eq!(told, attempt >= 2, "attempt {attempt}");
        scene.pass(SECOND * 6 / 5);
        scene.beat();
    }
    assert!(scene.is_quiet(), "the lease goes on");
}
