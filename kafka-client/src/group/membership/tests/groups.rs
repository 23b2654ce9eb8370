//! Whole groups on a coordinator that is away now and then, with answers that take their time, requests and answers that get
//! lost, members that stall, come and go: no partition is ever in two hands, and when the trouble ends everything is shared out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::coordinator::{Answer, Coordinator, Presence};
use super::*;
use crate::seams::Rng;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// What is on its way.
#[derive(Debug)]
enum Travel {
    Request(usize, Effect),
    Answer(usize, Input),
    /// The consumer is done.
    Done(usize, u64),
}

/// How bad the world is, in percent.
#[derive(Debug, Clone, Copy)]
struct World {
    requests_lost: u64,
    answers_lost: u64,
    stalls: u64,
    slowest_drain_ms: u64,
}

const QUIET: World = World { requests_lost: 0, answers_lost: 0, stalls: 0, slowest_drain_ms: 500 };

struct Actor {
    machine: Machine,
    held: BTreeSet<TopicPartition>,
    lease: Option<Instant>,
    /// A stalled member does nothing until then: neither its machine nor its consumer, but for the lease.
    stalled_until: Instant,
    identity: Identity,
    /// When its last request arrives: the next one does not overtake it.
    arrives: Instant,
}

struct Group {
    now: Instant,
    coordinator: Coordinator,
    actors: BTreeMap<usize, Actor>,
    /// By time and order.
    travels: BTreeMap<(Instant, u64), Travel>,
    order: u64,
    rng: Rng,
    world: World,
    assignors: Vec<Assignor>,
    counts: Vec<(&'static str, usize)>,
    next_actor: usize,
    rounds: usize,
}

impl Group {
    fn new(assignors: &[Assignor], seed: u64, world: World) -> Self {
        Self {
            now: Instant::now(),
            coordinator: Coordinator::new(SESSION, REBALANCE),
            actors: BTreeMap::new(),
            travels: BTreeMap::new(),
            order: 0,
            rng: Rng::seeded(seed),
            world,
            assignors: assignors.to_vec(),
            counts: vec![("t", 5), ("u", 2)],
            next_actor: 0,
            rounds: 0,
        }
    }

