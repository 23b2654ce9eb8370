//! One member whose session ended without an answer.

use super::scene::{Scene, leader, wants};
use super::*;
use ResponseError as E;

/// A member whose heartbeats came to nothing for a session timeout.
fn expired(assignor: Assignor) -> (Scene, Vec<TopicPartition>) {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[assignor], &held);
    scene.beat(Ok(()));
    let acknowledged = scene.now;
    scene.pass(3 * SECOND);
    while scene.now < acknowledged + 10 * SECOND {
        scene.never(|effect| matches!(effect, Effect::Lost(_)));
        let stamp = scene.beats();
        scene.put(Input::Beaten { stamp, sent: scene.now, answer: Err(disconnected()) });
        scene.now = scene.machine.wakes_at().unwrap();
        scene.put(Input::Wake);
    }
    assert_eq!(scene.now, acknowledged + 10 * SECOND, "to the moment");
    assert!(matches!(scene.problem(), Error::Disconnected { .. }));
    assert_eq!(scene.lost(), held);
    assert_eq!(scene.identity(), Identity { member_id: "m".into(), generation: -1 });
    (scene, held)
}

/// What it asks with, once a second, however long nobody answers.
fn asks(scene: &mut Scene) -> Identity {
    for _ in 0..50 {
        let stamp = scene.asks();
        scene.put(Input::Asked { stamp, sent: scene.now, answer: Err(disconnected()) });
        scene.put(Input::Picture(picture(&[("t", 2)])));
        scene.pass(6 * SECOND / 5);
    }
    let stamp = scene.asks();
    scene.never(|effect| {
        matches!(effect, Effect::Join { .. } | Effect::Beat { .. } | Effect::Assigned(_) | Effect::Lease(_))
    });
    stamp
}

/// It was said again and again that nobody coordinates the group.
#[test]
fn who_was_told_that_nobody_coordinates_keeps_what_it_has_for_a_second_session() {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[Assignor::Range], &held);
    scene.beat(Ok(()));
    let acknowledged = scene.now;
    scene.pass(3 * SECOND);
    while scene.now < acknowledged + 20 * SECOND {
        scene.never(|effect| matches!(effect, Effect::Lost(_)));
        let stamp = scene.beats();
        scene.put(Input::Vacant(scene.now));
        scene.put(Input::Beaten { stamp, sent: scene.now, answer: Err(disconnected()) });
        scene.now = scene.machine.wakes_at().unwrap();
        scene.put(Input::Wake);
    }
    assert_eq!((scene.now, scene.lost()), (acknowledged + 20 * SECOND, held));
    scene.put(Input::Vacant(scene.now));
    scene.never(|effect| matches!(effect, Effect::Lease(_) | Effect::Assigned(_)));
}

#[test]
fn it_is_told_too_late_when_the_session_is_over_and_says_nothing_of_later() {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[Assignor::Range], &held);
    scene.beat(Ok(()));
    let acknowledged = scene.now;
    let lease = |scene: &mut Scene| {
        scene.next(|effect| match effect {
            Effect::Lease(until) => Some(*until),
            _ => None,
        })
    };
    assert_eq!(lease(&mut scene), acknowledged + 10 * SECOND);
    // Half a session from then on, which the session outlasts.
    scene.put(Input::Vacant(acknowledged + 5 * SECOND));
    scene.never(|effect| matches!(effect, Effect::Lease(_)));
    scene.put(Input::Vacant(acknowledged + 6 * SECOND));
    let until = lease(&mut scene);
    assert_eq!(until, acknowledged + 11 * SECOND);
    scene.now = until;
    scene.put(Input::Vacant(until));
    assert_eq!(scene.lost(), held);
}

#[test]
fn whose_coordinator_was_away_has_the_same_again_without_a_round() {
    let (mut scene, held) = expired(Assignor::Range);
    let stamp = asks(&mut scene);
    assert_eq!(stamp, Identity { member_id: "m".into(), generation: 1 });
    scene.put(Input::Asked { stamp: stamp.clone(), sent: scene.now, answer: Ok(assignment(&held)) });
    scene.next(|effect| matches!(effect, Effect::Lease(_)).then_some(()));
    assert_eq!((scene.identity(), scene.assigned()), (stamp, held));
    scene.pass(3 * SECOND);
    scene.never(|effect| matches!(effect, Effect::Join { .. } | Effect::Ask { .. }));
    assert_eq!(scene.beats().generation, 1);
}

#[test]
fn whose_group_went_on_joins_it() {
    for (code, id) in [(E::UnknownMemberId, ""), (E::IllegalGeneration, "m"), (E::RebalanceInProgress, "m")] {
        let (mut scene, _) = expired(Assignor::CooperativeSticky);
        let stamp = asks(&mut scene);
        scene.put(Input::Asked { stamp, sent: scene.now, answer: Err(refused(code)) });
        let (_, joined_as, subscription) = scene.joins();
        assert_eq!((joined_as.as_str(), subscription.owned), (id, vec![]));
        scene.never(|effect| matches!(effect, Effect::Assigned(_)));
    }
    let slow = Error::Timeout { api: "SyncGroup", broker: "one".into(), after: 6 * SECOND };
    for error in [refused(E::InconsistentGroupProtocol), slow] {
        let (mut scene, _) = expired(Assignor::CooperativeSticky);
        let stamp = asks(&mut scene);
        scene.put(Input::Asked { stamp, sent: scene.now, answer: Err(error) });
        assert_eq!(scene.joins().2.owned, []);
    }
    let (mut scene, _) = expired(Assignor::CooperativeSticky);
    let stamp = asks(&mut scene);
    scene.put(Input::Asked { stamp, sent: scene.now, answer: Err(refused(E::FencedInstanceId)) });
    assert_eq!(scene.fatal().code(), Some(E::FencedInstanceId));
}

