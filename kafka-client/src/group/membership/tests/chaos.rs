//! One member against anything: what holds whatever the coordinator and the consumer do.

use proptest::prelude::*;

use super::*;

/// What the outside does next. Numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Move {
    Pass(u64),
    Wake,
    Picture(Vec<usize>),
    AnswerRound { outcome: u8, generation: bool, assigned: Vec<bool> },
    AnswerBeat { outcome: u8, assigned: Vec<bool> },
    Stale(u8),
    GiveBack,
    Doubt,
    Leave(bool),
}

/// A share of the partitions that there are.
fn chosen() -> impl Strategy<Value = Vec<bool>> {
    proptest::collection::vec(any::<bool>(), 8)
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0u64..20_000).prop_map(Move::Pass),
        6 => Just(Move::Wake),
        1 => proptest::collection::vec(0usize..4, 2).prop_map(Move::Picture),
        12 => (0u8..24, any::<bool>(), chosen())
            .prop_map(|(outcome, generation, assigned)| Move::AnswerRound { outcome, generation, assigned }),
        6 => (0u8..20, chosen()).prop_map(|(outcome, assigned)| Move::AnswerBeat { outcome, assigned }),
        1 => (0u8..20).prop_map(Move::Stale),
        3 => Just(Move::GiveBack),
        1 => Just(Move::Doubt),
    ];
    (proptest::collection::vec(one, 0..120), proptest::option::of(any::<bool>())).prop_map(
        |(mut moves, leave)| {
            moves.extend(leave.map(Move::Leave));
            moves
        },
    )
}

const CODES: [ResponseError; 9] = [
    ResponseError::UnknownMemberId,
    ResponseError::IllegalGeneration,
    ResponseError::RebalanceInProgress,
    ResponseError::NotCoordinator,
    ResponseError::CoordinatorLoadInProgress,
    ResponseError::CoordinatorNotAvailable,
    ResponseError::UnknownServerError,
    ResponseError::FencedInstanceId,
    ResponseError::GroupAuthorizationFailed,
];

fn failure(choice: u8) -> Error {
    match CODES.get(usize::from(choice)) {
        Some(code) => refused(*code),
        None => disconnected(),
    }
}

/// An assignment of the chosen partitions.
fn share(chosen: &[bool]) -> Bytes {
    let topics = ["t", "u"].into_iter().flat_map(|topic| partitions(topic, 0..4));
    let chosen = topics.zip(chosen).filter(|(_, chosen)| **chosen);
    assignment(&chosen.map(|(partition, _)| partition).collect::<Vec<_>>())
}

/// What waits for an answer.
#[derive(Debug, Clone)]
enum Asked {
    Join(u64),
    LookUp(u64),
    Sync(u64),
}

/// The outside, and what it knows of the member.
struct Outside {
    machine: Machine,
    now: Instant,
    generation: i32,
    round: Option<Asked>,
    /// Who beats, or asks, and when that went out.
    beat: Option<(Identity, Instant)>,
    asks: bool,
    old_beats: Vec<Identity>,
    goodbye: bool,
    held: BTreeSet<TopicPartition>,
    revoked: Option<(u64, Vec<TopicPartition>)>,
    lease: Option<Instant>,
    identity: Identity,
    /// Generations whose identity must not come again...
    passed: i32,
    /// ...but for one that the coordinator just vouched for.
    vouched: Option<i32>,
    /// All was lost, and commits are not stopped yet.
    must_be_nobody: bool,
    fatal: bool,
}

impl Outside {
    fn new(assignors: &[Assignor], subscription: &Subscription) -> Self {
        let now = Instant::now();
        let machine = Machine::new(settings(assignors, subscription), now);
        Self {
            machine,
            now,
            generation: 0,
            round: None,
            beat: None,
            asks: false,
            old_beats: Vec::new(),
            goodbye: false,
            held: BTreeSet::new(),
            revoked: None,
            lease: None,
            identity: Identity::none(),
            passed: -1,
            vouched: None,
            must_be_nobody: false,
            fatal: false,
        }
    }

