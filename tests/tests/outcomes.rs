//! What becomes of records that fail: each leads to where its policy says, nothing is lost on the way, and an offset moves
//! only when that has arrived.

use std::process::Stdio;
use std::time::Duration;

use kafka_client::{TopicName, TopicPartition};
use kafka_runtime::container::PartitionPhase;
use kafka_runtime::dead_letter::FailureKind;
use kafka_runtime::prelude::*;
use kafka_runtime::template::Received;
use tests::{Cluster, Peer, PeerKind, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    id: u64,
}

#[derive(Debug)]
enum BankError {
    Closed,
    Busy,
}

impl std::fmt::Display for BankError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the bank is {self:?}")
    }
}

impl std::error::Error for BankError {}

/// Fails with what the value says.
#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-said")]
async fn said(value: String, meta: Metadata, probe: &State<Probe>) -> Result<(), BankError> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "closed" => Err(BankError::Closed),
        "busy" => Err(BankError::Busy),
        "panic" => panic!("a panic of the test"),
        "slow" => std::future::pending().await,
        _ => Ok(()),
    }
}

/// The same, with what a retry cannot cure named in the attribute.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-sorted",
    retry(attempts = 3, backoff = "10ms", never = [BankError]),
    dead_letter(topic = "{topic}.DLT", partitions = 1)
)]
async fn sorted(
    value: String,
    meta: Metadata,
    probe: &State<Probe>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "closed" => Err(BankError::Closed.into()),
        "fatal" => Err(Fatal::new("never again").into()),
        "other" => Err("something else".into()),
        _ => Ok(()),
    }
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-typed")]
async fn typed(order: Order, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, order.id.to_string());
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-many", batch)]
async fn many(values: Vec<String>, probe: &State<Probe>) -> Result<(), BatchError<BankError>> {
    for (index, value) in values.iter().enumerate() {
        if value == "closed" {
            return Err(BatchError::at(index, BankError::Closed));
        }
        probe.saw(0, 0, None, value.clone());
    }
    Ok(())
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-by-hand", ack = "manual")]
async fn by_hand(value: String, ack: Ack, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    match value.as_str() {
        "refused" => ack.nack("no stock"),
        "dropped" => drop(ack),
        _ => ack.ack().unwrap(),
    }
}

fn is_wanted(delivery: &Delivery<'_>) -> bool {
    let value = delivery.record.value.unwrap_or_default();
    assert!(value != b"panic", "a panic of the test");
    value.first() != Some(&b'-')
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-filtered", filter = is_wanted)]
async fn filtered(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-filtered-many", filter = is_wanted, batch)]
async fn filtered_many(values: Vec<String>, probe: &State<Probe>) {
    values.into_iter().for_each(|value| probe.saw(0, 0, None, value));
}

#[kafka_listener(topic = "${suite.topic}-dlt", group = "${suite.topic}-triage")]
async fn triage(dead: DeadLetter<Order>, meta: Metadata, probe: &State<Probe>) {
    let payload = dead.payload().map(|order| order.id).map_err(|_| dead.value().map(<[u8]>::len));
    let words = format!(
        "{payload:?} from {} by {:?}: {:?} {:?} after {:?}: {}",
        dead.origin(),
        dead.origin().group().is_some(),
        dead.kind(),
        dead.error_type().unwrap_or("-"),
        dead.attempts(),
        dead.cause()
    );
    assert_eq!(dead.kind() == FailureKind::Decode, dead.payload().is_err());
    probe.saw(meta.partition(), meta.offset(), None, words);
}

async fn start(yaml: &str, listeners: &[&'static str]) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only(listeners.iter().copied()).state(probe.clone());
    (app.start().await.unwrap(), probe)
}

fn yaml(cluster: &Cluster, topic: &str, more: &str) -> String {
    cluster.yaml(&format!(
        "suite: {{topic: {topic}}}\nkafka-runtime:\n  listener:\n    retry: {{attempts: 3, backoff: 10ms..20ms}}\n{more}"
    ))
}

async fn send(app: &RunningApp, topic: &str, partition: i32, value: &str) {
    app.template().send_record(Record::to(topic).partition(partition).text(value)).await.unwrap();
}

/// The records of a topic once there are `count`, partition by partition.
async fn records(cluster: &Cluster, app: &RunningApp, topic: &str, count: usize) -> Vec<Received> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let described = cluster.admin().describe_topics(&[topic]).await.unwrap();
        let partitions = described.get(&TopicName::new(topic)).map_or(0, |topic| topic.partitions.len());
        let mut records = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap() {
            // One that was created just now may have no leader yet.
            records.extend(app.template().receive(topic, partition, ..).await.into_iter().flatten());
        }
        if records.len() >= count {
            return records;
        }
        assert!(tokio::time::Instant::now() < deadline, "{topic} has {} records, not {count}", records.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn header<'a>(record: &'a Received, name: &str) -> &'a [u8] {
    let found = record.headers().filter(|(known, _)| *known == name).last();
    found.and_then(|(_, value)| value).unwrap_or_else(|| panic!("{name} in {record:?}"))
}

async fn committed(cluster: &Cluster, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let partition = TopicPartition::new(topic, partition);
    let found = cluster.admin().committed(group, &[partition]).await.unwrap();
    found[0].1.as_ref().map(|committed| committed.offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_failure_it_ends_in_the_dead_letter_and_is_committed() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("ends", 3).await;
    let timeout = "    handler-timeout: 100ms\n";
    let (app, probe) = start(&yaml(&cluster, &topic, timeout), &["said"]).await;
    let template = app.template();
    let record = Record::to(&topic)
        .key("k1")
        .text("closed")
        .header("trace", "1")
        .header_null("trace")
        .header("trace", "");
    template.send_record(record.partition(2)).await.unwrap();
    for value in ["panic", "slow", "fine"] {
        send(&app, &topic, 2, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 3).await;
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(&cluster, &format!("{topic}-said"), &topic, 2).await == Some(4)
    })
    .await;
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("panic"), tries("slow"), tries("fine")), (3, 3, 3, 1));

    assert!(letters.iter().all(|letter| letter.partition().partition == 2), "the same partition");
    let values: Vec<_> = letters.iter().map(|letter| letter.text().unwrap()).collect();
    assert_eq!(values, ["closed", "panic", "slow"]);
    let [closed, panic, slow] = &letters[..] else { panic!("{letters:?}") };
    let own: Vec<_> = closed.headers().take(3).collect();
    assert_eq!(own, [("trace", Some(&b"1"[..])), ("trace", None), ("trace", Some(b""))]);
    assert_eq!(closed.key(), Some(&b"k1"[..]));
    assert_eq!(header(closed, "kafka_dlt-original-offset"), 0i64.to_be_bytes());
    assert_eq!(header(closed, "kafka_dlt-exception-fqcn"), b"outcomes::BankError");
    assert_eq!(header(closed, "kafka_dlt-exception-message"), b"the bank is Closed");
    assert_eq!(header(panic, "kafka_runtime-failure"), b"panic");
    assert_eq!(header(slow, "kafka_runtime-failure"), b"timeout");
    let described = cluster.admin().describe_topics(&[&format!("{topic}-dlt")]).await.unwrap();
    assert_eq!(described.values().next().unwrap().partitions.len(), 3, "as many partitions as the topic");
    let summary = app.stop().await.unwrap();
    assert_eq!((summary.listeners[0].counts.dead_lettered, summary.listeners[0].counts.handled), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_sorted_by_the_attribute_and_by_the_file() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("sorted", 2).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["sorted"]).await;
    for value in ["closed", "fatal", "other"] {
        send(&app, &topic, 1, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}.DLT"), 3).await;
    assert!(letters.iter().all(|letter| letter.partition().partition == 0), "there is no partition 1");
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("fatal"), tries("other")), (1, 1, 3));
    let closed = letters.iter().find(|letter| letter.text() == Some("closed")).unwrap();
    assert_eq!(header(closed, "kafka_dlt-exception-fqcn"), b"outcomes::BankError");
    app.stop().await.unwrap();

    let topic = cluster.topic("sorted", 1).await;
    let file = "  listeners:\n    said: {retry: {only: ['BankError::Busy', Other]}}\n";
    let (app, probe) = start(&yaml(&cluster, &topic, file), &["said"]).await;
    for value in ["closed", "busy"] {
        send(&app, &topic, 0, value).await;
    }
    records(&cluster, &app, &format!("{topic}-dlt"), 2).await;
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("busy")), (1, 3));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_record_is_a_dead_letter_that_is_read_typed() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("undecodable", 1).await;
    cluster.create(&format!("{topic}-dlt"), 1, &[]).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["typed", "triage"]).await;
    for value in [r#"{"id":1}"#, "poison", r#"{"id":2}"#] {
        send(&app, &topic, 0, value).await;
    }
    // As Spring's recoverer writes them.
    let spring = Record::to(format!("{topic}-dlt"))
        .text(r#"{"id":7}"#)
        .header("kafka_dlt-original-topic", "payments")
        .header("kafka_dlt-original-partition", 4i32.to_be_bytes())
        .header("kafka_dlt-original-offset", 17i64.to_be_bytes())
        .header("kafka_dlt-original-consumer-group", "billing")
        .header(
            "kafka_dlt-exception-fqcn",
            "org.springframework.kafka.listener.ListenerExecutionFailedException",
        )
        .header("kafka_dlt-exception-cause-fqcn", "java.lang.IllegalStateException")
        .header("kafka_dlt-exception-message", "no bank");
    probe.at_least(3, LIMIT).await;
    app.template().send_record(spring).await.unwrap();
    probe.at_least(4, LIMIT).await;
    app.stop().await.unwrap();
    let seen: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    let ours =
        seen.iter().find(|words| words.starts_with("Err(Some(6))")).unwrap_or_else(|| panic!("{seen:?}"));
    let expected = format!("Err(Some(6)) from {topic}-0 at offset 1 by true: Decode");
    assert!(
        ours.starts_with(&expected) && ours.contains("after Some(1)") && ours.contains("cannot be decoded"),
        "{ours}"
    );
    let spring = "Ok(7) from payments-4 at offset 17 by true: Error \"java.lang.IllegalStateException\" after None: no bank";
    assert!(seen.iter().any(|words| words == spring), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_the_failing_one_is_a_dead_letter() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("many", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["many"]).await;
    for value in ["a", "b", "closed", "c"] {
        send(&app, &topic, 0, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 1).await;
    probe.at_least(3, LIMIT).await;
    assert_eq!((letters.len(), letters[0].text()), (1, Some("closed")));
    let handled: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(handled, ["a", "b", "c"]);
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(&cluster, &format!("{topic}-many"), &topic, 0).await == Some(4)
    })
    .await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_by_hand_is_a_dead_letter() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("by-hand", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["by_hand"]).await;
    for value in ["a", "refused", "b", "dropped", "c"] {
        send(&app, &topic, 0, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 2).await;
    let mut reasons: Vec<_> =
        letters.iter().map(|letter| header(letter, "kafka_dlt-exception-message")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [&b"its Ack was dropped without an acknowledgement"[..], b"no stock"]);
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(&cluster, &format!("{topic}-by-hand"), &topic, 0).await == Some(5)
    })
    .await;
    assert_eq!(probe.seen().iter().filter(|seen| seen.value == "refused").count(), 3);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_leaves_out_is_settled_and_counted() {
    let cluster = Cluster::start().await;
    for (listener, more) in [
        ("filtered", ""),
        ("filtered", "  listeners: {filtered: {ordering: key, concurrency: 4}}\n"),
        ("filtered_many", ""),
    ] {
        let topic = cluster.topic("filtered", 1).await;
        let (app, probe) = start(&yaml(&cluster, &topic, more), &[listener]).await;
        for value in ["-1", "a", "-\u{fffd}", "panic", "-2"] {
            send(&app, &topic, 0, value).await;
        }
        probe.at_least(2, LIMIT).await;
        let group = format!("{topic}-{}", listener.replace('_', "-"));
        eventually("all is committed", LIMIT, || async {
            app.commit_now().await;
            committed(&cluster, &group, &topic, 0).await == Some(5)
        })
        .await;
        let handled: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
        assert_eq!(handled, ["a", "panic"], "a filter that panics has not said no");
        let counts = app.stop().await.unwrap().listeners[0].counts;
        assert_eq!((counts.handled, counts.filtered, counts.failed), (2, 3, 0), "{listener} {more}");
    }
}

