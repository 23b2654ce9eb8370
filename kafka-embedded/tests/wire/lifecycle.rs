use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_client::seams::Transport;
use kafka_embedded::{EmbeddedKafka, Error};
use kafka_protocol::messages::ApiVersionsRequest;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::peer::{Peer, fetch_request};

#[tokio::test]
async fn a_cluster_on_tcp_serves_and_frees_its_ports() {
    let kafka = EmbeddedKafka::builder().brokers(3).start().await.unwrap();
    let servers = kafka.bootstrap_servers();
    let addresses: Vec<&str> = servers.split(',').collect();
    assert_eq!(addresses.len(), 3);
    let mut waiting = TcpStream::connect(addresses[1]).await.unwrap();
    kafka.shutdown().await;
    assert_eq!(waiting.read(&mut [0; 1]).await.unwrap_or(0), 0, "its connections are closed");
    for address in addresses {
        TcpListener::bind(address).await.unwrap();
    }
}

#[tokio::test]
async fn ports_can_be_chosen_and_are_told_when_taken() {
    let kafka = EmbeddedKafka::builder().start().await.unwrap();
    let taken = kafka.bootstrap_servers();
    match EmbeddedKafka::builder().listen(&taken).start().await {
        Err(Error::Bind { address, .. }) => assert_eq!(address, taken),
        other => panic!("{other:?}"),
    }
    kafka.shutdown().await;
    let again = EmbeddedKafka::builder().listen(&taken).start().await.unwrap();
    assert_eq!(again.bootstrap_servers(), taken);
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let refused = |builder: kafka_embedded::Builder| async { builder.start().await.unwrap_err().to_string() };
    let builder = EmbeddedKafka::builder;
    assert!(refused(builder().brokers(0)).await.contains("at least one broker"));
    assert!(refused(builder().topic("or ders", 1)).await.contains("or ders"));
    assert!(refused(builder().topic("orders", 0)).await.contains("orders"));
    assert!(refused(builder().default_partitions(0)).await.contains("default_partitions"));
    assert!(refused(builder().listen("localhost")).await.contains("host:port"));
    assert!(refused(builder().listen("localhost:many")).await.contains("many"));
    assert!(refused(builder().listen("127.0.0.1:65535").brokers(2)).await.contains("65535"));
    assert!(refused(builder().listen("::1:0")).await.contains("[::1]:9092"));
    assert!(refused(builder().listen(":9092")).await.contains("no host"));
    assert!(
        refused(builder().topic("orders", 1).topic("orders", 2)).await.contains("'orders' is named twice")
    );
    assert!(refused(builder().topic("orders", usize::MAX)).await.contains("100000"));
    assert!(refused(builder().group_max_size(0)).await.contains("group_max_size"));
    let backwards = Duration::from_secs(5)..=Duration::from_secs(1);
    assert!(refused(builder().session_timeout(backwards)).await.contains("session_timeout"));
    let never = refused(builder().consumer_session_timeout(Duration::MAX)).await;
    assert!(never.contains("consumer_session_timeout"), "{never}");
    assert!(refused(builder().initial_rebalance_delay(Duration::MAX)).await.contains("24 days"));
    for none in [
        builder().connections_max_idle(Duration::ZERO),
        builder().broker_session_timeout(Duration::ZERO),
        builder().transactional_id_expiration(Duration::ZERO),
        builder().retention_check_interval(Duration::ZERO),
    ] {
        assert!(refused(none).await.contains("must be more than 0"));
    }
}

#[tokio::test]
async fn over_ipv6_addresses_stand_in_brackets() {
    let started = EmbeddedKafka::builder().listen("[::1]:0").brokers(2).start().await;
    let Ok(kafka) = started else {
        eprintln!("NOT RUN: this machine has no IPv6");
        return;
    };
    for address in kafka.bootstrap_servers().split(',') {
        assert!(address.starts_with("[::1]:"), "{address}");
        let answer = Peer::tcp(address).await.call(0, &ApiVersionsRequest::default()).await;
        assert_eq!(answer.error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn in_memory_everything_ends_with_the_value() {
    let kafka = EmbeddedKafka::builder().in_memory().start().await.unwrap();
    let transport = kafka.transport();
    assert!(transport.connect("kafka-2.embedded", 9092).await.is_err(), "there is one broker");
    let mut peer = Peer::connect(&kafka, 1).await;
    peer.send(12, &fetch_request("none", 0, 0).with_max_wait_ms(i32::MAX)).await;
    drop(kafka);
    while peer.frame().await.is_some() {}
    assert!(transport.connect("kafka-1.embedded", 9092).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_every_request() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let builder = EmbeddedKafka::builder().brokers(2).on_request(move |request| {
        assert_eq!((request.api, request.broker, request.version), ("ApiVersions", 2, 3));
        assert_eq!(request.client_id, Some("peer"));
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let kafka = builder.in_memory().start().await.unwrap();
    Peer::connect(&kafka, 2).await.call(3, &ApiVersionsRequest::default()).await;
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// A handler that blocks the only thread of the user's runtime stops neither heartbeats nor the broker.
#[tokio::test]
async fn a_cluster_on_tcp_has_its_own_thread() {
    let kafka = EmbeddedKafka::builder().start().await.unwrap();
    let address = kafka.bootstrap_servers();
    let client = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).unwrap();
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).unwrap();
        answer
    });
    // This blocks the runtime of the test.
    let answer = client.join().unwrap();
    assert_eq!(answer[4..10], [0, 0, 0, 1, 0, 0]);
}