    fn put(&mut self, input: Input) {
        let leaves = matches!(input, Input::Leave { .. });
        if leaves {
            self.held.clear();
        }
        if let Input::GivenBack { round } = &input
            && let Some((_, partitions)) = self.revoked.take_if(|(revoked, _)| revoked == round)
        {
            self.held.retain(|partition| !partitions.contains(partition));
        }
        self.vouched = match &input {
            Input::Asked { stamp, sent, answer: Ok(_) } => Some(stamp.generation)
                .filter(|_| self.now < *sent + self.machine.settings.group.session_timeout),
            _ => None,
        };
        let effects = self.machine.handle(Moment { now: self.now, chance: 0.5 }, input);
        for effect in effects {
            self.watch(effect);
        }
        assert!(!self.must_be_nobody, "a commit after a loss");
        self.check();
    }

    fn watch(&mut self, effect: Effect) {
        assert!(!self.fatal, "nothing comes after the end: {effect:?}");
        match effect {
            Effect::Join { attempt, protocols, .. } => {
                for (_, bytes) in protocols {
                    let owned = MemberSubscription::decode(bytes).unwrap().owned;
                    assert!(
                        owned.iter().all(|partition| self.held.contains(partition)),
                        "claims what it has not"
                    );
                    let holds = self.lease.is_some_and(|lease| lease > self.now);
                    assert!(owned.is_empty() || holds, "claims what may be another's");
                }
                self.round = Some(Asked::Join(attempt));
            }
            Effect::LookUp { attempt, .. } => self.round = Some(Asked::LookUp(attempt)),
            Effect::Sync { attempt, .. } => self.round = Some(Asked::Sync(attempt)),
            Effect::Beat { stamp } => {
                assert!(stamp.is_member());
                assert!(self.beat.is_none(), "two heartbeats at once");
                self.old_beats.push(stamp.clone());
                (self.beat, self.asks) = (Some((stamp, self.now)), false);
            }
            Effect::Ask { stamp, .. } => {
                assert!(self.held.is_empty() && self.lease.is_none(), "asks for what it has");
                assert!(stamp.is_member() && !self.identity.is_member());
                (self.beat, self.asks) = (Some((stamp, self.now)), true);
            }
            Effect::Goodbye { .. } => self.goodbye = true,
            Effect::Identity(identity) => {
                let is_new = identity.generation > self.passed;
                let is_vouched_for = self.vouched == Some(identity.generation);
                assert!(identity.generation == -1 || is_new || is_vouched_for, "an old identity");
                self.must_be_nobody = false;
                self.identity = identity;
            }
            Effect::Lease(until) => {
                assert!(self.lease.is_none_or(|lease| lease <= until));
                self.lease = Some(until);
            }
            Effect::LeaseEnds => {
                self.lease = None;
                self.passed = self.passed.max(self.identity.generation);
                self.revoked = None;
            }
            Effect::Assigned(partitions) => {
                assert!(self.identity.is_member(), "assigned to nobody");
                for partition in partitions {
                    assert!(self.held.insert(partition), "{partition} is assigned twice");
                }
            }
            Effect::Revoked { round, partitions, deadline } => {
                assert!(deadline > self.now);
                assert!(
                    !partitions.is_empty()
                        && partitions.iter().all(|partition| self.held.contains(partition))
                );
                assert!(self.revoked.is_none(), "two revocations at once");
                self.revoked = Some((round, partitions));
            }
            Effect::Lost(partitions) => {
                for partition in &partitions {
                    assert!(self.held.remove(partition), "{partition} was not held");
                }
                let too_late = self.revoked.take().is_some_and(|(_, revoked)| revoked == partitions);
                self.must_be_nobody = !too_late;
            }
            Effect::Problem(_) => {}
            Effect::Fatal(_) => {
                assert!(self.held.is_empty() && self.identity == Identity::none());
                self.fatal = true;
            }
        }
    }

    fn check(&self) {
        let held: Vec<_> = self.machine.held.iter().collect();
        assert_eq!(held, self.held.iter().collect::<Vec<_>>());
        if !self.held.is_empty() {
            assert!(self.lease.is_some_and(|lease| lease > self.now), "held without a lease");
            assert!(self.identity.is_member());
        }
        let waits_for_an_answer = self.round.is_some() || self.beat.is_some() || self.goodbye;
        let waits_for_a_picture = !self.machine.has_picture();
        let wakes = self.machine.wakes_at();
        assert!(
            self.machine.has_ended() || waits_for_an_answer || waits_for_a_picture || wakes.is_some(),
            "nothing will ever happen: {:?}",
            self.machine.phase
        );
        assert!(wakes.is_none_or(|wake| wake > self.now), "due, and not done: {:?}", self.machine.phase);
    }