    fn chance(&self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn send(&mut self, after_ms: u64, travel: Travel) {
        self.order += 1;
        self.travels.insert((self.now + Duration::from_millis(after_ms), self.order), travel);
    }

    fn come(&mut self) {
        let machine = Machine::new(settings(&self.assignors, &topics(&["t", "u"])), self.now);
        let (held, identity) = (BTreeSet::new(), Identity::none());
        let actor =
            Actor { machine, held, lease: None, stalled_until: self.now, identity, arrives: self.now };
        let number = self.next_actor;
        self.next_actor += 1;
        self.actors.insert(number, actor);
        self.put(number, Input::Picture(picture(&self.counts)));
    }

    fn go(&mut self, number: usize) {
        if let Some(actor) = self.actors.get_mut(&number) {
            actor.held.clear();
        }
        self.put(number, Input::Leave { goodbye: true });
        self.actors.remove(&number);
    }

    /// Dies without a word.
    fn die(&mut self, number: usize) {
        self.actors.remove(&number);
    }

    fn grow(&mut self) {
        self.counts[0].1 += 1;
        let numbers: Vec<_> = self.actors.keys().copied().collect();
        for number in numbers {
            self.put(number, Input::Picture(picture(&self.counts)));
        }
    }

    fn put(&mut self, number: usize, input: Input) {
        let at = Moment { now: self.now, chance: 0.5 };
        let Some(actor) = self.actors.get_mut(&number) else { return };
        for effect in actor.machine.handle(at, input) {
            self.perform(number, effect);
        }
        self.check();
    }

    fn perform(&mut self, number: usize, effect: Effect) {
        let drain = 1 + self.rng.below(self.world.slowest_drain_ms);
        let Some(actor) = self.actors.get_mut(&number) else { return };
        match effect {
            Effect::Join { .. }
            | Effect::Sync { .. }
            | Effect::Beat { .. }
            | Effect::Ask { .. }
            | Effect::Goodbye { .. } => {
                self.request(number, effect);
            }
            Effect::LookUp { attempt, .. } => {
                self.send(5, Travel::Answer(number, Input::LookedUp { attempt }))
            }
            Effect::Identity(identity) => actor.identity = identity,
            Effect::Lease(until) => actor.lease = Some(until),
            Effect::LeaseEnds => actor.lease = None,
            Effect::Assigned(partitions) => actor.held.extend(partitions),
            Effect::Revoked { round, .. } => self.send(drain, Travel::Done(number, round)),
            Effect::Lost(partitions) => {
                for partition in partitions {
                    actor.held.remove(&partition);
                }
            }
            Effect::Problem(_) => {}
            Effect::Fatal(error) => panic!("{error}"),
        }
    }

    fn request(&mut self, number: usize, effect: Effect) {
        let time = 1 + self.rng.below(30);
        if self.chance(self.world.requests_lost) {
            return self.lose(number, &effect, time);
        }
        if self.chance(self.world.answers_lost) {
            self.lose(number, &effect, 2 * time + 1);
        }
        let Some(actor) = self.actors.get_mut(&number) else { return };
        actor.arrives = actor.arrives.max(self.now + Duration::from_millis(time));
        self.order += 1;
        self.travels.insert((actor.arrives, self.order), Travel::Request(number, effect));
    }

    /// The connection breaks: the caller is told, whatever the coordinator does or did.
    fn lose(&mut self, number: usize, effect: &Effect, after_ms: u64) {
        let sent = self.now;
        let input = match effect {
            Effect::Join { attempt, .. } => Input::Joined { attempt: *attempt, answer: Err(disconnected()) },
            Effect::Sync { attempt, .. } => {
                Input::Synced { attempt: *attempt, sent, answer: Err(disconnected()) }
            }
            Effect::Beat { stamp } => {
                Input::Beaten { stamp: stamp.clone(), sent, answer: Err(disconnected()) }
            }
            Effect::Ask { stamp, .. } => {
                Input::Asked { stamp: stamp.clone(), sent, answer: Err(disconnected()) }
            }
            _ => return,
        };
        self.send(after_ms, Travel::Answer(number, input));
    }

    /// A request reaches the coordinator.
    fn serve(&mut self, number: usize, effect: Effect, sent: Instant) {
        let now = self.now;
        match self.coordinator.presence(now) {
            Presence::Away => {
                self.tell_of_vacancy(number);
                return self.lose(number, &effect, 1);
            }
            Presence::Loading => return self.put_off(number, effect, sent),
            Presence::There => {}
        }
        let answers = match effect {
            Effect::Join { attempt, member_id, protocols, .. } => {
                self.coordinator.join(now, (number, attempt), &member_id, protocols)
            }
            Effect::Sync { attempt, stamp, assignments, .. } => {
                self.coordinator.sync(now, (number, attempt), &stamp, assignments)
            }
            Effect::Beat { stamp } => {
                let answer = self.coordinator.beat(now, &stamp);
                self.send(5, Travel::Answer(number, Input::Beaten { stamp, sent, answer }));
                Vec::new()
            }
            Effect::Ask { stamp, .. } => {
                let answer = self.coordinator.ask(now, &stamp);
                self.send(5, Travel::Answer(number, Input::Asked { stamp, sent, answer }));
                Vec::new()
            }
            Effect::Goodbye { member_id } => self.coordinator.leave(now, &member_id),
            _ => Vec::new(),
        };
        self.deliver(answers);
    }

    /// Nobody coordinates, and others say so, who may know it late: up to half a session.
    fn tell_of_vacancy(&mut self, number: usize) {
        if self.chance(50) {
            let late = self.rng.below(5_000);
            let then = self.now + Duration::from_millis(late);
            self.send(late, Travel::Answer(number, Input::Vacant(then)));
        }
    }

    /// What a coordinator answers that does not know the group yet: a heartbeat with success, whoever sends it.
    fn put_off(&mut self, number: usize, effect: Effect, sent: Instant) {
        let loading = refused(ResponseError::CoordinatorLoadInProgress);
        let older = self.chance(50).then(|| refused(ResponseError::RebalanceInProgress));
        let input = match effect {
            Effect::Join { attempt, .. } => Input::Joined { attempt, answer: Err(loading) },
            Effect::Sync { attempt, .. } => {
                Input::Synced { attempt, sent, answer: Err(older.unwrap_or(loading)) }
            }
            Effect::Beat { stamp } => Input::Beaten { stamp, sent, answer: Ok(()) },
            Effect::Ask { stamp, .. } => Input::Asked { stamp, sent, answer: Err(loading) },
            _ => return,
        };
        self.send(5, Travel::Answer(number, input));
    }

    /// The coordinator is away for a while; another one goes on.
    fn lose_coordinator(&mut self, away: Duration) {
        let back = self.now + away;
        let ready = back + Duration::from_millis(self.rng.below(3_000));
        let answers = self.coordinator.go_away(back, ready);
        self.deliver(answers);
    }

    fn deliver(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            let time = 1 + self.rng.below(30);
            let (number, input) = match answer {
                Answer::Join((number, attempt), answer) => (number, Input::Joined { attempt, answer }),
                Answer::Sync((number, attempt), answer) => {
                    self.rounds += usize::from(answer.is_ok());
                    // When it was sent is not known any more; the latest that can be is when it was served.
                    (number, Input::Synced { attempt, sent: self.now - Duration::from_millis(30), answer })
                }
            };
            self.send(time, Travel::Answer(number, input));
        }
    }

