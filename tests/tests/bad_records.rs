//! What cannot be sent: each case is an error of its own type with topic, partition and key, what shares a batch with it
//! arrives, and the record comes back to be sent again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka_client::{ResponseError, TopicName};
use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
use kafka_runtime::prelude::*;
use kafka_runtime::template::SendError;
use tests::{Cluster, Frozen, Nodes, Peer, PeerKind, unique};
use tokio::sync::RwLock;

async fn app(servers: &str, producer: &str) -> RunningApp {
    let yaml = format!("spring.kafka:\n  bootstrap-servers: {servers}\n  producer: {{{producer}}}\n");
    App::from_yaml(yaml).unwrap().only([]).start().await.unwrap()
}

/// Whoever freezes a broker of Apache Kafka has it alone.
static BROKERS: RwLock<()> = RwLock::const_new(());

/// A topic of one partition that cannot be written to until the guard is dropped: the embedded broker refuses it passingly,
/// Apache Kafka's is frozen and answers nothing. `None`, loudly, where no broker may be frozen.
struct Unwritable {
    topic: String,
    _frozen: Option<Frozen>,
}

impl Unwritable {
    async fn new(cluster: &Cluster, prefix: &str) -> Option<Self> {
        let topic = cluster.topic(prefix, 1).await;
        let Some(embedded) = cluster.embedded() else {
            let nodes = Nodes::at_least(3)?;
            let found = cluster.admin().describe_topics(&[&topic]).await.unwrap();
            let leader = found[&TopicName::new(&topic)].partitions[0].leader.unwrap();
            let frozen = nodes.freeze(usize::try_from(leader).unwrap());
            return Some(Self { topic, _frozen: Some(frozen) });
        };
        embedded.faults().on(Api::Produce).topic(&topic).answer(ErrorCode::NotEnoughReplicas);
        Some(Self { topic, _frozen: None })
    }
}

#[track_caller]
fn send_error(error: &TemplateError) -> &SendError {
    let TemplateError::Send(error) = error else { panic!("{error}") };
    error
}

/// The error says which record it was.
#[track_caller]
fn names(error: &TemplateError, topic: &str, partition: Option<i32>, key: &str) {
    let sent = send_error(error);
    assert_eq!(sent.topic(), Some(TopicName::new(topic)), "{error}");
    assert_eq!((sent.partition(), sent.key()), (partition, Some(key.as_bytes())), "{error}");
    let place = partition.map_or_else(|| topic.to_owned(), |partition| format!("{topic}-{partition}"));
    assert!(error.to_string().contains(&format!("record for {place} with key \"{key}\"")), "{error}");
}

fn record(topic: &str, key: &str, value: impl Into<Vec<u8>>) -> Record {
    Record::to(topic).key(key).bytes(value).header("trace", "t1").header_null("empty")
}

