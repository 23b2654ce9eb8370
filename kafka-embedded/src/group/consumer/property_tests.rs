//! Whatever members do, no partition has two owners, and once they are let be everything is given out.

use proptest::prelude::*;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_client::wire::encode;
use kafka_protocol::messages::ConsumerProtocolSubscription;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition;

use super::super::classic::Syncing;
use super::super::member::Joining;
use super::super::protocol;
use super::tests::{Shelf, beat, joining, name, terms};
use super::*;

/// What may happen.
#[derive(Debug, Clone)]
enum Deed {
    Join { who: u8, pattern: bool },
    Beat { who: u8, answered: bool, full: bool },
    GiveBack { who: u8 },
    Leave { who: u8, for_a_while: bool },
    Die { who: u8 },
    Pass { seconds: u8 },
    Topic { which: u8, partitions: u8, anew: bool },
}

fn deed() -> impl Strategy<Value = Deed> {
    let who = 0u8..4;
    prop_oneof![
        2 => (who.clone(), prop::bool::weighted(0.3)).prop_map(|(who, pattern)| Deed::Join { who, pattern }),
        8 => (who.clone(), prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(who, answered, full)| Deed::Beat { who, answered, full }),
        4 => who.clone().prop_map(|who| Deed::GiveBack { who }),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, for_a_while)| Deed::Leave { who, for_a_while }),
        1 => who.prop_map(|who| Deed::Die { who }),
        1 => (0u8..30).prop_map(|seconds| Deed::Pass { seconds }),
        1 => (0u8..3, 1u8..6, prop::bool::weighted(0.1))
            .prop_map(|(which, partitions, anew)| Deed::Topic { which, partitions, anew }),
    ]
}

/// A client that keeps to its protocol: number 1 to the classic one, cooperatively. Numbers 2 and 3 are static.
#[derive(Debug, Default)]
struct Client {
    id: Option<MemberId>,
    epoch: i32,
    /// What it works on.
    has: Partitions,
    /// What it was told to have.
    told: Partitions,
    heard: Option<Instant>,
    /// The last heartbeat was not answered: the next one says and asks everything.
    unsure: bool,
    /// When it must have said that it gave back: the coordinator may have begun to wait with any request after the last
    /// answer.
    give_back_until: Option<Instant>,
}

impl Client {
    /// After an answer: what it has was said, and is to be less, or not.
    fn owes(&mut self, waited_for_since: Instant) {
        let until = self.give_back_until.unwrap_or(waited_for_since + REBALANCE_TIMEOUT);
        self.give_back_until = (!self.has.is_subset(&self.told)).then_some(until);
    }
}

const CLASSIC: u8 = 1;
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

struct World {
    group: ConsumerGroup,
    shelf: Shelf,
    now: Instant,
    clients: BTreeMap<u8, Client>,
    ids: u32,
}

impl World {
    fn new() -> Self {
        let mut shelf = Shelf::default();
        shelf.put("topic-0", 1, 3);
        let group = ConsumerGroup::new(name("g"), Terms { max_size: usize::MAX, ..terms() });
        Self {
            group,
            shelf,
            now: Instant::now(),
            clients: (0..4).map(|who| (who, Client::default())).collect(),
            ids: 0,
        }
    }

    fn instance(who: u8) -> Option<StrBytes> {
        (who >= 2).then(|| name(&format!("static-{who}")))
    }

    fn act(&mut self, deed: &Deed) {
        match *deed {
            Deed::Join { who: CLASSIC, .. } => {
                self.ids += 1;
                let id = name(&format!("member-{}", self.ids));
                self.clients.insert(CLASSIC, Client { id: Some(id), ..Client::default() });
                self.join_classic(true);
            }
            Deed::Join { who, pattern } => self.join(who, pattern),
            Deed::Beat { who: CLASSIC, answered, .. } => self.beat_classic(answered),
            Deed::Beat { who, answered, full } => self.beat(who, answered, full),
            Deed::GiveBack { who } => {
                if let Some(client) = self.clients.get_mut(&who) {
                    client.has = client.has.intersection(&client.told).copied().collect();
                }
            }
            Deed::Leave { who, for_a_while } => self.leave(who, for_a_while),
            // Without a goodbye; it does not work on anything any more.
            Deed::Die { who } => _ = self.clients.insert(who, Client::default()),
            Deed::Pass { seconds } => {
                self.now += Duration::from_secs(u64::from(seconds));
                self.group.expire(self.now);
                self.end_leases();
            }
            Deed::Topic { which, partitions, anew } => self.change_topic(which, partitions, anew),
        }
        self.check();
    }

