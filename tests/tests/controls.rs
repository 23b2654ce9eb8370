//! Listeners steered at run time: listed, paused, resumed, moved, stopped, started; their health, lag and events.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_runtime::container::{EventKind, EventStream, HealthStatus, ListenerState, PartitionPhase};
use kafka_runtime::prelude::*;
use tests::{Cluster, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-steered")]
async fn steered(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-late", auto_startup = false)]
async fn late(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// Whether the bank is there.
#[derive(Clone, Default)]
struct Bank(std::sync::Arc<AtomicBool>);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-poisoned")]
async fn poisoned(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
    bank: &State<Bank>,
) -> Result<(), &'static str> {
    if value == "poison" && !bank.0.load(Ordering::SeqCst) {
        return Err("no bank");
    }
    probe.saw(meta.partition(), meta.offset(), None, value);
    Ok(())
}

/// Steers another listener, and itself without waiting for it.
#[kafka_listener(topic = "${suite.topic}-orders", group = "${suite.topic}-operator")]
async fn operator(order: String, listeners: State<Listeners>) -> Result<(), ListenerError> {
    match order.as_str() {
        "pause" => listeners.get("steered")?.pause().await,
        "resume" => listeners.get("steered")?.resume().await,
        "stop yourself" => {
            drop(listeners.get("operator")?.stop());
            Ok(())
        }
        other => panic!("{other}"),
    }
}

struct Stage {
    cluster: Cluster,
    topic: String,
    probe: Probe,
    bank: Bank,
}

impl Stage {
    async fn new() -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("controls", PARTITIONS).await;
        Self { cluster, topic, probe: Probe::default(), bank: Bank::default() }
    }

    async fn app(&self, listeners: &[&str], more: &str) -> RunningApp {
        let yaml = self.cluster.yaml(&format!(
            "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 300}}\nsuite: {{topic: {}}}\nkafka-runtime:\n  listener: {{retry: {{attempts: 1}}, on-exhausted: stop, commit: {{every: {{time: 100ms}}}}}}\n{more}",
            self.topic
        ));
        let app = App::from_yaml(&yaml).unwrap().only(listeners.iter().copied());
        app.state(self.probe.clone()).state(self.bank.clone()).start().await.unwrap()
    }

    /// `count` records to each partition.
    async fn send(&self, app: &RunningApp, value: &str, count: usize) {
        for _ in 0..count {
            for partition in 0..PARTITIONS {
                let record = Record::to(&self.topic).partition(partition).text(value);
                app.template().send_record(record).await.unwrap();
            }
        }
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), number)
    }

    /// Partitions whose records of this value were handled.
    fn saw(&self, value: &str) -> BTreeSet<i32> {
        self.probe.seen().iter().filter(|seen| seen.value == value).map(|seen| seen.partition).collect()
    }
}

fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}

/// The next event that `wanted` wants.
async fn event<T>(events: &mut EventStream, mut wanted: impl FnMut(EventKind) -> Option<T>) -> T {
    let wait = async {
        loop {
            let event = events.next().await.expect("events go on");
            if let Some(found) = wanted(event.kind) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the event comes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_partitions_finishes_what_is_in_hand_and_loses_nothing() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    let steered = app.listeners().get("steered").unwrap();
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(3, LIMIT).await;

    steered.pause_partition(stage.partition(1)).await.unwrap();
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
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_stays_paused_over_a_rebalance() {
    let stage = Stage::new().await;
    let app = stage.app(&["steered"], "").await;
    stage.send(&app, "before", 1).await;
    stage.probe.at_least(3, LIMIT).await;
    let mut events = app.listeners().events();
    app.listeners().get("steered").unwrap().pause().await.unwrap();
    // Another member comes and goes: with the default list of assignors all partitions are given back and shared out.
    let other = Probe::default();
    let yaml = stage.cluster.yaml(&format!("suite: {{topic: {}}}\n", stage.topic));
    let second = App::from_yaml(&yaml).unwrap().only(["steered"]).state(other.clone()).start().await.unwrap();
    second.ready().await;
    second.stop().await.unwrap();
    eventually("it has all partitions again", LIMIT, || async { app.status()[0].partitions.len() == 3 })
        .await;
    event(&mut events, |kind| matches!(kind, EventKind::Revoked(_)).then_some(())).await;
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
    steered.seek(stage.partition(0), StartAt::Offset(2)).await.unwrap();
    steered.pause().await.unwrap();
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

async fn a_circuit(ordering: &str) {
    let stage = Stage::new().await;
    let down = Downstream::default();
    let yaml = stage.cluster.yaml(&format!(
        "suite: {{topic: {}}}\nkafka-runtime: {{listener: {{retry: {{attempts: 4, backoff: {{initial: 10ms, max: 10ms}}}}, ordering: {ordering}}}}}\n",
        stage.topic
    ));
    let app = App::from_yaml(&yaml).unwrap().only(["guarded"]);
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
    a_circuit("partition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_records_side_by_side() {
    a_circuit("key, concurrency: 4").await;
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-banked",
    pause_when(check = "bank", interval = "100ms")
)]
async fn banked(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
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
    stage.send(&app, "one", 20).await;
    let begun = tokio::time::Instant::now();
    stage.probe.at_least(60, LIMIT).await;
    // A tenth of the number at once, then an even pace; some went while the others were sent.
    assert!(stage.probe.len() == 60 && begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
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
