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

/// Each stage tells of its own record: the first retry topic of the topic's, the dead letter of the last stage's.
#[tokio::test(flavor = "multi_thread")]
async fn the_stages_of_retry_topics_are_told() {
    let policy = "{retry-topics: {enabled: true, attempts: 3, backoff: 100ms..200ms, multiplier: 2}}";
    let (_cluster, topic, app, mut events) = failing("staged", policy).await;
    let mut stages = Vec::new();
    for _ in 0..2 {
        stages.push(
            event(&mut events, |kind| match kind {
                EventKind::RetriedLater { partition, retry_topic, wait, .. } => {
                    Some((partition, retry_topic, wait))
                }
                _ => None,
            })
            .await,
        );
    }
    let (first, second) = (&stages[0], &stages[1]);
    assert_eq!(first.0, TopicPartition::new(&*topic, 1));
    assert!(first.1.topic.as_str().starts_with(&format!("{topic}-retry")), "{stages:?}");
    assert_eq!(second.0, first.1, "the second is told of the record in the first retry topic");
    assert_eq!([first.2, second.2], [Duration::from_millis(100), Duration::from_millis(200)]);
    let (from, letter) = event(&mut events, |kind| match kind {
        EventKind::DeadLettered { partition, letter, .. } => Some((partition, letter)),
        _ => None,
    })
    .await;
    assert_eq!((from, letter.topic.as_str()), (second.1, &*format!("{topic}-dlt")));
    app.stop().await.unwrap();
}