    /// A client that was not answered for a session, or gave back too late, stops by itself.
    fn end_leases(&mut self) {
        for client in self.clients.values_mut() {
            let session = client.heard.map(|heard| heard + self.group.terms.session_timeout);
            if [session, client.give_back_until].into_iter().flatten().any(|until| until <= self.now) {
                *client = Client { id: client.id.take(), ..Client::default() };
            }
        }
    }

    fn change_topic(&mut self, which: u8, partitions: u8, anew: bool) {
        let title = format!("topic-{which}");
        let (id, count) = match self.shelf.facts(&tests::topic(&title)) {
            Some((id, count)) if !anew => (id.as_u128(), count.max(i32::from(partitions))),
            _ => (u128::from(self.shelf.version) + 100, i32::from(partitions)),
        };
        self.shelf.put(&title, id, count);
    }

    fn join(&mut self, who: u8, pattern: bool) {
        self.ids += 1;
        let id = name(&format!("member-{}", self.ids));
        let request = Beat {
            instance_id: Self::instance(who),
            pattern: Some(pattern.then(|| Pattern::new(name("topic-.*")).unwrap())),
            ..joining(&id, &["topic-0", "topic-1"])
        };
        // Whoever joins has stopped what it did before.
        self.clients.insert(who, Client { id: Some(id), ..Client::default() });
        self.send(who, &request, true);
    }

    fn beat(&mut self, who: u8, answered: bool, full: bool) {
        let Some(client) = self.clients.get(&who).filter(|client| client.epoch > 0) else { return };
        let Some(id) = client.id.clone() else { return };
        let mut request = Beat { instance_id: Self::instance(who), ..beat(&id, client.epoch) };
        request.owned = Some(client.has.clone());
        if full || client.unsure {
            request.rebalance_timeout = Some(REBALANCE_TIMEOUT);
            request.topics = self.group.members.get(&id).map(|member| member.topics.clone());
        }
        self.send(who, &request, answered);
    }

    fn send(&mut self, who: u8, request: &Beat, answered: bool) {
        let answer = self.group.heartbeat(self.now, &self.shelf, request);
        let now = self.now;
        let Some(client) = self.clients.get_mut(&who) else { return };
        client.unsure = !answered;
        match answer {
            _ if !answered => {}
            Ok(beaten) => {
                let before = client.heard.replace(now).unwrap_or(now);
                client.epoch = beaten.epoch;
                if let Some(assignment) = beaten.assignment {
                    // It takes on what is new at once, and gives back when it likes.
                    client.has.extend(&assignment);
                    client.told = assignment;
                }
                client.owes(before);
            }
            Err(_) => *client = Client { id: client.id.take(), ..Client::default() },
        }
    }

    /// JoinGroup with what it has, and SyncGroup.
    fn join_classic(&mut self, answered: bool) {
        let Some(client) = self.clients.get(&CLASSIC) else { return };
        let Some(id) = client.id.clone() else { return };
        let request = classic_joining(&id, &self.shelf, &client.has);
        let joined = self.group.join_classic(self.now, &self.shelf, &request);
        if !answered {
            return;
        }
        let Ok(joined) = joined else { return self.lose_classic() };
        let sync = Syncing { member_id: id, generation: joined.generation, ..Syncing::default() };
        let synced = self.group.sync_classic(self.now, &sync);
        let now = self.now;
        let Some(client) = self.clients.get_mut(&CLASSIC) else { return };
        client.epoch = joined.generation;
        client.heard = Some(now);
        if let Ok(synced) = synced {
            let told = protocol::assigned(synced.assignment).into_iter().flat_map(|(topic, partitions)| {
                let id = self.shelf.facts(&topic).map(|(id, _)| id);
                partitions.into_iter().filter_map(move |partition| Some((id?, partition)))
            });
            client.told = told.collect();
            client.has.extend(&client.told);
            // This protocol has names only: nobody waits until it gives back what is of a topic that is gone.
            client.has.retain(|(id, _)| self.shelf.topics.values().any(|(known, _)| known == id));
            client.owes(now);
        }
    }

    fn beat_classic(&mut self, answered: bool) {
        let Some(client) = self.clients.get(&CLASSIC).filter(|client| client.epoch > 0) else { return };
        let Some(id) = client.id.clone() else { return };
        let beaten = self.group.heartbeat_classic(self.now, &id, None, client.epoch);
        match beaten {
            _ if !answered => {}
            Ok(()) => {
                let now = self.now;
                self.clients.entry(CLASSIC).and_modify(|client| client.heard = Some(now));
            }
            Err(ResponseError::RebalanceInProgress) => {
                // What was taken from it is given back before it joins.
                self.act(&Deed::GiveBack { who: CLASSIC });
                self.join_classic(answered);
            }
            Err(_) => self.lose_classic(),
        }
    }

