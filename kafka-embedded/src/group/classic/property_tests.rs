//! Whatever members do, the group stays sound.

use proptest::prelude::*;

use super::super::member::Joining;
use super::tests::{Bench, joining, name, static_joining};
use super::*;

/// What somebody may do to a group.
#[derive(Debug, Clone)]
enum Deed {
    Join { who: u8, needs_id: bool },
    JoinStatic { who: u8 },
    Rejoin { who: u8, changed: bool },
    Sync { who: u8, stale: bool },
    Heartbeat { who: u8 },
    Leave { who: u8 },
    Pass { seconds: u8 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let who = 0u8..5;
    prop_oneof![
        (who.clone(), any::<bool>()).prop_map(|(who, needs_id)| Deed::Join { who, needs_id }),
        who.clone().prop_map(|who| Deed::JoinStatic { who }),
        (who.clone(), any::<bool>()).prop_map(|(who, changed)| Deed::Rejoin { who, changed }),
        (who.clone(), prop::bool::weighted(0.1)).prop_map(|(who, stale)| Deed::Sync { who, stale }),
        who.clone().prop_map(|who| Deed::Heartbeat { who }),
        who.prop_map(|who| Deed::Leave { who }),
        (0u8..20).prop_map(|seconds| Deed::Pass { seconds }),
    ]
}

/// Clients that know what they were told last.
#[derive(Default)]
struct Clients {
    ids: BTreeMap<u8, StrBytes>,
    instances: BTreeMap<u8, StrBytes>,
    seen: BTreeSet<Token>,
    fresh: u32,
}

impl Clients {
    fn id(&self, who: u8) -> StrBytes {
        self.ids.get(&who).cloned().unwrap_or_else(|| name("nobody"))
    }

    fn act(&mut self, bench: &mut Bench, deed: &Deed) {
        self.fresh += 1;
        let fresh = format!("member-{}", self.fresh);
        match *deed {
            Deed::Join { who, needs_id } => {
                let token = bench.join(&Joining { needs_member_id: needs_id, ..joining("", &fresh) });
                self.ids.insert(who, name(&fresh));
                self.instances.remove(&who);
                if needs_id {
                    assert!(bench.answers.contains_key(&token), "an id is given at once");
                }
            }
            Deed::JoinStatic { who } => {
                let instance = format!("static-{who}");
                bench.join(&static_joining(&instance, &fresh));
                self.ids.insert(who, name(&fresh));
                self.instances.insert(who, name(&instance));
            }
            Deed::Rejoin { who, changed } => {
                let mut request = Joining { member_id: self.id(who), ..joining("", "-") };
                request.instance_id = self.instances.get(&who).cloned();
                if changed {
                    request.protocols.pop();
                }
                bench.join(&request);
            }
            Deed::Sync { who, stale } => {
                let generation = bench.group.generation - i32::from(stale);
                let all = bench.group.members.keys();
                let assignments =
                    all.map(|id| (id.clone(), Bytes::from(format!("{generation} {}", &**id)))).collect();
                let instance_id = self.instances.get(&who).cloned();
                let member_id = self.id(who);
                bench.sync(&Syncing {
                    member_id,
                    instance_id,
                    generation,
                    assignments,
                    ..Syncing::default()
                });
            }
            Deed::Heartbeat { who } => {
                let _ = bench.heartbeat(&self.id(who), bench.group.generation);
            }
            Deed::Leave { who } => _ = bench.leave(&self.id(who)),
            Deed::Pass { seconds } => bench.pass(Duration::from_secs(seconds.into())),
        }
    }

    /// What every answer must be like.
    fn check_answers(
        &mut self,
        bench: &Bench,
        generations: &mut BTreeMap<i32, (StrBytes, Option<StrBytes>)>,
    ) {
        let new = bench.answers.iter().filter(|(token, _)| !self.seen.contains(*token));
        let new: Vec<(Token, Answer)> = new.map(|(token, answer)| (*token, answer.clone())).collect();
        for (token, answer) in new {
            self.seen.insert(token);
            match answer {
                Answer::Join(Ok(joined)) => {
                    let known = generations
                        .entry(joined.generation)
                        .or_insert_with(|| (joined.leader.clone(), joined.protocol.clone()));
                    assert_eq!(known.1, joined.protocol, "one protocol in generation {}", joined.generation);
                    if !joined.members.is_empty() {
                        assert_eq!(joined.leader, joined.member_id, "members are told to the leader alone");
                        assert!(joined.members.iter().any(|member| member.id == joined.member_id));
                    }
                }
                Answer::Sync(Ok(synced)) if !synced.assignment.is_empty() => {
                    let text = String::from_utf8(synced.assignment.to_vec()).unwrap();
                    let (generation, _) = text.split_once(' ').unwrap();
                    assert!(generation.parse::<i32>().unwrap() <= bench.group.generation);
                }
                _ => {}
            }
        }
    }
}

fn check_state(group: &Classic) {
    match group.state {
        State::Empty => assert!(group.members.is_empty() && group.leader.is_none()),
        State::PreparingRebalance => assert!(group.phase.is_some(), "a rebalance that nothing ends"),
        State::CompletingRebalance | State::Stable => {
            let leader = group.leader.as_ref().expect("a leader");
            assert!(group.members.contains_key(leader));
            let protocol = group.protocol.as_ref().expect("a protocol");
            assert!(group.phase.is_none());
            assert!(group.members.values().all(|member| member.supports(protocol)));
            assert!(group.members.values().all(|member| member.awaiting_join.is_none()));
        }
        State::Dead => {}
    }
    for (instance, id) in &group.static_ids {
        assert_eq!(group.members.get(id).and_then(|member| member.instance_id.as_ref()), Some(instance));
    }
}

proptest! {
    #[test]
    fn whatever_members_do_all_are_answered_once_and_the_group_stays_sound(
        deeds in prop::collection::vec(deed(), 1..60),
        delay in 0u64..4,
    ) {
        let mut bench = Bench::with_delay(Duration::from_secs(delay));
        let mut clients = Clients::default();
        let mut generations = BTreeMap::new();
        let mut generation = 0;
        for deed in &deeds {
            clients.act(&mut bench, deed);
            check_state(&bench.group);
            clients.check_answers(&bench, &mut generations);
            prop_assert!(bench.group.generation >= generation);
            generation = bench.group.generation;
        }
        // Left alone, the group ends, and nobody waits for ever.
        bench.pass(Duration::from_secs(3600));
        prop_assert_eq!(bench.group.state(), State::Empty);
        prop_assert_eq!(bench.group.next_deadline(), None);
        prop_assert_eq!(bench.answers.len() as u64, bench.tokens);
    }
}
