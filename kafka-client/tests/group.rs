//! Members of a group, as a user of the crate sees them: set `KAFKA_BOOTSTRAP_SERVERS`
//! (`scripts/with-kafka cargo test -p kafka-client --test group`). What a membership says to its coordinator is tested
//! beside the code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{Assignor, ClientConfig, ConsumerConfig, GroupConfig, Subscription};
use kafka_client::consumer::{Consumer, ConsumerEvent, PartitionStream, Revocation};
use kafka_client::group::{CommittedOffset, Leave};
use kafka_client::{Client, Error, TopicPartition};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A topic and a group of their own.
struct Ground {
    client: Client,
    topic: String,
}

impl Ground {
    async fn new(name: &str, partitions: i32) -> Option<Self> {
        let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
            eprintln!("NOT RUN: KAFKA_BOOTSTRAP_SERVERS is not set");
            return None;
        };
        let bootstrap_servers = servers.split(',').map(str::to_owned).collect();
        let client = Client::new(ClientConfig { bootstrap_servers, ..ClientConfig::default() }).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let name = format!("{name}-{}", now.as_nanos());
        let topic = NewTopic {
            name: name.clone(),
            partitions: Some(partitions),
            replication: None,
            config: [].into(),
        };
        let created = client.admin().create_topics(&[topic], PATIENCE).await.unwrap();
        created[0].1.as_ref().unwrap();
        Some(Self { client, topic: name })
    }

    fn member(&self, change: impl FnOnce(&mut GroupConfig)) -> Member {
        let mut group = GroupConfig::new(&self.topic);
        group.session_timeout = Duration::from_secs(6);
        group.heartbeat_interval = Duration::from_millis(500);
        change(&mut group);
        let topics = Subscription::Topics(vec![self.topic.clone()]);
        let config = ConsumerConfig { group: Some(group), ..ConsumerConfig::new(topics) };
        Member { consumer: self.client.consumer(config).unwrap(), streams: Vec::new(), given_back: 0 }
    }
}

struct Member {
    consumer: Consumer,
    streams: Vec<PartitionStream>,
    given_back: usize,
}

impl Member {
    fn held(&self) -> BTreeSet<TopicPartition> {
        self.streams.iter().map(PartitionStream::partition).collect()
    }

    fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.streams.retain(|stream| !partitions.contains(&stream.partition()));
    }

    /// The next event; what it says is noted, a revocation handed on.
    async fn next(&mut self) -> Option<Revocation> {
        match timeout(PATIENCE, self.consumer.next()).await.unwrap().expect("the consumer has ended") {
            ConsumerEvent::Assigned(streams) => self.streams.extend(streams),
            ConsumerEvent::Revoked(revocation) => {
                self.given_back += revocation.partitions.len();
                self.let_go(&revocation.partitions);
                return Some(revocation);
            }
            ConsumerEvent::Lost(partitions) => self.let_go(&partitions),
            ConsumerEvent::Problem(error) => eprintln!("problem: {error}"),
            other => panic!("{other:?}"),
        }
        None
    }

    async fn until_held(&mut self, count: usize) {
        while self.streams.len() != count {
            drop(self.next().await);
        }
    }

    async fn commit(&self, partition: TopicPartition, offset: i64) -> Result<(), Error> {
        let offset = CommittedOffset { offset, leader_epoch: -1, metadata: String::new() };
        let outcome = self.consumer.handle().commit(vec![(partition, offset)]).await;
        outcome.partitions.into_iter().next().unwrap().1
    }
}

