//! One member, one scene each.

use super::scene::{Scene, leader, wants};
use super::*;
use ResponseError as E;

#[test]
fn a_dynamic_member_asks_for_an_id_first() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["b", "a"]));
    let (attempt, id, subscription) = scene.joins();
    assert_eq!(id, "");
    assert_eq!(subscription, wants(&["a", "b"]));
    scene.put(Input::Joined { attempt, answer: Ok(JoinAnswer::IdRequired("m-1".into())) });
    let (again, id, _) = scene.joins();
    assert!(again > attempt);
    assert_eq!(id, "m-1");
    scene.never(|effect| matches!(effect, Effect::Problem(_) | Effect::Identity(_)));
}

#[test]
fn commits_are_stamped_when_the_round_is_complete() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    scene.accept("m", 4, Role::Follower);
    scene.never(|effect| matches!(effect, Effect::Identity(_) | Effect::Lease(_)));
    scene.sync(&partitions("t", [0, 1]));
    assert!(matches!(scene.effects[0], Effect::Lease(until) if until == scene.now + 10 * SECOND));
    assert_eq!(scene.identity(), Identity { member_id: "m".into(), generation: 4 });
    assert_eq!(scene.assigned(), partitions("t", [0, 1]));
}

#[test]
fn the_leader_looks_topics_up_and_shares_them_out() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    scene.accept("a", 1, leader(&[("a", wants(&["t"])), ("b", wants(&["t", "other"]))], false));
    let (attempt, asked) = scene.next(|effect| match effect {
        Effect::LookUp { attempt, topics } => Some((*attempt, topics.clone())),
        _ => None,
    });
    assert_eq!(asked, ["other", "t"].map(TopicName::new));
    scene.put(Input::Picture(picture(&[("t", 3), ("other", 1)])));
    scene.put(Input::LookedUp { attempt });
    let (attempt, assignments) = scene.syncs();
    let read = |bytes: &Bytes| MemberAssignment::decode(bytes.clone()).unwrap().partitions;
    assert_eq!(assignments[0].0, "a");
    assert_eq!(read(&assignments[0].1), partitions("t", [0, 1]));
    assert_eq!(read(&assignments[1].1), [TopicPartition::new("other", 0), TopicPartition::new("t", 2)]);

    scene.put(Input::Synced { attempt, sent: scene.now, answer: Ok(assignments[0].1.clone()) });
    scene.assigned();
    // Nothing that matters has changed, then a partition more of a topic that only another member wants.
    scene.put(Input::Picture(picture(&[("t", 3), ("other", 1), ("foreign", 8)])));
    scene.never(|effect| matches!(effect, Effect::Revoked { .. } | Effect::Join { .. }));
    scene.put(Input::Picture(picture(&[("t", 3), ("other", 2)])));
    assert_eq!(scene.revoked().1, partitions("t", [0, 1]));
}

#[test]
fn a_follower_leaves_growing_topics_to_the_leader() {
    let mut scene = Scene::stable(&[Assignor::Range], &partitions("t", [0]));
    scene.put(Input::Picture(picture(&[("t", 9)])));
    scene.never(|effect| matches!(effect, Effect::Revoked { .. } | Effect::Join { .. }));
}

#[test]
fn a_topic_that_has_no_leader_for_a_moment_changes_nothing_and_a_deleted_one_does() {
    let mut scene = Scene::new(&[Assignor::CooperativeSticky], &topics(&["t"]));
    scene.accept("a", 1, leader(&[("a", wants(&["t"]))], false));
    scene.put(Input::Picture(picture(&[("t", 2)])));
    let attempt = scene.machine.attempt;
    scene.put(Input::LookedUp { attempt });
    scene.sync(&partitions("t", [0, 1]));
    let with_error = |code| {
        let mut picture = ClusterMetadata::clone(&picture(&[("t", 0)]));
        picture.topics.get_mut(&TopicName::new("t")).unwrap().error = Some(code);
        Input::Picture(Arc::new(picture))
    };
    scene.effects.clear();
    scene.put(with_error(E::LeaderNotAvailable));
    scene.put(Input::Picture(picture(&[])));
    scene.never(|_| true);
    scene.put(with_error(E::UnknownTopicOrPartition));
    scene.joins();
}

#[test]
fn a_static_leader_that_came_back_assigns_nothing() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    scene.accept("a", 7, leader(&[("a", wants(&["t"])), ("b", wants(&["t"]))], true));
    let attempt = scene.machine.attempt;
    scene.put(Input::Picture(picture(&[("t", 2)])));
    scene.put(Input::LookedUp { attempt });
    let (_, assignments) = scene.syncs();
    assert!(assignments.is_empty());
    scene.put(Input::Synced { attempt, sent: scene.now, answer: Ok(assignment(&partitions("t", [0]))) });
    assert_eq!(scene.assigned(), partitions("t", [0]));
    // It leads all the same.
    scene.put(Input::Picture(picture(&[("t", 3)])));
    scene.revoked();
}

