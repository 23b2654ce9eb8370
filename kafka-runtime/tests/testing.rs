//! The test kit itself: what was handled, failed and sent, restarts, time that is the test's, tests side by side.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // In helpers of tests too, which clippy takes for production code.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_runtime::prelude::*;
use kafka_runtime::testing::{Api, EmbeddedKafka, ErrorCode, Fate, TestApp};
use tokio::time::Instant;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Job {
    id: u32,
}

/// How often a job fails before it is done.
#[derive(Default)]
struct Failures(u32, AtomicU32);

#[kafka_listener(topic = "jobs", group = "workers")]
async fn work(job: Job, failures: &State<Failures>, template: &State<Template>) -> Result<(), String> {
    if failures.1.fetch_add(1, Ordering::Relaxed) < failures.0 {
        return Err(format!("job {} is not ready", job.id));
    }
    let done =
        Record::to("done").key("k").json(&job).map_err(|error| error.to_string())?.header("by", "work");
    template.send_record(done).await.map_err(|error| error.to_string())?;
    Ok(())
}

#[kafka_listener(topic = "jobs", group = "store", batch)]
async fn store(jobs: Batch<Job>) -> Result<(), BatchError<String>> {
    match jobs.iter().position(|job| job.id == 13) {
        Some(index) => Err(BatchError::at(index, "unlucky".to_owned())),
        None => Ok(()),
    }
}

/// Never done with one job, until somebody is there to help.
#[derive(Default)]
struct Help(bool);

#[kafka_listener(topic = "jobs", group = "lifters")]
async fn lift(job: Job, help: &State<Help>) {
    if job.id == 13 && !help.0 {
        std::future::pending::<()>().await;
    }
}

const YAML: &str = "
spring: {application: {name: test}, kafka: {bootstrap-servers: nowhere:1}}
kafka-runtime: {listener: {retry: {attempts: 5, backoff: {initial: 100ms, max: 10s, multiplier: 2}}, on-exhausted: skip}}
";

fn app(listener: &'static str, failures: u32) -> App {
    App::from_yaml(YAML).unwrap().only([listener]).state(Failures(failures, AtomicU32::new(0)))
}

