//! Members on a broker: set `KAFKA_BOOTSTRAP_SERVERS` (`scripts/with-kafka cargo test -p kafka-client group`).

use std::collections::{BTreeSet, HashMap};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError as E;
use tokio::time::{sleep, timeout};

use crate::Client;
use crate::admin::NewTopic;
use crate::cluster::Cluster;
use crate::config::{Assignor, ClientConfig, GroupConfig, Subscription};
use crate::group::{
    CommittedOffset, Coordinator, GroupEvent, Identity, Leave, Membership, commit, fetch_committed,
};
use crate::ids::TopicPartition;
use crate::net::{Pool, Purpose};
use crate::seams::Seams;

const PATIENCE: Duration = Duration::from_secs(30);
const COOPERATIVE: &[Assignor] = &[Assignor::CooperativeSticky];

/// A topic and a group of its own on the broker that the tests were given.
struct Ground {
    servers: String,
    topic: String,
    group: GroupConfig,
}

impl Ground {
    async fn new(name: &str, partitions: i32) -> Option<Self> {
        let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
            eprintln!("NOT RUN: KAFKA_BOOTSTRAP_SERVERS is not set");
            return None;
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let topic = format!("{name}-{}", now.as_nanos());
        let ground = Self { servers, group: GroupConfig::new(&topic), topic };
        let topic = NewTopic {
            name: ground.topic.clone(),
            partitions: Some(partitions),
            replication: None,
            config: HashMap::new().into_iter().collect(),
        };
        let created = ground.client().admin().create_topics(&[topic], PATIENCE).await.unwrap();
        created[0].1.as_ref().unwrap();
        Some(ground)
    }

    fn config(&self) -> ClientConfig {
        let bootstrap_servers = self.servers.split(',').map(str::to_owned).collect();
        ClientConfig { bootstrap_servers, ..ClientConfig::default() }
    }

    fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }

    fn group(&self, assignors: &[Assignor]) -> GroupConfig {
        GroupConfig {
            assignors: assignors.to_vec(),
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            rebalance_timeout: Duration::from_secs(20),
            ..self.group.clone()
        }
    }

    fn join(&self, group: GroupConfig) -> Member {
        let pool =
            Arc::new(Pool::new(Cluster::new(self.config(), Seams::default()), "test".to_owned().into()));
        let coordinator = Arc::new(Coordinator::new(Arc::clone(&pool), &group.group_id));
        let topics = Subscription::Topics(vec![self.topic.clone()]);
        let membership = Membership::start(group, topics, Arc::clone(&pool), Arc::clone(&coordinator));
        Member { membership, coordinator, pool, held: BTreeSet::new(), revoked: 0, log: Vec::new() }
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), number)
    }
}

/// A member whose consumer gives back at once.
struct Member {
    membership: Membership,
    coordinator: Arc<Coordinator>,
    pool: Arc<Pool>,
    held: BTreeSet<TopicPartition>,
    revoked: usize,
    log: Vec<String>,
}

impl Member {
    fn note(&mut self, event: GroupEvent) {
        self.log.push(format!("{event:?}"));
        match event {
            GroupEvent::Assigned(partitions) => {
                for partition in partitions {
                    assert!(self.held.insert(partition), "{partition} twice: {:#?}", self.log);
                }
            }
            GroupEvent::Revoked { partitions, .. } => {
                self.revoked += partitions.len();
                partitions.iter().for_each(|partition| assert!(self.held.remove(partition)));
            }
            GroupEvent::Lost(_) | GroupEvent::Fatal(_) => panic!("{:#?}", self.log),
            GroupEvent::Problem(error) => eprintln!("problem: {error}"),
        }
    }

    /// Takes events for a while.
    async fn live(&mut self, time: Duration) {
        let _ = timeout(time, async {
            while let Some(event) = self.membership.events.recv().await {
                self.note(event);
            }
        })
        .await;
    }

    async fn commit(&self, partition: TopicPartition, offset: i64) -> Option<E> {
        let stamp = self.membership.identity.borrow().clone();
        self.commit_as(&stamp, partition, offset).await
    }

