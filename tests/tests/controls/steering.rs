//! What an operator orders: start, stop, pause, resume, seek.

use kafka_runtime::container::{HealthStatus, ListenerState, PartitionPhase};
use tests::eventually;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_partitions_finishes_what_is_in_hand_and_loses_nothing() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    let steered = app.listeners().get("steered").unwrap();
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    let mut events = app.listeners().events();

    steered.pause_partition(stage.partition(1)).await.unwrap();
    assert_eq!(app.health().listeners[0].reasons, [format!("{} paused", stage.partition(1))]);
    stage.send(&app, "one paused", 1).await;
    stage.probe.at_least(5, LIMIT).await;
    assert_eq!(stage.saw("one paused"), [0, 2].into());
    steered.pause().await.unwrap();
    stage.send(&app, "all paused", 1).await;
    eventually("all are paused", LIMIT, || async {
        let status = steered.status();
        status.paused && status.partitions.iter().all(|found| found.phase == PartitionPhase::Paused)
    })
    .await;
    // Longer than a fetch takes, and than the session lasts without heartbeats.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(stage.saw("all paused"), BTreeSet::new());
    let status = steered.status();
    assert_eq!((status.partitions.len(), app.health().status), (3, HealthStatus::Up), "{status:?}");

    steered.resume().await.unwrap();
    stage.probe.at_least(7, LIMIT).await;
    assert_eq!(stage.saw("all paused"), [0, 2].into(), "partition 1 was paused by itself");
    steered.resume_partition(stage.partition(1)).await.unwrap();
    stage.probe.at_least(9, LIMIT).await;
    stage.probe.assert_each_once_in_order();
    for expected in [("paused", Some(1)), ("paused", None), ("resumed", None), ("resumed", Some(1))] {
        let told = event(&mut events, |kind| match kind {
            EventKind::Paused(partition) => Some(("paused", partition.map(|one| one.partition))),
            EventKind::Resumed(partition) => Some(("resumed", partition.map(|one| one.partition))),
            _ => None,
        });
        assert_eq!(told.await, expected);
    }
    app.stop().await.unwrap();
}

