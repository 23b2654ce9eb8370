//! What waits in the template holds up nothing else: records for a topic that is not there, callbacks, the template's end. And
//! what becomes of a record over which the user's own code panics.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kafka_client::Client;
use kafka_client::admin::NewTopic;
use kafka_client::config::ClientConfig;
use kafka_embedded::EmbeddedKafka;
use kafka_runtime::prelude::*;
use kafka_runtime::template::{Choice, ChoosePartition, OutgoingRecord, RecordMetadata, SendError};
use tokio::sync::mpsc;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// Whose topics are made by nobody but the test: `there`.
async fn broker() -> EmbeddedKafka {
    EmbeddedKafka::builder().auto_create_topics(false).topic("there", 1).start().await.unwrap()
}

fn app(broker: &EmbeddedKafka, kafka: &str) -> App {
    let servers = broker.bootstrap_servers();
    App::from_yaml(format!("spring.kafka:\n  bootstrap-servers: {servers}\n{kafka}")).unwrap().only([])
}

type Told = (String, Result<RecordMetadata, TemplateError>);

/// Sends by `send_async`; the callback tells the value and the result.
fn send_async(template: &Template, topic: &str, value: &str, told: &mpsc::UnboundedSender<Told>) {
    let (told, name) = (told.clone(), value.to_owned());
    template.send_async(topic, "k", value, move |result| _ = told.send((name, result)));
}