/// The partition has stopped, its offset at `offset`, and the other one goes on.
async fn assert_stopped(cluster: &Cluster, app: &RunningApp, probe: &Probe, topic: &str, why: &str) {
    eventually("the status says why", LIMIT, || async {
        let status = app.status();
        let stopped = |status: &kafka_runtime::container::PartitionStatus| {
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
        "    producer: {bootstrap-servers: '127.0.0.1:1', properties: {delivery.timeout.ms: 2000, request.timeout.ms: 1000, max.block.ms: 1000}}\n    consumer:",
    );
    let (app, probe) = start(&yaml, &["said"]).await;
    let client = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for value in ["fine", "closed"] {
        send(&client, &topic, 0, value).await;
    }
    probe.at_least(4, LIMIT).await;
    eventually("the partition stops", LIMIT, || async { !app.status()[0].is_healthy() }).await;
    app.commit_now().await;
    assert_eq!(committed(&cluster, &format!("{topic}-said"), &topic, 0).await, Some(1), "nothing moves");
    send(&client, &topic, 1, "fine").await;
    probe.at_least(5, LIMIT).await;
    app.stop().await.unwrap();
    client.stop().await.unwrap();
}

/// Dead letter first, offset second: a crash between the two repeats the letter, and never loses it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_dead_letter_and_the_commit() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("killed", 1).await;
    let letters = format!("{topic}-dlt");
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for n in 0..3 {
        app.template().send(&topic, (), &serde_json::json!({ "n": n })).await.unwrap();
    }
    let yaml = cluster.yaml(&format!(
        "kafka-runtime:\n  listener:\n    retry: {{attempts: 1}}\n    commit: {{every: {{time: 1h}}}}\n  listeners:\n    victim: {{topic: {topic}, group: {topic}-group, properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 1000}}}}\n"
    ));
    for life in 1..=2 {
        let mut victim = tokio::process::Command::new(env!("CARGO_BIN_EXE_victim"))
            .env("VICTIM_YAML", &yaml)
            .env("VICTIM_POISON", "1")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let found = records(&cluster, &app, &letters, life).await;
        victim.kill().await.unwrap();
        assert_eq!(found.len(), life, "one letter in each life");
        let reached = committed(&cluster, &format!("{topic}-group"), &topic, 0).await.unwrap_or(0);
        assert!(reached <= 1, "committed {reached}, ahead of the letter's acknowledgement");
    }
    let found = records(&cluster, &app, &letters, 2).await;
    assert!(found.iter().all(|letter| header(letter, "kafka_dlt-original-offset") == 1i64.to_be_bytes()));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_reads_the_headers() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("java", 2).await;
    let (app, _) = start(&yaml(&cluster, &topic, ""), &["said"]).await;
    let record = Record::to(&topic).partition(1).timestamp(1_700_000_000_000);
    app.template().send_record(record.text("closed")).await.unwrap();
    let letters = format!("{topic}-dlt");
    records(&cluster, &app, &letters, 1).await;
    app.stop().await.unwrap();
    let Some(lines) = Peer::run(PeerKind::Java, "letters", cluster.bootstrap(), &[&letters, "1"]).await
    else {
        return;
    };
    let group = format!("{topic}-said");
    let expected = [
        "letter",
        "1",
        "closed",
        &topic,
        "1",
        "0",
        "1700000000000",
        "CreateTime",
        &group,
        "outcomes::BankError",
        "the bank is Closed",
    ];
    assert_eq!(lines[0], expected);
}