/// The values of partition 0, in order.
async fn values(app: &RunningApp, topic: &str) -> Vec<String> {
    let page = app.template().receive(topic, 0, ..).await.unwrap();
    page.iter().map(|record| record.text().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_for_us_or_for_the_broker_and_the_rest_of_the_batch_arrives() {
    let _shared = BROKERS.read().await;
    let cluster = Cluster::start().await;
    let topic = cluster.topic_with("large", 1, &[("max.message.bytes", "5000")]).await;
    let app = app(cluster.bootstrap(), "properties: {linger.ms: 200, batch.size: 100000}").await;
    let template = app.template();
    let sizes = [10, 20_000, 10, 2 << 20, 10, 20_000, 10];
    let records = sizes.map(|size| record(&topic, &format!("k{size}"), vec![b'x'; size]));
    let results = template.send_all(records.clone()).await;
    for ((result, size), record) in results.iter().zip(sizes).zip(records) {
        let Err(error) = result else {
            assert_eq!(size, 10, "{result:?}");
            continue;
        };
        match send_error(error) {
            SendError::TooLarge { limit: 1_048_576, .. } => {
                assert_eq!(size, 2 << 20);
                names(error, &topic, None, "k2097152");
                assert_eq!(error.record().unwrap(), record);
            }
            SendError::Refused { source, .. } => {
                assert_eq!((source.code(), size), (Some(ResponseError::MessageTooLarge), 20_000));
                names(error, &topic, Some(0), "k20000");
                let back = error.record().unwrap();
                assert_eq!(back.key_bytes(), record.key_bytes());
                assert_eq!(back.value_bytes(), record.value_bytes());
                assert!(back.headers().eq(record.headers()), "{back:?}");
            }
            other => panic!("{other}"),
        }
        assert!(!send_error(error).may_be_written(), "{error}");
    }
    assert_eq!(values(&app, &topic).await.len(), 4);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_topic() {
    let _shared = BROKERS.read().await;
    let cluster = Cluster::start().await;
    let strict = EmbeddedKafka::builder().auto_create_topics(false).start().await.unwrap();
    let servers = if cluster.is_apache() { cluster.bootstrap() } else { &strict.bootstrap_servers() };
    let app = app(servers, "properties: {max.block.ms: 1500}").await;
    let topic = unique("nowhere");
    match app.template().send(topic.as_str(), "k", &1).await {
        Ok(_) if cluster.is_apache() => {
            eprintln!("NOT RUN: this cluster creates topics by itself (-s auto.create.topics.enable=false)");
        }
        result => {
            let error = result.unwrap_err();
            assert!(matches!(send_error(&error), SendError::UnknownTopic { .. }), "{error}");
            names(&error, &topic, None, "k");
            assert_eq!(error.record().unwrap(), Record::to(&topic).key("k").json(&1).unwrap());
        }
    }
    let error = app.template().send("no topic's name!", "k", &1).await.unwrap_err();
    let SendError::Refused { source, .. } = send_error(&error) else { panic!("{error}") };
    assert_eq!(source.code(), Some(ResponseError::InvalidTopicException));
    assert!(!send_error(&error).may_be_written());
    names(&error, "no topic's name!", None, "k");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_partition() {
    let _shared = BROKERS.read().await;
    let cluster = Cluster::start().await;
    let topic = cluster.topic("beyond", 2).await;
    let app = app(cluster.bootstrap(), "").await;
    let beyond = Record::to(&topic).key("k").text("v").partition(7);
    let (sent, received) = tokio::sync::oneshot::channel();
    app.template().send_record_async(beyond.clone(), move |result| _ = sent.send(result));
    let error = received.await.unwrap().unwrap_err();
    assert!(
        matches!(send_error(&error), SendError::UnknownPartition { partition: 7, count: 2, .. }),
        "{error}"
    );
    names(&error, &topic, Some(7), "k");
    assert_eq!(error.record().unwrap(), beyond, "with the partition that it named");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_permission() {
    let _shared = BROKERS.read().await;
    let cluster = Cluster::start().await;
    let topic = cluster.topic("denied", 1).await;
    let app = app(cluster.bootstrap(), "").await;
    let template = app.template();
    template.send(topic.as_str(), "first", &1).await.unwrap();
    match cluster.embedded() {
        Some(embedded) => {
            _ = embedded.faults().on(Api::Produce).topic(&topic).answer(ErrorCode::TopicAuthorizationFailed);
        }
        None => {
            let resource = format!("topic:{topic}");
            let denied = Peer::run(PeerKind::Java, "deny", cluster.bootstrap(), &[&resource, "WRITE"]).await;
            if denied.is_none() {
                return;
            }
        }
    }
    let error = template.send(topic.as_str(), "k", &2).await.unwrap_err();
    let SendError::Refused { source, .. } = send_error(&error) else { panic!("{error}") };
    assert_eq!(source.code(), Some(ResponseError::TopicAuthorizationFailed));
    names(&error, &topic, Some(0), "k");
    let other = cluster.topic("allowed", 1).await;
    template.send(other.as_str(), "k", &3).await.unwrap();
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer() {
    let _alone = BROKERS.write().await;
    let cluster = Cluster::start().await;
    // Long enough for a question that goes to the frozen node first: the next one is asked after a second.
    let app = app(cluster.bootstrap(), "properties: {buffer.memory: 10000, max.block.ms: 2500}").await;
    let template = app.template();
    let Some(unwritable) = Unwritable::new(&cluster, "full").await else { return };
    let topic = unwritable.topic.as_str();
    let waiting = template.enqueue_record(record(topic, "one", vec![b'x'; 8_000])).await.unwrap();
    let second = record(topic, "two", vec![b'y'; 8_000]);
    let error = template.enqueue_record(second.clone()).await.unwrap_err();
    let SendError::BufferFull { limit: 10_000, waited, .. } = send_error(&error) else { panic!("{error}") };
    assert_eq!(*waited, Duration::from_millis(2500));
    names(&error, topic, None, "two");
    assert_eq!(error.record().unwrap(), second);
    drop((waiting, unwritable));
    let _ = app.stop().await;
}

/// What waits behind `send_async` and in the producer has one time limit together.
#[tokio::test(flavor = "multi_thread")]
async fn closing_takes_its_time_once() {
    let _alone = BROKERS.write().await;
    let cluster = Cluster::start().await;
    let yaml = format!(
        "spring: {{kafka: {{bootstrap-servers: '{}', template: {{close-timeout: 3s}}}}}}\n",
        cluster.bootstrap()
    );
    let app = App::from_yaml(yaml).unwrap().only([]).start().await.unwrap();
    let template = app.template();
    let Some(unwritable) = Unwritable::new(&cluster, "closing").await else { return };
    drop(template.enqueue_record(record(&unwritable.topic, "one", "x")).await.unwrap());
    template.send_record_async(record(&unwritable.topic, "two", "y"), drop);
    let began = Instant::now();
    let error = template.close().await.unwrap_err();
    let took = began.elapsed();
    assert!((3.0..5.0).contains(&took.as_secs_f64()), "{took:?}");
    let SendError::FlushTimeout { after, .. } = send_error(&error) else { panic!("{error}") };
    assert_eq!(*after, Duration::from_secs(3));
    drop(unwritable);
    let _ = app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_template() {
    let _shared = BROKERS.read().await;
    let cluster = Cluster::start().await;
    let topic = cluster.topic("closed", 1).await;
    let app = app(cluster.bootstrap(), "").await;
    let template = app.template();
    template.send(topic.as_str(), "k", &1).await.unwrap();
    app.stop().await.unwrap();
    let error = template.send(topic.as_str(), "late", &2).await.unwrap_err();
    assert!(matches!(send_error(&error), SendError::Closed { .. }), "{error}");
    names(&error, &topic, None, "late");
    assert_eq!(error.record().unwrap(), Record::to(&topic).key("late").json(&2).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_without_a_json_form() {
    let _shared = BROKERS.read().await;
    let cluster = Cluster::start().await;
    let topic = cluster.topic("shapeless", 1).await;
    let app = app(cluster.bootstrap(), "").await;
    let value = HashMap::from([((1, 2), "a pair is no JSON key")]);
    let error = app.template().send(topic.as_str(), "k", &value).await.unwrap_err();
    let TemplateError::Encode { topic: of, key: Some(key), .. } = &error else { panic!("{error}") };
    assert_eq!((of.as_str(), &key[..]), (topic.as_str(), &b"k"[..]));
    assert!(error.to_string().contains(&format!("record for {topic} with key \"k\"")), "{error}");
    let placed = Record::to(&topic).partition(3).json(&value).unwrap_err();
    assert!(placed.to_string().contains(&format!("{topic}-3 without a key")), "{placed}");
    assert!(error.record().is_none());
    app.stop().await.unwrap();
}

/// What was not sent in time comes back, in order, and can be sent again. Where no answer came it may have been written:
/// then it is there once and in order, and before what was sent afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_delivered_in_time_comes_back_and_is_sent_again() {
    for compression in ["none", "lz4"] {
        let _alone = BROKERS.write().await;
        let cluster = Cluster::start().await;
        let other = cluster.topic("well", 1).await;
        let timeouts = "request.timeout.ms: 1000, delivery.timeout.ms: 2000, linger.ms: 100";
        let properties = format!("compression-type: {compression}, properties: {{{timeouts}}}");
        let app = app(cluster.bootstrap(), &properties).await;
        let template = app.template();
        template.send(other.as_str(), "k", &"first").await.unwrap();
        let Some(unwritable) = Unwritable::new(&cluster, "late").await else { return };
        let topic = unwritable.topic.clone();
        let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..20 {
            let (value, sent) = (number.to_string(), sent.clone());
            template.send_record_async(record(&topic, &format!("k{number}"), value), move |result| {
                sent.send((number, result)).unwrap();
            });
        }
        let mut back = Vec::new();
        for _ in 0..20 {
            let (number, result) = received.recv().await.unwrap();
            let error = result.unwrap_err();
            assert!(matches!(send_error(&error), SendError::DeliveryTimeout { .. }), "{error}");
            names(&error, &topic, Some(0), &format!("k{number}"));
            if !cluster.is_apache() {
                assert!(!send_error(&error).may_be_written(), "every try was answered: {error}");
            }
            back.push((number, send_error(&error).may_be_written(), error.record().unwrap()));
        }
        drop(unwritable);
        back.sort_by_key(|(number, ..)| *number);
        let doubtful = back.iter().any(|(_, doubtful, _)| *doubtful);
        let elsewhere = back.into_iter().map(|(number, _, back)| {
            assert!(back.headers().eq(record(&topic, "", "").headers()), "{number}: {back:?}");
            Record::to(&other).key(back.key_bytes().unwrap()).bytes(back.value_bytes().unwrap())
        });
        for result in template.send_all(elsewhere).await {
            result.unwrap();
        }
        let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(values(&app, &other).await[1..], numbers, "{compression}");
        if cluster.is_apache() {
            template.send_text(&topic, "k", "afterwards").await.unwrap();
            let written = values(&app, &topic).await;
            let (last, before) = written.split_last().unwrap();
            assert_eq!(last, "afterwards");
            let in_order =
                before.iter().map(|value| value.parse::<u32>().unwrap()).is_sorted_by(|a, b| a < b);
            assert!(in_order && (doubtful || before.is_empty()), "{written:?}");
        }
        app.stop().await.unwrap();
    }
}
