//! What becomes of tries that succeed, fail and stop, and of an owner that died.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn results_and_offsets_are_committed_together() {
    let scene = Scene::new("together", 1).await;
    let probe = Probe::default();
    let app = scene.start("answers", &probe, "").await;
    scene.send(&scene.from, 0, &["a", "b", "c"]).await;
    scene.all_committed(&format!("{}-answers", scene.from), 0, 3).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!"]);
    probe.assert_each_once_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_try_sent_is_never_seen() {
    let scene = Scene::new("failed", 1).await;
    let probe = Probe::default();
    scene.send(&scene.from, 0, &["a", "once", "b", "never", "panic", "c"]).await;
    let app = scene.start("answers", &probe, "").await;
    scene.all_committed(&format!("{}-answers", scene.from), 0, 6).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "once!", "b!", "panic!", "c!"]);
    assert_eq!(
        scene.results(&format!("{}-dlt", scene.from), 1).await[&0],
        ["never"],
        "its dead letter, once"
    );
    let tries = probe.seen().iter().filter(|seen| seen.value == "never").count();
    assert_eq!(tries, 3, "the policy counts tries, not what had to be done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_returns_is_part_of_its_transaction() {
    let scene = Scene::new("returned", 1).await;
    let probe = Probe::default();
    scene.send(&scene.from, 0, &["a", "once", "never", "b"]).await;
    let app = scene.start("returns", &probe, "").await;
    scene.all_committed(&format!("{}-returns", scene.from), 0, 4).await;
    app.stop().await.unwrap();
    let wanted = ["a!", "a 1", "a 2", "once!", "once 1", "once 2", "b!", "b 1", "b 2"];
    assert_eq!(scene.results(&scene.to, 1).await[&0], wanted);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["never"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_returns_is_part_of_its_transaction() {
    let scene = Scene::new("returned-all", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "bad", "c"]).await;
    let app = scene.start("returns_all", &Probe::default(), "").await;
    scene.all_committed(&format!("{}-returns-all", scene.from), 0, 4).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!"]);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_stops_its_partition_keeps_what_was_before_it() {
    let scene = Scene::new("stops", 1).await;
    let probe = Probe::default();
    scene.send(&scene.from, 0, &["a", "b", "never", "c"]).await;
    let app = scene.start("answers", &probe, "kafka-runtime.listener.on-exhausted: stop\n").await;
    eventually("the partition stops", LIMIT, || async {
        let status = app.listeners().get("answers").unwrap().status();
        status.partitions.iter().any(|one| one.phase == PartitionPhase::Stopped)
    })
    .await;
    let group = format!("{}-answers", scene.from);
    scene.all_committed(&group, 0, 2).await;
    app.stop().await.unwrap();
    assert_eq!(scene.committed(&group).await[&0], 2);
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_at_a_place_has_one_result_for_each() {
    let scene = Scene::new("batch", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "bad", "c", "d"]).await;
    let app = scene.start("batches", &Probe::default(), "").await;
    scene.all_committed(&format!("{}-batches", scene.from), 0, 5).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!", "d!"]);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["bad"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_as_a_whole_has_one_result_for_each() {
    let scene = Scene::new("blind", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "bad", "c", "d"]).await;
    let app = scene.start("blind", &Probe::default(), "").await;
    scene.all_committed(&format!("{}-blind", scene.from), 0, 5).await;
    app.stop().await.unwrap();
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!", "d!"]);
    assert_eq!(scene.results(&format!("{}-dlt", scene.from), 1).await[&0], ["bad"]);
}

/// The id is the partition's, so its next owner ends what the last one left open, and does not wait for the timeout.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_died_between_its_offsets_and_the_end_holds_nobody_up() {
    let scene = Scene::new("heir", 1).await;
    scene.send(&scene.from, 0, &["a", "b", "c"]).await;
    let group = format!("{}-answers", scene.from);
    let config =
        ProducerConfig { transaction_timeout: Duration::from_secs(600), ..ProducerConfig::default() };
    let id = format!("{from}-{group}.{from}.0", from = scene.from);
    let dead = scene.cluster.client().transactional_producer(config, &id).unwrap();
    let open = dead.begin().await.unwrap();
    let result = Outgoing {
        topic: scene.to.as_str().into(),
        partition: Some(0),
        timestamp: None,
        key: None,
        value: Some(b"of the dead"),
        headers: &[],
    };
    open.send(result).await.unwrap();
    let offset = CommittedOffset { offset: 2, leader_epoch: -1, metadata: String::new() };
    let consumed = vec![(TopicPartition::new(scene.from.as_str(), 0), offset)];
    open.send_offsets(consumed, GroupMetadata::nobody(group.as_str())).await.unwrap();

    let probe = Probe::default();
    let app = scene.start("answers", &probe, "").await;
    scene.all_committed(&group, 0, 3).await;
    app.stop().await.unwrap();
    let woken = open.commit().await.unwrap_err();
    assert!(woken.is_fenced(), "{woken}");
    assert_eq!(scene.results(&scene.to, 1).await[&0], ["a!", "b!", "c!"]);
    probe.assert_each_once_in_order();
}
