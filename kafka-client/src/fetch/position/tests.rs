use std::time::Duration;

use super::*;

const START: Position = Position { offset: 10, leader_epoch: -1 };

fn leader(broker: i32, epoch: i32) -> Option<Leader> {
    Some(Leader { broker, epoch })
}

fn place(broker: i32, leader_epoch: i32) -> Option<Place> {
    Some(Place { broker, leader_epoch, topic_id: 7 })
}

fn read_in(leader_epoch: i32) -> Position {
    Position { offset: 10, leader_epoch }
}

/// A partition that is fetched from broker 1, leading in epoch 3.
fn fetched(position: Position) -> Tracker {
    let mut tracker = Tracker::waiting();
    tracker.saw(leader(1, 3), 7);
    tracker.ready();
    let step = tracker.step(Instant::now(), position);
    assert_eq!(step, Step::Move { from: None, to: place(1, 3) });
    tracker.took(step, 1);
    tracker
}

#[test]
fn nothing_is_fetched_before_the_committed_offset_is_known() {
    let mut tracker = Tracker::waiting();
    tracker.saw(leader(1, 3), 7);
    assert_eq!(tracker.step(Instant::now(), START), Step::Rest);
    tracker.ready();
    assert_eq!(tracker.step(Instant::now(), START), Step::Move { from: None, to: place(1, 3) });
}

#[test]
fn a_partition_without_a_leader_waits_for_one_and_then_goes_on_at_once() {
    let now = Instant::now();
    let mut tracker = Tracker::waiting();
    tracker.ready();
    assert_eq!(tracker.step(now, START), Step::Leaderless);
    tracker.again_at(now + Duration::from_secs(1));
    assert_eq!(tracker.step(now, START), Step::At(now + Duration::from_secs(1)));
    tracker.saw(leader(2, 0), 7);
    assert_eq!(tracker.step(now, START), Step::Move { from: None, to: place(2, 0) });
}

#[test]
fn a_new_leader_confirms_a_position_that_was_read_under_an_earlier_one() {
    let now = Instant::now();
    let mut tracker = fetched(read_in(3));
    tracker.saw(leader(2, 4), 7);
    let away = tracker.step(now, read_in(3));
    assert_eq!(away, Step::Move { from: Some(1), to: None });
    tracker.took(away, 2);
    let validate = tracker.step(now, read_in(3));
    assert_eq!(validate, Step::Validate { leader: Leader { broker: 2, epoch: 4 } });
    tracker.took(validate, 3);
    assert_eq!(tracker.step(now, read_in(3)), Step::Rest, "asked once");
    assert!(tracker.is_turn(3) && !tracker.is_turn(2));
    tracker.confirm(4);
    assert_eq!(tracker.step(now, read_in(3)), Step::Move { from: None, to: place(2, 4) });
}

#[test]
fn a_position_without_an_epoch_or_of_this_epoch_needs_no_confirmation() {
    for position in [START, read_in(4), read_in(5)] {
        let mut tracker = fetched(START);
        tracker.saw(leader(2, 4), 7);
        let step = tracker.step(Instant::now(), position);
        assert_eq!(step, Step::Move { from: Some(1), to: place(2, 4) });
    }
}

#[test]
fn a_seek_places_the_partition_anew_even_at_the_same_place() {
    let mut tracker = fetched(START);
    assert_eq!(tracker.step(Instant::now(), START), Step::Rest);
    tracker.ready();
    assert!(!tracker.is_turn(1));
    assert_eq!(tracker.step(Instant::now(), START), Step::Move { from: Some(1), to: place(1, 3) });
}

#[test]
fn a_question_outlives_that_the_partition_is_taken_from_its_loop() {
    let mut tracker = fetched(START);
    tracker.wait();
    tracker.asked_as(5);
    let away = tracker.step(Instant::now(), START);
    assert_eq!(away, Step::Move { from: Some(1), to: None });
    tracker.took(away, 6);
    assert!(tracker.is_turn(5));
}

#[test]
fn what_an_older_picture_says_is_not_believed() {
    let mut tracker = fetched(START);
    tracker.saw(leader(9, 2), 7);
    assert_eq!(tracker.step(Instant::now(), START), Step::Rest);
}

#[test]
fn a_topic_created_again_is_noticed_once_by_its_id() {
    let mut tracker = fetched(START);
    assert!(!tracker.saw(leader(1, 3), 0), "a picture without ids says nothing");
    assert!(tracker.saw(leader(1, 0), 8));
    assert!(!tracker.saw(leader(1, 0), 8));
    tracker.look_for(Target::Earliest, Why::Recreated);
    let away = tracker.step(Instant::now(), START);
    assert_eq!(away, Step::Move { from: Some(1), to: None });
    tracker.took(away, 2);
    let list = Step::List { leader: Leader { broker: 1, epoch: 0 }, target: Target::Earliest };
    assert_eq!(tracker.step(Instant::now(), START), list);
}

#[test]
fn out_of_range_follows_the_policy_on_the_leader_alone() {
    let now = Instant::now();
    let out_of_range = ResponseError::OffsetOutOfRange;
    let mut tracker = fetched(START);
    assert_eq!(tracker.refused(out_of_range, 10, OffsetReset::None, 0), Refused::NoOffset);

    let mut tracker = fetched(START);
    assert_eq!(tracker.refused(out_of_range, 10, OffsetReset::Latest, 0), Refused::Reset);
    assert_eq!(tracker.looking_because(), Some(Why::OutOfRange { from: 10 }));

    let mut tracker = fetched(START);
    tracker.taken_back();
    tracker.redirect(5, now + Duration::from_secs(300));
    let step = tracker.step(now, START);
    assert_eq!(step, Step::Move { from: None, to: place(5, 3) });
    tracker.took(step, 2);
    assert_eq!(tracker.taken_back(), Some(5));
    assert_eq!(tracker.refused(out_of_range, 10, OffsetReset::None, 0), Refused::ToLeader);
    assert_eq!(tracker.step(now, START), Step::Move { from: None, to: place(1, 3) });
}

#[test]
fn a_follower_is_read_only_for_so_long() {
    let now = Instant::now();
    let until = now + Duration::from_secs(300);
    let mut tracker = fetched(START);
    tracker.redirect(5, until);
    assert_eq!(tracker.step(now, START), Step::Move { from: Some(1), to: place(5, 3) });
    assert_eq!(tracker.step(until, START), Step::Rest);
    tracker.redirect(5, until);
    tracker.saw(leader(2, 4), 7);
    assert_eq!(
        tracker.step(now, START),
        Step::Move { from: Some(1), to: place(2, 4) },
        "a new leader decides anew"
    );
}

#[test]
fn every_code_leads_somewhere() {
    let mut tracker = fetched(START);
    let outcome = |tracker: &mut Tracker, code| tracker.refused(code, 10, OffsetReset::Latest, 0);
    let refresh = Refused::Again(Remedy::Refresh);
    for code in [
        ResponseError::NotLeaderOrFollower,
        ResponseError::FencedLeaderEpoch,
        ResponseError::UnknownLeaderEpoch,
        ResponseError::UnknownTopicId,
        ResponseError::UnknownTopicOrPartition,
    ] {
        assert_eq!(outcome(&mut tracker, code), refresh);
    }
    assert_eq!(outcome(&mut tracker, ResponseError::Unknown(999)), Refused::Again(Remedy::Retry));
    assert_eq!(outcome(&mut tracker, ResponseError::TopicAuthorizationFailed), Refused::GivenUp);
    assert_eq!(tracker.step(Instant::now(), START), Step::Move { from: Some(1), to: None });
}
