//! What holds a listener back: its rate, its circuit breaker, a check of the application.

use kafka_runtime::container::HealthStatus;
use tests::eventually;

use super::*;

/// How often a handler was called, and whether what it needs is there.
#[derive(Clone, Default)]
struct Downstream(std::sync::Arc<(AtomicBool, std::sync::atomic::AtomicUsize)>);

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-guarded",
    circuit_breaker(failures = 3, pause = "300ms", max_pause = "300ms")
)]
async fn guarded(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
    down: &State<Downstream>,
) -> Result<(), &'static str> {
    down.0.1.fetch_add(1, Ordering::SeqCst);
    // A while, so that it is a handler that waits.
    tokio::task::yield_now().await;
    if down.0.0.load(Ordering::SeqCst) {
        return Err("the bank is closed");
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
    Ok(())
}

async fn a_circuit(listener: &'static str, ordering: &str) {
    let stage = Stage::new().await;
    let down = Downstream::default();
    let yaml = stage.cluster.yaml(&format!(
        "suite: {{topic: {}}}\nkafka-runtime: {{listener: {{retry: {{attempts: 4, backoff: {{initial: 10ms, max: 10ms}}}}, ordering: {ordering}}}}}\n",
        stage.topic
    ));
    let app = App::from_yaml(&yaml).unwrap().only([listener]);
    let app = app.state(stage.probe.clone()).state(down.clone()).start().await.unwrap();
    let mut events = app.listeners().events();
    stage.send(&app, "before", 2).await;
    stage.probe.at_least(6, LIMIT).await;
    down.0.0.store(true, Ordering::SeqCst);
    stage.send(&app, "while it is down", 2).await;
    event(&mut events, |kind| matches!(kind, EventKind::CircuitOpened { .. }).then_some(())).await;
    assert_eq!(app.health().status, HealthStatus::Degraded, "{:?}", app.health());
    let calls = down.0.1.load(Ordering::SeqCst);
    // Far more probes fail than a record has tries, and far fewer than the listener would make without a pause.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let probes = down.0.1.load(Ordering::SeqCst) - calls;
    assert!((5..=14).contains(&probes), "{probes} probes in 3 s, each after 300 ms");
    assert_eq!(stage.saw("while it is down"), BTreeSet::new());
    down.0.0.store(false, Ordering::SeqCst);
    event(&mut events, |kind| matches!(kind, EventKind::CircuitClosed).then_some(())).await;
    stage.probe.at_least(12, LIMIT).await;
    // Records without a key keep no order side by side; each is handled once in any case.
    let each: BTreeSet<_> = stage.probe.seen().iter().map(|seen| (seen.partition, seen.offset)).collect();
    assert_eq!((each.len(), stage.probe.len()), (12, 12));
    eventually("health is up", LIMIT, || async { app.health().status == HealthStatus::Up }).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_pauses_while_downstream_is_down_and_gives_no_record_up() {
    a_circuit("guarded", "partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_records_side_by_side() {
    a_circuit("guarded", "key, concurrency: 4").await;
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-banked",
    pause_when(check = "bank", interval = "100ms")
)]
async fn banked(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// Handled when its `Ack` is used, which nobody does while the bank is closed.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-trusting",
    ack = "manual",
    circuit_breaker(failures = 3, pause = "300ms", max_pause = "300ms")
)]
async fn trusting(value: String, ack: Ack, meta: Metadata, probe: &State<Probe>, down: &State<Downstream>) {
    down.0.1.fetch_add(1, Ordering::SeqCst);
    let (down, probe) = (down.0.clone(), probe.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !down.0.load(Ordering::SeqCst) && ack.ack().is_ok() {
            probe.saw(meta.partition(), meta.offset(), None, value);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_are_dropped_open_the_circuit_and_no_record_is_given_up() {
    a_circuit("trusting", "partition").await;
}

async fn a_check(ordering: &str) {
    let stage = Stage::new().await;
    let yaml = stage.cluster.yaml(&format!(
        "suite: {{topic: {}}}\nkafka-runtime: {{listeners: {{banked: {{ordering: {ordering}}}}}}}\n",
        stage.topic
    ));
    let down = Bank::default();
    let bank = down.clone();
    let check = move || {
        let is_down = bank.0.load(Ordering::SeqCst);
        async move { if is_down { Err("closed for today") } else { Ok(()) } }
    };
    let app = App::from_yaml(&yaml).unwrap().only(["banked"]).state(stage.probe.clone());
    let app = app.downstream("bank", check).start().await.unwrap();
    let mut events = app.listeners().events();
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    down.0.store(true, Ordering::SeqCst);
    event(&mut events, |kind| matches!(kind, EventKind::DownstreamDown { .. }).then_some(())).await;
    stage.send(&app, "while it is down", 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.saw("while it is down"), BTreeSet::new());
    let health = app.health();
    let reasons = &health.listeners[0].reasons;
    assert_eq!(
        (health.status, &reasons[..]),
        (HealthStatus::Degraded, &["paused while `bank` is down: closed for today".to_owned()][..])
    );
    down.0.store(false, Ordering::SeqCst);
    event(&mut events, |kind| matches!(kind, EventKind::DownstreamUp { .. }).then_some(())).await;
    stage.probe.at_least(6, LIMIT).await;
    assert_eq!((stage.saw("while it is down"), app.health().status), (all(), HealthStatus::Up));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_pauses_while_its_check_says_so() {
    a_check("partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_side_by_side_pauses_while_its_check_says_so() {
    a_check("key, concurrency: 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_nobody_gave_is_a_mistake_at_the_start() {
    let stage = Stage::new().await;
    let yaml = stage.cluster.yaml(&format!("suite: {{topic: {}}}\n", stage.topic));
    let app = App::from_yaml(&yaml).unwrap().only(["banked"]).state(stage.probe.clone());
    let mistake = app.downstream("mail", async || Ok::<_, String>(())).start().await.unwrap_err().to_string();
    assert!(mistake.contains("no check of this name (it has mail)"), "{mistake}");
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-limited", rate_limit = "20/s")]
async fn limited(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

async fn a_rate(ordering: &str) {
    let stage = Stage::new().await;
    let more = format!("  listeners: {{limited: {{ordering: {ordering}}}}}\n");
    let app = stage.app(&["limited"], &more).await;
    app.ready().await;
    let begun = tokio::time::Instant::now();
    stage.send(&app, "one", 20).await;
    stage.probe.at_least(60, LIMIT).await;
    // A tenth of the number at once, then an even pace.
    assert!(
        stage.probe.len() == 60 && begun.elapsed() > Duration::from_millis(2500),
        "{:?}",
        begun.elapsed()
    );
    let each: BTreeSet<_> = stage.probe.seen().iter().map(|seen| (seen.partition, seen.offset)).collect();
    assert_eq!(each.len(), 60);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_over_all_partitions() {
    a_rate("partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_by_records_side_by_side() {
    a_rate("none, concurrency: 4").await;
}
