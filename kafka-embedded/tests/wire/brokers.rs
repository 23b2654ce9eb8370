//! Brokers that stop, are cut off and come back; leaders, replicas and coordinators that move.

use std::time::Duration;

use kafka_client::records::encode::ProducerStamp;
use kafka_client::seams::Transport;
use kafka_embedded::{Builder, EmbeddedKafka, Error, ErrorCode};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeClusterRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, FetchRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest,
};
use tokio::time::{Instant, sleep, timeout};

use crate::peer::{
    Peer, batch, fetch, fetch_request, fetch_topic, plain, produce, produce_request, records, text, topic,
};

fn three() -> Builder {
    EmbeddedKafka::builder().brokers(3).topic("orders", 3)
}

async fn started() -> EmbeddedKafka {
    three().in_memory().start().await.unwrap()
}

/// The partitions of `orders`, as broker `id` tells of them, and the brokers it knows.
async fn seen_by(kafka: &EmbeddedKafka, id: i32) -> (Vec<MetadataResponsePartition>, Vec<i32>) {
    let mut peer = Peer::connect(kafka, id).await;
    let mut answer = peer.call(12, &MetadataRequest::default().with_topics(None)).await;
    let brokers = answer.brokers.iter().map(|broker| broker.node_id.0).collect();
    (answer.topics.remove(0).partitions, brokers)
}

