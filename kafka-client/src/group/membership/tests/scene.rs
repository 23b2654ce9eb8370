//! One member whose coordinator, consumer and clock are the test.

use super::*;

/// A member whose coordinator is the test.
pub(super) struct Scene {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    /// What was not looked at yet.
    pub(super) effects: Vec<Effect>,
}

impl Scene {
    pub(super) fn new(assignors: &[Assignor], subscription: &Subscription) -> Self {
        let now = Instant::now();
        let machine = Machine::new(settings(assignors, subscription), now);
        let mut scene = Self { machine, now, effects: Vec::new() };
        scene.put(Input::Wake);
        scene
    }

    /// A stable follower with these partitions, in generation 1.
    pub(super) fn stable(assignors: &[Assignor], held: &[TopicPartition]) -> Self {
        let mut scene = Self::new(assignors, &topics(&["t"]));
        scene.round("m", 1, Role::Follower, held);
        assert_eq!(scene.assigned(), held);
        scene
    }

    pub(super) fn put(&mut self, input: Input) {
        let effects = self.machine.handle(Moment { now: self.now, chance: 0.5 }, input);
        self.effects.extend(effects);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.put(Input::Wake);
    }

    /// The next effect that `pick` knows; what came before is skipped.
    pub(super) fn next<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> T {
        let found = self.effects.iter().position(|effect| pick(effect).is_some());
        let place = found.unwrap_or_else(|| panic!("not among {:#?}", self.effects));
        let picked = pick(&self.effects[place]).unwrap();
        self.effects.drain(..=place);
        picked
    }

    pub(super) fn never(&self, what: impl Fn(&Effect) -> bool) {
        assert!(!self.effects.iter().any(what), "{:#?}", self.effects);
    }

    pub(super) fn joins(&mut self) -> (u64, String, MemberSubscription) {
        self.next(|effect| match effect {
            Effect::Join { attempt, member_id, protocols, .. } => {
                let subscription = MemberSubscription::decode(protocols[0].1.clone()).unwrap();
                Some((*attempt, member_id.clone(), subscription))
            }
            _ => None,
        })
    }

    pub(super) fn syncs(&mut self) -> (u64, Vec<(String, Bytes)>) {
        self.next(|effect| match effect {
            Effect::Sync { attempt, assignments, .. } => Some((*attempt, assignments.clone())),
            _ => None,
        })
    }

    pub(super) fn beats(&mut self) -> Identity {
        self.next(|effect| match effect {
            Effect::Beat { stamp } => Some(stamp.clone()),
            _ => None,
        })
    }

    pub(super) fn asks(&mut self) -> Identity {
        self.next(|effect| match effect {
            Effect::Ask { stamp, .. } => Some(stamp.clone()),
            _ => None,
        })
    }

    pub(super) fn assigned(&mut self) -> Vec<TopicPartition> {
        self.next(|effect| match effect {
            Effect::Assigned(partitions) => Some(partitions.clone()),
            _ => None,
        })
    }

    pub(super) fn revoked(&mut self) -> (u64, Vec<TopicPartition>, Instant) {
        self.next(|effect| match effect {
            Effect::Revoked { round, partitions, deadline } => Some((*round, partitions.clone(), *deadline)),
            _ => None,
        })
    }

    pub(super) fn lost(&mut self) -> Vec<TopicPartition> {
        self.next(|effect| match effect {
            Effect::Lost(partitions) => Some(partitions.clone()),
            _ => None,
        })
    }

    pub(super) fn identity(&mut self) -> Identity {
        self.next(|effect| match effect {
            Effect::Identity(identity) => Some(identity.clone()),
            _ => None,
        })
    }

    pub(super) fn problem(&mut self) -> Error {
        self.next(|effect| match effect {
            Effect::Problem(error) => Some(error.clone()),
            _ => None,
        })
    }

    pub(super) fn fatal(&mut self) -> Error {
        self.next(|effect| match effect {
            Effect::Fatal(error) => Some(error.clone()),
            _ => None,
        })
    }

    pub(super) fn accept(&mut self, id: &str, generation: i32, role: Role) {
        let (attempt, ..) = self.joins();
        let identity = Identity { member_id: id.into(), generation };
        let assignor = self.machine.settings.group.assignors[0].name().into();
        let answer = Ok(JoinAnswer::Accepted(Joined { identity, assignor, role }));
        self.put(Input::Joined { attempt, answer });
    }

    pub(super) fn sync(&mut self, assigned: &[TopicPartition]) {
        let (attempt, _) = self.syncs();
        self.put(Input::Synced { attempt, sent: self.now, answer: Ok(assignment(assigned)) });
    }

    /// A whole round.
    pub(super) fn round(&mut self, id: &str, generation: i32, role: Role, assigned: &[TopicPartition]) {
        self.accept(id, generation, role);
        self.sync(assigned);
    }

    pub(super) fn beat(&mut self, answer: Result<()>) {
        self.pass(3 * SECOND);
        let stamp = self.beats();
        self.put(Input::Beaten { stamp, sent: self.now, answer });
    }
}

pub(super) fn leader(members: &[(&str, MemberSubscription)], skip_assignment: bool) -> Role {
    let members = members.iter().map(|(id, subscription)| JoinedMember {
        id: (*id).into(),
        instance_id: None,
        subscription: subscription.encode(VERSION).unwrap(),
    });
    Role::Leader { members: members.collect(), skip_assignment }
}

pub(super) fn wants(names: &[&str]) -> MemberSubscription {
    MemberSubscription {
        topics: names.iter().map(|name| (*name).into()).collect(),
        ..MemberSubscription::default()
    }
}