    fn answer_round(&mut self, outcome: u8, generation: bool, assigned: &[bool]) {
        let Some(asked) = self.round.take() else { return };
        let success = outcome >= 10;
        match asked {
            Asked::Join(attempt) => {
                let answer = match success {
                    true if outcome == 10 => Ok(JoinAnswer::IdRequired("id".into())),
                    true => Ok(JoinAnswer::Accepted(self.joined(generation, outcome))),
                    false => Err(failure(outcome)),
                };
                self.put(Input::Joined { attempt, answer });
            }
            Asked::LookUp(attempt) => self.put(Input::LookedUp { attempt }),
            Asked::Sync(attempt) => {
                let answer = match outcome {
                    11 => Ok(Bytes::from_static(b"?")),
                    _ if success => Ok(share(assigned)),
                    _ => Err(failure(outcome)),
                };
                self.put(Input::Synced { attempt, sent: self.now, answer });
            }
        }
    }

    fn joined(&mut self, generation: bool, outcome: u8) -> Joined {
        // A round that fails can leave the group in the generation it is in.
        self.generation += i32::from(generation || self.generation <= self.passed.max(0));
        let member = JoinedMember {
            id: "a".into(),
            instance_id: None,
            subscription: MemberSubscription { topics: vec!["t".into()], ..MemberSubscription::default() }
                .encode(VERSION)
                .unwrap(),
        };
        let role = match outcome % 3 {
            0 => Role::Leader { members: vec![member], skip_assignment: outcome == 12 },
            _ => Role::Follower,
        };
        let assignor = if outcome == 23 { "uniform" } else { "cooperative-sticky" };
        let identity = Identity { member_id: "id".into(), generation: self.generation };
        Joined { identity, assignor: assignor.into(), role }
    }

    fn play(&mut self, next: Move) {
        match next {
            Move::Pass(millis) => {
                // The clock does not run past what is due.
                let due = self.machine.wakes_at();
                let then = self.now + Duration::from_millis(millis);
                self.now = due.map_or(then, |due| due.min(then));
                self.put(Input::Wake);
            }
            Move::Wake => {
                self.now = self.machine.wakes_at().unwrap_or(self.now).max(self.now);
                self.put(Input::Wake);
            }
            Move::Picture(counts) => {
                let topics: Vec<_> = ["t", "u"].into_iter().zip(counts).collect();
                self.put(Input::Picture(picture(&topics)));
            }
            Move::AnswerRound { outcome, generation, assigned } => {
                self.answer_round(outcome, generation, &assigned)
            }
            Move::AnswerBeat { outcome, assigned } => {
                let failure = (outcome < 10).then(|| failure(outcome));
                match self.beat.take() {
                    Some((stamp, sent)) if self.asks => {
                        let answer = failure.map_or_else(|| Ok(share(&assigned)), Err);
                        self.put(Input::Asked { stamp, sent, answer });
                    }
                    Some((stamp, sent)) => {
                        self.put(Input::Beaten { stamp, sent, answer: failure.map_or(Ok(()), Err) });
                    }
                    None => {}
                }
            }
            Move::Stale(outcome) => {
                let attempt = self.machine.attempt.saturating_sub(1);
                self.put(Input::Joined { attempt, answer: Err(failure(outcome)) });
                self.put(Input::Synced { attempt, sent: self.now, answer: Ok(assignment(&[])) });
                self.put(Input::LookedUp { attempt });
                self.put(Input::GivenBack { round: 0 });
            }
            Move::GiveBack => {
                if let Some((round, _)) = self.revoked {
                    self.put(Input::GivenBack { round });
                }
            }
            Move::Doubt => self.put(Input::Doubt),
            Move::Leave(goodbye) => {
                self.put(Input::Leave { goodbye });
                self.put(Input::Left);
                assert!(self.machine.has_ended());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_an_eager_member(moves in moves()) {
        let mut outside = Outside::new(&[Assignor::Range, Assignor::CooperativeSticky], &topics(&["t", "u"]));
        moves.into_iter().for_each(|next| outside.play(next));
    }

    #[test]
    fn whatever_happens_to_a_cooperative_member(moves in moves()) {
        let mut outside = Outside::new(&[Assignor::CooperativeSticky], &Subscription::Pattern("[tu]".into()));
        moves.into_iter().for_each(|next| outside.play(next));
    }
}