    fn lose_classic(&mut self) {
        let Some(client) = self.clients.get_mut(&CLASSIC) else { return };
        *client = Client { id: client.id.take(), ..Client::default() };
    }

    fn leave(&mut self, who: u8, for_a_while: bool) {
        let Some(client) = self.clients.insert(who, Client::default()) else { return };
        let (Some(id), true) = (client.id, client.epoch > 0) else { return };
        if who == CLASSIC {
            let _ = self.group.leave_classic(&id, None);
            return;
        }
        let epoch = if for_a_while && who >= 2 { LEAVE_FOR_A_WHILE } else { LEAVE };
        let _ = self.group.leave(&Beat { instance_id: Self::instance(who), ..beat(&id, epoch) });
    }

    fn check(&self) {
        let mut owned = Partitions::new();
        for client in self.clients.values() {
            for partition in &client.has {
                assert!(owned.insert(*partition), "{partition:?} has two owners");
            }
        }
        let mut known = BTreeMap::new();
        for (id, member) in &self.group.members {
            assert!(member.epoch <= self.group.epoch && self.group.assignment_epoch <= self.group.epoch);
            for partition in member.assigned.iter().chain(&member.revoking) {
                assert_eq!(known.insert(*partition, id.clone()), None, "{partition:?} is told to two");
            }
        }
        assert_eq!(known, self.group.owners);
        for (instance, id) in &self.group.static_ids {
            assert_eq!(
                self.group.members.get(id).and_then(|member| member.instance_id.as_ref()),
                Some(instance)
            );
        }
    }

    /// Everyone that is there does what it is told, and who is not there is found out.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.act(&Deed::Pass { seconds: 5 });
            for _ in 0..2 {
                for who in 0..4 {
                    if self.clients.get(&who).is_some_and(|client| client.epoch == 0 && client.id.is_some()) {
                        self.act(&Deed::Join { who, pattern: false });
                    }
                    self.act(&Deed::GiveBack { who });
                    self.act(&Deed::Beat { who, answered: true, full: true });
                }
            }
        }
    }
}

/// A JoinGroup of somebody who reads topics 0 and 1.
fn classic_joining(id: &MemberId, shelf: &Shelf, has: &Partitions) -> Joining {
    let owned = shelf.topics.iter().map(|(name, (topic, _))| {
        let own = has.iter().filter(|(known, _)| known == topic).map(|(_, partition)| *partition);
        TopicPartition::default().with_topic(name.clone()).with_partitions(own.collect())
    });
    let subscription = ConsumerProtocolSubscription::default()
        .with_topics(vec![name("topic-0"), name("topic-1")])
        .with_owned_partitions(owned.collect());
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    encode(&subscription, 1, &mut bytes).unwrap();
    Joining {
        member_id: id.clone(),
        instance_id: None,
        client_id: name("client"),
        client_host: name("/host"),
        session_timeout: terms().session_timeout,
        rebalance_timeout: REBALANCE_TIMEOUT,
        protocol_type: name("consumer"),
        protocols: vec![(name("cooperative-sticky"), Bytes::from(bytes))],
        needs_member_id: false,
        may_skip_assignment: true,
        fresh_id: id.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_partition_has_one_owner_and_all_is_given_out_in_the_end(deeds in prop::collection::vec(deed(), 1..80)) {
        let mut world = World::new();
        for deed in &deeds {
            world.act(deed);
        }
        world.settle();
        if world.group.is_empty() {
            prop_assert_eq!(world.group.state_name(), "Empty");
            return Ok(());
        }
        if world.group.is_classic_again() {
            // It is no group of this protocol any more.
            return Ok(());
        }
        prop_assert_eq!(world.group.state_name(), "Stable");
        let wanted = world.group.subscribed();
        let all: Partitions = wanted
            .iter()
            .filter_map(|name| world.shelf.facts(name))
            .flat_map(|(id, count)| (0..count).map(move |partition| (id, partition)))
            .collect();
        let given: Partitions = world.clients.values().flat_map(|client| client.has.clone()).collect();
        prop_assert_eq!(given, all);
        for client in world.clients.values().filter(|client| client.epoch > 0) {
            let member = client.id.as_ref().and_then(|id| world.group.members.get(id));
            prop_assert_eq!(member.map(|member| &member.assigned), Some(&client.has));
        }
    }
}
