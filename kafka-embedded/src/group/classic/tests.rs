use std::collections::BTreeMap;

use super::super::member::Joining;
use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

pub(super) fn name(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn joining(id: &str, fresh: &str) -> Joining {
    Joining {
        member_id: name(id),
        instance_id: None,
        client_id: name("client"),
        client_host: name("/host"),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: name("consumer"),
        protocols: vec![
            (name("range"), Bytes::from_static(b"r")),
            (name("sticky"), Bytes::from_static(b"s")),
        ],
        needs_member_id: false,
        may_skip_assignment: true,
        fresh_id: name(fresh),
    }
}

pub(super) fn static_joining(instance: &str, fresh: &str) -> Joining {
    Joining { instance_id: Some(name(instance)), ..joining("", fresh) }
}

fn syncing(id: &str, generation: i32, assignments: &[(&str, &str)]) -> Syncing {
    let assignments =
        assignments.iter().map(|(id, part)| (name(id), Bytes::from((*part).to_owned()))).collect();
    Syncing { member_id: name(id), generation, assignments, ..Syncing::default() }
}

/// A group with a clock and numbered requests.
pub(super) struct Bench {
    pub(super) group: Classic,
    pub(super) now: Instant,
    pub(super) tokens: Token,
    pub(super) answers: BTreeMap<Token, Answer>,
}

impl Bench {
    fn new() -> Self {
        Self::with_delay(Duration::ZERO)
    }
    pub(super) fn with_delay(delay: Duration) -> Self {
        Self {
            group: Classic::new(delay, usize::MAX),
            now: Instant::now(),
            tokens: 0,
            answers: BTreeMap::new(),
        }
    }
    fn run(&mut self, request: impl FnOnce(&mut Classic, Instant, Token)) -> Token {
        self.tokens += 1;
        request(&mut self.group, self.now, self.tokens);
        self.collect();
        self.tokens
    }
    fn collect(&mut self) {
        for (token, answer) in self.group.take_answers() {
            assert!(self.answers.insert(token, answer).is_none(), "request {token} was answered twice");
        }
    }
    pub(super) fn join(&mut self, request: &Joining) -> Token {
        self.run(|group, now, token| group.join(now, request, token))
    }
    pub(super) fn sync(&mut self, request: &Syncing) -> Token {
        self.run(|group, now, token| group.sync(now, request, token))
    }
    pub(super) fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        let beat = self.group.heartbeat(self.now, &name(id), None, generation);
        self.collect();
        beat
    }
    pub(super) fn leave(&mut self, id: &str) -> Result<(), ResponseError> {
        let left = self.group.leave(&name(id), None);
        self.group.member_gone(self.now);
        self.collect();
        left
    }
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.group.next_deadline().filter(|next| *next <= end) {
            assert!(next >= self.now, "a deadline in the past");
            self.now = next;
            self.group.expire(self.now);
            self.collect();
            assert!(self.group.next_deadline().is_none_or(|later| later > next), "time does not go on");
        }
        self.now = end;
    }
    fn joined(&self, token: Token) -> Joined {
        match self.answers.get(&token) {
            Some(Answer::Join(Ok(joined))) => joined.clone(),
            other => panic!("request {token}: {other:?}"),
        }
    }
    fn not_joined(&self, token: Token) -> NotJoined {
        match self.answers.get(&token) {
            Some(Answer::Join(Err(refused))) => refused.clone(),
            other => panic!("request {token}: {other:?}"),
        }
    }
    fn synced(&self, token: Token) -> Result<Bytes, ResponseError> {
        match self.answers.get(&token) {
            Some(Answer::Sync(answer)) => answer.clone().map(|synced| synced.assignment),
            other => panic!("request {token}: {other:?}"),
        }
    }

    /// Two stable members, `a` the leader.
    fn with_two(&mut self) -> i32 {
        let first = self.join(&joining("", "a"));
        assert_eq!(self.joined(first).leader, name("a"));
        let second = self.join(&joining("", "b"));
        let again = self.join(&joining("a", "-"));
        let (leader, follower) = (self.joined(again), self.joined(second));
        assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
        assert_eq!(leader.generation, follower.generation);
        let waiting = self.sync(&syncing("b", leader.generation, &[]));
        assert!(!self.answers.contains_key(&waiting), "the follower waits for the leader");
        let leading = self.sync(&syncing("a", leader.generation, &[("a", "for a"), ("b", "for b")]));
        assert_eq!(self.synced(leading), Ok(Bytes::from("for a")));
        assert_eq!(self.synced(waiting), Ok(Bytes::from("for b")));
        assert_eq!(self.group.state(), State::Stable);
        leader.generation
    }
}

