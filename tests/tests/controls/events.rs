//! What listeners tell of themselves.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use kafka_runtime::container::{HealthStatus, OpenPhase};
use tests::eventually;
use tokio::sync::Notify;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_assignment_commits_and_idleness() {
    let stage = Stage::new().await;
    let yaml = "  listeners: {steered: {idle-event-interval: 500ms, idle-partition-event-interval: 500ms}}\n";
    let app = stage.app(&["steered"], yaml).await;
    let mut events = app.listeners().events();
    let assigned = event(&mut events, |kind| match kind {
        EventKind::Assigned(partitions) => Some(partitions),
        _ => None,
    })
    .await;
    assert!(!assigned.is_empty());
    event(&mut events, |kind| matches!(kind, EventKind::Idle { partition: None, .. }).then_some(())).await;
    event(&mut events, |kind| matches!(kind, EventKind::Idle { partition: Some(_), .. }).then_some(())).await;
    stage.send(&app, "one", 1).await;
    event(&mut events, |kind| match kind {
        EventKind::Committed(commit) if !commit.has_failed() => Some(()),
        _ => None,
    })
    .await;
    event(&mut events, |kind| matches!(kind, EventKind::NoLongerIdle { partition: None }).then_some(()))
        .await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_of_the_application_hear_on_although_they_panic() {
    let stage = Stage::new().await;
    let (of_events, of_commits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (events, commits) = (Arc::clone(&of_events), Arc::clone(&of_commits));
    let app = App::from_yaml(stage.yaml("")).unwrap().only(["steered"]).state(stage.probe.clone());
    let app = app
        .on_event(move |event| {
            events.fetch_add(usize::from(matches!(event.kind, EventKind::Committed(_))), Relaxed);
            panic!("a panic of the test about {}", event.listener);
        })
        .on_commit(move |commit| {
            commits.fetch_add(1, Relaxed);
            panic!("a panic of the test about {}", commit.group);
        });
    let app = app.start().await.unwrap();
    for _ in 0..3 {
        let heard = (of_events.load(Relaxed), of_commits.load(Relaxed));
        stage.send(&app, "one", 1).await;
        eventually("both hear of a commit", LIMIT, || async {
            of_events.load(Relaxed) > heard.0 && of_commits.load(Relaxed) > heard.1
        })
        .await;
    }
    stage.probe.at_least(9, LIMIT).await;
    app.stop().await.unwrap();
}

/// Keeps its handler from returning until it is told.
#[derive(Clone, Default)]
struct Door(Arc<Notify>);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-held")]
async fn held(value: String, meta: Metadata, probe: &State<Probe>, door: &State<Door>) {
    if value == "heavy" {
        door.0.notified().await;
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// Nothing is fetched of a listener that is paused, nor of partitions that have stopped, nor of a listener whose handlers are
/// stuck, once its prefetch is full.
#[tokio::test(flavor = "multi_thread")]
async fn lag_of_what_is_not_fetched_grows() {
    let stage = Stage::new().await;
    let door = Door::default();
    let yaml = stage.yaml("  listeners: {held: {prefetch: 64KB}}\n");
    let app = App::from_yaml(&yaml).unwrap().only(["steered", "held", "poisoned"]);
    let app = app.state(stage.probe.clone()).state(stage.bank.clone()).state(door.clone());
    let app = app.start().await.unwrap();
    stage.send(&app, "one", 1).await;
    stage.probe.at_least(9, LIMIT).await;
    app.listeners().get("steered").unwrap().pause().await.unwrap();
    stage.send(&app, "heavy", 1).await;
    stage.probe.at_least(12, LIMIT).await;
    stage.send(&app, "poison", 1).await;
    let lags = |listener: &str| -> Vec<_> {
        let lags = app.lag().into_iter().filter(|found| found.listener == listener);
        lags.filter_map(|found| found.lag).collect()
    };
    for more in [50, 100] {
        stage.send(&app, &"x".repeat(20_000), 50).await;
        eventually("what is not handled is counted", LIMIT, || async {
            let all = [lags("steered"), lags("held"), lags("poisoned")];
            all == [[2 + more; 3], [2 + more; 3], [1 + more; 3]]
        })
        .await;
    }
    door.0.notify_waiters();
    stage.bank.0.store(true, std::sync::atomic::Ordering::SeqCst);
    for listener in ["steered", "poisoned"] {
        app.listeners().get(listener).unwrap().resume().await.unwrap();
    }
    eventually("all is handled", LIMIT, || async {
        ["steered", "held", "poisoned"].iter().all(|listener| lags(listener) == [0; 3])
    })
    .await;
    app.stop().await.unwrap();
}

/// A handler runs for longer than `max-poll-interval`: it is named while it runs, other partitions go on, and the membership
/// is kept.
async fn a_stuck_handler(ordering: &str) {
    let stage = Stage::new().await;
    let door = Door::default();
    let yaml = stage.yaml(&format!(
        "  listeners: {{held: {{ordering: {ordering}, max-poll-interval: 3s, drain-timeout: 1s, commit-timeout: 1s}}}}\n"
    ));
    let app = App::from_yaml(&yaml).unwrap().only(["held"]);
    let app = app.state(stage.probe.clone()).state(door.clone()).start().await.unwrap();
    let mut events = app.listeners().events();
    stage.send(&app, "light", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    let heavy = Record::to(&stage.topic).partition(1).key("k1").text("heavy");
    app.template().send_record(heavy).await.unwrap();
    let (partition, offset, since) = event(&mut events, |kind| match kind {
        EventKind::Stuck { partition, offset, since } => Some((partition, offset, since)),
        _ => None,
    })
    .await;
    assert_eq!((partition, offset), (stage.partition(1), 1));
    assert!(since > Duration::from_secs(3), "{since:?}");
    let health = app.health();
    assert_eq!(health.status, HealthStatus::Down);
    assert!(
        health.listeners[0].reasons[0].contains("offset 1 runs longer than max-poll-interval"),
        "{health:?}"
    );
    let open = app.explain();
    let [record] = &open[..] else { panic!("{open:?}") };
    assert_eq!((record.partition, record.offset, record.attempt), (stage.partition(1), 1, 1));
    assert_eq!((record.key.as_deref(), record.phase), (Some("\"k1\""), OpenPhase::Running));
    assert!(record.age > Duration::from_secs(2), "{record}");

    stage.send(&app, "light", 1).await;
    stage.probe.at_least(5, LIMIT).await;
    assert!(!stage.saw("heavy").contains(&1));
    door.0.notify_one();
    let over = event(&mut events, |kind| match kind {
        EventKind::NoLongerStuck { partition } => Some(partition),
        EventKind::Lost(_) | EventKind::Revoked(_) => panic!("the membership is kept"),
        _ => None,
    })
    .await;
    assert_eq!(over, stage.partition(1));
    stage.probe.at_least(7, LIMIT).await;
    // Those behind it may have passed it; each is handled once.
    let each: BTreeSet<_> = stage.probe.seen().iter().map(|seen| (seen.partition, seen.offset)).collect();
    assert_eq!((each.len(), stage.probe.len()), (7, 7));
    eventually("health is up", LIMIT, || async { app.health().status == HealthStatus::Up }).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_stuck_is_told_and_named_and_no_longer_when_it_returns() {
    a_stuck_handler("partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_stuck_beside_others_is_told_and_named() {
    a_stuck_handler("key, concurrency: 4").await;
}

/// Keeps what it is to acknowledge.
#[derive(Clone, Default)]
struct Acks(std::sync::Arc<std::sync::Mutex<Vec<Ack>>>);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-forgetful", ack = "manual")]
async fn forgetful(value: String, ack: Ack, meta: Metadata, probe: &State<Probe>, acks: &State<Acks>) {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "forgotten" => acks.0.lock().unwrap().push(ack),
        _ => ack.ack().unwrap(),
    }
}

/// An `Ack` that nobody uses holds up its partition's commits while others are handled: its record is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_nobody_acknowledges_is_named() {
    let stage = Stage::new().await;
    let acks = Acks::default();
    let yaml = stage
        .yaml("  listeners: {forgetful: {max-poll-interval: 3s, drain-timeout: 1s, commit-timeout: 1s}}\n");
    let app = App::from_yaml(&yaml).unwrap().only(["forgetful"]);
    let app = app.state(stage.probe.clone()).state(acks.clone()).start().await.unwrap();
    let mut events = app.listeners().events();
    let forgotten = Record::to(&stage.topic).partition(1).key("k1").text("forgotten");
    app.template().send_record(forgotten).await.unwrap();
    stage.send(&app, "behind it", 2).await;
    stage.probe.at_least(7, LIMIT).await;
    // The last handler may still be at its end.
    eventually("one is open", LIMIT, || async { app.explain().len() == 1 }).await;
    let open = app.explain();
    let [record] = &open[..] else { panic!("{open:?}") };
    assert_eq!((record.partition, record.offset, record.attempt), (stage.partition(1), 0, 1));
    assert_eq!((record.key.as_deref(), record.phase), (Some("\"k1\""), OpenPhase::Unacknowledged));
    let told = event(&mut events, |kind| match kind {
        EventKind::Stuck { partition, offset, .. } => Some((partition, offset)),
        _ => None,
    })
    .await;
    assert_eq!(told, (stage.partition(1), 0));
    let health = app.health();
    assert_eq!(health.status, HealthStatus::Down);
    let reason = &health.listeners[0].reasons[0];
    assert!(
        reason.contains("-1: offset 0 is not acknowledged for longer than max-poll-interval"),
        "{health:?}"
    );
    acks.0.lock().unwrap().drain(..).for_each(|ack| ack.ack().unwrap());
    let over = event(&mut events, |kind| match kind {
        EventKind::NoLongerStuck { partition } => Some(partition),
        _ => None,
    })
    .await;
    assert_eq!((over, app.explain()), (stage.partition(1), vec![]));
    assert_eq!(app.health().status, HealthStatus::Up, "{:?}", app.health());
    app.stop().await.unwrap();
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-mixed",
    ordering = "key",
    concurrency = 4,
    retry(attempts = 1000, backoff = "100ms..200ms")
)]
async fn mixed(value: String, door: &State<Door>, bank: &State<Bank>) -> Result<(), &'static str> {
    match value.as_str() {
        "heavy" => door.0.notified().await,
        "poison" if !bank.0.load(Ordering::SeqCst) => return Err("no bank"),
        _ => {}
    }
    Ok(())
}

/// A key fails again and again while handlers of other keys run: health says which, until it succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_tried_again_degrades_health_while_others_go_on() {
    let stage = Stage::new().await;
    let door = Door::default();
    let yaml = stage.yaml("  listeners: {mixed: {retry: {attempts: 1000}}}\n");
    let app = App::from_yaml(&yaml).unwrap().only(["mixed"]);
    let app = app.state(stage.bank.clone()).state(door.clone()).start().await.unwrap();
    for value in ["heavy", "poison"] {
        let record = Record::to(&stage.topic).partition(1).key(value).text(value);
        app.template().send_record(record).await.unwrap();
    }
    eventually("health is degraded", LIMIT, || async { app.health().status == HealthStatus::Degraded }).await;
    let health = app.health();
    let retrying = format!("retrying {} at offset 1, key \"poison\"", stage.partition(1));
    assert!(health.listeners[0].reasons[0].starts_with(&retrying), "{health:?}");
    stage.bank.0.store(true, Ordering::SeqCst);
    eventually("health is up", LIMIT, || async { app.health().status == HealthStatus::Up }).await;
    assert_eq!(app.explain().len(), 1, "the other one is still in hand");
    door.0.notify_one();
    app.stop().await.unwrap();
}

/// Another process takes its static identity: it is fenced, which no retry mends.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_dies_takes_the_health_of_its_application_down() {
    let stage = Stage::new().await;
    let yaml = |probe: &Probe| {
        let yaml = stage.yaml("  listeners: {steered: {properties: {group.instance.id: one}}}\n");
        App::from_yaml(&yaml)
            .unwrap()
            .only(["steered", "poisoned"])
            .state(probe.clone())
            .state(stage.bank.clone())
    };
    let app = yaml(&stage.probe).start().await.unwrap();
    let mut events = app.listeners().events();
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(6, LIMIT).await;
    let heir = yaml(&Probe::default()).start().await.unwrap();
    let cause = event(&mut events, |kind| match kind {
        EventKind::Failed { cause } => Some(cause),
        _ => None,
    })
    .await;
    assert!(cause.contains("FencedInstanceId"), "{cause}");
    let health = app.health();
    assert_eq!((health.status, health.is_alive()), (HealthStatus::Down, false));
    let steered = health.listeners.iter().find(|listener| listener.id == "steered").unwrap();
    assert!(steered.reasons[0].starts_with("failed: ") && steered.reasons[0].contains(&cause), "{health:?}");
    heir.stop().await.unwrap();
    // Whoever has mended the cause starts it again.
    app.listeners().get("steered").unwrap().start().await.unwrap();
    let handled = || stage.probe.seen().into_iter().filter(|seen| seen.value == "after").count();
    stage.send(&app, "after", 1).await;
    eventually("both listeners handle it", LIMIT, || async { handled() == 6 }).await;
    eventually("it is up", LIMIT, || async { app.health().status == HealthStatus::Up }).await;
    let _ = app.stop().await;
}
