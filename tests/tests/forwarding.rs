//! What handlers return goes on: typed, in order, without waiting for each; the source's offset moves only behind its
//! arrival, and a send that fails is a failed outcome.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use kafka_client::{TopicName, TopicPartition};
use kafka_embedded::{Api, ErrorCode};
use kafka_runtime::prelude::*;
use kafka_runtime::template::Received;
use tests::{Cluster, Probe, eventually};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Enriched {
    order: u64,
    words: String,
}

const ORDERS: Topic<Order> = Topic::new("forwarding-orders");
const ENRICHED: Topic<Enriched> = Topic::new("forwarding-enriched");

/// What the value says to do.
#[kafka_listener(topic = ORDERS, group = "${suite.topic}-typed", send_to = ENRICHED)]
async fn typed(order: Order) -> Result<Vec<Outgoing<Enriched>>, String> {
    let enriched = |words: &str| Outgoing::new(Enriched { order: order.id, words: words.into() });
    match order.id {
        0 => Ok(Vec::new()),
        1 => Ok(vec![enriched("one")]),
        2 => Ok(vec![enriched("two").key("other").header("trace", "t2"), Outgoing::tombstone().key("gone")]),
        3 => Ok(vec![enriched("three").key(()).timestamp(42)]),
        _ => Err("no such order".into()),
    }
}

/// Typed on every hop, and with nothing for some.
#[kafka_listener(topic = ENRICHED, group = "${suite.topic}-next", send_to = "${suite.topic}-text")]
async fn next(enriched: Option<Enriched>) -> Option<String> {
    Some(enriched?.words)
}

#[derive(Serialize, Deserialize)]
struct Tick<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

const TICKS: Topic<Tick<'static>> = Topic::new("forwarding-ticks");
const SAME_TICKS: Topic<Tick<'static>> = Topic::new("forwarding-same-ticks");