#[tokio::test]
async fn shows_what_was_handled_failed_sent_and_committed() {
    let app = TestApp::start(app("work", 2)).await.unwrap();
    app.send("jobs", "a", &Job { id: 7 }).await;
    app.handled("work", 1).await;

    let failed = app.failures("work");
    assert_eq!(failed.iter().map(|one| one.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(failed[0].fate, Fate::Failed("job 7 is not ready".into()));
    assert_eq!(failed[0].read::<Job>(), Job { id: 7 });
    assert_eq!(app.done::<Job>("work"), [Job { id: 7 }]);

    let sent = app.records("done").await;
    assert_eq!((sent.len(), sent[0].key(), sent[0].text()), (1, Some(&b"k"[..]), Some(r#"{"id":7}"#)));
    assert_eq!(sent[0].headers().collect::<Vec<_>>(), [("by", Some(&b"work"[..]))]);
    assert_eq!(app.sent::<Job>("done").await, [Job { id: 7 }]);
    assert_eq!(app.committed("workers", "jobs", 0).await, 1);
    assert_eq!(app.committed("workers", "unknown", 0).await, -1);
    app.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn back_offs_take_no_time_in_memory() {
    let kafka = EmbeddedKafka::builder().topic("jobs", 1).in_memory().start().await.unwrap();
    let app = TestApp::on(kafka, app("work", 4)).await.unwrap();
    let (begin, real) = (Instant::now(), std::time::Instant::now());
    app.send("jobs", "a", &Job { id: 1 }).await;
    let failed = app.failed("work", 4).await;
    assert_eq!(failed.len(), 4);
    app.handled("work", 1).await;
    assert!(begin.elapsed() >= Duration::from_millis(100 + 200 + 400), "{:?}", begin.elapsed());
    assert!(real.elapsed() < begin.elapsed() + Duration::from_secs(20));
    assert_eq!(app.sent::<Job>("done").await, [Job { id: 1 }]);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let first = TestApp::start(app("work", 0)).await.unwrap();
    first.send("jobs", "a", &Job { id: 1 }).await;
    first.handled("work", 1).await;
    let second = first.restart(app("work", 0)).await.unwrap();
    second.send("jobs", "a", &Job { id: 2 }).await;
    second.handled("work", 1).await;
    assert_eq!(second.done::<Job>("work"), [Job { id: 1 }, Job { id: 2 }]);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn faults_are_at_hand() {
    let app = TestApp::start(app("work", 0)).await.unwrap();
    let fault =
        app.broker().faults().on(Api::OffsetCommit).first(2).answer(ErrorCode::CoordinatorLoadInProgress);
    app.send("jobs", "a", &Job { id: 1 }).await;
    app.handled("work", 1).await;
    assert_eq!(app.committed("workers", "jobs", 0).await, 1);
    assert_eq!(fault.strikes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_seen_record_by_record() {
    let kafka = EmbeddedKafka::builder().topic("jobs", 1).in_memory().start().await.unwrap();
    let app = TestApp::on(kafka, app("store", 0)).await.unwrap();
    for id in 12..=14 {
        app.send("jobs", "a", &Job { id }).await;
    }
    app.handled("store", 2).await;
    let failed = app.failed("store", 5).await;
    assert!(failed.iter().any(|one| one.read::<Job>().id == 13), "{failed:?}");
    let mut done: Vec<u32> = app.done::<Job>("store").iter().map(|job| job.id).collect();
    done.dedup();
    assert_eq!(done, [12, 14]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_fails_says_what_was_seen() {
    let waiting = tokio::spawn(async {
        let kafka = EmbeddedKafka::builder().topic("jobs", 1).in_memory().start().await.unwrap();
        let app = TestApp::on(kafka, app("work", 1)).await.unwrap().patience(Duration::from_secs(5));
        app.send("jobs", "a", &Job { id: 1 }).await;
        app.handled("work", 3).await;
    });
    let panic = waiting.await.unwrap_err().into_panic();
    let words = panic.downcast_ref::<String>().unwrap();
    for expected in [
        "`work`: waited 5s for 3 records handled",
        "given 2 deliveries",
        "jobs-0 at offset 0, try 1: Failed(\"job 1 is not ready\")",
        "jobs-0 at offset 0, try 2: Done",
    ] {
        assert!(words.contains(expected), "{expected} is not in: {words}");
    }
}

#[tokio::test]
async fn tests_run_side_by_side() {
    let one = async |id| {
        let app = TestApp::start(app("work", 0)).await.unwrap();
        app.send("jobs", "a", &Job { id }).await;
        app.handled("work", 1).await;
        assert_eq!(app.sent::<Job>("done").await, [Job { id }]);
        app.stop().await.unwrap();
    };
    tokio::join!(one(1), one(2), one(3), one(4));
}

/// Or the others would wait for a session: also where the last commit stays without an answer.
#[tokio::test(start_paused = true)]
async fn who_stops_says_goodbye_although_a_commit_is_stuck() {
    let kafka = EmbeddedKafka::builder().topic("jobs", 1).in_memory().start().await.unwrap();
    let _stuck = kafka.faults().on(Api::OffsetCommit).hold();
    let goodbyes = kafka.faults().on(Api::LeaveGroup).delay(Duration::from_millis(1));
    let app = TestApp::on(kafka, app("work", 0)).await.unwrap();
    app.send("jobs", "a", &Job { id: 1 }).await;
    app.handled("work", 1).await;
    // Its first commit is under way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begin = Instant::now();
    app.stop().await.unwrap();
    assert_eq!(goodbyes.strikes(), 1, "{:?}", begin.elapsed());
    assert!(begin.elapsed() <= Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// The first batch after a change of leaders: what is committed within it is no position of the leader before.
#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_after_a_stop_within_the_first_batch_of_another_leader() {
    let app = |help| App::from_yaml(YAML).unwrap().only(["lift"]).state(Help(help));
    let kafka = EmbeddedKafka::builder().brokers(2).topic("jobs", 1).in_memory().start().await.unwrap();
    let first = TestApp::on(kafka, app(false)).await.unwrap();
    first.send("jobs", "a", &Job { id: 0 }).await;
    first.handled("lift", 1).await;
    let leader = first.broker().leader("jobs", 0).unwrap();
    first.broker().move_leader("jobs", 0, 3 - leader).unwrap();
    let jobs = (1..20).map(|id| Record::to("jobs").key("a").json(&Job { id }).unwrap());
    for sent in first.template().send_all(jobs).await {
        sent.unwrap();
    }
    first.handled("lift", 13).await;
    let second = first.restart(app(true)).await.unwrap();
    second.handled("lift", 7).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let done: Vec<u32> = second.done::<Job>("lift").iter().map(|job| job.id).collect();
    assert_eq!(done, (0..20).collect::<Vec<_>>());
    second.stop().await.unwrap();
}

/// A test that looks at nothing must not pass.
#[tokio::test(start_paused = true)]
async fn a_listener_that_there_is_not_is_no_empty_list() {
    let kafka = EmbeddedKafka::builder().topic("jobs", 1).in_memory().start().await.unwrap();
    let app = std::sync::Arc::new(TestApp::on(kafka, app("work", 0)).await.unwrap());
    assert!(app.failures("work").is_empty() && app.handlings("work").is_empty(), "it runs");
    let looks: [fn(&TestApp); 3] = [
        |app| drop(app.failures("wrok")),
        |app| drop(app.handlings("wrok")),
        |app| drop(app.done::<Job>("wrok")),
    ];
    for look in looks {
        let app = std::sync::Arc::clone(&app);
        let panic = tokio::spawn(async move { look(&app) }).await.unwrap_err().into_panic();
        let words = panic.downcast_ref::<String>().unwrap();
        assert!(words.contains("no listener `wrok` runs; there are [\"work\"]"), "{words}");
    }
}