fn ids(ids: &[kafka_protocol::messages::BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stopped_brokers_partitions_are_led_by_others() {
    let kafka = started().await;
    let mut peer = Peer::connect(&kafka, 1).await;
    assert_eq!([0, 1, 2].map(|index| kafka.leader("orders", index)), [Some(1), Some(2), Some(3)]);
    assert_eq!(produce(&mut peer, "orders", 0, plain(&["a"])).await.error_code, 0);
    kafka.stop_broker(1).await.unwrap();
    assert_eq!(peer.frame().await, None, "its connections are closed");
    assert!(kafka.transport().connect("kafka-1.embedded", 9092).await.is_err());

    let (partitions, brokers) = seen_by(&kafka, 2).await;
    assert_eq!(brokers, [2, 3]);
    let first = &partitions[0];
    assert_eq!((first.error_code, first.leader_id.0, first.leader_epoch), (0, 2, 1));
    assert_eq!((ids(&first.replica_nodes), ids(&first.isr_nodes)), (vec![1, 2, 3], vec![2, 3]));
    assert_eq!(ids(&first.offline_replicas), [1]);
    assert_eq!((partitions[1].leader_id.0, partitions[1].leader_epoch), (2, 0), "led by another all along");

    let mut next = Peer::connect(&kafka, 2).await;
    assert_eq!(produce(&mut next, "orders", 0, plain(&["b"])).await.base_offset, 1);
    assert_eq!(records(&fetch(&mut next, &fetch_request("orders", 0, 0)).await).len(), 2);

    kafka.start_broker(1).await.unwrap();
    let (partitions, brokers) = seen_by(&kafka, 1).await;
    assert_eq!(brokers, [1, 2, 3]);
    assert_eq!((partitions[0].leader_id.0, ids(&partitions[0].isr_nodes)), (2, vec![2, 3, 1]));
    kafka.elect_preferred_leaders();
    assert_eq!(kafka.leader("orders", 0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn without_replicas_there_is_no_leader() {
    let kafka = started().await;
    for id in [3, 1] {
        kafka.stop_broker(id).await.unwrap();
    }
    let mut peer = Peer::connect(&kafka, 2).await;
    assert_eq!(produce(&mut peer, "orders", 0, plain(&["alone"])).await.error_code, 0);
    kafka.stop_broker(2).await.unwrap();
    assert_eq!(kafka.leader("orders", 0), None);
    kafka.start_broker(3).await.unwrap();
    let (partitions, _) = seen_by(&kafka, 3).await;
    let lost = &partitions[0];
    assert_eq!((lost.error_code, lost.leader_id.0), (ErrorCode::LeaderNotAvailable.code(), -1));
    let mut peer = Peer::connect(&kafka, 3).await;
    let refused = produce(&mut peer, "orders", 0, plain(&["x"])).await;
    assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.code());
    let moved = kafka.move_leader("orders", 0, 3).unwrap_err();
    assert!(matches!(moved, Error::CannotLead { broker: 3, .. }), "it lacks a record: {moved}");

    let shown = peer.call(2, &DescribeClusterRequest::default().with_include_fenced_brokers(true)).await;
    let fenced: Vec<_> = shown.brokers.iter().map(|broker| (broker.broker_id.0, broker.is_fenced)).collect();
    assert_eq!(fenced, [(1, true), (2, true), (3, false)]);
    assert_eq!(peer.call(2, &DescribeClusterRequest::default()).await.brokers.len(), 1);

    kafka.start_broker(2).await.unwrap();
    let mut peer = Peer::connect(&kafka, 2).await;
    let found = fetch(&mut peer, &fetch_request("orders", 0, 0)).await;
    assert_eq!(records(&found), [(0, "alone".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_cut_off_answers_when_it_is_reconnected() {
    let kafka = started().await;
    let mut peer = Peer::connect(&kafka, 1).await;
    kafka.cut_off_broker(1).unwrap();
    let mut late = Peer::connect(&kafka, 1).await;
    for peer in [&mut peer, &mut late] {
        peer.send(0, &ApiVersionsRequest::default()).await;
        assert!(timeout(Duration::from_secs(4), peer.frame()).await.is_err());
    }
    assert_eq!(kafka.leader("orders", 0), Some(1), "nobody has noticed yet");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(kafka.leader("orders", 0), Some(2), "its session is over");
    kafka.reconnect_broker(1).unwrap();
    for peer in [&mut peer, &mut late] {
        assert!(peer.frame().await.is_some());
    }
    assert_eq!(kafka.leader("orders", 0), Some(2));

    kafka.cut_off_broker(1).unwrap();
    sleep(Duration::from_secs(8)).await;
    kafka.reconnect_broker(1).unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(seen_by(&kafka, 2).await.1, [1, 2, 3], "soon enough");
}

#[tokio::test(start_paused = true)]
async fn a_killed_broker_refuses_connections_and_is_missed_when_its_session_is_over() {
    let kafka = started().await;
    let mut peer = Peer::connect(&kafka, 1).await;
    kafka.kill_broker(1).await.unwrap();
    assert_eq!(peer.frame().await, None, "its connections are closed");
    let refused = kafka.transport().connect("kafka-1.embedded", 9092).await.err();
    assert_eq!(refused.map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionRefused));
    sleep(Duration::from_secs(8)).await;
    assert_eq!(kafka.leader("orders", 0), Some(1), "nobody has noticed yet");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(kafka.leader("orders", 0), Some(2), "its session is over");
    kafka.start_broker(1).await.unwrap();
    assert_eq!(seen_by(&kafka, 1).await.1, [1, 2, 3]);

    kafka.kill_broker(3).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    kafka.start_broker(3).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(kafka.leader("orders", 2), Some(3), "soon enough");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_hears_that_the_leader_has_moved() {
    let kafka = started().await;
    let mut peer = Peer::connect(&kafka, 1).await;
    let began = Instant::now();
    let asked = fetch_topic("orders", &[(0, 0)]);
    let known = FetchPartition::default().with_current_leader_epoch(0).with_partition_max_bytes(1 << 20);
    let asked = asked.with_partitions(vec![known]);
    let wait =
        fetch_request("orders", 0, 0).with_max_wait_ms(60_000).with_min_bytes(1).with_topics(vec![asked]);
    peer.send(12, &wait).await;
    sleep(Duration::from_secs(1)).await;
    kafka.move_leader("orders", 0, 3).unwrap();
    let answer = peer.receive::<FetchRequest>(12, 0).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::FencedLeaderEpoch.code());
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

/// KIP-951: with the error comes the leader, and where it is.
#[tokio::test(start_paused = true)]
async fn errors_name_the_leader() {
    let kafka = three().racks(["a", "b", "c"]).in_memory().start().await.unwrap();
    kafka.move_leader("orders", 0, 3).unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let request = produce_request("orders", 0, plain(&["x"]));
    for version in [9, 10, 12] {
        let answer = peer.call::<ProduceRequest>(version, &request).await;
        let part = &answer.responses[0].partition_responses[0];
        assert_eq!(part.error_code, ErrorCode::NotLeaderOrFollower.code());
        let expected = if version >= 10 { (3, 1) } else { (-1, -1) };
        assert_eq!((part.current_leader.leader_id.0, part.current_leader.leader_epoch), expected);
        assert_eq!(answer.node_endpoints.len(), usize::from(version >= 10));
        assert!(answer.node_endpoints.iter().all(|node| node.rack.as_deref() == Some("c")));
    }
}

#[tokio::test(start_paused = true)]
async fn epochs_are_checked_and_their_ends_told() {
    let kafka = started().await;
    for (leader, values) in [(1, &["a", "b"][..]), (2, &[]), (3, &["c"])] {
        kafka.move_leader("orders", 0, leader).unwrap();
        let mut peer = Peer::connect(&kafka, leader).await;
        if !values.is_empty() {
            produce(&mut peer, "orders", 0, plain(values)).await;
        }
    }
    let mut peer = Peer::connect(&kafka, 3).await;
    let ask = |current, epoch| {
        let partition =
            OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
        let topic =
            OffsetForLeaderTopic::default().with_topic(topic("orders")).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    let mut told = Vec::new();
    for (current, epoch) in [(2, 0), (2, 1), (2, 2), (2, 3), (1, 0), (3, 0)] {
        let answer = peer.call(4, &ask(current, epoch)).await;
        let end = &answer.topics[0].partitions[0];
        told.push((end.error_code, end.leader_epoch, end.end_offset));
    }
    let (fenced, unknown) = (ErrorCode::FencedLeaderEpoch.code(), ErrorCode::UnknownLeaderEpoch.code());
    // Epoch 1 wrote nothing: the largest below it is told.
    let expected = [(0, 0, 2), (0, 0, 2), (0, 2, 3), (0, -1, -1), (fenced, -1, -1), (unknown, -1, -1)];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn consumers_may_read_from_followers() {
    let kafka = three().racks(["a", "b", "c"]).rack_aware_reads(true).in_memory().start().await.unwrap();
    let mut leader = Peer::connect(&kafka, 1).await;
    produce(&mut leader, "orders", 0, plain(&["x"])).await;
    let asked = |rack: &str| fetch_request("orders", 0, 0).with_rack_id(text(rack)).with_max_wait_ms(60_000);
    let began = Instant::now();
    for (rack, preferred, count) in [("a", -1, 1), ("b", 2, 0), ("c", 3, 0), ("d", -1, 1), ("", -1, 1)] {
        let found = fetch(&mut leader, &asked(rack)).await;
        assert_eq!(
            (found.preferred_read_replica.0, records(&found).len()),
            (preferred, count),
            "rack {rack}"
        );
    }
    let mut follower = Peer::connect(&kafka, 2).await;
    assert_eq!(records(&fetch(&mut follower, &asked("b")).await).len(), 1);
    let old = follower.call(10, &fetch_request("orders", 0, 0)).await;
    let refused = ErrorCode::NotLeaderOrFollower.code();
    assert_eq!(old.responses[0].partitions[0].error_code, refused, "it knows nothing of followers");
    kafka.stop_broker(2).await.unwrap();
    assert_eq!(fetch(&mut leader, &asked("b")).await.preferred_read_replica.0, -1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_in_sync_take_no_records() {
    let kafka = started().await;
    let mut peer = Peer::connect(&kafka, 1).await;
    let config = CreatableTopicConfig::default().with_name(text("min.insync.replicas"));
    let wanted = CreatableTopic::default()
        .with_name(topic("strict"))
        .with_num_partitions(1)
        .with_replication_factor(3)
        .with_configs(vec![config.with_value(Some(text("2")))]);
    let strict = CreateTopicsRequest::default().with_topics(vec![wanted]);
    assert_eq!(peer.call(7, &strict).await.topics[0].error_code, 0);
    let leader = kafka.leader("strict", 0).unwrap();
    let others: Vec<i32> = (1..=3).filter(|id| *id != leader).collect();
    let mut peer = Peer::connect(&kafka, leader).await;
    kafka.stop_broker(others[0]).await.unwrap();
    assert_eq!(produce(&mut peer, "strict", 0, plain(&["x"])).await.error_code, 0);
    kafka.stop_broker(others[1]).await.unwrap();
    let refused = produce(&mut peer, "strict", 0, plain(&["x"])).await;
    assert_eq!(refused.error_code, ErrorCode::NotEnoughReplicas.code());
    let unsafe_one = produce_request("strict", 0, plain(&["x"])).with_acks(1);
    assert_eq!(peer.call(9, &unsafe_one).await.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn preferred_leaders_are_elected_on_request() {
    let kafka = started().await;
    kafka.stop_broker(1).await.unwrap();
    let mut peer = Peer::connect(&kafka, 2).await;
    let all = ElectLeadersRequest::default().with_topic_partitions(None);
    let answer = peer.call(2, &all).await;
    let results = |answer: &kafka_protocol::messages::ElectLeadersResponse| {
        let partitions = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        partitions.map(|part| (part.partition_id, part.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(results(&answer), [(0, ErrorCode::PreferredLeaderNotAvailable.code())]);
    kafka.start_broker(1).await.unwrap();
    assert_eq!(results(&peer.call(2, &all).await), [(0, 0)]);
    assert_eq!(results(&peer.call(2, &all).await), [], "all lead that should");
    assert_eq!(kafka.leader("orders", 0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn topics_are_described_in_pages() {
    let builder = EmbeddedKafka::builder().topic("a", 2).topic("b", 3).topic("c", 1);
    let kafka = builder.in_memory().start().await.unwrap();
    let mut peer = Peer::connect(&kafka, 1).await;
    let mut request =
        DescribeTopicPartitionsRequest::default().with_response_partition_limit(2).with_cursor(None);
    let mut pages = Vec::new();
    loop {
        let answer = peer.call(0, &request).await;
        let shown = answer.topics.iter().flat_map(|topic| {
            let name = topic.name.as_ref().unwrap().to_string();
            topic.partitions.iter().map(move |partition| format!("{name}{}", partition.partition_index))
        });
        pages.push(shown.collect::<Vec<_>>().join(" "));
        let Some(next) = answer.next_cursor else { break };
        let cursor =
            Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
        request.cursor = Some(cursor);
    }
    assert_eq!(pages, ["a0 a1", "b0 b1", "b2 c0"]);
    let named = |name: &str| TopicRequest::default().with_name(topic(name));
    let request = request.with_topics(vec![named("zebra"), named("c"), named("a/b")]).with_cursor(None);
    let answer = peer.call(0, &request).await;
    let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
    let (invalid, unknown) = (ErrorCode::InvalidTopicException, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(codes, [invalid.code(), 0, unknown.code()], "by name");
    let elsewhere = Cursor::default().with_topic_name(topic("b"));
    let answer = peer.call(0, &request.with_cursor(Some(elsewhere))).await;
    assert!(answer.topics.iter().all(|topic| topic.error_code == ErrorCode::InvalidRequest.code()));
}

async fn find(peer: &mut Peer, group: &str) -> (i16, i32) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    let found = peer.call(4, &request).await.coordinators.remove(0);
    (found.error_code, found.node_id.0)
}

#[tokio::test(start_paused = true)]
async fn coordinators_move() {
    let kafka = started().await;
    let old = kafka.coordinator("billing").unwrap();
    let (new, third) = (old % 3 + 1, (old + 1) % 3 + 1);
    let mut peer = Peer::connect(&kafka, third).await;
    let beat = HeartbeatRequest::default().with_group_id(GroupId(text("billing"))).with_member_id(text("m"));
    let mut at_old = Peer::connect(&kafka, old).await;
    let (elsewhere, unknown) = (ErrorCode::NotCoordinator.code(), ErrorCode::UnknownMemberId.code());
    assert_eq!(at_old.call(4, &beat).await.error_code, unknown);
    kafka.move_coordinator("billing", new).unwrap();
    assert_eq!(at_old.call(4, &beat).await.error_code, elsewhere);
    assert_eq!(find(&mut peer, "billing").await, (0, new));
    kafka.faults().lose_coordinator("billing");
    assert_eq!(find(&mut peer, "billing").await, (ErrorCode::CoordinatorNotAvailable.code(), -1));
    kafka.move_coordinator("billing", old).unwrap();
    assert_eq!(find(&mut peer, "billing").await, (0, old));
    kafka.stop_broker(old).await.unwrap();
    let (code, found) = find(&mut peer, "billing").await;
    assert!(code == 0 && found != old);
    assert!(matches!(kafka.move_coordinator("billing", 9), Err(Error::NoBroker(9))));
}

/// A first join to `billing`, with a session of 10 s.
fn join() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("billing")))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Who cannot say that it is there is not given up for that: the coordinator's time stands still while there is none, and the next
/// one counts sessions anew, as Kafka's does when it has loaded the group.
#[tokio::test(start_paused = true)]
async fn sessions_wait_for_a_coordinator() {
    let kafka = started().await;
    let broker = kafka.coordinator("billing").unwrap();
    let mut peer = Peer::connect(&kafka, broker).await;
    let joined = peer.call(3, &join()).await;
    let sync = SyncGroupRequest::default()
        .with_group_id(GroupId(text("billing")))
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id);
    assert_eq!(peer.call(3, &sync).await.error_code, 0);
    let beat = HeartbeatRequest::default()
        .with_group_id(GroupId(text("billing")))
        .with_member_id(joined.member_id)
        .with_generation_id(joined.generation_id);
    for _ in 0..2 {
        kafka.faults().lose_coordinator("billing");
        sleep(Duration::from_secs(60)).await;
        kafka.move_coordinator("billing", broker).unwrap();
        sleep(Duration::from_secs(9)).await;
        assert_eq!(peer.call(4, &beat).await.error_code, 0);
        // All brokers gone, and back.
        for id in 1..=3 {
            kafka.stop_broker(id).await.unwrap();
        }
        sleep(Duration::from_secs(60)).await;
        for id in 1..=3 {
            kafka.start_broker(id).await.unwrap();
        }
        peer = Peer::connect(&kafka, kafka.coordinator("billing").unwrap()).await;
        sleep(Duration::from_secs(9)).await;
        assert_eq!(peer.call(4, &beat).await.error_code, 0);
    }
    sleep(Duration::from_secs(11)).await;
    assert_eq!(peer.call(4, &beat).await.error_code, ErrorCode::UnknownMemberId.code());
}

/// A member whose join waits while the coordinator moves is told so, and does not stay in the group for ever.
#[tokio::test(start_paused = true)]
async fn a_waiting_join_hears_that_the_coordinator_has_moved() {
    let kafka = three().initial_rebalance_delay(Duration::from_secs(60)).in_memory().start().await.unwrap();
    let old = kafka.coordinator("billing").unwrap();
    let mut peer = Peer::connect(&kafka, old).await;
    peer.send(3, &join()).await;
    assert!(timeout(Duration::from_secs(5), peer.frame()).await.is_err());
    kafka.move_coordinator("billing", old % 3 + 1).unwrap();
    let answer = peer.receive::<JoinGroupRequest>(3, 0).await;
    assert_eq!(answer.error_code, ErrorCode::NotCoordinator.code());
}

/// Over TCP the port itself is closed, kept, and opened again.
#[tokio::test]
async fn a_port_is_closed_and_opened_again() {
    let kafka = EmbeddedKafka::builder().brokers(2).topic("orders", 1).start().await.unwrap();
    let servers = kafka.bootstrap_servers();
    let second = servers.split(',').nth(1).unwrap();
    let mut open = tokio::net::TcpStream::connect(second).await.unwrap();
    kafka.stop_broker(2).await.unwrap();
    let mut byte = [0];
    assert_eq!(tokio::io::AsyncReadExt::read(&mut open, &mut byte).await.unwrap_or(0), 0);
    let refused = tokio::net::TcpStream::connect(second).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    kafka.stop_broker(2).await.unwrap();
    kafka.start_broker(2).await.unwrap();
    kafka.start_broker(2).await.unwrap();
    let mut again = Peer::tcp(second).await;
    assert_eq!(again.call(0, &ApiVersionsRequest::default()).await.error_code, 0);
    assert!(matches!(kafka.stop_broker(3).await, Err(Error::NoBroker(3))));
}

/// Records that only the old leader had are gone; who read them is told where to go back to (KIP-320), and a producer
/// whose batch is gone may write it again.
#[tokio::test(start_paused = true)]
async fn an_unclean_election_loses_records_and_readers_are_told() {
    let kafka = started().await;
    let mut peer = Peer::connect(&kafka, 1).await;
    let by = |base_sequence| ProducerStamp { producer_id: 7, epoch: 0, base_sequence, transactional: false };
    for (sequence, values) in [(0, &["a", "b"][..]), (2, &["c", "d"]), (4, &["e"])] {
        assert_eq!(produce(&mut peer, "orders", 0, batch(values, by(sequence))).await.error_code, 0);
    }
    let beyond = kafka.elect_unclean_leader("orders", 0, 2, 6);
    assert!(
        matches!(beyond, Err(Error::CannotLead { reason: ErrorCode::OffsetOutOfRange, .. })),
        "{beyond:?}"
    );
    let leads = kafka.elect_unclean_leader("orders", 0, 1, 0);
    assert!(
        matches!(leads, Err(Error::CannotLead { reason: ErrorCode::ElectionNotNeeded, .. })),
        "{leads:?}"
    );
    // Inside the second batch: it is lost whole.
    assert_eq!(kafka.elect_unclean_leader("orders", 0, 2, 3).unwrap(), 2);
    assert_eq!(kafka.leader("orders", 0), Some(2));

    let mut peer = Peer::connect(&kafka, 2).await;
    let behind = fetch(&mut peer, &fetch_request("orders", 0, 0)).await;
    assert_eq!(records(&behind), [(0, "a".to_owned()), (1, "b".to_owned())]);
    let mut ahead = fetch_request("orders", 0, 5);
    ahead.topics[0].partitions[0].current_leader_epoch = 1;
    ahead.topics[0].partitions[0].last_fetched_epoch = 0;
    let told = fetch(&mut peer, &ahead).await;
    assert_eq!((told.error_code, told.diverging_epoch.epoch, told.diverging_epoch.end_offset), (0, 0, 2));
    let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(1).with_leader_epoch(0);
    let asked = OffsetForLeaderTopic::default().with_topic(topic("orders")).with_partitions(vec![partition]);
    let answer = peer.call(4, &OffsetForLeaderEpochRequest::default().with_topics(vec![asked])).await;
    let end = &answer.topics[0].partitions[0];
    assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, 0, 2));

    let gap = produce(&mut peer, "orders", 0, batch(&["e"], by(4))).await;
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code(), "what came before it is gone");
    let again = produce(&mut peer, "orders", 0, batch(&["c", "d"], by(2))).await;
    assert_eq!((again.error_code, again.base_offset), (0, 2), "it is no duplicate any more");
    let first = produce(&mut peer, "orders", 0, batch(&["a", "b"], by(0))).await;
    assert_eq!((first.error_code, first.base_offset), (0, 0), "this one still is");
}
