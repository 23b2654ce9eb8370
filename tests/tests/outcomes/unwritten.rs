//! Dead letters that cannot be written: their partition stops, and nothing moves.

use kafka_runtime::container::{HealthStatus, PartitionPhase, PartitionStatus};
use tests::{Peer, PeerKind};

use super::*;

/// The partition has stopped, its offset at `offset`, and the other one goes on.
async fn assert_stopped(cluster: &Cluster, app: &RunningApp, probe: &Probe, topic: &str, why: &str) {
    eventually("the status says why", LIMIT, || async {
        let status = app.status();
        let stopped = |status: &PartitionStatus| {
            status.phase == PartitionPhase::Stopped
                && status.cause.as_ref().is_some_and(|cause| cause.to_lowercase().contains(why))
        };
        !status[0].is_healthy() && status[0].partitions.iter().any(stopped)
    })
    .await;
    let before = probe.len();
    send(app, topic, 1, "fine").await;
    probe.at_least(before + 1, LIMIT).await;
    app.commit_now().await;
    assert_eq!(committed(cluster, &format!("{topic}-said"), topic, 0).await, Some(1), "nothing moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_too_large_stops_its_partition_and_moves_nothing() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("large", 2).await;
    cluster.create(&format!("{topic}-dlt"), 2, &[("max.message.bytes", "200")]).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["said"]).await;
    for value in ["fine", "closed", "after"] {
        send(&app, &topic, 0, value).await;
    }
    assert_stopped(&cluster, &app, &probe, &topic, "toolarge").await;
    assert!(probe.seen().iter().all(|seen| seen.value != "after"));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_that_may_not_be_created_stops_its_partition() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("uncreated", 2).await;
    let never = "    dead-letter: {create: false}\n";
    let (app, probe) = start(&yaml(&cluster, &topic, never), &["said"]).await;
    for value in ["fine", "closed", "after"] {
        send(&app, &topic, 0, value).await;
    }
    assert_stopped(&cluster, &app, &probe, &topic, "does not exist and is not created").await;
    app.stop().await.unwrap();
    // It goes on where it was, once there is somewhere to go.
    cluster.create(&format!("{topic}-dlt"), 2, &[]).await;
    let (app, probe) = start(&yaml(&cluster, &topic, never), &["said"]).await;
    probe.at_least(4, LIMIT).await;
    let handled: Vec<_> =
        probe.seen().into_iter().filter(|seen| seen.partition == 0).map(|seen| seen.value).collect();
    assert_eq!(handled, ["closed", "closed", "closed", "after"]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_permission_to_write_dead_letters_stops_the_partition() {
    let cluster = Cluster::start().await;
    if !cluster.is_apache() {
        eprintln!("NOT RUN on the embedded broker: it has no permissions yet");
        return;
    }
    let topic = cluster.topic("denied", 2).await;
    let letters = format!("{topic}-dlt");
    cluster.create(&letters, 2, &[]).await;
    let resource = format!("topic:{letters}");
    if Peer::run(PeerKind::Java, "deny", cluster.bootstrap(), &[&resource, "WRITE"]).await.is_none() {
        return;
    }
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["said"]).await;
    for value in ["fine", "closed"] {
        send(&app, &topic, 0, value).await;
    }
    assert_stopped(&cluster, &app, &probe, &topic, "authoriz").await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_on_a_cluster_that_is_away_stop_the_partition() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("apart", 2).await;
    let yaml = yaml(&cluster, &topic, "").replace(
        "    consumer:",
        "    producer: {bootstrap-servers: '127.0.0.1:1', properties: {delivery.timeout.ms: 8000, request.timeout.ms: 1000, max.block.ms: 1000}}\n    consumer:",
    );
    let (app, probe) = start(&yaml, &["said"]).await;
    let client = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for value in ["fine", "closed"] {
        send(&client, &topic, 0, value).await;
    }
    probe.at_least(4, LIMIT).await;
    eventually("health says what it waits for", LIMIT, || async {
        let health = app.health();
        let waits = format!("{topic}-0: offset 1 is being written to {topic}-dlt");
        health.status == HealthStatus::Degraded && health.listeners[0].reasons[0].starts_with(&waits)
    })
    .await;
    eventually("the partition stops", LIMIT, || async { !app.status()[0].is_healthy() }).await;
    app.commit_now().await;
    assert_eq!(committed(&cluster, &format!("{topic}-said"), &topic, 0).await, Some(1), "nothing moves");
    send(&client, &topic, 1, "fine").await;
    probe.at_least(5, LIMIT).await;
    app.stop().await.unwrap();
    client.stop().await.unwrap();
}