    /// Goes on to the next thing that happens, `end` at the latest.
    fn step(&mut self, end: Instant) -> bool {
        let travel = self.travels.first_key_value().map(|((at, _), _)| *at);
        let wakes = self.actors.iter().filter_map(|(number, actor)| {
            Some((actor.machine.wakes_at()?.max(actor.stalled_until), *number))
        });
        let wake = wakes.min();
        let coordinator = self.coordinator.due();
        let next = [travel, wake.map(|(at, _)| at), coordinator].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(next);
        if coordinator.is_some_and(|due| due <= self.now) {
            let answers = self.coordinator.tick(self.now);
            self.deliver(answers);
        } else if travel.is_some_and(|at| at <= self.now) {
            if let Some(((at, _), travel)) = self.travels.pop_first() {
                self.arrive(at, travel);
            }
        } else if let Some((_, number)) = wake {
            self.put(number, Input::Wake);
        }
        true
    }

    fn arrive(&mut self, at: Instant, travel: Travel) {
        let number = match &travel {
            Travel::Request(number, _) | Travel::Answer(number, _) | Travel::Done(number, _) => *number,
        };
        let stalled =
            self.actors.get(&number).map(|actor| actor.stalled_until).filter(|until| *until > self.now);
        match (travel, stalled) {
            // Sent before this member stalled, or on the coordinator's side: the network does not wait.
            (Travel::Request(number, effect), _) => {
                self.serve(number, effect, at - Duration::from_millis(31))
            }
            (travel, Some(until)) => {
                self.order += 1;
                self.travels.insert((until, self.order), travel);
            }
            (Travel::Answer(number, input), None) => self.put(number, input),
            (Travel::Done(number, round), None) => {
                if let Some(Actor { machine, held, .. }) = self.actors.get_mut(&number)
                    && let Phase::GivingBack { round: current, partitions, .. } = &machine.phase
                    && *current == round
                {
                    held.retain(|partition| !partitions.contains(partition));
                }
                self.put(number, Input::GivenBack { round });
            }
        }
    }

