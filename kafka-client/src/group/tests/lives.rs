//! Lives of one member, with paused time.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::{
    ApiKey, FindCoordinatorRequest, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest,
    MetadataRequest, OffsetCommitRequest, OffsetCommitResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::Request;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::broker::{Brokers, SECOND, event};
use crate::config::{Assignor, GroupConfig, Subscription};
use crate::error::{At, Error};
use crate::group::{CommittedOffset, GroupEvent, Identity, Leave, Membership, commit};
use crate::ids::TopicPartition;
use crate::net::Purpose;
use crate::net::fake::Reply;

fn group() -> GroupConfig {
    let mut group = GroupConfig::new("g");
    group.session_timeout = 10 * SECOND;
    group
}

fn cooperative() -> GroupConfig {
    GroupConfig { assignors: vec![Assignor::CooperativeSticky], ..group() }
}

fn t(partitions: impl IntoIterator<Item = i32>) -> Vec<TopicPartition> {
    partitions.into_iter().map(|partition| TopicPartition::new("t", partition)).collect()
}

async fn assigned(membership: &mut Membership) -> Vec<TopicPartition> {
    match event(membership).await {
        GroupEvent::Assigned(partitions) => partitions,
        other => panic!("{other:?}"),
    }
}

async fn revoked(membership: &mut Membership) -> (Vec<TopicPartition>, Instant, oneshot::Sender<()>) {
    match event(membership).await {
        GroupEvent::Revoked { partitions, deadline, done } => (partitions, deadline, done),
        other => panic!("{other:?}"),
    }
}