#[test]
fn an_eager_member_gives_everything_back_before_it_joins() {
    let held = partitions("t", [0, 1]);
    let mut scene = Scene::stable(&[Assignor::Range, Assignor::CooperativeSticky], &held);
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (round, given_back, deadline) = scene.revoked();
    assert_eq!(given_back, held);
    assert!(deadline > scene.now + 40 * SECOND && deadline < scene.now + 57 * SECOND);
    // Heartbeats go on while the consumer drains, and so does the lease.
    for _ in 0..8 {
        scene.beat(Err(refused(E::RebalanceInProgress)));
        scene.next(|effect| matches!(effect, Effect::Lease(_)).then_some(()));
    }
    scene.never(|effect| matches!(effect, Effect::Join { .. } | Effect::Lost(_)));
    scene.put(Input::GivenBack { round });
    let (_, id, subscription) = scene.joins();
    assert_eq!(
        (id.as_str(), subscription.owned.as_slice(), subscription.generation),
        ("m", &[][..], Some(1))
    );
}

#[test]
fn who_gives_back_too_late_has_lost() {
    let held = partitions("t", [0, 1]);
    let mut scene = Scene::stable(&[Assignor::Range], &held);
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (round, _, deadline) = scene.revoked();
    while scene.now + 3 * SECOND < deadline {
        scene.beat(Err(refused(E::RebalanceInProgress)));
    }
    scene.pass(deadline - scene.now);
    assert_eq!(scene.lost(), held);
    let (attempt, ..) = scene.joins();
    scene.put(Input::GivenBack { round });
    assert_eq!(scene.machine.attempt, attempt, "the late end of the drain means nothing");
}

#[test]
fn a_cooperative_member_keeps_what_it_has_and_gives_back_what_is_taken_away() {
    let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &partitions("t", [0, 1, 2]));
    scene.beat(Err(refused(E::RebalanceInProgress)));
    scene.never(|effect| matches!(effect, Effect::Revoked { .. }));
    scene.accept("m", 2, Role::Follower);
    scene.sync(&partitions("t", [1, 2, 3]));
    assert_eq!(scene.identity().generation, 2);
    assert_eq!(scene.assigned(), partitions("t", [3]));
    let (round, given_back, _) = scene.revoked();
    assert_eq!(given_back, partitions("t", [0]));
    // Another round begins while the consumer drains: it waits for us.
    scene.beat(Err(refused(E::RebalanceInProgress)));
    scene.never(|effect| matches!(effect, Effect::Join { .. }));
    scene.put(Input::GivenBack { round });
    let (_, _, subscription) = scene.joins();
    assert_eq!(subscription.owned, partitions("t", [1, 2, 3]));
    assert_eq!(subscription.generation, Some(2));
    assert_eq!(&subscription.user_data.unwrap()[..], [0, 0, 0, 2]);
}

#[test]
fn heartbeats_go_on_while_a_cooperative_member_joins() {
    let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &partitions("t", [0]));
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (attempt, ..) = scene.joins();
    for _ in 0..20 {
        scene.beat(Err(refused(E::RebalanceInProgress)));
    }
    // The new generation is there before its answer.
    scene.beat(Err(refused(E::IllegalGeneration)));
    scene.never(|effect| matches!(effect, Effect::Lost(_) | Effect::Join { .. }));
    assert_eq!(scene.machine.attempt, attempt);
}

#[test]
fn an_unknown_member_has_lost_and_joins_as_a_new_one() {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &held);
    scene.beat(Err(refused(E::UnknownMemberId)));
    assert!(matches!(scene.effects[0], Effect::LeaseEnds));
    assert_eq!(scene.lost(), held);
    assert_eq!(scene.identity(), Identity::none());
    let (_, id, subscription) = scene.joins();
    assert_eq!((id.as_str(), subscription.owned.len(), subscription.generation), ("", 0, None));
}

#[test]
fn a_passed_generation_is_lost_but_not_the_id() {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &held);
    scene.beat(Err(refused(E::IllegalGeneration)));
    assert_eq!(scene.lost(), held);
    assert_eq!(scene.identity(), Identity { member_id: "m".into(), generation: -1 });
    assert_eq!(scene.joins().1, "m");
}