/// What borrows from the record can go on.
#[kafka_listener(topic = TICKS, group = "${suite.topic}-ticks", send_to = SAME_TICKS)]
async fn ticks(tick: Tick<'_>) -> Tick<'_> {
    tick
}

#[kafka_listener(topic = TICKS, group = "${suite.topic}-many-ticks", send_to = SAME_TICKS, batch)]
async fn many_ticks(ticks: Vec<Tick<'_>>) -> Vec<Option<Tick<'_>>> {
    ticks.into_iter().map(|tick| (tick.symbol != "none").then_some(tick)).collect()
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-copied", send_to = "${suite.topic}-out")]
async fn copied(value: &str, meta: Metadata, probe: &State<Probe>) -> Result<Outgoing<String>, String> {
    probe.saw(meta.partition(), meta.offset(), None, value);
    match value {
        "misplaced" => Ok(Outgoing::new(value.to_owned()).partition(99)),
        "failing" => Err("it fails itself".into()),
        _ => Ok(dated(value.to_owned())),
    }
}

/// With a time that some topics refuse.
fn dated(value: String) -> Outgoing<String> {
    match value.starts_with("old") {
        true => Outgoing::new(value).timestamp(1),
        false => value.into(),
    }
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-batches",
    send_to = "${suite.topic}-out",
    batch
)]
async fn batches(values: Batch<String>, probe: &State<Probe>) -> Result<Vec<Outgoing<String>>, String> {
    probe.saw(0, 0, None, values.len().to_string());
    if values.iter().any(|value| value == "failing") {
        return Err("it fails itself".into());
    }
    Ok(values.into_iter().map(dated).collect())
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-answering", reply)]
async fn answers(question: u64) -> u64 {
    question * 2
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-many-answers", reply, batch)]
async fn many_answers(questions: Vec<u64>) -> Vec<u64> {
    questions.into_iter().map(|question| question * 2).collect()
}

async fn start(yaml: &str, listeners: &[&'static str]) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only(listeners.iter().copied()).state(probe.clone());
    (app.start().await.unwrap(), probe)
}

fn yaml(cluster: &Cluster, topic: &str, producer: &str, listener: &str) -> String {
    cluster.yaml(&format!(
        "    producer: {{properties: {{{producer}}}}}\nsuite: {{topic: {topic}}}\nkafka-runtime:\n  listener:\n    retry: \
         {{attempts: 2, backoff: 10ms}}\n{listener}"
    ))
}

async fn fill(app: &RunningApp, topic: &str, values: impl IntoIterator<Item = String>) {
    let records = values.into_iter().enumerate();
    let records = records.map(|(n, value)| Record::to(topic).key(format!("k{}", n % 7)).text(value));
    for sent in app.template().send_all(records).await {
        sent.unwrap();
    }
}

/// The records of a topic once there are `count`, partition by partition.
async fn records(cluster: &Cluster, app: &RunningApp, topic: &str, count: usize) -> Vec<Received> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let records = all(cluster, app, topic).await;
        if records.len() >= count {
            return records;
        }
        assert!(tokio::time::Instant::now() < deadline, "{topic} has {} records, not {count}", records.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn all(cluster: &Cluster, app: &RunningApp, topic: &str) -> Vec<Received> {
    let described = cluster.admin().describe_topics(&[topic]).await.unwrap();
    let partitions = described.get(&TopicName::new(topic)).map_or(0, |topic| topic.partitions.len());
    let mut records = Vec::new();
    for partition in 0..i32::try_from(partitions).unwrap() {
        records.extend(app.template().receive(topic, partition, ..).await.into_iter().flatten());
    }
    records
}

fn texts(records: &[Received]) -> Vec<&str> {
    records.iter().map(|record| record.text().unwrap()).collect()
}

async fn committed(cluster: &Cluster, group: &str, topic: &str) -> Option<i64> {
    let found = cluster.admin().committed(group, &[TopicPartition::new(topic, 0)]).await.unwrap();
    found[0].1.as_ref().map(|committed| committed.offset)
}

async fn all_committed(cluster: &Cluster, app: &RunningApp, group: &str, topic: &str, offset: i64) {
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(cluster, group, topic).await == Some(offset)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_typed_with_the_key_of_their_source() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("typed", 1).await;
    for name in [ORDERS.name(), ENRICHED.name(), &format!("{topic}-text")] {
        cluster.create(name, 1, &[]).await;
    }
    let (app, _) = start(&yaml(&cluster, &topic, "", ""), &["typed", "next"]).await;
    for id in 0..4 {
        app.template().send(ORDERS, format!("k{id}"), &Order { id }).await.unwrap();
    }
    let enriched = records(&cluster, &app, ENRICHED.name(), 4).await;
    let keys: Vec<_> =
        enriched.iter().map(|one| one.key().map(|key| std::str::from_utf8(key).unwrap())).collect();
    assert_eq!(keys, [Some("k1"), Some("other"), Some("gone"), None]);
    let value: Enriched = enriched[0].json().unwrap();
    assert_eq!(value, Enriched { order: 1, words: "one".into() });
    assert_eq!(enriched[1].headers().collect::<Vec<_>>(), [("trace", Some(&b"t2"[..]))]);
    assert_eq!((enriched[2].value(), enriched[3].timestamp()), (None, 42));
    let next = records(&cluster, &app, &format!("{topic}-text"), 3).await;
    assert_eq!(texts(&next), ["one", "two", "three"]);
    all_committed(&cluster, &app, &format!("{topic}-typed"), ORDERS.name(), 4).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_borrows_from_the_record_goes_on() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("ticks", 1).await;
    cluster.create(TICKS.name(), 1, &[]).await;
    cluster.create(SAME_TICKS.name(), 1, &[]).await;
    let (app, _) = start(&yaml(&cluster, &topic, "", ""), &["ticks", "many_ticks"]).await;
    for symbol in ["a", "none", "b"] {
        // What is sent lives no longer than it must.
        let symbol = symbol.to_owned();
        app.template().send(TICKS, symbol.as_str(), &Tick { symbol: symbol.as_str().into() }).await.unwrap();
    }
    let same = records(&cluster, &app, SAME_TICKS.name(), 5).await;
    let mut keys: Vec<_> = same.iter().map(|one| std::str::from_utf8(one.key().unwrap()).unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "a", "b", "b", "none"]);
    app.stop().await.unwrap();
}

/// More than any number of records that wait for each other: order, and each once.
#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept() {
    let cluster = Cluster::start().await;
    for (listener, group, more) in [
        ("copied", "copied", ""),
        ("batches", "batches", ""),
        ("copied", "copied", "  listeners.copied.commit.every.records: 10\n"),
        ("copied", "copied", "  listeners.copied: {commit: sync, commit.every: record}\n"),
    ] {
        let topic = cluster.topic("ordered", 1).await;
        cluster.create(&format!("{topic}-out"), 1, &[]).await;
        let (app, _) = start(&yaml(&cluster, &topic, "", more), &[listener]).await;
        let values: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
        fill(&app, &topic, values.clone()).await;
        let out = records(&cluster, &app, &format!("{topic}-out"), 3000).await;
        assert_eq!(texts(&out), values, "{listener} {more}");
        all_committed(&cluster, &app, &format!("{topic}-{group}"), &topic, 3000).await;
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_key_the_order_of_each_is_kept() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("keyed", 1).await;
    cluster.create(&format!("{topic}-out"), 1, &[]).await;
    let by_key = "  listeners.copied: {ordering: key, concurrency: 4}\n";
    let (app, _) = start(&yaml(&cluster, &topic, "", by_key), &["copied"]).await;
    fill(&app, &topic, (0..1000).map(|n| n.to_string())).await;
    let out = records(&cluster, &app, &format!("{topic}-out"), 1000).await;
    for key in 0..7 {
        let key = format!("k{key}");
        let of_key = out.iter().filter(|one| one.key() == Some(key.as_bytes()));
        let numbers: Vec<u64> = of_key.map(|one| one.text().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted() && numbers.len() > 100, "{key}: {numbers:?}");
    }
    all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 1000).await;
    app.stop().await.unwrap();
}

/// A topic that takes no old record: Apache Kafka refuses them for good, the embedded broker for a reason that may pass.
async fn refusing(cluster: &Cluster, topic: &str) {
    cluster.create(topic, 1, &[("message.timestamp.before.max.ms", "60000")]).await;
    if let Some(embedded) = cluster.embedded() {
        let faults = embedded.faults().on(Api::Produce).topic(topic);
        faults.answer(ErrorCode::NotEnoughReplicas);
    }
}

/// Nothing is acknowledged (on the embedded broker): the handlers go on all the same, as far as they may; no offset moves.
/// Every send fails for good in the end, its record is handled once more, and is a dead letter after that.
async fn refused_by_the_broker(listener: &'static str, more: &str, seen: usize) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("refused", 1).await;
    refusing(&cluster, &format!("{topic}-out")).await;
    let timeouts = "delivery.timeout.ms: 4000, request.timeout.ms: 2000";
    let (app, probe) = start(&yaml(&cluster, &topic, timeouts, more), &[listener]).await;
    fill(&app, &topic, (0..30).map(|n| format!("old {n}"))).await;
    probe.at_least(seen, LIMIT).await;
    let group = format!("{topic}-{listener}");
    if !cluster.is_apache() {
        app.commit_now().await;
        assert_eq!(committed(&cluster, &group, &topic).await.unwrap_or(0), 0, "nothing has arrived");
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 30).await;
    assert_eq!(letters.len(), 30);
    all_committed(&cluster, &app, &group, &topic, 30).await;
    let reason = letters[0].headers().filter(|(name, _)| *name == "kafka_dlt-exception-message").last();
    let reason = String::from_utf8_lossy(reason.unwrap().1.unwrap()).into_owned();
    let why = if cluster.is_apache() { "was refused" } else { "was not delivered" };
    let which = format!("record for {topic}-out-0 with key \"k");
    assert!(reason.contains(&which) && reason.contains(why), "{reason}");
    assert!(all(&cluster, &app, &format!("{topic}-out")).await.is_empty());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_a_failed_outcome() {
    refused_by_the_broker("copied", "", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_a_failed_outcome_without_order() {
    refused_by_the_broker("copied", "  listeners.copied: {ordering: none, concurrency: 2}\n", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_a_failed_outcome_of_a_batch() {
    refused_by_the_broker("batches", "  listeners.batches: {max-poll-records: 10}\n", 3).await;
}

/// A crash repeats what has not arrived: the bound holds for that, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_repetition_counts_what_is_on_its_way() {
    let cluster = Cluster::start().await;
    if cluster.is_apache() {
        return eprintln!("NOT RUN on Apache Kafka: nothing keeps it from answering");
    }
    for more in
        ["commit: {every: {records: 5}}", "commit: {every: {records: 5}}, ordering: none, concurrency: 2"]
    {
        let topic = cluster.topic("bounded", 1).await;
        refusing(&cluster, &format!("{topic}-out")).await;
        let more = format!("  listeners.copied: {{{more}}}\n");
        let (app, probe) = start(&yaml(&cluster, &topic, "", &more), &["copied"]).await;
        fill(&app, &topic, (0..30).map(|n| n.to_string())).await;
        probe.at_least(4, LIMIT).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(probe.len() <= 5, "{} at once: {more}", probe.len());
        // What cannot arrive is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), app.stop()).await;
    }
}

/// What can be said at once, and what the handler says itself; those behind it wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_tried_again_in_place() {
    let cluster = Cluster::start().await;
    for more in ["", "  listeners.copied: {ordering: key, concurrency: 4}\n"] {
        let topic = cluster.topic("misplaced", 1).await;
        cluster.create(&format!("{topic}-out"), 1, &[]).await;
        let blocked = "max.block.ms: 300";
        let (app, probe) = start(&yaml(&cluster, &topic, blocked, more), &["copied"]).await;
        fill(&app, &topic, ["a", "misplaced", "b", "failing", "c"].map(str::to_owned)).await;
        let letters = records(&cluster, &app, &format!("{topic}-dlt"), 2).await;
        let mut failed = texts(&letters);
        failed.sort_unstable();
        assert_eq!(failed, ["failing", "misplaced"], "{more}");
        let mut out = records(&cluster, &app, &format!("{topic}-out"), 3).await;
        out.sort_by_key(|one| one.value().map(<[u8]>::to_vec));
        assert_eq!(texts(&out), ["a", "b", "c"], "{more}");
        all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 5).await;
        let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
        assert_eq!((tries("misplaced"), tries("failing"), tries("c")), (2, 2, 1), "{more}");
        app.stop().await.unwrap();
    }
}

/// The broker refuses one record for good: it goes again with its handler, nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_handled_again() {
    let cluster = Cluster::start().await;
    let Some(embedded) = cluster.embedded() else {
        return eprintln!("NOT RUN on Apache Kafka: a single refusal cannot be asked for");
    };
    for more in ["", "  listeners.copied: {ordering: key, concurrency: 4}\n"] {
        let topic = cluster.topic("again", 1).await;
        let out = format!("{topic}-out");
        cluster.create(&out, 1, &[]).await;
        let (app, probe) = start(&yaml(&cluster, &topic, "", more), &["copied"]).await;
        let fault = embedded
            .faults()
            .on(Api::Produce)
            .topic(&out)
            .first(1)
            .answer(ErrorCode::TopicAuthorizationFailed);
        fill(&app, &topic, (0..100).map(|n| n.to_string())).await;
        let sent = records(&cluster, &app, &out, 100).await;
        all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 100).await;
        let values: BTreeSet<_> = texts(&sent).into_iter().collect();
        assert_eq!((sent.len(), values.len(), fault.strikes()), (100, 100, 1), "{more}");
        let again = probe.len() - 100;
        // As many as were in the batch that was refused.
        assert!((1..=100).contains(&again), "{again} again: {more}");
        app.stop().await.unwrap();
    }
}

/// Stopped while records are on their way: they are waited for, and nothing is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_what_is_on_its_way() {
    let cluster = Cluster::start().await;
    let Some(embedded) = cluster.embedded() else {
        return eprintln!("NOT RUN on Apache Kafka: an answer cannot be held up there");
    };
    for more in ["", "  listeners.copied: {ordering: none, concurrency: 4}\n"] {
        let topic = cluster.topic("stopped", 1).await;
        let out = format!("{topic}-out");
        cluster.create(&out, 1, &[]).await;
        let (app, probe) = start(&yaml(&cluster, &topic, "", more), &["copied"]).await;
        let held = embedded.faults().on(Api::Produce).topic(&out).first(1).hold_answer();
        fill(&app, &topic, (0..50).map(|n| n.to_string())).await;
        probe.at_least(50, LIMIT).await;
        held.struck(1).await;
        let group = format!("{topic}-copied");
        assert_eq!(committed(&cluster, &group, &topic).await.unwrap_or(0), 0, "nothing has arrived");
        let stopping = tokio::spawn(app.stop());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!stopping.is_finished(), "{more}");
        held.release();
        stopping.await.unwrap().unwrap();
        assert_eq!(committed(&cluster, &group, &topic).await, Some(50), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retry_topics_a_failed_send_waits_there() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("hops", 1).await;
    cluster.create(&format!("{topic}-out"), 1, &[]).await;
    let hops = "    retry-topics: {enabled: true, attempts: 2, backoff: 50ms}\n";
    let (app, probe) = start(&yaml(&cluster, &topic, "max.block.ms: 300", hops), &["copied"]).await;
    fill(&app, &topic, ["misplaced", "a"].map(str::to_owned)).await;
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 1).await;
    assert_eq!(texts(&letters), ["misplaced"]);
    assert_eq!(texts(&records(&cluster, &app, &format!("{topic}-out"), 1).await), ["a"]);
    assert!(probe.seen().iter().filter(|seen| seen.value == "misplaced").count() >= 2);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_what_is_returned() {
    let cluster = Cluster::start().await;
    for listener in ["answers", "many_answers"] {
        let topic = cluster.topic("questions", 2).await;
        let replies = cluster.topic("answers", 3).await;
        let more = format!("  template: {{reply-topic: {replies}, reply-timeout: 30s}}\n");
        let (app, _) = start(&yaml(&cluster, &topic, "", &more), &[listener]).await;
        // No question: handled, and nobody gets an answer.
        app.template().send(&topic, (), &7).await.unwrap();
        let ask = |n: u64| {
            let (template, topic) = (app.template().clone(), topic.clone());
            async move { template.request::<u64, _>(topic.as_str(), &n).await.unwrap().value }
        };
        let (one, two, three) = tokio::join!(ask(1), ask(2), ask(3));
        assert_eq!([one, two, three], [2, 4, 6]);
        // As Spring asks: where to, in which partition, and an id of any bytes.
        let question = Record::to(&topic).key("k").text("21").header("kafka_replyTopic", &replies);
        let question = question.header("kafka_replyPartition", 2i32.to_be_bytes());
        let question = question.header("kafka_correlationId", [0, 255, 7]);
        app.template().send_record(question).await.unwrap();
        let answers = records(&cluster, &app, &replies, 4).await;
        let answer = answers.iter().find(|answer| answer.text() == Some("42")).unwrap();
        assert_eq!((answer.partition().partition, answer.key()), (2, Some(&b"k"[..])));
        assert_eq!(answer.headers().collect::<Vec<_>>(), [("kafka_correlationId", Some(&[0, 255, 7][..]))]);
        assert_eq!(answers.len(), 4, "{answers:?}");
        app.stop().await.unwrap();
    }
}

/// Killed (-9) again and again: whatever is committed has arrived, and at the end everything has.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_flow_nothing_is_lost() {
    const RECORDS: u64 = 5000;
    let cluster = Cluster::start().await;
    for more in ["", ", ordering: key, concurrency: 8"] {
        let topic = cluster.topic("killed", 1).await;
        let (out, group) = (format!("{topic}-out"), format!("{topic}-group"));
        cluster.create(&out, 1, &[]).await;
        let (app, _) = start(&yaml(&cluster, &topic, "", ""), &[]).await;
        fill(&app, &topic, (0..RECORDS).map(|n| format!("{{\"n\":{n}}}"))).await;
        let yaml = cluster.yaml(&format!(
            "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500}}\nrelay.to: {out}\nkafka-runtime:\n  \
             listeners:\n    relay: {{topic: {topic}, group: {group}, rate-limit: 2000/s, commit: {{every: {{time: 50ms}}}}{more}}}\n"
        ));
        let numbers = async || -> Vec<u64> {
            let numbers = all(&cluster, &app, &out).await;
            numbers
                .iter()
                .map(|one| one.json::<serde_json::Value>().unwrap()["n"].as_u64().unwrap())
                .collect()
        };
        for part in 1..=3 {
            let mut relay = Command::new(env!("CARGO_BIN_EXE_relay"));
            relay.env("RELAY_YAML", &yaml).stdout(Stdio::null()).kill_on_drop(true);
            let mut relay = relay.spawn().unwrap();
            let enough = if part < 3 { RECORDS / 3 * part } else { RECORDS };
            eventually("records go on", LIMIT, async || {
                let gone: BTreeSet<u64> = numbers().await.into_iter().collect();
                gone.len() as u64 >= enough
            })
            .await;
            relay.kill().await.unwrap();
            let safe = committed(&cluster, &group, &topic).await.unwrap_or(0);
            let gone: BTreeSet<u64> = numbers().await.into_iter().collect();
            let ahead = (0..u64::try_from(safe).unwrap()).find(|n| !gone.contains(n));
            assert_eq!(ahead, None, "committed to {safe}, and not arrived");
        }
        let gone = numbers().await;
        println!("{} repeated{more}", gone.len() as u64 - RECORDS);
        app.stop().await.unwrap();
    }
}