#[test]
fn two_members_join_sync_and_leave() {
    let mut bench = Bench::new();
    let generation = bench.with_two();
    assert_eq!(bench.heartbeat("a", generation), Ok(()));
    assert_eq!(bench.heartbeat("a", generation - 1), Err(ResponseError::IllegalGeneration));
    assert_eq!(bench.heartbeat("c", generation), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.leave("a"), Ok(()));
    assert_eq!(bench.heartbeat("b", generation), Err(ResponseError::RebalanceInProgress));
    let alone = bench.join(&joining("b", "-"));
    assert_eq!(bench.joined(alone).leader, name("b"));
    assert_eq!(bench.leave("b"), Ok(()));
    assert_eq!(bench.group.state(), State::Empty);
    assert_eq!(bench.leave("b"), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_dynamic_member_gets_its_id_first() {
    let mut bench = Bench::new();
    let first = bench.join(&Joining { needs_member_id: true, ..joining("", "a") });
    let refused = bench.not_joined(first);
    assert_eq!((refused.error, &refused.member_id), (ResponseError::MemberIdRequired, &name("a")));
    let again = bench.join(&joining("a", "-"));
    assert_eq!(bench.joined(again).member_id, name("a"));
    let unknown = bench.join(&joining("b", "-"));
    assert_eq!(bench.not_joined(unknown).error, ResponseError::UnknownMemberId);
}

#[test]
fn an_id_that_was_given_out_holds_the_rebalance_until_its_session_ends() {
    let mut bench = Bench::new();
    bench.with_two();
    bench.join(&Joining { needs_member_id: true, ..joining("", "c") });
    let one = bench.join(&joining("a", "-"));
    let two = bench.join(&joining("b", "-"));
    assert!(!bench.answers.contains_key(&one), "c may still come");
    bench.pass(SESSION);
    assert_eq!(bench.joined(one).generation, bench.joined(two).generation);
}

#[test]
fn a_silent_member_is_expired_and_the_others_go_on() {
    let mut bench = Bench::new();
    let generation = bench.with_two();
    bench.pass(SESSION / 2);
    assert_eq!(bench.heartbeat("b", generation), Ok(()));
    bench.pass(SESSION / 2);
    assert_eq!(bench.heartbeat("b", generation), Err(ResponseError::RebalanceInProgress));
    assert_eq!(bench.heartbeat("a", generation), Err(ResponseError::UnknownMemberId));
    let alone = bench.join(&joining("b", "-"));
    assert_eq!(bench.joined(alone).generation, generation + 1);
}

#[test]
fn who_does_not_rejoin_in_time_is_left_behind() {
    let mut bench = Bench::new();
    let generation = bench.with_two();
    let leader = bench.join(&joining("a", "-"));
    for _ in 0..7 {
        // `b` lives, but does not join.
        assert_eq!(bench.heartbeat("b", generation), Err(ResponseError::RebalanceInProgress));
        bench.pass(SESSION - Duration::from_secs(1));
    }
    assert_eq!(bench.joined(leader).members.len(), 1);
    assert_eq!(bench.heartbeat("b", generation + 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn who_does_not_sync_in_time_is_left_behind() {
    let mut bench = Bench::new();
    let generation = bench.with_two() + 1;
    let leader = bench.join(&joining("a", "-"));
    bench.join(&joining("b", "-"));
    assert_eq!(bench.joined(leader).generation, generation);
    let waiting = bench.sync(&syncing("b", generation, &[]));
    for _ in 0..7 {
        let _ = bench.heartbeat("a", generation);
        bench.pass(SESSION - Duration::from_secs(1));
    }
    assert_eq!(bench.synced(waiting), Err(ResponseError::RebalanceInProgress));
    assert_eq!(bench.heartbeat("a", generation), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_new_member_makes_those_who_sync_join_again() {
    let mut bench = Bench::new();
    let generation = bench.with_two() + 1;
    bench.join(&joining("a", "-"));
    bench.join(&joining("b", "-"));
    let waiting = bench.sync(&syncing("b", generation, &[]));
    bench.join(&joining("", "c"));
    assert_eq!(bench.synced(waiting), Err(ResponseError::RebalanceInProgress));
    let late = bench.sync(&syncing("a", generation, &[]));
    assert_eq!(bench.synced(late), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_repeated_join_gets_the_same_answer_again() {
    let mut bench = Bench::new();
    let generation = bench.with_two();
    let follower = bench.join(&joining("b", "-"));
    assert_eq!(
        bench.joined(follower).generation,
        generation,
        "a follower with the same metadata changes nothing"
    );
    let leader = bench.join(&joining("a", "-"));
    assert!(!bench.answers.contains_key(&leader), "a leader that joins again wants a rebalance");
    bench.join(&joining("b", "-"));
    assert_eq!(bench.joined(leader).generation, generation + 1);
}

#[test]
fn the_protocol_is_one_that_all_have_and_most_prefer() {
    let mut bench = Bench::new();
    let with = |id: &str, names: &[&str]| Joining {
        protocols: names.iter().map(|protocol| (name(protocol), Bytes::new())).collect(),
        ..joining("", id)
    };
    bench.join(&with("a", &["x", "y", "z"]));
    bench.join(&with("b", &["z", "y"]));
    bench.join(&with("c", &["y", "z", "x"]));
    let known = |id: &str, names: &[&str]| Joining { member_id: name(id), ..with("-", names) };
    let last = bench.join(&known("a", &["x", "y", "z"]));
    assert_eq!(bench.joined(last).protocol, Some(name("y")), "y has two votes: x is not common");
    let stranger = bench.join(&with("d", &["x"]));
    assert_eq!(bench.not_joined(stranger).error, ResponseError::InconsistentGroupProtocol);
    let other_type = bench.join(&Joining { protocol_type: name("connect"), ..with("e", &["y"]) });
    assert_eq!(bench.not_joined(other_type).error, ResponseError::InconsistentGroupProtocol);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_predecessor() {
    let mut bench = Bench::new();
    let first = bench.join(&static_joining("one", "a"));
    let generation = bench.joined(first).generation;
    bench.sync(&syncing("a", generation, &[("a", "all")]));
    let again = bench.join(&static_joining("one", "a2"));
    let joined = bench.joined(again);
    assert_eq!((joined.generation, joined.skip_assignment), (generation, true));
    assert_eq!((&joined.leader, joined.members.len()), (&name("a2"), 1));
    let synced = bench.sync(&syncing("a2", generation, &[]));
    assert_eq!(bench.synced(synced), Ok(Bytes::from("all")));
    let fenced = bench.group.heartbeat(bench.now, &name("a"), Some(&name("one")), generation);
    assert_eq!(fenced, Err(ResponseError::FencedInstanceId));
    let old = bench.join(&Joining { member_id: name("a"), ..static_joining("one", "-") });
    assert_eq!(bench.not_joined(old).error, ResponseError::FencedInstanceId);
}

#[test]
fn an_old_client_that_comes_back_static_is_not_told_that_it_leads() {
    let mut bench = Bench::new();
    let first = bench.join(&static_joining("one", "a"));
    let generation = bench.joined(first).generation;
    bench.sync(&syncing("a", generation, &[("a", "all")]));
    let again = bench.join(&Joining { may_skip_assignment: false, ..static_joining("one", "a2") });
    let joined = bench.joined(again);
    assert_eq!((joined.leader, joined.members.len(), joined.skip_assignment), (name("a"), 0, false));
}

#[test]
fn a_static_member_may_be_away_for_a_session() {
    let mut bench = Bench::new();
    let first = bench.join(&static_joining("one", "a"));
    let generation = bench.joined(first).generation;
    bench.sync(&syncing("a", generation, &[("a", "all")]));
    bench.pass(SESSION - Duration::from_secs(1));
    assert_eq!(bench.group.state(), State::Stable);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.group.state(), State::Empty);
}

#[test]
fn a_static_member_is_removed_by_its_instance_id() {
    let mut bench = Bench::new();
    bench.join(&static_joining("one", "a"));
    assert_eq!(bench.group.leave(&name(""), Some(&name("two"))), Err(ResponseError::UnknownMemberId));
    assert_eq!(bench.group.leave(&name("z"), Some(&name("one"))), Err(ResponseError::FencedInstanceId));
    assert_eq!(bench.group.leave(&name(""), Some(&name("one"))), Ok(()));
    bench.group.member_gone(bench.now);
    assert_eq!(bench.group.state(), State::Empty);
}

#[test]
fn the_first_rebalance_waits_for_more_members_while_they_come() {
    let mut bench = Bench::with_delay(Duration::from_secs(3));
    let first = bench.join(&joining("", "a"));
    bench.pass(Duration::from_secs(2));
    let second = bench.join(&joining("", "b"));
    bench.pass(Duration::from_secs(1));
    assert!(!bench.answers.contains_key(&first), "b came, so it waits on");
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.joined(first).members.len(), 2);
    assert_eq!(bench.joined(second).generation, 1);
}

#[test]
fn offsets_are_committed_by_members_of_this_generation_only() {
    let mut bench = Bench::new();
    let (now, nobody) = (bench.now, name(""));
    assert_eq!(bench.group.validate_commit(now, &nobody, None, -1), Ok(()), "a group of offsets alone");
    let generation = bench.with_two();
    let mut commit = |id: &str, generation| bench.group.validate_commit(now, &name(id), None, generation);
    assert_eq!(commit("a", generation), Ok(()));
    assert_eq!(commit("a", generation - 1), Err(ResponseError::IllegalGeneration));
    assert_eq!(commit("c", generation), Err(ResponseError::UnknownMemberId));
    assert_eq!(commit("", -1), Err(ResponseError::UnknownMemberId));
    bench.join(&joining("", "c"));
    let mut commit = |id: &str, generation| bench.group.validate_commit(now, &name(id), None, generation);
    assert_eq!(
        commit("a", generation),
        Ok(()),
        "while the rebalance is prepared, what was handled can be committed"
    );
    bench.join(&joining("a", "-"));
    bench.join(&joining("b", "-"));
    assert_eq!(bench.group.state(), State::CompletingRebalance);
    let mut commit = |id: &str, generation| bench.group.validate_commit(now, &name(id), None, generation);
    assert_eq!(commit("a", generation + 1), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::new();
    bench.group = Classic::new(Duration::ZERO, 2);
    let generation = bench.with_two();
    let other = bench.join(&joining("", "c"));
    let refused = bench.not_joined(other);
    assert_eq!((refused.error, refused.member_id), (ResponseError::GroupMaxSizeReached, name("")));
    // Who is in stays in, also while all join again.
    assert_eq!(bench.heartbeat("a", generation), Ok(()));
    bench.join(&joining("a", "-"));
    let one = bench.join(&joining("b", "-"));
    assert_eq!(bench.joined(one).generation, generation + 1);
}