#[test]
fn what_is_being_given_back_can_be_lost() {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[Assignor::Range], &held);
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (round, ..) = scene.revoked();
    scene.beat(Err(refused(E::UnknownMemberId)));
    assert_eq!(scene.lost(), held);
    let (attempt, ..) = scene.joins();
    scene.put(Input::GivenBack { round });
    assert_eq!(scene.machine.attempt, attempt);
}

#[test]
fn a_late_heartbeat_of_another_life_means_nothing() {
    let mut scene = Scene::stable(&[Assignor::Range], &partitions("t", [0]));
    scene.pass(3 * SECOND);
    let old = scene.beats();
    scene.put(Input::Doubt);
    scene.put(Input::Beaten {
        stamp: old.clone(),
        sent: scene.now,
        answer: Err(refused(E::IllegalGeneration)),
    });
    scene.lost();
    scene.round("m", 9, Role::Follower, &partitions("t", [1]));
    scene.effects.clear();
    for answer in [Err(refused(E::UnknownMemberId)), Ok(())] {
        scene.put(Input::Beaten { stamp: old.clone(), sent: scene.now, answer });
    }
    scene.never(|effect| matches!(effect, Effect::Lost(_) | Effect::Lease(_)));
}

#[test]
fn errors_that_waiting_does_not_cure_are_fatal() {
    let fatal = [
        E::FencedInstanceId,
        E::InconsistentGroupProtocol,
        E::GroupAuthorizationFailed,
        E::InvalidGroupId,
        E::InvalidSessionTimeout,
        E::GroupMaxSizeReached,
    ];
    for code in fatal {
        let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
        let (attempt, ..) = scene.joins();
        scene.put(Input::Joined { attempt, answer: Err(refused(code)) });
        assert_eq!(scene.fatal().code(), Some(code));
        assert!(scene.machine.has_ended());
        assert_eq!(scene.machine.wakes_at(), None);
    }
    for code in [E::FencedInstanceId, E::GroupAuthorizationFailed] {
        let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &partitions("t", [0]));
        scene.beat(Err(refused(code)));
        assert_eq!(scene.lost(), partitions("t", [0]), "held partitions are lost before");
        assert_eq!(scene.fatal().code(), Some(code));
    }
}

#[test]
fn other_failures_are_tried_again_with_back_off_and_told() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    let mut waits = Vec::new();
    for _ in 0..6 {
        let (attempt, ..) = scene.joins();
        scene.put(Input::Joined { attempt, answer: Err(refused(E::UnknownServerError)) });
        scene.problem();
        let wake = scene.machine.wakes_at().unwrap();
        waits.push((wake - scene.now).as_millis());
        scene.now = wake;
        scene.put(Input::Wake);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    // A coordinator that is loading or moving is nothing to tell of, unless it goes on.
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    for failure in 1..=5 {
        let (attempt, ..) = scene.joins();
        scene.put(Input::Joined { attempt, answer: Err(refused(E::CoordinatorLoadInProgress)) });
        match failure {
            5 => drop(scene.problem()),
            _ => scene.never(|effect| matches!(effect, Effect::Problem(_))),
        }
        scene.pass(SECOND / 2);
    }
}

#[test]
fn a_sync_that_comes_to_nothing_leads_to_another_round() {
    let cases = [(E::RebalanceInProgress, false), (E::NotCoordinator, false), (E::IllegalGeneration, true)];
    for (code, loses) in cases {
        let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &partitions("t", [0]));
        scene.beat(Err(refused(E::RebalanceInProgress)));
        scene.accept("m", 2, Role::Follower);
        let (attempt, _) = scene.syncs();
        scene.put(Input::Synced { attempt, sent: scene.now, answer: Err(refused(code)) });
        scene.pass(SECOND);
        if loses {
            scene.lost();
        }
        let (_, id, subscription) = scene.joins();
        assert_eq!((id.as_str(), subscription.owned.len()), ("m", usize::from(!loses)));
    }
}

#[test]
fn what_a_leader_says_wrongly_is_not_believed() {
    for nonsense in [Bytes::new(), Bytes::from_static(&[0]), assignment(&partitions("foreign", [0]))] {
        let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
        scene.accept("m", 1, Role::Follower);
        let (attempt, _) = scene.syncs();
        scene.put(Input::Synced { attempt, sent: scene.now, answer: Ok(nonsense) });
        assert!(matches!(scene.problem(), Error::Malformed { .. }));
        scene.never(|effect| matches!(effect, Effect::Assigned(_)));
        scene.pass(SECOND);
        scene.joins();
    }
}