/// Another member comes and goes: with the default list of assignors all partitions are given back and shared out.
async fn another_comes_and_goes(stage: &Stage, app: &RunningApp) {
    let mut events = app.listeners().events();
    let yaml = stage.cluster.yaml(&format!("suite: {{topic: {}}}\n", stage.topic));
    let second =
        App::from_yaml(&yaml).unwrap().only(["steered"]).state(Probe::default()).start().await.unwrap();
    second.ready().await;
    second.stop().await.unwrap();
    eventually("it has all partitions again", LIMIT, || async { app.status()[0].partitions.len() == 3 })
        .await;
    event(&mut events, |kind| matches!(kind, EventKind::Revoked(_)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_listener_stays_paused_over_a_rebalance() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    app.listeners().get("steered").unwrap().pause().await.unwrap();
    another_comes_and_goes(&stage, &app).await;
    let before = stage.probe.len();
    stage.send(&app, "after", 1).await;
    eventually("all are paused", LIMIT, || async {
        app.status()[0].partitions.iter().all(|found| found.phase == PartitionPhase::Paused)
    })
    .await;
    assert_eq!(stage.probe.len(), before);
    app.listeners().get("steered").unwrap().resume().await.unwrap();
    eventually("they are handled", LIMIT, || async { stage.saw("after") == all() }).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_stays_paused_over_a_rebalance() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    let steered = app.listeners().get("steered").unwrap();
    steered.pause_partition(stage.partition(1)).await.unwrap();
    another_comes_and_goes(&stage, &app).await;
    for value in ["after", "later"] {
        stage.send(&app, value, 1).await;
        eventually("the others go on", LIMIT, || async { stage.saw(value) == [0, 2].into() }).await;
    }
    let status = steered.status();
    let paused = status.partitions.iter().filter(|found| found.phase == PartitionPhase::Paused);
    assert!(paused.map(|found| found.partition).eq([stage.partition(1)]), "{status:?}");
    steered.resume_partition(stage.partition(1)).await.unwrap();
    eventually("it is handled", LIMIT, || async { stage.saw("later") == all() }).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_stopped_and_started_and_one_in_reserve_begins_by_hand() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered", "late"], "").await;
    let listeners = app.listeners();
    assert_eq!(listeners.ids(), ["late", "steered"]);
    let (steered, late) = (listeners.get("steered").unwrap(), listeners.get("late").unwrap());
    assert_eq!(late.state(), ListenerState::NotStarted);
    stage.send(&app, "one", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    let mut events = listeners.events();

    steered.stop().await.unwrap();
    assert_eq!((steered.state(), steered.status().partitions.len()), (ListenerState::Stopped, 0));
    event(&mut events, |kind| matches!(kind, EventKind::Stopped).then_some(())).await;
    stage.send(&app, "two", 1).await;
    steered.start().await.unwrap();
    event(&mut events, |kind| matches!(kind, EventKind::Started).then_some(())).await;
    stage.probe.at_least(6, LIMIT).await;
    // What was committed at the stop is not repeated.
    stage.probe.assert_each_once_in_order();
    steered.stop().await.unwrap();

    late.start().await.unwrap();
    stage.probe.at_least(12, LIMIT).await;
    let unknown = listeners.get("nobody").unwrap_err().to_string();
    assert_eq!(unknown, "there is no listener `nobody`; there are late, steered");
    let summary = app.stop().await.unwrap();
    assert!(summary.is_clean(), "{summary}");
    assert!(matches!(late.pause().await, Err(ListenerError::Ended { .. })));
}

/// Also between one record and the next, while records come: whoever has paused may take away what handlers need.
async fn nothing_begins_after_a_pause(ordering: &str) {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], &format!("  listeners: {{steered: {{ordering: {ordering}}}}}\n")).await;
    let steered = app.listeners().get("steered").unwrap();
    stage.send(&app, "first", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    for _ in 0..20 {
        let before = stage.probe.len();
        for sent in app
            .template()
            .send_all((0..300).map(|n| Record::to(&stage.topic).partition(n % 3).text("more")))
            .await
        {
            sent.unwrap();
        }
        stage.probe.at_least(before + 1, LIMIT).await;
        steered.pause().await.unwrap();
        // A handler that had begun is at its end.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let paused = stage.probe.len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(stage.probe.len(), paused, "{ordering}");
        steered.resume().await.unwrap();
        stage.probe.at_least(before + 300, LIMIT).await;
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_when_a_pause_has_returned_no_handler_is_called() {
    nothing_begins_after_a_pause("partition").await;
    nothing_begins_after_a_pause("key, concurrency: 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_move_to_the_beginning_the_end_an_offset_and_a_time() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    let steered = app.listeners().get("steered").unwrap();
    stage.send(&app, "old", 5).await;
    stage.probe.at_least(15, LIMIT).await;

    let moved = steered.seek(Selection::All, StartAt::Beginning).await.unwrap();
    assert_eq!(moved, (0..PARTITIONS).map(|number| stage.partition(number)).collect::<Vec<_>>());
    stage.probe.at_least(30, LIMIT).await;
    steered.seek(stage.partition(1), StartAt::Offset(3)).await.unwrap();
    stage.probe.at_least(32, LIMIT).await;
    let again: Vec<i64> = stage.probe.offsets()[&1][10..].to_vec();
    assert_eq!(again, [3, 4]);

    // Paused, so that the end is chosen before anything of it is handled.
    steered.pause().await.unwrap();
    stage.send(&app, "passed over", 3).await;
    steered.seek(stage.topic.as_str(), StartAt::End).await.unwrap();
    steered.resume().await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    stage.send(&app, "new", 2).await;
    eventually("the new ones are handled", LIMIT, || async { stage.probe.len() == 38 }).await;
    assert_eq!(stage.saw("passed over"), BTreeSet::new());
    let now = i64::try_from(now.as_millis()).unwrap();
    steered.seek(Selection::All, StartAt::Timestamp(now)).await.unwrap();
    eventually("those since then are handled again", LIMIT, || async { stage.probe.len() == 44 }).await;
    assert_eq!(stage.saw("passed over"), BTreeSet::new());

    let foreign = TopicPartition::new("another", 0);
    assert!(matches!(steered.seek(foreign, StartAt::End).await, Err(ListenerError::NotHeld { .. })));
    // A lower offset is committed in a new epoch of the position: a restart goes on from there.
    let mut events = app.listeners().events();
    steered.pause().await.unwrap();
    steered.seek(stage.partition(0), StartAt::Offset(2)).await.unwrap();
    let moved = event(&mut events, |kind| match kind {
        EventKind::Moved { partition, offset } => Some((partition, offset)),
        _ => None,
    });
    assert_eq!(moved.await, (stage.partition(0), 2));
    app.stop().await.unwrap();
    let app = stage.app(&["steered"], "").await;
    stage.probe.at_least(52, LIMIT).await;
    let again: Vec<i64> = stage.probe.offsets()[&0].iter().rev().take(8).rev().copied().collect();
    assert_eq!((again, stage.probe.len()), ((2..10).collect(), 52));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_partition_takes_health_down_and_begins_again_when_its_cause_is_mended() {
    let stage = Stage::new().await;
    let app = stage.app(&["poisoned"], "").await;
    let poisoned = app.listeners().get("poisoned").unwrap();
    let mut events = app.listeners().events();
    stage.send(&app, "good", 1).await;
    let poison = Record::to(&stage.topic).partition(1).text("poison");
    app.template().send_record(poison).await.unwrap();
    stage.send(&app, "behind it", 1).await;
    let (partition, offset, attempt) = event(&mut events, |kind| match kind {
        EventKind::RecordFailed { partition, offset, attempt, .. } => Some((partition, offset, attempt)),
        _ => None,
    })
    .await;
    assert_eq!((partition, offset, attempt), (stage.partition(1), 1, 1));
    let cause = event(&mut events, |kind| match kind {
        EventKind::PartitionStopped { cause, .. } => Some(cause),
        _ => None,
    })
    .await;
    assert!(cause.contains("no bank"), "{cause}");
    stage.probe.at_least(5, LIMIT).await;
    assert_eq!(stage.saw("behind it"), [0, 2].into(), "other partitions go on");
    let health = app.health();
    assert_eq!((health.status, health.is_alive()), (HealthStatus::Down, false));
    assert!(health.listeners[0].reasons[0].contains("no bank"), "{health:?}");

    // Not mended: it stops again at the same record.
    poisoned.resume().await.unwrap();
    event(&mut events, |kind| matches!(kind, EventKind::PartitionStopped { .. }).then_some(())).await;
    stage.bank.0.store(true, Ordering::SeqCst);
    poisoned.resume_partition(stage.partition(1)).await.unwrap();
    stage.probe.at_least(7, LIMIT).await;
    stage.probe.assert_each_once_in_order();
    eventually("health is up", LIMIT, || async { app.health().status == HealthStatus::Up }).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_passes_over_the_record_that_stopped_a_partition() {
    let stage = Stage::new().await;
    let app = stage.app(&["poisoned"], "").await;
    for value in ["good", "poison", "behind it"] {
        let record = Record::to(&stage.topic).partition(1).text(value);
        app.template().send_record(record).await.unwrap();
    }
    eventually("it has stopped", LIMIT, || async { app.health().status == HealthStatus::Down }).await;
    let poisoned = app.listeners().get("poisoned").unwrap();
    poisoned.seek(stage.partition(1), StartAt::Offset(2)).await.unwrap();
    stage.probe.at_least(2, LIMIT).await;
    assert_eq!(stage.probe.offsets()[&1], [0, 2]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_known_without_asking_and_goes_to_zero() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    stage.send(&app, "one", 2).await;
    stage.probe.at_least(6, LIMIT).await;
    let lag = |number: usize| app.lag().get(number).and_then(|found| Some((found.log_end?, found.lag?)));
    eventually("lag is zero", LIMIT, || async { (0..3).all(|number| lag(number) == Some((2, 0))) }).await;
    assert!(app.lag().iter().all(|found| found.behind_ms == Some(0)), "{:?}", app.lag());
    let steered = app.listeners().get("steered").unwrap();
    steered.seek(stage.partition(0), StartAt::Beginning).await.unwrap();
    stage.probe.at_least(8, LIMIT).await;
    eventually("what is handled is committed", LIMIT, || async {
        app.lag().iter().all(|found| found.committed == Some(2))
    })
    .await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_steers_listeners() {
    let stage = Stage::new().await;
    stage.cluster.create(&format!("{}-orders", stage.topic), 1, &[]).await;
    let app = stage.app(&["steered", "operator"], "").await;
    let order = async |order: &str| {
        let record = Record::to(format!("{}-orders", stage.topic)).text(order);
        app.template().send_record(record).await.unwrap();
    };
    order("pause").await;
    eventually("paused", LIMIT, || async { app.status()[1].paused }).await;
    order("resume").await;
    eventually("resumed", LIMIT, || async { !app.status()[1].paused }).await;
    order("stop yourself").await;
    eventually("stopped", LIMIT, || async { app.status()[0].state == ListenerState::Stopped }).await;
    app.stop().await.unwrap();
}
