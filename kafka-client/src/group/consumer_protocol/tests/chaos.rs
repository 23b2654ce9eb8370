//! One member against anything: what holds whatever the coordinator and the consumer do.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Move {
    Pass(u64),
    Answer { outcome: u8, assigned: Option<Vec<bool>> },
    Stale,
    Prepared(bool),
    GiveBack,
    Picture(bool),
    Session(u64),
    Doubt,
    Leave(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0u64..6_000).prop_map(Move::Pass),
        12 => (0u8..24, prop::option::of(prop::collection::vec(any::<bool>(), 5)))
            .prop_map(|(outcome, assigned)| Move::Answer { outcome, assigned }),
        1 => Just(Move::Stale),
        4 => any::<bool>().prop_map(Move::Prepared),
        4 => Just(Move::GiveBack),
        1 => any::<bool>().prop_map(Move::Picture),
        1 => (1u64..20).prop_map(Move::Session),
        1 => Just(Move::Doubt),
    ];
    (prop::collection::vec(one, 0..120), prop::option::of(0u8..3)).prop_map(|(mut moves, leave)| {
        moves.extend(leave.map(Move::Leave));
        moves
    })
}

const CODES: [E; 8] = [
    E::UnknownMemberId,
    E::FencedMemberEpoch,
    E::UnreleasedInstanceId,
    E::NotCoordinator,
    E::CoordinatorLoadInProgress,
    E::GroupIdNotFound,
    E::FencedInstanceId,
    E::GroupAuthorizationFailed,
];

/// The outside, and what it knows of the member.
struct Outside {
    scene: Scene,
    beat: Option<(u64, Report, Instant)>,
    preparing: Option<bool>,
    epoch: i32,
    held: BTreeSet<TopicPartition>,
    giving_back: Option<(u64, Vec<TopicPartition>)>,
    lease: Option<Instant>,
    stamp: i32,
    over: bool,
}

impl Outside {
    fn new() -> Self {
        let mut this = Self {
            scene: Scene::joining(None),
            beat: None,
            preparing: None,
            epoch: 0,
            held: BTreeSet::new(),
            giving_back: None,
            lease: None,
            stamp: -1,
            over: false,
        };
        this.watch();
        this
    }

    fn put(&mut self, input: Input) {
        self.scene.put(input);
        self.watch();
    }

    fn act(&mut self, step: &Move) {
        match step {
            Move::Pass(millis) => {
                let end = self.scene.now + Duration::from_millis(*millis);
                while let Some(wake) = self.scene.machine.wakes_at().filter(|wake| *wake <= end) {
                    assert!(wake >= self.scene.now || self.beat.is_none(), "it wakes without an end");
                    self.scene.now = wake.max(self.scene.now);
                    self.put(Input::Wake);
                }
                self.scene.now = end;
                self.put(Input::Wake);
            }
            Move::Answer { outcome, assigned } => self.answer(*outcome, assigned.as_deref()),
            Move::Stale => {
                let answer = Ok(Answer { epoch: 99, interval: SECOND, assignment: Some(ids([4])) });
                self.put(Input::Beaten { turn: 0, sent: self.scene.now, answer });
            }
            Move::Prepared(well) => match self.preparing.take() {
                Some(true) => self.put(Input::Parted),
                Some(false) if *well => self.put(Input::Released(Ok(()))),
                Some(false) => self.put(Input::Released(refused(E::NotCoordinator))),
                None => {}
            },
            Move::GiveBack => {
                if let Some((round, partitions)) = self.giving_back.take() {
                    self.held.retain(|partition| !partitions.contains(partition));
                    self.put(Input::GivenBack { round });
                }
            }
            Move::Picture(all) => self.put(Input::Picture(picture(&[if *all { 5 } else { 4 }]))),
            Move::Session(seconds) => self.put(Input::Session(Duration::from_secs(*seconds))),
            Move::Doubt => self.put(Input::Doubt),
            Move::Leave(number) => {
                self.held.clear();
                self.giving_back = None;
                let how = [Leave::Default, Leave::Always, Leave::Never];
                self.put(Input::Leave(how[usize::from(*number)]));
                self.put(Input::Left);
                assert!(self.scene.machine.has_ended());
            }
        }
    }

    fn answer(&mut self, outcome: u8, assigned: Option<&[bool]>) {
        let Some((turn, report, sent)) = self.beat.take() else { return };
        let answer = match CODES.get(usize::from(outcome)) {
            Some(code) => refused(*code),
            None if outcome == 8 => Err(Error::Disconnected { broker: "b:1".into(), reason: "test".into() }),
            None => {
                // The epoch grows now and then; a member is told everything if it asked.
                self.epoch += i32::from(outcome.is_multiple_of(3)) + i32::from(report.epoch == 0);
                let chosen =
                    |flags: &[bool]| ids((0..).zip(flags).filter(|(_, yes)| **yes).map(|(at, _)| at));
                Ok(Answer {
                    epoch: self.epoch.max(1),
                    interval: 3 * SECOND,
                    assignment: assigned.map(chosen),
                })
            }
        };
        self.put(Input::Beaten { turn, sent, answer });
    }

    fn watch(&mut self) {
        for effect in std::mem::take(&mut self.scene.effects) {
            assert!(!self.over, "nothing comes after the end: {effect:?}");
            match effect {
                Effect::Beat { turn, report } => {
                    assert!(self.beat.is_none() || report.epoch == 0, "two heartbeats at a time");
                    if let Some(held) = &report.held {
                        let numbers: BTreeSet<_> = held.iter().map(|(_, number)| *number).collect();
                        let known: BTreeSet<_> = self.held.iter().map(|one| one.partition).collect();
                        assert_eq!(numbers, known, "it says what it has");
                    }
                    self.beat = Some((turn, report, self.scene.now));
                }
                Effect::Part { .. } => (self.preparing, self.beat) = (Some(true), None),
                Effect::Release => (self.preparing, self.beat) = (Some(false), None),
                Effect::Identity(identity) => self.stamp = identity.generation,
                Effect::Lease(until) => self.lease = Some(until),
                Effect::LeaseEnds => (self.lease, self.beat) = (None, None),
                Effect::Assigned(partitions) => {
                    assert!(self.stamp > 0, "nobody has partitions without an epoch");
                    for partition in partitions {
                        assert!(self.held.insert(partition), "{partition} was held already");
                    }
                }
                Effect::Revoked { round, partitions, deadline } => {
                    assert!(self.giving_back.is_none() && deadline >= self.scene.now);
                    assert!(!partitions.is_empty() && partitions.iter().all(|one| self.held.contains(one)));
                    self.giving_back = Some((round, partitions));
                }
                Effect::Lost(partitions) => {
                    for partition in &partitions {
                        assert!(self.held.remove(partition), "{partition} was not held");
                    }
                    self.giving_back.take_if(|(_, giving)| giving.iter().any(|one| partitions.contains(one)));
                }
                Effect::Fatal(_) => self.over = true,
                Effect::Goodbye { .. } | Effect::AskSession | Effect::Refresh | Effect::Problem(_) => {}
            }
        }
        if self.stamp < 0 {
            assert!(self.held.is_empty(), "who has no epoch has nothing");
        }
        if let Some(lease) = self.lease.filter(|_| !self.held.is_empty()) {
            assert!(lease > self.scene.now, "the lease is over, and nothing was lost");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_held_begins_once_and_ends_once(moves in moves()) {
        let mut outside = Outside::new();
        for step in &moves {
            outside.act(step);
        }
    }
}