    async fn commit_as(&self, stamp: &Identity, partition: TopicPartition, offset: i64) -> Option<E> {
        let offsets = [(partition, CommittedOffset { offset, leader_epoch: -1, metadata: "m".into() })];
        let connection = self.coordinator.connection(Purpose::Commit).await.unwrap();
        commit(&self.coordinator, &connection, stamp, None, &offsets).await.unwrap()[0].1
    }
}

/// Lets members live until their counts of partitions are these.
async fn until_shared(members: &mut [&mut Member], counts: &[usize]) {
    for _ in 0..300 {
        for member in &mut *members {
            member.live(Duration::from_millis(50)).await;
        }
        let mut held: Vec<_> = members.iter().map(|member| member.held.len()).collect();
        held.sort_unstable();
        if held == counts {
            let all: BTreeSet<_> = members.iter().flat_map(|member| &member.held).collect();
            assert_eq!(all.len(), counts.iter().sum::<usize>(), "each partition is in one hand");
            return;
        }
    }
    let logs: Vec<_> = members.iter().map(|member| &member.log).collect();
    panic!("never {counts:?}: {logs:#?}");
}

#[tokio::test]
async fn two_members_share_a_topic_and_one_leaves() {
    for (name, assignors) in [
        ("eager", &[Assignor::Range, Assignor::CooperativeSticky][..]),
        ("cooperative", COOPERATIVE),
        ("sticky", &[Assignor::Sticky]),
        ("roundrobin", &[Assignor::RoundRobin]),
    ] {
        let Some(ground) = Ground::new(name, 5).await else { return };
        let mut one = ground.join(ground.group(assignors));
        until_shared(&mut [&mut one], &[5]).await;
        assert!(one.membership.lease.is_valid());
        let mut two = ground.join(ground.group(assignors));
        until_shared(&mut [&mut one, &mut two], &[2, 3]).await;
        let expected = if assignors == COOPERATIVE { 2 } else { 5 };
        assert_eq!(one.revoked, expected, "{name}: {:#?}", one.log);
        // The round ends, then longer than a session: heartbeats keep both.
        tokio::join!(one.live(Duration::from_secs(1)), two.live(Duration::from_secs(1)));
        let rounds = (one.log.len(), two.log.len());
        tokio::join!(one.live(Duration::from_secs(8)), two.live(Duration::from_secs(8)));
        assert_eq!((one.log.len(), two.log.len()), rounds, "{name}: nothing happens for nothing");
        let left = two.membership.leave(Leave::Default);
        left.await.unwrap();
        until_shared(&mut [&mut one], &[5]).await;
        one.membership.leave(Leave::Default).await.unwrap();
    }
}

#[tokio::test]
async fn offsets_are_committed_by_who_is_a_member_and_known_to_all() {
    let Some(ground) = Ground::new("offsets", 2).await else { return };
    let mut one = ground.join(ground.group(COOPERATIVE));
    until_shared(&mut [&mut one], &[2]).await;
    let (first, second) = (ground.partition(0), ground.partition(1));
    assert_eq!(one.commit(first, 42).await, None);
    let stale = Identity { generation: 0, ..one.membership.identity.borrow().clone() };
    assert_eq!(one.commit_as(&stale, first, 43).await, Some(E::IllegalGeneration));
    let stranger = Identity { member_id: "nobody".into(), ..one.membership.identity.borrow().clone() };
    assert_eq!(one.commit_as(&stranger, first, 43).await, Some(E::UnknownMemberId));
    let known = fetch_committed(&one.coordinator, &[first, second], PATIENCE).await.unwrap();
    let expected = CommittedOffset { offset: 42, leader_epoch: -1, metadata: "m".into() };
    assert_eq!(known, HashMap::from([(first, Ok(Some(expected))), (second, Ok(None))]));
    one.membership.leave(Leave::Default).await.unwrap();
}

