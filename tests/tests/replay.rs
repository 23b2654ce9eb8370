//! Dead letters go back to where they failed: the selected ones, once, also when the replay is cut off in the middle.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_client::TopicName;
use kafka_client::config::ProducerConfig;
use kafka_client::producer::Outgoing;
use kafka_runtime::dead_letter::Replay;
use kafka_runtime::prelude::*;
use tests::{Cluster, committed_values, dead_letters};

const LETTERS: usize = 1_200;

async fn app(cluster: &Cluster) -> RunningApp {
    App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap()
}

/// In one partition, with headers of their own.
async fn letters(cluster: &Cluster, count: usize) -> (String, String) {
    let tenant = |n: usize| if n.is_multiple_of(2) { "acme" } else { "other" };
    dead_letters(cluster, 1, count, |n, record| record.header("own", "1").header("tenant", tenant(n))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_selected_goes_back_once() {
    let cluster = Cluster::start().await;
    let app = app(&cluster).await;
    let (origin, letters) = letters(&cluster, 12).await;
    let counted = app.replay(Replay::of(&letters).error("BankError").dry_run()).await.unwrap();
    assert_eq!((counted.sent, counted.left), (4, 8));
    let done = app.replay(Replay::of(&letters).error("BankError")).await.unwrap();
    assert_eq!((done.sent, done.left, done.before), (4, 8, 0));
    // 0, 3, 6, 9 by now. By header and range:
    let done = app.replay(Replay::of(&letters).header("tenant", "acme").offsets(0..7)).await.unwrap();
    assert_eq!((done.sent, done.before, done.left), (2, 3, 2), "{done:?}");
    // 2 and 4 too. By words; then all that is left, and nothing twice.
    let done = app.replay(Replay::of(&letters).error("account 11 closed")).await.unwrap();
    assert_eq!(done.sent, 1);
    let done = app.replay(Replay::of(&letters)).await.unwrap();
    assert_eq!((done.sent, done.left, done.before), (5, 0, 7), "{done:?}");
    assert_eq!(app.replay(Replay::of(&letters)).await.unwrap().sent, 0);
    for partition in 0..2 {
        let seen = committed_values(&cluster, &origin, partition).await;
        let expected: BTreeMap<u64, usize> =
            (0..12).filter(|n| n % 2 == u64::try_from(partition).unwrap()).map(|n| (n, 1)).collect();
        assert_eq!(seen, expected, "to the partition it came from");
    }
    let back = app.template().receive(&origin, 0, ..).await.unwrap();
    let names: Vec<_> = back[0].headers().map(|(name, _)| name).collect();
    assert_eq!(names, ["own", "tenant", "kafka_runtime-replayed-from"]);
    assert_eq!(back[0].key(), Some(&b"k0"[..]));
    app.stop().await.unwrap();
}

/// The records and the note that they are sent are one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn cut_off_in_the_middle_nothing_goes_back_twice() {
    let cluster = Cluster::start().await;
    let app = app(&cluster).await;
    let (origin, letters) = letters(&cluster, LETTERS).await;
    for millis in [1, 5, 10, 20, 40, 80] {
        let cut = app.replay(Replay::of(&letters));
        let _ = tokio::time::timeout(Duration::from_millis(millis), cut).await;
    }
    app.replay(Replay::of(&letters)).await.unwrap();
    let mut seen = BTreeMap::new();
    for partition in 0..2 {
        seen.extend(committed_values(&cluster, &origin, partition).await);
    }
    let expected: BTreeMap<u64, usize> = (0..u64::try_from(LETTERS).unwrap()).map(|n| (n, 1)).collect();
    assert_eq!(seen, expected);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_origin_stays_unless_it_is_told_where_to() {
    let cluster = Cluster::start().await;
    let app = app(&cluster).await;
    let (letters, home) = (cluster.topic("homeless", 1).await, cluster.topic("home", 1).await);
    app.template().send_text(&letters, "k", "1").await.unwrap();
    let done = app.replay(Replay::of(&letters)).await.unwrap();
    assert_eq!((done.sent, done.homeless), (0, 1));
    let done = app.replay(Replay::of(&letters).to_topic(&home)).await.unwrap();
    assert_eq!((done.sent, done.homeless), (1, 0));
    assert_eq!(committed_values(&cluster, &home, 0).await, BTreeMap::from([(1, 1)]));
    let missing = app.replay(Replay::of("no-such-letters")).await.unwrap_err();
    assert!(missing.to_string().contains("does not exist"), "{missing}");
    app.stop().await.unwrap();
}

/// What a dead letter could take is not too large for the way back, whatever `max-request-size` says.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_two_megabytes_goes_back() {
    let cluster = Cluster::start().await;
    let large = [("max.message.bytes", "4000000")];
    let (letters, home) =
        (cluster.topic_with("large", 1, &large).await, cluster.topic_with("home", 1, &large).await);
    let generous = cluster.yaml("    producer: {properties: {max.request.size: 4000000}}\n");
    let sender = App::from_yaml(generous).unwrap().only([]).start().await.unwrap();
    sender.template().send_text(&letters, "k", &"x".repeat(2_000_000)).await.unwrap();
    sender.stop().await.unwrap();
    let app = app(&cluster).await;
    assert_eq!(app.replay(Replay::of(&letters).to_topic(&home)).await.unwrap().sent, 1);
    let back = app.template().receive(&home, 0, ..).await.unwrap();
    assert_eq!(back[0].value().map(<[u8]>::len), Some(2_000_000));
    app.stop().await.unwrap();
}

/// Whoever only counts does not get into the way of a replay that runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_fences_nobody() {
    let cluster = Cluster::start().await;
    let app = app(&cluster).await;
    let (origin, letters) = letters(&cluster, 3).await;
    let id = format!("{letters}-replay");
    let running = cluster.client().transactional_producer(ProducerConfig::default(), &id).unwrap();
    running.prepare().await.unwrap();
    let transaction = running.begin().await.unwrap();
    let record = Outgoing {
        topic: TopicName::new(&origin),
        partition: Some(0),
        timestamp: None,
        key: None,
        value: Some(b"{}"),
        headers: &[],
    };
    drop(transaction.enqueue(record).await.unwrap());
    assert_eq!(app.replay(Replay::of(&letters).dry_run()).await.unwrap().sent, 3);
    transaction.commit().await.unwrap();
    app.stop().await.unwrap();
}