async fn lost(membership: &mut Membership) -> Vec<TopicPartition> {
    match event(membership).await {
        GroupEvent::Lost(partitions) => partitions,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_beats_and_leaves() {
    let brokers = Brokers::new();
    let mut member = brokers.member(group(), &["t"]);
    assert!(!member.lease.is_valid());
    assert_eq!(assigned(&mut member).await, t(0..3));
    assert!(member.lease.is_valid());
    assert_eq!(*member.identity.borrow(), Identity { member_id: "m-1".into(), generation: 1 });
    sleep(60 * SECOND).await;
    let beats = brokers.fake.count(ApiKey::Heartbeat);
    assert!((19..=20).contains(&beats), "{beats} heartbeats in a minute");
    assert!(member.lease.is_valid());
    let identity = member.identity.clone();
    member.leave(Leave::Default).await.unwrap();
    assert_eq!(*identity.borrow(), Identity::none());
    sleep(60 * SECOND).await;
    assert_eq!(brokers.fake.count(ApiKey::Heartbeat), beats, "it is gone");
    let (joins, goodbyes) = brokers.see(|world| (world.joins.clone(), world.goodbyes.clone()));
    assert_eq!(joins.len(), 2, "the first one got an id");
    assert_eq!(joins[1].1.session_timeout_ms, 10_000);
    assert_eq!(goodbyes[0].1.members[0].member_id.as_str(), "m-1");
}

#[tokio::test(start_paused = true)]
async fn a_static_member_goes_without_a_word_unless_it_is_to_say_one() {
    for (leave, goodbyes) in [(Leave::Default, 0), (Leave::Never, 0), (Leave::Always, 1)] {
        let brokers = Brokers::new();
        let group = GroupConfig { instance_id: Some("i".into()), ..group() };
        let mut member = brokers.member(group, &["t"]);
        assigned(&mut member).await;
        member.leave(leave).await.unwrap();
        assert_eq!(brokers.see(|world| world.goodbyes.len()), goodbyes, "{leave:?}");
        let instance = brokers.see(|world| world.joins[0].1.group_instance_id.clone());
        assert_eq!(instance.unwrap().as_str(), "i");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_it_ends_it_without_a_goodbye() {
    let brokers = Brokers::new();
    let mut member = brokers.member(group(), &["t"]);
    assigned(&mut member).await;
    drop(member);
    sleep(60 * SECOND).await;
    assert_eq!(brokers.fake.count(ApiKey::Heartbeat), 0);
    assert_eq!(brokers.fake.count(ApiKey::LeaveGroup), 0);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_held_keeps_no_heartbeat_waiting() {
    let brokers = Brokers::new();
    let mut member = brokers.member(cooperative(), &["t"]);
    assigned(&mut member).await;
    brokers.change(|world| {
        world.join_takes = 120 * SECOND;
        world.beats = vec![E::RebalanceInProgress; 40];
    });
    for _ in 0..110 {
        sleep(SECOND).await;
        assert!(member.lease.is_valid());
    }
    // The brokers of the test, too, answer one request of a connection at a time.
    let beats = brokers.fake.count(ApiKey::Heartbeat);
    assert!(beats > 33, "{beats}");
    brokers.see(|world| {
        assert!(world.beat_connections.iter().all(|connection| !world.join_connections.contains(connection)));
    });
    assert_eq!(assigned(&mut member).await, [], "it has kept what it had");
    assert_eq!(member.identity.borrow().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_the_consumer_drains() {
    let brokers = Brokers::new();
    let mut member = brokers.member(group(), &["t"]);
    assigned(&mut member).await;
    brokers.change(|world| world.beats = vec![E::RebalanceInProgress; 40]);
    let (partitions, deadline, done) = revoked(&mut member).await;
    assert_eq!(partitions, t(0..3));
    assert!(deadline > Instant::now() + 200 * SECOND);
    sleep(100 * SECOND).await;
    assert!(member.lease.is_valid());
    assert_eq!(member.identity.borrow().generation, 1, "drained records are committed in the old generation");
    assert_eq!(brokers.see(|world| world.joins.len()), 2);
    drop(done);
    assert_eq!(assigned(&mut member).await, t(0..3));
    assert_eq!(member.identity.borrow().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_moves() {
    let brokers = Brokers::new();
    let mut member = brokers.member(cooperative(), &["t"]);
    assigned(&mut member).await;
    brokers.change(|world| world.coordinator = 2);
    sleep(30 * SECOND).await;
    assert!(member.lease.is_valid());
    let asked = brokers.fake.log.lock().unwrap().clone();
    let last = asked.iter().rev().find(|(_, api)| *api == HeartbeatRequest::KEY).unwrap();
    assert_eq!(last.0, "b2:2");
    assert!(member.events.try_recv().is_err(), "nothing that a user should know of");
}

/// From Kafka 4 on a heartbeat waits for what the group's log has not replicated yet; a commit behind it would be read late,
/// and by then not the last one.
#[tokio::test(start_paused = true)]
async fn a_commit_does_not_wait_behind_a_heartbeat() {
    let brokers = Brokers::with(|asked| match asked.api_key {
        HeartbeatRequest::KEY => {
            Some(Reply::After(5 * SECOND, Box::new(asked.answer(&HeartbeatResponse::default()))))
        }
        OffsetCommitRequest::KEY => Some(asked.answer(&OffsetCommitResponse::default())),
        _ => None,
    });
    let (pool, coordinator) = brokers.coordinator();
    let topics = Subscription::Topics(vec!["t".to_owned()]);
    let mut member = Membership::start(group(), topics, pool, Arc::clone(&coordinator));
    assigned(&mut member).await;
    while brokers.fake.count(ApiKey::Heartbeat) == 0 {
        sleep(SECOND / 100).await;
    }
    let begun = Instant::now();
    let connection = coordinator.connection(Purpose::Commit).await.unwrap();
    let offset = CommittedOffset { offset: 1, leader_epoch: -1, metadata: String::new() };
    let stamp = member.identity.borrow().clone();
    commit(&coordinator, &connection, &stamp, None, &[(TopicPartition::new("t", 0), offset)]).await.unwrap();
    assert!(begun.elapsed() < SECOND / 10, "{:?}", begun.elapsed());
    assert_eq!(brokers.fake.count(ApiKey::Heartbeat), 1, "it is not answered yet");
}

/// Each record's commit may ask for it: a broker that died must not cost the others a lookup for each record.
#[tokio::test(start_paused = true)]
async fn however_many_need_a_coordinator_that_is_away_it_is_looked_for_in_turn() {
    let brokers = Brokers::new();
    let (_pool, coordinator) = brokers.coordinator();
    coordinator.connection(Purpose::Commit).await.unwrap();
    coordinator.forget();
    // The others still name it.
    brokers.fake.take_down(&["b1:1"]);
    let (begun, before) = (Instant::now(), brokers.fake.count(ApiKey::FindCoordinator));
    while begun.elapsed() < 10 * SECOND {
        let failed = coordinator.connection(Purpose::Join).await;
        assert!(matches!(&failed, Err(Error::Refused { .. })), "{failed:?}");
        sleep(SECOND / 1000).await;
    }
    let lookups = brokers.fake.count(ApiKey::FindCoordinator) - before;
    assert!((100..=200).contains(&lookups), "{lookups} lookups in 10 s");
    brokers.fake.take_down(&[]);
    timeout(2 * SECOND, async {
        while coordinator.connection(Purpose::Join).await.is_err() {
            sleep(SECOND / 10).await
        }
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_is_told_of_and_waited_for() {
    let brokers = Brokers::new();
    brokers.go_down();
    let mut member = brokers.member(group(), &["t"]);
    sleep(60 * SECOND).await;
    let mut problems = 0;
    while let Ok(event) = member.events.try_recv() {
        assert!(matches!(event, GroupEvent::Problem(Error::Unreachable { .. })), "{event:?}");
        problems += 1;
    }
    assert!((5..=7).contains(&problems), "{problems} problems in a minute");
    brokers.come_up();
    assert_eq!(timeout(5 * SECOND, assigned(&mut member)).await.unwrap(), t(0..3));
    // Away while running, longer than the session: lost, and back by itself.
    sleep(5 * SECOND).await;
    brokers.go_down();
    let life = member.lease.life();
    let silent = brokers.fake.count(ApiKey::Heartbeat);
    let begun = Instant::now();
    assert_eq!(lost(&mut member).await, t(0..3));
    assert!(begun.elapsed() <= 10 * SECOND, "{:?}", begun.elapsed());
    assert!(!member.lease.is_valid());
    assert!(life.is_over());
    assert_eq!(member.identity.borrow().generation, -1);
    sleep(30 * SECOND).await;
    assert!(brokers.fake.count(ApiKey::Heartbeat) <= silent + 1);
    brokers.come_up();
    assert_eq!(timeout(5 * SECOND, assigned(&mut member)).await.unwrap(), t(0..3));
}

/// The others still name it, and nobody listens there: nobody can have given its partitions away. But what is refused here may be
/// there for others, so for a second session at most.
#[tokio::test(start_paused = true)]
async fn whose_coordinator_has_died_keeps_what_it_has_for_a_second_session() {
    let brokers = Brokers::new();
    let mut member = brokers.member(group(), &["t"]);
    assert_eq!(assigned(&mut member).await, t(0..3));
    sleep(5 * SECOND).await;
    brokers.fake.kill(&["b1:1"]);
    let begun = Instant::now();
    sleep(15 * SECOND).await;
    assert!(member.lease.is_valid());
    assert_eq!(lost(&mut member).await, t(0..3));
    let took = begun.elapsed();
    assert!(took > 16 * SECOND && took <= 20 * SECOND, "{took:?}");
}

/// Something on the way refuses new connections; those that are open show that it lives, and may give partitions away.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_refused_and_lives_ends_the_session() {
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let brokers = Brokers::with({
        let refuses = Arc::clone(&refuses);
        move |asked| {
            let ends = asked.is::<HeartbeatRequest>() && refuses.load(std::sync::atomic::Ordering::SeqCst);
            ends.then_some(Reply::Close)
        }
    });
    let (pool, coordinator) = brokers.coordinator();
    let topics = Subscription::Topics(vec!["t".into()]);
    let mut member = Membership::start(group(), topics, Arc::clone(&pool), coordinator);
    assert_eq!(assigned(&mut member).await, t(0..3));
    sleep(5 * SECOND).await;
    pool.broker(1, Purpose::Fetch).await.unwrap();
    refuses.store(true, std::sync::atomic::Ordering::SeqCst);
    brokers.fake.take_down(&["b1:1"]);
    let begun = Instant::now();
    assert_eq!(lost(&mut member).await, t(0..3));
    assert!(begun.elapsed() <= 10 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_growing_topic_is_shared_out_anew() {
    let brokers = Brokers::new();
    let (pool, coordinator) = brokers.coordinator();
    let topics = Subscription::Topics(vec!["t".into()]);
    let mut member = Membership::start(cooperative(), topics, pool.clone(), coordinator);
    assert_eq!(assigned(&mut member).await, t(0..3));
    brokers.change(|world| _ = world.topics.insert("t", 5));
    pool.cluster().refreshed().await.unwrap();
    assert_eq!(assigned(&mut member).await, t(3..5));
}

#[tokio::test(start_paused = true)]
async fn a_pattern_finds_its_topics() {
    let brokers = Brokers::new();
    brokers.change(|world| _ = world.topics.insert("tea", 1));
    let (pool, coordinator) = brokers.coordinator();
    let pattern = Subscription::Pattern("t|new.*".into());
    let mut member = Membership::start(cooperative(), pattern, pool.clone(), coordinator);
    assert_eq!(assigned(&mut member).await, t(0..3));
    brokers.change(|world| _ = world.topics.insert("new-one", 1));
    pool.cluster().refreshed().await.unwrap();
    assert_eq!(assigned(&mut member).await, [TopicPartition::new("new-one", 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_told_of_and_read_when_it_comes() {
    let brokers = Brokers::new();
    let mut member = brokers.member(cooperative(), &["later"]);
    assert_eq!(assigned(&mut member).await, []);
    sleep(15 * SECOND).await;
    let mut problems = Vec::new();
    while let Ok(GroupEvent::Problem(error)) = member.events.try_recv() {
        problems.push(error);
    }
    assert!((1..=2).contains(&problems.len()), "{problems:?}");
    assert!(
        matches!(&problems[0], Error::Broker { code: E::UnknownTopicOrPartition, at: At::Topic(topic), .. } if *topic == "later")
    );
    brokers.change(|world| _ = world.topics.insert("later", 1));
    assert_eq!(assigned(&mut member).await, [TopicPartition::new("later", 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_instance_is_the_end() {
    let brokers = Brokers::new();
    let mut member = brokers.member(GroupConfig { instance_id: Some("i".into()), ..group() }, &["t"]);
    assigned(&mut member).await;
    brokers.change(|world| world.beats = vec![E::FencedInstanceId]);
    assert_eq!(lost(&mut member).await, t(0..3));
    let end = event(&mut member).await;
    assert!(matches!(&end, GroupEvent::Fatal(error) if error.code() == Some(E::FencedInstanceId)), "{end:?}");
    assert!(member.events.recv().await.is_none());
    member.leave(Leave::Always).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_brings_the_rebalance_forward() {
    let brokers = Brokers::new();
    let mut member = brokers.member(group(), &["t"]);
    assigned(&mut member).await;
    brokers.change(|world| world.beats = vec![E::RebalanceInProgress]);
    let begun = Instant::now();
    member.commit_refused(E::RebalanceInProgress);
    revoked(&mut member).await;
    assert!(begun.elapsed() <= SECOND || begun.elapsed() <= 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_broker_of_kafka_2_1_is_understood() {
    let old = [
        (JoinGroupRequest::KEY, 3),
        (SyncGroupRequest::KEY, 2),
        (HeartbeatRequest::KEY, 2),
        (LeaveGroupRequest::KEY, 2),
        (FindCoordinatorRequest::KEY, 2),
        (MetadataRequest::KEY, 7),
    ];
    let brokers = Brokers::new();
    brokers.change(|world| world.highest = old.into());
    let mut member = brokers.member(group(), &["t"]);
    assert_eq!(assigned(&mut member).await, t(0..3));
    sleep(10 * SECOND).await;
    assert!(member.lease.is_valid());
    member.leave(Leave::Default).await.unwrap();
    brokers.see(|world| {
        assert_eq!((world.joins.len(), world.joins[0].0), (1, 3));
        assert_eq!(world.goodbyes[0].1.member_id.as_str(), "m-1");
    });
    // It knows no static members.
    let brokers = Brokers::new();
    brokers.change(|world| world.highest = old.into());
    let mut member = brokers.member(GroupConfig { instance_id: Some("i".into()), ..group() }, &["t"]);
    let end = event(&mut member).await;
    assert!(matches!(&end, GroupEvent::Fatal(Error::Config(_))), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_is_none_ends_at_once() {
    let brokers = Brokers::new();
    let (pool, coordinator) = brokers.coordinator();
    let mut member = Membership::start(group(), Subscription::Pattern("(".into()), pool, coordinator);
    let end = event(&mut member).await;
    assert!(matches!(&end, GroupEvent::Fatal(Error::Config(words)) if words.contains("'('")), "{end:?}");
    member.leave(Leave::Default).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_repeats_exactly() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let brokers = Brokers::new();
        brokers.change(|world| {
            world.beats = vec![E::RebalanceInProgress, E::NotCoordinator, E::UnknownMemberId]
        });
        let begun = Instant::now();
        let mut member = brokers.member(cooperative(), &["t"]);
        let mut run = Vec::new();
        while let Ok(Some(event)) = timeout(60 * SECOND, member.events.recv()).await {
            run.push((begun.elapsed(), format!("{event:?}")));
        }
        run.push((Duration::ZERO, format!("{:?}", brokers.fake.log.lock().unwrap())));
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].len() > 3, "{:?}", runs[0]);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_accepts_and_says_nothing_is_given_up_at_the_first_join() {
    // As half-open connections are: b1 answered once, and then never again.
    let dead = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let brokers = Brokers::with({
        let dead = Arc::clone(&dead);
        move |asked| {
            if asked.is::<JoinGroupRequest>() && asked.peer == "b1:1" {
                dead.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            let silent = dead.load(std::sync::atomic::Ordering::SeqCst) && asked.peer == "b1:1";
            silent.then_some(Reply::Silence)
        }
    });
    let mut member = brokers.member(group(), &["t"]);
    let begun = Instant::now();
    while !dead.load(std::sync::atomic::Ordering::SeqCst) {
        sleep(SECOND / 100).await;
    }
    brokers.change(|world| world.coordinator = 2);
    assert_eq!(assigned(&mut member).await, t(0..3));
    assert!(begun.elapsed() < 8 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_round_that_takes_long_for_a_good_reason_is_waited_for() {
    let brokers = Brokers::new();
    brokers.change(|world| world.join_takes = 100 * SECOND);
    let mut member = brokers.member(group(), &["t"]);
    assert_eq!(assigned(&mut member).await, t(0..3));
    // The one without an id, and the one that was held.
    assert_eq!(brokers.see(|world| world.joins.len()), 2);
}
