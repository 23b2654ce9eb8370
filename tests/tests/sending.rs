//! What the template's values, keys and settings become on the wire, read by listeners of ours and by other clients: text and
//! JSON, tombstones, headers, acks, partitioners by name, callbacks, requests and their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kafka_embedded::{Api, EmbeddedKafka};
use kafka_runtime::prelude::*;
use kafka_runtime::template::{Choice, ChoosePartition, OutgoingRecord, SendError, partition_for_key};
use tests::{Cluster, Peer, PeerKind, Probe, bytes_of};
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(60);

/// The payload of the same type reads what was sent.
#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-texts")]
async fn texts(text: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, text);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-upper", reply)]
async fn upper(text: String) -> String {
    text.to_uppercase()
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-reverse", reply)]
async fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

async fn app(cluster: &Cluster, producer: &str) -> RunningApp {
    let yaml = cluster.yaml(&format!("    producer: {{{producer}}}\n"));
    App::from_yaml(yaml).unwrap().only([]).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_read_as_it_was_sent() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("texts", 1).await;
    let yaml = cluster.yaml(&format!("suite: {{topic: {topic}}}\n"));
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only(["texts"]).state(probe.clone()).start().await.unwrap();
    let template = app.template();
    let text = "said \"so\",\n\u{e9}\u{1f600}";
    template.send(&topic, "k", text).await.unwrap();
    template.send(&topic, "k", &text.to_owned()).await.unwrap();
    template.send(&topic, "k", text.as_bytes()).await.unwrap();
    template.send_text(&topic, "k", text).await.unwrap();
    template.send_bytes(&topic, "k", text).await.unwrap();
    let (told, result) = oneshot::channel();
    template.send_async(&topic, "k", text, |sent| _ = told.send(sent.map(|sent| sent.offset)));
    assert_eq!(result.await.unwrap().unwrap(), 5);
    template.send_record(Record::to(&topic).key("k").json(text).unwrap()).await.unwrap();
    probe.at_least(7, LIMIT).await;
    let json = serde_json::to_string(text).unwrap();
    let mut wanted = vec![text; 6];
    wanted.push(&json);
    assert_eq!(probe.seen().iter().map(|seen| &*seen.value).collect::<Vec<_>>(), wanted);
    let page = template.receive(&topic, 0, ..).await.unwrap();
    assert_eq!(page[0].read::<String>().unwrap(), text);
    assert_eq!(page[2].read::<Vec<u8>>().unwrap(), text.as_bytes());
    assert_eq!((page[6].json::<String>().unwrap(), page[6].text()), (text.to_owned(), Some(&*json)));
    app.stop().await.unwrap();
    // Spring's StringDeserializer has the same bytes.
    let Some(values) = Peer::values(cluster.bootstrap(), &topic, 7).await else { return };
    assert_eq!(values[&0], wanted);
}

async fn asked<Q: Serialize + ?Sized, A: for<'a> Deserialize<'a>>(listener: &str, question: &Q) -> A {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(listener, 1).await;
    let replies = cluster.topic("replies", 2).await;
    let yaml = cluster.yaml(&format!(
        "suite: {{topic: {topic}}}\nkafka-runtime.template: {{reply-topic: {replies}, reply-timeout: 30s}}\n"
    ));
    let app = App::from_yaml(yaml).unwrap().only([listener]).start().await.unwrap();
    let reply = app.template().request::<A, _>(topic.as_str(), question).await.unwrap();
    app.stop().await.unwrap();
    reply.value
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_answers_may_be_text_or_bytes() {
    assert_eq!(asked::<_, String>("upper", "why \"not\"?").await, "WHY \"NOT\"?");
    assert_eq!(asked::<[u8], Vec<u8>>("reverse", &[1, 34, 255]).await, [255, 34, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_read_tombstones_type_ids_and_null_keys() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("parts", 1).await;
    let app = app(&cluster, "").await;
    let template = app.template();
    template.send_tombstone(&topic, "gone").await.unwrap();
    let typed =
        Record::to(&topic).type_id("com.example.Order").value(&7).unwrap().timestamp(1_700_000_000_000);
    template.send_record(typed.header_null("nothing")).await.unwrap();
    template.send(topic.as_str(), 42, &true).await.unwrap();
    app.stop().await.unwrap();
    for kind in [PeerKind::Java, PeerKind::Librdkafka] {
        let arguments = [topic.as_str(), "3", "read_committed"];
        let Some(lines) = Peer::run(kind, "consume", cluster.bootstrap(), &arguments).await else { continue };
        let records: Vec<_> = lines.iter().filter(|line| line[0] == "record").collect();
        let parts: Vec<_> = records.iter().map(|line| (bytes_of(&line[5]), bytes_of(&line[6]))).collect();
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(parts, [(some("gone"), None), (None, some("7")), (some("42"), some("true"))], "{kind:?}");
        assert_eq!(records[1][4], "1700000000000", "{kind:?}");
        // com.example.Order
        assert_eq!(records[1][7], "__TypeId__=Y29tLmV4YW1wbGUuT3JkZXI=,nothing-", "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_are_what_was_asked_for() {
    let cluster = Cluster::start().await;
    for (acks, offsets) in [("0", [-1; 3]), ("1", [0, 1, 2]), ("all", [0, 1, 2])] {
        let topic = cluster.topic(&format!("acks-{acks}"), 1).await;
        let app = app(&cluster, &format!("acks: {acks}")).await;
        for offset in offsets {
            assert_eq!(app.template().send(&topic, "k", "v").await.unwrap().offset, offset, "acks {acks}");
        }
        drop(app.template().enqueue(&topic, "k", "v").await.unwrap());
        app.template().flush().await.unwrap();
        assert_eq!(app.template().stats().records, 4, "acks {acks}");
        tests::eventually("all four are there", LIMIT, || async {
            app.template().receive(&topic, 0, ..).await.unwrap().len() == 4
        })
        .await;
        app.stop().await.unwrap();
    }
}

/// Keys that begin with `last` go to the last partition, keyless records nowhere.
#[derive(Debug)]
struct Mine;

impl ChoosePartition for Mine {
    fn choose(&self, record: &OutgoingRecord<'_>, choice: &Choice<'_>) -> i32 {
        match record.key {
            Some(key) if key.starts_with(b"last") => choice.partitions - 1,
            Some(key) => partition_for_key(key, choice.partitions - 1),
            None => choice.partitions,
        }
    }
}

/// How many of 40 small records, sent one by one after a large one, each of four partitions has by the partitioner.
async fn spread(cluster: &Cluster, partitioner: &str, key: impl Fn(u32) -> String) -> BTreeMap<i32, usize> {
    let topic = cluster.topic("spread", 4).await;
    let properties = format!("    producer: {{properties: {{partitioner.class: {partitioner}}}}}\n");
    let app = App::from_yaml(cluster.yaml(&properties)).unwrap().only([]).partitioner("mine", Mine);
    let app = app.start().await.unwrap();
    let large = app.template().send(&topic, key(0), &vec![b'x'; 100_000]).await.unwrap();
    let mut counts = BTreeMap::from([(large.partition.partition, 0)]);
    for n in 0..40 {
        let sent = app.template().send(&topic, key(n), "small").await.unwrap();
        *counts.entry(sent.partition.partition).or_default() += 1;
    }
    app.stop().await.unwrap();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioners_are_chosen_by_name() {
    let cluster = Cluster::start().await;
    let same = |_| "same".to_owned();
    assert_eq!(spread(&cluster, "round_robin", same).await.into_values().collect::<Vec<_>>(), [10; 4]);
    let least = spread(&cluster, "least_bytes", same).await;
    let mut least: Vec<_> = least.into_values().collect();
    least.sort_unstable();
    assert!(least[0] == 0 && least[1] >= 13, "the large record's partition gets nothing more: {least:?}");
    assert_eq!(spread(&cluster, "default", same).await.len(), 1);
    let mine = spread(&cluster, "mine", |n| format!("{}{n}", if n % 4 == 0 { "last" } else { "k" })).await;
    assert_eq!(mine[&3], 10, "{mine:?}");
}

/// Which part of 12,000 records without a key goes to the first of three partitions, whose leader answers late.
async fn share_of_the_slow_one(adaptive: bool) -> f64 {
    let kafka = EmbeddedKafka::builder().brokers(3).topic("around", 3).start().await.unwrap();
    kafka.faults().on(Api::Produce).topic("around").partition(0).delay_answer(Duration::from_millis(100));
    let yaml = format!(
        "spring.kafka:\n  bootstrap-servers: {}\n  producer: {{batch-size: 1KB, properties: {{partitioner.adaptive.partitioning.enable: {adaptive}}}}}\n",
        kafka.bootstrap_servers()
    );
    let app = App::from_yaml(yaml).unwrap().only([]).start().await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..60 {
        for _ in 0..200 {
            let record = Record::to("around").text("x".repeat(100));
            sent.push(app.template().enqueue_record(record).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (all, mut slow) = (sent.len(), 0);
    for receipt in sent {
        slow += usize::from(receipt.await.unwrap().partition.partition == 0);
    }
    app.stop().await.unwrap();
    slow as f64 / all as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_key_goes_around_a_slow_partition() {
    let (adaptive, even) = (share_of_the_slow_one(true).await, share_of_the_slow_one(false).await);
    assert!(adaptive < 0.15, "{adaptive} where a third would be even");
    assert!(even > 0.25, "{even} without `partitioner.adaptive.partitioning.enable`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_has_no_partition_says_so_and_the_others_arrive() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("manual", 2).await;
    for partitioner in ["manual", "mine"] {
        let properties = format!("    producer: {{properties: {{partitioner.class: {partitioner}}}}}\n");
        let app = App::from_yaml(cluster.yaml(&properties)).unwrap().only([]).partitioner("mine", Mine);
        let app = app.start().await.unwrap();
        let key = (partitioner == "manual").then_some("k");
        let record = || Record::to(&topic).key(key).text("v");
        let results = app.template().send_all([record().partition(1), record(), record().partition(0)]).await;
        assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
        let error = results[1].as_ref().unwrap_err();
        let TemplateError::Send(sent) = error else { panic!("{error}") };
        match partitioner {
            "manual" => assert!(matches!(sent, SendError::NoPartition { .. }), "{sent}"),
            _ => assert!(matches!(sent, SendError::UnknownPartition { partition: 2, .. }), "{sent}"),
        }
        assert_eq!((sent.topic().unwrap().as_str(), sent.key()), (&*topic, key.map(str::as_bytes)), "{sent}");
        assert_eq!(error.record().unwrap(), record());
        app.stop().await.unwrap();
    }
    let yaml = cluster.yaml("    producer: {properties: {partitioner.class: min}}\n");
    let unknown = App::from_yaml(yaml).unwrap().only([]).partitioner("mine", Mine).start().await.unwrap_err();
    assert!(unknown.to_string().contains("did you mean `mine`?"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_has_the_error_and_the_record() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("callback", 1).await;
    let app = app(&cluster, "").await;
    let record = Record::to(&topic).key("k").text("v").header("h", "1").partition(7);
    let (told, result) = oneshot::channel();
    app.template().send_record_async(record.clone(), |sent| _ = told.send(sent));
    let error = result.await.unwrap().unwrap_err();
    assert!(matches!(&error, TemplateError::Send(SendError::UnknownPartition { .. })), "{error}");
    assert!(error.to_string().contains(&format!("record for {topic}-7 with key \"k\"")), "{error}");
    assert_eq!(error.record(), Some(record));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_its_results_in_order_and_the_default_topic_takes_the_rest() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("stream", 3).await;
    let yaml = cluster.yaml(&format!("    template: {{default-topic: {topic}}}\n"));
    let app = App::from_yaml(yaml).unwrap().only([]).start().await.unwrap();
    let template = app.template();
    // More than may wait at once for their results.
    let records =
        (0..12_000).map(|n| Record::to(&topic).partition(if n == 5_000 { 9 } else { n % 3 }).text("v"));
    let results: Vec<_> = template.send_stream(stream::iter(records)).collect().await;
    let mut next = [0; 3];
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(sent) => {
                let partition = sent.partition.partition;
                let offset = &mut next[usize::try_from(partition).unwrap()];
                assert_eq!((partition, sent.offset), (i32::try_from(n % 3).unwrap(), *offset), "{n}");
                *offset += 1;
            }
            Err(error) => assert!(n == 5_000 && error.record().is_some(), "{n}: {error}"),
        }
    }
    assert_eq!(next.iter().sum::<i64>(), 11_999);
    let sent = template.send_default((), "rest").await.unwrap();
    assert_eq!(sent.partition.topic.as_str(), topic);
    app.stop().await.unwrap();
}