    /// Who believes in a partition holds it and has a lease.
    fn check(&self) {
        let mut hands: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        for (number, actor) in &self.actors {
            if actor.lease.is_none_or(|lease| lease <= self.now) {
                continue;
            }
            for partition in &actor.held {
                if let Some(other) = hands.insert(*partition, *number) {
                    panic!("{partition} is in the hands of {other} and {number}");
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {
            if self.world.stalls > 0 && self.rng.below(2_000) < self.world.stalls {
                self.stall();
            }
        }
    }

    fn stall(&mut self) {
        let until = self.now + Duration::from_millis(self.rng.below(25_000));
        let count = self.actors.len() as u64;
        let chosen = usize::try_from(self.rng.below(count)).unwrap();
        if let Some(actor) = self.actors.values_mut().nth(chosen) {
            actor.stalled_until = until;
        }
    }

    fn some_actor(&self) -> Option<usize> {
        let chosen = usize::try_from(self.rng.below(self.actors.len() as u64)).unwrap();
        self.actors.keys().nth(chosen).copied()
    }

    fn held(&self) -> Vec<BTreeSet<TopicPartition>> {
        self.actors.values().map(|actor| actor.held.clone()).collect()
    }

    /// All partitions are in somebody's hands, evenly.
    fn check_shared_out(&self) {
        assert!(self.coordinator.is_stable_with(self.actors.len()), "{:#?}", self.coordinator);
        let held: usize = self.actors.values().map(|actor| actor.held.len()).sum();
        assert_eq!(held, self.counts.iter().map(|(_, count)| count).sum::<usize>());
        let identities: BTreeSet<_> = self.actors.values().map(|actor| actor.identity.generation).collect();
        assert_eq!(identities.len(), 1, "all are in one generation");
    }
}

const MODES: [&[Assignor]; 4] = [
    &[Assignor::Range, Assignor::CooperativeSticky],
    &[Assignor::CooperativeSticky],
    &[Assignor::Sticky],
    &[Assignor::RoundRobin],
];

#[test]
fn members_come_and_go_in_a_quiet_world() {
    for assignors in MODES {
        let mut group = Group::new(assignors, 1, QUIET);
        for _ in 0..4 {
            group.come();
            group.run(20 * SECOND);
            group.check_shared_out();
        }
        group.grow();
        group.run(20 * SECOND);
        group.check_shared_out();
        group.go(0);
        group.run(20 * SECOND);
        group.check_shared_out();
        group.die(1);
        group.run(40 * SECOND);
        group.check_shared_out();
        let rounds = group.rounds;
        group.run(600 * SECOND);
        assert_eq!(group.rounds, rounds, "{assignors:?}: nothing happens for nothing");
    }
}

#[test]
fn a_group_whose_coordinator_was_away_goes_on_without_a_round() {
    for assignors in MODES {
        let mut group = Group::new(assignors, 1, QUIET);
        for _ in 0..3 {
            group.come();
        }
        group.run(40 * SECOND);
        group.check_shared_out();
        let (rounds, before) = (group.rounds, group.held());
        for away in [5, 15, 100] {
            group.lose_coordinator(away * SECOND);
            group.run((away + 10) * SECOND);
            group.check_shared_out();
            assert_eq!((group.rounds, group.held()), (rounds, before.clone()), "{assignors:?}: {away} s");
        }
        // One that dies meanwhile is missed after its session at the next one.
        group.lose_coordinator(15 * SECOND);
        group.die(0);
        group.run(60 * SECOND);
        group.check_shared_out();
    }
}

#[test]
fn a_cooperative_group_does_not_take_away_what_stays() {
    let mut group = Group::new(&[Assignor::CooperativeSticky], 1, QUIET);
    group.come();
    group.run(20 * SECOND);
    let before = group.actors[&0].held.clone();
    group.come();
    group.run(20 * SECOND);
    group.check_shared_out();
    let after = &group.actors[&0].held;
    assert_eq!((before.len(), after.len()), (7, 4), "rounded in favour of who has");
    assert!(after.is_subset(&before));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn no_partition_is_in_two_hands_and_the_group_recovers(
        seed in any::<u64>(),
        mode in 0usize..MODES.len(),
        requests_lost in 0u64..15,
        answers_lost in 0u64..15,
        stalls in 0u64..12,
        slowest_drain_ms in 1u64..20_000,
        happenings in proptest::collection::vec((0u8..8, 0u64..30), 1..12),
    ) {
        let world = World { requests_lost, answers_lost, stalls, slowest_drain_ms };
        let mut group = Group::new(MODES[mode], seed, world);
        group.come();
        for (happening, then_seconds) in happenings {
            match (happening, group.actors.len()) {
                (0..=2, 0..5) | (_, 0..=1) => group.come(),
                (3, _) => group.some_actor().into_iter().for_each(|number| group.go(number)),
                (4, _) => group.some_actor().into_iter().for_each(|number| group.die(number)),
                (6 | 7, _) => group.lose_coordinator(Duration::from_secs(then_seconds)),
                _ => group.grow(),
            }
            group.run(Duration::from_secs(then_seconds));
        }
        group.world = QUIET;
        group.run(400 * SECOND);
        group.check_shared_out();
    }
}