#[test]
fn a_member_that_cannot_be_read_gets_nothing_and_the_others_go_on() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    let garbled = JoinedMember { id: "b".into(), subscription: Bytes::from_static(&[9]), instance_id: None };
    let Role::Leader { mut members, .. } = leader(&[("a", wants(&["t"]))], false) else { panic!() };
    members.push(garbled);
    scene.accept("a", 1, Role::Leader { members, skip_assignment: false });
    assert!(scene.problem().to_string().contains("member b of group g"));
    scene.put(Input::Picture(picture(&[("t", 2)])));
    let attempt = scene.machine.attempt;
    scene.put(Input::LookedUp { attempt });
    let (_, assignments) = scene.syncs();
    let counts: Vec<_> =
        assignments.iter().map(|(_, bytes)| MemberAssignment::decode(bytes.clone()).unwrap()).collect();
    assert_eq!(counts[0].partitions.len(), 2);
    assert_eq!(counts[1].partitions.len(), 0);
}

#[test]
fn a_coordinator_that_does_not_answer_heartbeats_is_not_waited_for_by_a_join() {
    let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &partitions("t", [0]));
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (attempt, ..) = scene.joins();
    scene.beat(Err(disconnected()));
    scene.pass(SECOND);
    let (another, ..) = scene.joins();
    assert!(another > attempt);
    // The answer to the one that was given up comes late.
    let joined = Joined { identity: Identity { member_id: "m".into(), generation: 5 }, ..Joined::default() };
    scene.put(Input::Joined { attempt, answer: Ok(JoinAnswer::Accepted(joined)) });
    scene.never(|effect| matches!(effect, Effect::Sync { .. }));
}

#[test]
fn a_refused_commit_is_looked_into_by_a_heartbeat() {
    let mut scene = Scene::stable(&[Assignor::Range], &partitions("t", [0]));
    scene.beat(Ok(()));
    scene.effects.clear();
    scene.put(Input::Doubt);
    scene.pass(SECOND / 10);
    scene.beats();
}

#[test]
fn a_pattern_waits_for_a_picture_and_follows_it() {
    let pattern = Subscription::Pattern("orders-.*|t".into());
    let mut scene = Scene::new(&[Assignor::CooperativeSticky], &pattern);
    scene.never(|_| true);
    scene.put(Input::Picture(picture(&[
        ("orders-eu", 1),
        ("my-orders-x", 1),
        ("t", 1),
        ("tt", 1),
        ("__t", 1),
    ])));
    let (_, _, subscription) = scene.joins();
    assert_eq!(subscription.topics, ["orders-eu", "t"].map(TopicName::new));
    scene.effects.clear();
    let attempt = scene.machine.attempt;
    let identity = Identity { member_id: "m".into(), generation: 1 };
    let joined = Joined { identity, assignor: "cooperative-sticky".into(), role: Role::Follower };
    scene.put(Input::Joined { attempt, answer: Ok(JoinAnswer::Accepted(joined)) });
    // The leader knows a topic that we do not know yet.
    scene.sync(&[TopicPartition::new("orders-new", 0)]);
    scene.assigned();
    scene.never(|effect| matches!(effect, Effect::Join { .. }));
    scene.put(Input::Picture(picture(&[("orders-eu", 1), ("orders-us", 1), ("t", 1)])));
    let (_, _, subscription) = scene.joins();
    assert!(subscription.topics.contains(&TopicName::new("orders-us")));
}

#[test]
fn who_leaves_says_goodbye_once_and_is_gone() {
    let mut scene = Scene::stable(&[Assignor::Range], &partitions("t", [0]));
    scene.effects.clear();
    scene.put(Input::Leave { goodbye: true });
    assert_eq!(scene.identity(), Identity::none());
    assert_eq!(
        scene
            .next(|effect| matches!(effect, Effect::Goodbye { member_id } if member_id == "m").then_some(())),
        ()
    );
    assert_eq!(scene.machine.wakes_at(), None);
    scene.pass(100 * SECOND);
    scene.never(|_| true);
    scene.put(Input::Left);
    assert!(scene.machine.has_ended());

    let mut silent = Scene::stable(&[Assignor::Range], &partitions("t", [0]));
    silent.put(Input::Leave { goodbye: false });
    assert!(silent.machine.has_ended());
}

#[test]
fn sticky_tells_the_leader_what_it_had() {
    let mut scene = Scene::stable(&[Assignor::Sticky], &partitions("t", [4]));
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (round, ..) = scene.revoked();
    scene.put(Input::GivenBack { round });
    let (_, _, subscription) = scene.joins();
    assert!(subscription.owned.is_empty());
    let expected = [&[0, 0, 0, 1, 0, 1], b"t".as_slice(), &[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1]].concat();
    assert_eq!(subscription.user_data.unwrap(), expected);
}