async fn next(told: &mut mpsc::UnboundedReceiver<Told>) -> Told {
    timeout(LIMIT, told.recv()).await.expect("a callback").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_holds_up_nothing_but_its_own_records() {
    let broker = broker().await;
    let app = app(&broker, "  producer: {properties: {max.block.ms: 300000}}\n").start().await.unwrap();
    let template = app.template();
    let (sender, mut told) = mpsc::unbounded_channel();
    for (topic, value) in
        [("there", "1"), ("missing", "a"), ("there", "2"), ("missing", "b"), ("there", "3"), ("missing", "c")]
    {
        send_async(&template, topic, value, &sender);
    }
    for (value, offset) in [("1", 0), ("2", 1), ("3", 2)] {
        let (told, result) = next(&mut told).await;
        assert_eq!((told.as_str(), result.unwrap().offset), (value, offset));
    }
    // Nor does a flush hold anything up.
    let mut flushed = pin!(template.flush());
    assert!(flushed.as_mut().now_or_never().is_none());
    send_async(&template, "there", "more", &sender);
    assert_eq!(next(&mut told).await.0, "more");
    assert!(flushed.as_mut().now_or_never().is_none());
    let client = Client::new(ClientConfig {
        bootstrap_servers: vec![broker.bootstrap_servers().to_owned()],
        ..ClientConfig::default()
    });
    let missing = NewTopic {
        name: "missing".into(),
        partitions: Some(1),
        replication: Some(1),
        config: Default::default(),
    };
    client.unwrap().admin().create_topics(&[missing], LIMIT).await.unwrap();
    for (value, offset) in [("a", 0), ("b", 1), ("c", 2)] {
        let (told, result) = next(&mut told).await;
        assert_eq!((told.as_str(), result.unwrap().offset), (value, offset));
    }
    timeout(LIMIT, flushed).await.unwrap().unwrap();
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_for_a_missing_topic_wait_for_it_once() {
    let broker = broker().await;
    let app = app(&broker, "  producer: {properties: {max.block.ms: 5000}}\n").start().await.unwrap();
    let template = app.template();
    let record = |n: usize| {
        let topic = ["missing", "there", "not there either"][n % 3].replace(' ', "-");
        Record::to(topic).key(n.to_string()).text("v")
    };
    let is_missing = |n: usize, result: &Result<RecordMetadata, TemplateError>| match result {
        Err(error @ TemplateError::Send(SendError::UnknownTopic { .. })) => {
            assert_eq!(error.record(), Some(record(n)));
            n % 3 != 1
        }
        Ok(_) => n % 3 == 1,
        Err(error) => panic!("{n}: {error}"),
    };
    let began = Instant::now();
    let results = template.send_all((0..30).map(record)).await;
    assert!((5.0..9.5).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    assert_eq!(results.len(), 30);
    for (n, result) in results.iter().enumerate() {
        assert!(is_missing(n, result), "{n}: {result:?}");
    }
    let offsets: Vec<_> = results.iter().flatten().map(|sent| sent.offset).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>(), "in order");

    let began = Instant::now();
    let (sender, mut told) = mpsc::unbounded_channel();
    for n in 0..30 {
        let sender = sender.clone();
        template.send_record_async(record(n), move |result| _ = sender.send((n, result)));
    }
    for _ in 0..30 {
        let (n, result) = timeout(LIMIT, told.recv()).await.unwrap().unwrap();
        assert!(is_missing(n, &result), "{n}: {result:?}");
    }
    assert!((5.0..9.5).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_says_how_many_records_were_not_through() {
    let broker = broker().await;
    let kafka = "  template: {close-timeout: 500ms}\n  producer: {properties: {max.block.ms: 60000, \
                 request.timeout.ms: 500, delivery.timeout.ms: 1000}}\n";
    let app = app(&broker, kafka).start().await.unwrap();
    let template = app.template();
    let (sender, mut told) = mpsc::unbounded_channel();
    for value in ["a", "b"] {
        send_async(&template, "missing", value, &sender);
    }
    for (error, limit) in
        [(template.flush().await.unwrap_err(), 1000), (template.close().await.unwrap_err(), 500)]
    {
        let TemplateError::Unfinished { records: 2, batches: 0, transactions: 0, after } = error else {
            panic!("{error}")
        };
        assert_eq!(after, Duration::from_millis(limit));
    }
    for value in ["a", "b"] {
        let (told, result) = next(&mut told).await;
        let error = result.unwrap_err();
        assert!(matches!(&error, TemplateError::Send(SendError::Closed { .. })), "{error}");
        assert_eq!(told, value);
    }
    template.close().await.unwrap();
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_went_with_their_runtime_are_not_through() {
    let broker = broker().await;
    let app = app(&broker, "").start().await.unwrap();
    let template = app.template();
    let (sender, mut told) = mpsc::unbounded_channel();
    let clone = template.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { send_async(&clone, "missing", "a", &sender) });
    })
    .join()
    .unwrap();
    assert!(told.recv().await.is_none(), "nobody calls back any more");
    let error = template.close().await.unwrap_err();
    assert!(matches!(&error, TemplateError::Unfinished { records: 1, .. }), "{error}");
    app.stop().await.unwrap();
}

/// Panics over keys that begin with `panic`.
#[derive(Debug)]
struct Own;

impl ChoosePartition for Own {
    fn choose(&self, record: &OutgoingRecord<'_>, _: &Choice<'_>) -> i32 {
        assert!(!record.key.is_some_and(|key| key.starts_with(b"panic")), "on purpose");
        0
    }
}

/// Panics over values that are `panic`; adds a header to the others.
struct Breaks;

impl Interceptor for Breaks {
    fn before_send(&self, record: Record) -> Record {
        assert_ne!(record.value_bytes(), Some(&b"panic"[..]), "on purpose");
        record.header("broken", "no")
    }
}

struct Marks;

impl Interceptor for Marks {
    fn before_send(&self, record: Record) -> Record {
        record.header("marked", "yes")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioner_that_panics_fails_its_record_alone() {
    let broker = broker().await;
    let app = app(&broker, "  producer: {properties: {partitioner.class: own}}\n").partitioner("own", Own);
    let app = app.start().await.unwrap();
    let template = app.template();
    let panicked = |error: &TemplateError| {
        assert_eq!(error.record().unwrap().key_bytes(), Some(&b"panic"[..]));
        matches!(error, TemplateError::Send(SendError::PartitionerPanicked { .. }))
    };
    let error = template.send("there", "panic", "v").await.unwrap_err();
    assert!(panicked(&error), "{error}");
    let (sender, mut told) = mpsc::unbounded_channel();
    for key in ["one", "panic", "two"] {
        let sender = sender.clone();
        template.send_async("there", key, "v", move |result| _ = sender.send((key.to_owned(), result)));
    }
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(next(&mut told).await);
    }
    results.sort_by(|(one, _), (two, _)| one.cmp(two));
    assert!(results[0].1.is_ok() && results[2].1.is_ok(), "{results:?}");
    assert!(panicked(results[1].1.as_ref().unwrap_err()), "{results:?}");
    template.flush().await.unwrap();
    assert_eq!(template.send("there", "three", "v").await.unwrap().offset, 2);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interceptor_that_panics_has_made_nothing_of_the_record() {
    let broker = broker().await;
    let app = app(&broker, "").interceptor(Breaks).interceptor(Marks).start().await.unwrap();
    let template = app.template();
    template.send("there", "k", "panic").await.unwrap();
    template.send("there", "k", "fine").await.unwrap();
    let page = template.receive("there", 0, ..).await.unwrap();
    let names = |n: usize| page[n].headers().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["marked".to_owned()], vec!["broken".into(), "marked".into()]));
    assert_eq!(page[0].text(), Some("panic"));
    app.stop().await.unwrap();
}