#[tokio::test]
async fn a_thread_that_sleeps_keeps_its_membership() {
    let Some(ground) = Ground::new("asleep", 1).await else { return };
    let mut member = ground.member(|_| {});
    member.until_held(1).await;
    let life = member.consumer.handle().lease().life();
    // The only thread of this runtime, for longer than the session.
    std::thread::sleep(Duration::from_secs(9));
    assert!(life.holds());
    let partition = *member.held().first().unwrap();
    member.commit(partition, 1).await.unwrap();
    member.consumer.close(Leave::Default, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_vanishes_is_missed_after_the_session() {
    let Some(ground) = Ground::new("vanishes", 4).await else { return };
    let mut one = ground.member(|_| {});
    one.until_held(4).await;
    let mut two = ground.member(|_| {});
    tokio::join!(
        async {
            while one.given_back == 0 {
                drop(one.next().await);
            }
            one.until_held(2).await;
        },
        two.until_held(2)
    );
    drop(two);
    one.until_held(4).await;
    one.consumer.close(Leave::Default, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_drains_too_long_has_lost_and_comes_back() {
    let Some(ground) = Ground::new("drains", 2).await else { return };
    let short = |group: &mut GroupConfig| group.rebalance_timeout = Duration::from_secs(5);
    let mut one = ground.member(short);
    one.until_held(2).await;
    let all = one.held();
    let mut two = ground.member(short);
    let two_has_one = tokio::spawn(async move {
        two.until_held(1).await;
        two
    });
    let revocation = loop {
        if let Some(revocation) = one.next().await {
            break revocation;
        }
    };
    assert_eq!(revocation.partitions.len(), 2);
    let some = *all.first().unwrap();
    one.commit(some, 7).await.unwrap();
    // Not given back in time: lost, and the round goes on, with a place for this member.
    let lost = loop {
        match timeout(PATIENCE, one.consumer.next()).await.unwrap().unwrap() {
            ConsumerEvent::Lost(partitions) => break partitions,
            ConsumerEvent::Problem(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(lost.into_iter().collect::<BTreeSet<_>>(), all);
    assert!(matches!(one.commit(some, 8).await, Err(Error::NotHeld { .. })));
    one.until_held(1).await;
    drop(revocation);
    let two = two_has_one.await.unwrap();
    assert!(two.held().is_disjoint(&one.held()));
    two.consumer.close(Leave::Default, PATIENCE).await.unwrap();
    one.until_held(2).await;
    one.consumer.close(Leave::Default, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_deploy_of_static_members_costs_no_rebalance() {
    let Some(ground) = Ground::new("static", 4).await else { return };
    let named = |name: &'static str| move |group: &mut GroupConfig| group.instance_id = Some(name.into());
    let mut one = ground.member(named("one"));
    one.until_held(4).await;
    let mut two = ground.member(named("two"));
    tokio::join!(
        async {
            while one.given_back == 0 {
                drop(one.next().await);
            }
            one.until_held(2).await;
        },
        two.until_held(2)
    );
    let (held, given_back) = (two.held(), one.given_back);
    let some = *held.first().unwrap();
    two.commit(some, 3).await.unwrap();
    two.consumer.close(Leave::Default, PATIENCE).await.unwrap();
    let mut two = ground.member(named("two"));
    two.until_held(2).await;
    assert_eq!(two.held(), held);
    let start = two.streams.iter().find(|stream| stream.partition() == some).unwrap().start().offset;
    assert_eq!(start, 3);
    assert!(timeout(Duration::from_secs(3), one.consumer.next()).await.is_err(), "nobody was disturbed");
    assert_eq!(one.given_back, given_back);
    // This time for good.
    two.consumer.close(Leave::Always, PATIENCE).await.unwrap();
    one.until_held(0).await;
    one.until_held(4).await;
}

#[tokio::test]
async fn cooperative_members_go_on_with_what_stays() {
    let Some(ground) = Ground::new("cooperative", 6).await else { return };
    let cooperative = |group: &mut GroupConfig| group.assignors = vec![Assignor::CooperativeSticky];
    let mut one = ground.member(cooperative);
    one.until_held(6).await;
    let before = one.held();
    let mut two = ground.member(cooperative);
    let (_, ()) = tokio::join!(
        async {
            let revocation = loop {
                if let Some(revocation) = one.next().await {
                    break revocation;
                }
            };
            // While this is drained, the others are read and committed.
            assert_eq!(revocation.partitions.len(), 3);
            for partition in one.held() {
                one.commit(partition, 5).await.unwrap();
            }
            for partition in revocation.partitions.clone() {
                one.commit(partition, 6).await.unwrap();
            }
        },
        two.until_held(3)
    );
    assert!(one.held().is_subset(&before) && two.held().is_disjoint(&one.held()));
    assert!(
        two.streams.iter().all(|stream| stream.start().offset == 6),
        "they begin where the other one stopped"
    );
    // A round is under way or over: commits go on, stamped anew.
    let three = ground.member(cooperative);
    for offset in 10..40 {
        for partition in one.held() {
            match one.commit(partition, offset).await {
                Ok(()) | Err(Error::NotHeld { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let event = timeout(Duration::from_millis(50), one.consumer.next()).await;
        if let Ok(Some(ConsumerEvent::Revoked(revocation))) = event {
            one.let_go(&revocation.partitions);
        }
    }
    drop(three);
}