/// A coordinator that still reads the group's log confirms any heartbeat.
#[test]
fn a_heartbeat_that_is_confirmed_says_nothing() {
    let (mut scene, _) = expired(Assignor::Range);
    let stamp = asks(&mut scene);
    scene.put(Input::Beaten { stamp, sent: scene.now, answer: Ok(()) });
    scene.never(|effect| matches!(effect, Effect::Assigned(_) | Effect::Lease(_) | Effect::Ask { .. }));
}

#[test]
fn an_answer_that_came_too_late_says_nothing() {
    let (mut scene, held) = expired(Assignor::Range);
    let (stamp, sent) = (asks(&mut scene), scene.now);
    scene.pass(10 * SECOND);
    scene.put(Input::Asked { stamp, sent, answer: Ok(assignment(&held)) });
    scene.never(|effect| matches!(effect, Effect::Assigned(_) | Effect::Lease(_)));
    // It would be too late again.
    scene.joins();

    let (mut scene, held) = expired(Assignor::Range);
    let (stamp, sent) = (asks(&mut scene), scene.now);
    scene.pass(9 * SECOND);
    scene.put(Input::Asked { stamp, sent, answer: Ok(assignment(&held)) });
    let until = scene.next(|effect| match effect {
        Effect::Lease(until) => Some(*until),
        _ => None,
    });
    assert_eq!((until, scene.assigned()), (sent + 10 * SECOND, held));
}

#[test]
fn a_session_that_ends_within_a_round_needs_another() {
    let held = partitions("t", [0]);
    let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &held);
    scene.beat(Ok(()));
    scene.pass(3 * SECOND);
    scene.beat(Err(refused(E::RebalanceInProgress)));
    let (first, ..) = scene.joins();
    scene.now = scene.machine.beat.lease.unwrap();
    scene.put(Input::Wake);
    assert_eq!(scene.lost(), held);
    assert_eq!(scene.identity().generation, -1);
    let (second, id, _) = scene.joins();
    assert_eq!((second > first, id.as_str()), (true, "m"));
}

#[test]
fn the_leader_has_still_led_when_its_coordinator_is_back() {
    let mut scene = Scene::new(&[Assignor::Range], &topics(&["t"]));
    scene.put(Input::Picture(picture(&[("t", 1)])));
    scene.accept("m", 1, leader(&[("m", wants(&["t"]))], false));
    scene.put(Input::LookedUp { attempt: scene.machine.attempt });
    scene.sync(&partitions("t", [0]));
    scene.assigned();
    scene.pass(3 * SECOND);
    let stamp = scene.beats();
    scene.put(Input::Beaten { stamp, sent: scene.now, answer: Err(disconnected()) });
    scene.pass(10 * SECOND);
    scene.lost();
    // It grew meanwhile: the leader is the one who has to see that.
    scene.put(Input::Picture(picture(&[("t", 2)])));
    let stamp = scene.asks();
    scene.put(Input::Asked { stamp, sent: scene.now, answer: Ok(assignment(&partitions("t", [0]))) });
    assert_eq!(scene.assigned(), partitions("t", [0]));
    let (round, ..) = scene.revoked();
    scene.put(Input::GivenBack { round });
    scene.joins();
}

#[test]
fn who_slept_through_its_session_claims_nothing() {
    for awakened in 0..2 {
        let held = partitions("t", [0]);
        let mut scene = Scene::stable(&[Assignor::CooperativeSticky], &held);
        scene.beat(Ok(()));
        scene.pass(3 * SECOND);
        let (stamp, sent) = (scene.beats(), scene.now);
        scene.now += 60 * SECOND;
        // Either would lead to another round, in which it has nothing any more.
        match awakened {
            0 => scene.put(Input::Picture(picture(&[("t", 7)]))),
            _ => scene.put(Input::Beaten {
                stamp: stamp.clone(),
                sent,
                answer: Err(refused(E::RebalanceInProgress)),
            }),
        }
        assert_eq!(scene.lost(), held);
        scene.put(Input::Beaten { stamp: stamp.clone(), sent, answer: Ok(()) });
        scene.never(|effect| matches!(effect, Effect::Join { .. } | Effect::Assigned(_)));
        assert_eq!(scene.asks(), stamp);
        scene.put(Input::Asked { stamp, sent: scene.now, answer: Err(refused(E::UnknownMemberId)) });
        assert_eq!(scene.joins().2.owned, []);
        scene.never(|effect| matches!(effect, Effect::Join { .. }));
    }
}