#[tokio::test]
async fn a_static_member_comes_back_without_a_rebalance_and_a_second_one_fences_it() {
    let Some(ground) = Ground::new("static", 4).await else { return };
    let group = |instance: &str| GroupConfig {
        instance_id: Some(instance.into()),
        ..ground.group(&[Assignor::Range])
    };
    let mut one = ground.join(group("one"));
    until_shared(&mut [&mut one], &[4]).await;
    let mut two = ground.join(group("two"));
    until_shared(&mut [&mut one, &mut two], &[2, 2]).await;
    let (leader_held, held) = (one.held.clone(), two.held.clone());
    let revoked = (one.revoked, two.revoked);
    two.membership.leave(Leave::Default).await.unwrap();
    let mut two = ground.join(group("two"));
    until_shared(&mut [&mut one, &mut two], &[2, 2]).await;
    assert_eq!((one.revoked, &two.held), (revoked.0, &held), "{:#?}", one.log);
    // The leader too.
    one.membership.leave(Leave::Default).await.unwrap();
    let mut one = ground.join(group("one"));
    until_shared(&mut [&mut one, &mut two], &[2, 2]).await;
    assert_eq!((&one.held, two.revoked), (&leader_held, 0), "{:#?}", two.log);

    let mut another = ground.join(group("one"));
    until_shared(&mut [&mut another, &mut two], &[2, 2]).await;
    let mut end = Vec::new();
    while let Some(event) = timeout(PATIENCE, one.membership.events.recv()).await.unwrap() {
        end.push(event);
    }
    assert!(
        matches!(&end[..], [GroupEvent::Lost(lost), GroupEvent::Fatal(error)]
            if lost.len() == 2 && error.code() == Some(E::FencedInstanceId)),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_growing_topic_is_noticed_by_the_leader() {
    let Some(ground) = Ground::new("growing", 2).await else { return };
    let mut one = ground.join(ground.group(COOPERATIVE));
    let mut two = ground.join(ground.group(COOPERATIVE));
    until_shared(&mut [&mut one, &mut two], &[1, 1]).await;
    let revoked = (one.revoked, two.revoked);
    ground.client().admin().create_partitions(&ground.topic, 4, PATIENCE).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    for member in [&one, &two] {
        member.pool.cluster().refreshed().await.unwrap();
    }
    until_shared(&mut [&mut one, &mut two], &[2, 2]).await;
    assert_eq!((one.revoked, two.revoked), revoked, "what stays is not taken away");
}

/// A Java consumer in the same group.
struct Java(Child);

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Java {
    fn join(ground: &Ground, assignor: &str) -> Option<Self> {
        let Ok(libs) = std::env::var("KAFKA_LIBS") else {
            eprintln!("NOT RUN: KAFKA_LIBS is not set");
            return None;
        };
        let child = Command::new("java")
            .args([
                "-Xmx128m",
                "-cp",
                &format!("{libs}/*"),
                "org.apache.kafka.tools.consumer.ConsoleConsumer",
            ])
            .args(["--bootstrap-server", &ground.servers, "--topic", &ground.topic, "--group", &ground.topic])
            .args(["--consumer-property", &format!("partition.assignment.strategy={assignor}")])
            .args(["--consumer-property", "heartbeat.interval.ms=500"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self(child))
    }
}

#[tokio::test]
async fn a_java_consumer_is_in_the_same_group() {
    const PACKAGE: &str = "org.apache.kafka.clients.consumer";
    for (assignor, class) in [
        (Assignor::Range, "RangeAssignor"),
        (Assignor::RoundRobin, "RoundRobinAssignor"),
        (Assignor::Sticky, "StickyAssignor"),
        (Assignor::CooperativeSticky, "CooperativeStickyAssignor"),
    ] {
        let Some(ground) = Ground::new("java", 6).await else { return };
        // First we lead and Java follows, then the other way round.
        let mut one = ground.join(ground.group(&[assignor]));
        until_shared(&mut [&mut one], &[6]).await;
        let Some(java) = Java::join(&ground, &format!("{PACKAGE}.{class}")) else { return };
        until_shared(&mut [&mut one], &[3]).await;
        one.membership.leave(Leave::Default).await.unwrap();
        let mut two = ground.join(ground.group(&[assignor]));
        until_shared(&mut [&mut two], &[3]).await;
        let mut three = ground.join(ground.group(&[assignor]));
        until_shared(&mut [&mut two, &mut three], &[2, 2]).await;
        drop(java);
        two.live(Duration::from_secs(1)).await;
        three.membership.leave(Leave::Default).await.unwrap();
        two.membership.leave(Leave::Default).await.unwrap();
    }
}
