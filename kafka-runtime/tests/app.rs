//! Applications on the embedded broker: what a user's test would do, and how an application starts and ends.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // In helpers of tests too, which clippy takes for production code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_runtime::container::{ListenerState, PartitionPhase};
use kafka_runtime::prelude::*;
use kafka_runtime::testing::TestApp;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Invoice {
    order: u64,
    reader: String,
}

#[kafka_listener(topic = "orders", group = "billing")]
async fn bill(order: Order, key: Key<String>, template: &State<Template>) -> Result<(), TemplateError> {
    template.send("invoices", &*key, &Invoice { order: order.id, reader: key.to_string() }).await?;
    Ok(())
}

/// What handlers of these tests write down, by what they are called.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<&'static str, Vec<String>>>);

impl Notes {
    fn add(&self, listener: &'static str, note: impl Into<String>) {
        self.0.lock().unwrap().entry(listener).or_default().push(note.into());
    }
    fn of(&self, listener: &str) -> Vec<String> {
        self.0.lock().unwrap().get(listener).cloned().unwrap_or_default()
    }
}

#[kafka_listener(topic = "jobs", group = "workers", ack = "manual")]
async fn job(job: String, ack: Ack, notes: State<Notes>) {
    tokio::spawn(async move {
        // Later jobs are done first.
        tokio::time::sleep(Duration::from_millis(30 - 10 * job.parse::<u64>().unwrap())).await;
        notes.add("job", job);
        ack.ack().unwrap();
    });
}

#[kafka_listener(topic = "clicks", group = "warehouse", batch)]
async fn store(
    clicks: Batch<u64>,
    tries: &State<AtomicUsize>,
    notes: &State<Notes>,
) -> Result<(), BatchError<String>> {
    for (index, click) in clicks.iter().enumerate() {
        if *click == 3 && tries.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(BatchError::at(index, "a full disk".to_owned()));
        }
        notes.add("store", click.to_string());
    }
    Ok(())
}

#[kafka_listener(topic = "slow", group = "slow")]
async fn slow(value: String, notes: &State<Notes>) {
    notes.add("slow", value);
    tokio::time::sleep(Duration::from_secs(3600)).await;
}

#[kafka_listener(topic = "shared", group = "shared", commit = "sync", commit_every = "record")]
async fn shared(value: String, meta: Metadata, notes: &State<Notes>) {
    notes.add("shared", format!("{}:{value}", meta.partition()));
}

#[kafka_listener(topic = "poisoned", group = "poisoned", on_exhausted = "stop")]
async fn poisoned(order: Order) {
    let _ = order;
}

#[kafka_listener(topic = "orders", group = "a-${never.set}")]
async fn unresolved(_order: Order) {}

#[kafka_listener(topic = "orders", group = "stateless")]
async fn stateless(_order: Order, _notes: State<Notes>, _count: &State<AtomicU64>) {}

const YAML: &str = "
spring: {application: {name: test}, kafka: {bootstrap-servers: 'localhost:1'}}
kafka-runtime: {listener: {retry: {attempts: 2, backoff: {initial: 10ms, max: 10ms}}, shutdown-timeout: 4s}}
";

fn app(listener: &'static str) -> App {
    App::from_yaml(YAML).unwrap().only([listener])
}

fn order(id: u64) -> Order {
    Order { id, customer: format!("c{id}") }
}

#[tokio::test]
async fn bills_an_order() {
    let app = TestApp::start(app("bill")).await.unwrap();
    app.template().send("orders", "c1", &order(7)).await.unwrap();
    app.handled("bill", 1).await;
    assert_eq!(app.sent::<Invoice>("invoices").await, [Invoice { order: 7, reader: "c1".into() }]);
    assert_eq!(app.committed("billing", "orders", 0).await, 1);
    assert!(app.stop().await.unwrap().is_clean());
}

