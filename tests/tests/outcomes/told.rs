//! What became of each record is told as an event, with where it is now: dead-lettered, skipped, or retried later and then
//! dead-lettered.

use kafka_runtime::container::{EventKind, EventStream};
use tests::event;

use super::*;

/// A record that always fails, under this policy, and the events that follow.
async fn failing(name: &str, policy: &str) -> (Cluster, String, RunningApp, EventStream) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(name, 2).await;
    let more = format!("  listeners: {{said: {policy}}}\n");
    let (app, _) = start(&yaml(&cluster, &topic, &more), &["said"]).await;
    let events = app.listeners().events();
    send(&app, &topic, 1, "fine").await;
    send(&app, &topic, 1, "closed").await;
    (cluster, topic, app, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_told_with_its_place() {
    let (cluster, topic, app, mut events) = failing("told", "{}").await;
    let (at, letter, cause) = event(&mut events, |kind| match kind {
        EventKind::DeadLettered { partition, offset, letter, letter_offset, cause } => {
            Some(((partition, offset), (letter, letter_offset), cause))
        }
        _ => None,
    })
    .await;
    assert_eq!(at, (TopicPartition::new(&*topic, 1), 1));
    assert!(cause.contains("the bank is Closed"), "{cause}");
    let found = records(&cluster, &app, &format!("{topic}-dlt"), 1).await;
    assert_eq!(letter, (TopicPartition::new(&*format!("{topic}-dlt"), 1), 0));
    assert_eq!((found[0].partition(), found[0].offset()), letter);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_skipped_is_told() {
    let (_cluster, topic, app, mut events) = failing("passed", "{on-exhausted: skip}").await;
    let (at, cause) = event(&mut events, |kind| match kind {
        EventKind::Skipped { partition, offset, cause } => Some(((partition, offset), cause)),
        EventKind::DeadLettered { .. } => panic!("it was to be skipped"),
        _ => None,
    })
    .await;
    assert_eq!(at, (TopicPartition::new(&*topic, 1), 1));
    assert!(cause.contains("the bank is Closed"), "{cause}");
    app.stop().await.unwrap();
}

/// A retry topic has the partitions of its source, whatever dead letters' topics are made like.
#[tokio::test(flavor = "multi_thread")]
async fn topics_for_failed_records_are_created_as_configured() {
    let policy = "{retry-topics: {enabled: true, attempts: 2, backoff: 50ms}, dead-letter: {partitions: 1, \
                  retention: 36h}}";
    let (cluster, topic, app, _events) = failing("created", policy).await;
    let (later, letters) = (format!("{topic}-retry"), format!("{topic}-dlt"));
    records(&cluster, &app, &letters, 1).await;
    let (of_them, admin) = ([&*later, &*letters], cluster.admin());
    let described = admin.describe_topics(&of_them).await.unwrap();
    let partitions = of_them.map(|topic| described[&TopicName::new(topic)].partitions.len());
    assert_eq!(partitions, [2, 1]);
    let configs = admin.topic_configs(&of_them, LIMIT).await.unwrap();
    let retention: Vec<_> =
        configs.into_iter().map(|(_, config)| config.unwrap().remove("retention.ms")).collect();
    assert_eq!(retention[1].clone().flatten().as_deref(), Some("129600000"), "{retention:?}");
    assert_ne!(retention[0], retention[1]);
    app.stop().await.unwrap();
}

/// Each stage tells of its own record: the first retry topic of the topic's, the dead letter of the last stage's.
#[tokio::test(flavor = "multi_thread")]
async fn the_stages_of_retry_topics_are_told() {
    let policy = "{retry-topics: {enabled: true, attempts: 3, backoff: 100ms..200ms, multiplier: 2}}";
    let (_cluster, topic, app, mut events) = failing("staged", policy).await;
    // A stage says it once the next has the record, which may be done by then: they may tell in any order.
    let (mut moves, mut letters) = (Vec::new(), Vec::new());
    while moves.len() + letters.len() < 3 {
        event(&mut events, |kind| {
            match kind {
                EventKind::RetriedLater { partition, retry_topic, wait, .. } => {
                    moves.push((wait.as_millis(), partition, retry_topic));
                }
                EventKind::DeadLettered { partition, letter, .. } => letters.push((partition, letter)),
                _ => return None,
            }
            Some(())
        })
        .await;
    }
    moves.sort();
    let [first, second] = &moves[..] else { panic!("{moves:?} {letters:?}") };
    assert_eq!((first.0, second.0), (100, 200));
    assert_eq!(first.1, TopicPartition::new(&*topic, 1));
    assert!(first.2.topic.as_str().starts_with(&format!("{topic}-retry")), "{moves:?}");
    assert_eq!(second.1, first.2, "the second is told of the record in the first retry topic");
    let (from, letter) = letters[0];
    assert_eq!((from, letter.topic.as_str()), (second.2, &*format!("{topic}-dlt")));
    app.stop().await.unwrap();
}