#[tokio::test]
async fn acknowledgements_from_other_tasks_are_committed() {
    let app = TestApp::start(app("job").state(Notes::default())).await.unwrap();
    for n in 0..3 {
        app.template().send_text("jobs", (), &n.to_string()).await.unwrap();
    }
    app.handled("job", 3).await;
    while app.committed("workers", "jobs", 0).await < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut done = app.get_state::<Notes>().unwrap().of("job");
    done.sort();
    assert_eq!(done, ["0", "1", "2"]);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn the_front_of_a_failed_batch_is_not_repeated() {
    let app = app("store").state(Notes::default()).state(AtomicUsize::new(0));
    let app = TestApp::start(app).await.unwrap();
    let template = app.template();
    for n in 0..6u64 {
        drop(template.enqueue("clicks", (), &n).await.unwrap());
    }
    template.flush().await.unwrap();
    app.handled("store", 6).await;
    assert_eq!(app.get_state::<Notes>().unwrap().of("store"), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(app.committed("warehouse", "clicks", 0).await, 6);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_stops_is_shown_and_keeps_its_offset() {
    let app = TestApp::start(app("poisoned")).await.unwrap();
    let template = app.template();
    template.send("poisoned", "a", &order(1)).await.unwrap();
    template.send_text("poisoned", "b", "{\"id\": \"one\"}").await.unwrap();
    let stopped = loop {
        let status = app.status().remove(0);
        if let Some(stopped) =
            status.partitions.iter().find(|partition| partition.phase == PartitionPhase::Stopped)
        {
            assert!(!status.is_healthy());
            break stopped.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let cause = stopped.cause.unwrap();
    assert!(cause.contains("poisoned") && cause.contains("offset 1") && cause.contains("id"), "{cause}");
    assert_eq!(app.committed("poisoned", "poisoned", 0).await, 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_cut_off_and_named() {
    let app = TestApp::start(app("slow").state(Notes::default())).await.unwrap();
    app.template().send_text("slow", (), "one").await.unwrap();
    let notes = app.get_state::<Notes>().unwrap();
    while notes.of("slow").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = std::time::Instant::now();
    let summary = app.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert!(!summary.is_clean());
    let undone: Vec<_> = summary.undone.iter().map(|undone| (undone.listener, undone.offset)).collect();
    assert_eq!(undone, [("slow", 0)]);
    assert_eq!(summary.listeners[0].state, ListenerState::Stopped);
    assert!(summary.to_string().contains("slow-0 at offset 0"), "{summary}");
}

#[tokio::test]
async fn callbacks_and_pages() {
    let app = TestApp::start(App::from_yaml(YAML).unwrap().only([])).await.unwrap();
    let template = app.template();
    let called = Arc::new(Mutex::new(Vec::new()));
    for n in 0..100u64 {
        let called = Arc::clone(&called);
        template.send_async("numbers", (), &n, move |sent| called.lock().unwrap().push(sent.unwrap().offset));
    }
    template.flush().await.unwrap();
    assert_eq!(called.lock().unwrap().len(), 100);
    template.send_tombstone("numbers", "k").await.unwrap();
    template
        .send_record(Record::to("numbers").text("t").header("h", "1").header_null("h").timestamp(5))
        .await
        .unwrap();

    let page = template.receive("numbers", 0, 90..).await.unwrap();
    assert_eq!(page.iter().map(|record| record.offset()).collect::<Vec<_>>(), (90..102).collect::<Vec<_>>());
    assert_eq!((page.next(), page[0].json::<u64>().unwrap()), (None, 90), "sent in the order of the calls");
    assert_eq!((page[10].key(), page[10].value()), (Some(&b"k"[..]), None));
    assert_eq!((page[11].text(), page[11].timestamp()), (Some("t"), 5));
    assert_eq!(page[11].headers().collect::<Vec<_>>(), [("h", Some(&b"1"[..])), ("h", None)]);
    assert_eq!(template.receive("numbers", 0, 10..=12).await.unwrap().len(), 3);
    assert!(template.receive("numbers", 0, 500..).await.unwrap().is_empty());
    let error = template.send_default((), &1).await.unwrap_err().to_string();
    assert!(error.contains("default-topic"), "{error}");
    app.stop().await.unwrap();
    let error = template.send("numbers", (), &1).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test]
async fn two_members_share_and_hand_over_without_repeating() {
    let broker = kafka_embedded::EmbeddedKafka::builder().topic("shared", 4).start().await.unwrap();
    let servers = broker.bootstrap_servers();
    let first = TestApp::on(broker, app("shared").state(Notes::default())).await.unwrap();
    let template = first.template();
    let round = async |name: &str| {
        for partition in 0..4 {
            template.send_record(Record::to("shared").partition(partition).text(name)).await.unwrap();
        }
    };
    round("one").await;
    first.handled("shared", 4).await;
    let second = app("shared")
        .state(Notes::default())
        .property("kafka-runtime.bootstrap-servers", servers)
        .property("kafka-runtime.consumer.auto-offset-reset", "earliest");
    let second = second.start().await.unwrap();
    while second.status()[0].partitions.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    round("two").await;
    second.handled("shared", 2).await;
    first.handled("shared", 6).await;
    assert!(second.stop().await.unwrap().is_clean());
    round("three").await;
    first.handled("shared", 10).await;
    for partition in 0..4 {
        assert_eq!(first.committed("shared", "shared", partition).await, 3);
    }
    first.stop().await.unwrap();
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_called_stuck() {
    let app = app("slow")
        .state(Notes::default())
        .property("kafka-runtime.listener.drain-timeout", "100ms")
        .property("kafka-runtime.listener.commit-timeout", "100ms")
        .property("spring.kafka.consumer.max-poll-interval", "1s");
    let app = TestApp::start(app).await.unwrap();
    app.template().send_text("slow", (), "one").await.unwrap();
    let stuck = || app.status()[0].partitions.iter().any(|partition| partition.stuck == Some(0));
    while !stuck() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!app.status()[0].is_healthy());
    app.stop().await.unwrap();
}

#[tokio::test]
async fn when_every_listener_has_failed_there_is_nothing_to_run() {
    let broker = kafka_embedded::EmbeddedKafka::builder().start().await.unwrap();
    let app = app("bill")
        .property("kafka-runtime.bootstrap-servers", broker.bootstrap_servers())
        // Less than the broker takes.
        .property("spring.kafka.consumer.properties.session.timeout.ms", "10")
        .property("spring.kafka.consumer.heartbeat-interval", "3ms");
    let error = app.run_until(std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains("bill") && error.contains("JoinGroup"), "{error}");
}

#[tokio::test]
async fn brokers_may_come_later() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let app = app("bill")
        .property("spring.kafka.bootstrap-servers", &address)
        .property("spring.kafka.consumer.auto-offset-reset", "earliest");
    let app = app.start().await.unwrap();
    while app.status()[0].problem.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _broker = kafka_embedded::EmbeddedKafka::builder().listen(&address).start().await.unwrap();
    app.template().send("orders", "c1", &order(1)).await.unwrap();
    app.handled("bill", 1).await;
    assert_eq!(app.status()[0].problem, None);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn everything_that_is_missing_is_said_at_once() {
    let app = App::from_yaml(YAML).unwrap().only(["stateless", "billl"]);
    let error = app.start().await.unwrap_err().to_string();
    for part in ["billl", "Notes", "AtomicU64", "stateless", "tests/app.rs"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = App::from_yaml(YAML).unwrap().only(["unresolved"]).start().await.unwrap_err().to_string();
    assert!(error.contains("never.set"), "{error}");
}

#[tokio::test]
async fn commits_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let callback = {
        let told = Arc::clone(&told);
        move |event: &CommitEvent| told.lock().unwrap().push((event.group.to_string(), event.has_failed()))
    };
    let app = TestApp::start(app("bill").on_commit(callback)).await.unwrap();
    app.template().send("orders", "c1", &order(7)).await.unwrap();
    app.handled("bill", 1).await;
    app.stop().await.unwrap();
    assert_eq!(told.lock().unwrap().first(), Some(&("billing".to_owned(), false)));
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop() {
    let broker = kafka_embedded::EmbeddedKafka::builder().start().await.unwrap();
    let app = app("bill").property("kafka-runtime.bootstrap-servers", broker.bootstrap_servers());
    app.run_until(tokio::time::sleep(Duration::from_millis(300))).await.unwrap();
}
