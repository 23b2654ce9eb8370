//! The template: typed topics, many at once, interceptors, numbers, transactions, partitioners beside other clients'.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_client::config::Partitioner;
use kafka_runtime::prelude::*;
use kafka_runtime::template::{RecordMetadata, SendError};
use tests::{Cluster, Peer, PeerKind, go_peer, unique};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
}

const TYPED: Topic<Order> = Topic::new("producing-typed");

async fn app(cluster: &Cluster, more: &str) -> RunningApp {
    App::from_yaml(cluster.yaml(more)).unwrap().only([]).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_topic_takes_and_gives_its_type() {
    let cluster = Cluster::start().await;
    let app = app(&cluster, "").await;
    let sent = app.template().send(TYPED, "k", &Order { id: 7 }).await.unwrap();
    let page = app.template().receive(TYPED.name(), sent.partition.partition, sent.offset..).await.unwrap();
    let received = page.iter().next().unwrap();
    assert_eq!(received.json::<Order>().unwrap(), Order { id: 7 });
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_record_has_everything_that_a_record_can_have() {
    let cluster = Cluster::start().await;
    let app = app(&cluster, "").await;
    let record = TYPED.record("k", &Order { id: 8 }).unwrap().header("trace", "t1").timestamp(7);
    let sent = app.template().send_record(record).await.unwrap();
    let page = app.template().receive(TYPED.name(), sent.partition.partition, sent.offset..).await.unwrap();
    let received = page.iter().next().unwrap();
    assert_eq!(received.json::<Order>().unwrap(), Order { id: 8 });
    assert_eq!((received.key(), received.timestamp()), (Some(&b"k"[..]), 7));
    assert_eq!(received.headers().collect::<Vec<_>>(), [("trace", Some(&b"t1"[..]))]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_a_placeholder_is_refused_and_its_resolved_name_is_sent_to() {
    const CONFIGURED: Topic<Order> = Topic::new("${suite.orders}");
    let cluster = Cluster::start().await;
    let topic = cluster.topic("configured", 1).await;
    let app = app(&cluster, &format!("suite.orders: {topic}\n")).await;
    let template = app.template();
    let refused = template.send(CONFIGURED, "k", &Order { id: 1 }).await.unwrap_err();
    assert!(
        matches!(refused, TemplateError::Placeholder { topic, .. } if topic == CONFIGURED.name()),
        "{refused}"
    );
    assert_eq!(refused.record().unwrap().key_bytes(), Some(&b"k"[..]));
    let (told, mut result) = tokio::sync::oneshot::channel();
    template.send_async(CONFIGURED, "k", &Order { id: 1 }, move |result| _ = told.send(result));
    let refused = (&mut result).await.unwrap().unwrap_err();
    assert!(matches!(refused, TemplateError::Placeholder { .. }), "{refused}");
    let resolved = app.config().resolve(CONFIGURED.name()).unwrap();
    let sent = template.send(&resolved, "k", &Order { id: 1 }).await.unwrap();
    assert_eq!(sent.partition.topic, *topic);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_have_a_result_each() {
    let cluster = Cluster::start().await;
    let app = app(&cluster, "").await;
    let topic = cluster.topic("many", 2).await;
    let records = (0..100).map(|n| match n {
        50 => Record::to(&topic).partition(7).text("beyond"),
        60 => Record::to(&topic).partition(0).bytes(vec![0; 2 << 20]),
        n => Record::to(&topic).partition(n % 2).text(n.to_string()),
    });
    let template = app.template();
    let results = template.send_all(records).await;
    for (n, result) in results.iter().enumerate() {
        match n {
            50 => assert!(
                matches!(result, Err(TemplateError::Send(SendError::UnknownPartition { .. }))),
                "{result:?}"
            ),
            60 => {
                assert!(matches!(result, Err(TemplateError::Send(SendError::TooLarge { .. }))), "{result:?}")
            }
            n => assert_eq!(result.as_ref().unwrap().partition.partition, i32::try_from(n % 2).unwrap()),
        }
    }
    let stats = template.stats();
    assert_eq!((stats.records, stats.failed), (98, 0));
    assert!(stats.bytes > 98 && stats.batches >= 2 && stats.delivery_time.quantile(0.5) > Duration::ZERO);
    app.stop().await.unwrap();
}

/// A value, and whether it was delivered.
type Seen = (Vec<u8>, bool);

#[derive(Clone, Default)]
struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Interceptor for Witness {
    fn before_send(&self, record: Record) -> Record {
        record.header("seen", "yes")
    }

    fn after_send(&self, record: &Record, result: Result<&RecordMetadata, &SendError>) {
        assert!(record.headers().any(|(name, _)| name == "seen"));
        self.seen.lock().unwrap().push((record.value_bytes().unwrap().to_vec(), result.is_ok()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interceptors_see_every_record_and_its_result() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("intercepted", 1).await;
    let witness = Witness::default();
    let yaml = cluster.yaml("    producer: {buffer-memory: 65536}\n");
    let app = App::from_yaml(yaml).unwrap().only([]).interceptor(witness.clone());
    let app = app.start().await.unwrap();
    let template = app.template();
    let sent = template.send_text(&topic, (), "one").await.unwrap();
    template.send_record_async(Record::to(&topic).text("two"), |_| {});
    drop(template.enqueue_record(Record::to(&topic).text("three")).await.unwrap());
    template.send_record(Record::to(&topic).partition(9).text("four")).await.unwrap_err();
    let too_much = "too much".repeat(10_000);
    template.send_record_async(Record::to(&topic).text(&too_much), |result| assert!(result.is_err()));
    tests::eventually("all were seen", Duration::from_secs(20), || async {
        witness.seen.lock().unwrap().len() == 5
    })
    .await;
    let mut seen = witness.seen.lock().unwrap().clone();
    seen.sort();
    let expected = [("four", false), ("one", true), ("three", true), (&*too_much, false), ("two", true)];
    assert_eq!(seen, expected.map(|(value, ok)| (value.as_bytes().to_vec(), ok)));
    let page = template.receive(&topic, 0, sent.offset..).await.unwrap();
    assert_eq!(page.iter().next().unwrap().headers().last(), Some(("seen", Some(&b"yes"[..]))));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_all_or_nothing() {
    let cluster = Cluster::start().await;
    if !cluster.has_transactions().await {
        return;
    }
    let topic = cluster.topic("template-tx", 2).await;
    let prefix = unique("template-tx");
    let yaml = format!("kafka-runtime.producer.transaction-id-prefix: {prefix}-\n");
    let app = app(&cluster, &yaml).await;
    let template = app.template();
    let one = template.in_transaction(async |tx| {
        tx.send(topic.as_str(), "a", &1).await?;
        Ok(tx.send(topic.as_str(), "b", &2).await?.offset)
    });
    let two = template.in_transaction(async |tx| {
        drop(tx.enqueue(topic.as_str(), "c", &3).await?);
        Ok(())
    });
    let (one, two) = tokio::join!(one, two);
    assert!(one.unwrap() >= 0);
    two.unwrap();
    let failed = template
        .in_transaction(async |tx| {
            tx.send(topic.as_str(), "d", &4).await?;
            Err::<(), _>("not today".into())
        })
        .await
        .unwrap_err();
    assert!(
        matches!(&failed, TemplateError::Work { .. }) && failed.to_string().contains("not today"),
        "{failed}"
    );
    let beyond = template
        .in_transaction(async |tx| {
            tx.send_record(Record::to(&topic).partition(0).text("5")).await?;
            tx.send_record(Record::to(&topic).partition(9).text("6")).await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(&beyond, TemplateError::Work { .. }), "{beyond}");
    // What was written and aborted is counted too, and nothing is twice.
    assert_eq!((template.stats().records, template.stats().delivery_time.count() > 2), (5, true));
    app.stop().await.unwrap();
    let Some(values) = Peer::values(cluster.bootstrap(), &topic, 3).await else { return };
    let mut values: Vec<String> = values.into_values().flatten().collect();
    values.sort();
    assert_eq!(values, ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_prefix_there_are_no_transactions() {
    let cluster = Cluster::start().await;
    let app = app(&cluster, "").await;
    let error = app.template().in_transaction(async |_| Ok(())).await.unwrap_err();
    assert!(error.to_string().contains("transaction-id-prefix"), "{error}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_where_librdkafka_sends_it() {
    let cluster = Cluster::start().await;
    for name in ["consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random"] {
        let topic = cluster.topic("placed", 7).await;
        let arguments = [topic.as_str(), name, "50"];
        let placed = Peer::run(PeerKind::Librdkafka, "place", cluster.bootstrap(), &arguments).await;
        let Some(placed) = placed else { return };
        assert_eq!(placed.len(), 50, "{placed:?}");
        let Some(Partitioner::Keyed(hash, _)) = Partitioner::named(name) else { panic!("{name}") };
        for line in placed {
            let key = line[1].as_bytes();
            assert_eq!(line[2], hash.partition(key, 7).to_string(), "{name} {line:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_where_gos_clients_send_it() {
    let keys: Vec<String> = (0..60).map(|n| format!("customer-{}", n * n)).collect();
    let mut arguments = vec!["place", "7"];
    arguments.extend(keys.iter().map(String::as_str));
    let Some(placed) = go_peer(&arguments).await else { return };
    let mut names = BTreeSet::new();
    for line in placed.lines() {
        let [name, key, partition] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let Some(Partitioner::Keyed(hash, _)) = Partitioner::named(name) else { panic!("{name}") };
        assert_eq!(partition, hash.partition(key.as_bytes(), 7).to_string(), "{line}");
        names.insert(name);
    }
    assert_eq!((names.len(), placed.lines().count()), (6, 360), "{names:?}");
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-answering")]
async fn answers(question: u64, headers: Headers, template: State<Template>) -> Result<(), TemplateError> {
    if let Some(answer) = Record::answer(&headers) {
        template.send_record(answer.json(&(question * 2))?).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_has_its_answer() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("questions", 2).await;
    let yaml = cluster.yaml(&format!(
        "suite: {{topic: {topic}}}\nkafka-runtime:\n  template: {{reply-topic: {topic}-replies, reply-timeout: 30s}}\n  \
         topics:\n    - {{name: {topic}-replies, partitions: 3}}\n",
    ));
    let app = App::from_yaml(yaml).unwrap().only(["answers"]).start().await.unwrap();
    let template = app.template();
    let ask = |n: u64| {
        let (template, topic) = (template.clone(), topic.clone());
        async move { template.request::<u64, _>(topic.as_str(), &n).await.unwrap().value }
    };
    let (one, two, three) = tokio::join!(ask(1), ask(2), ask(3));
    assert_eq!([one, two, three], [2, 4, 6]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_in_vain() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("unanswered", 1).await;
    let replies = cluster.topic("replies", 1).await;
    let with = format!("kafka-runtime.template: {{reply-topic: {replies}, reply-timeout: 500ms}}\n");
    let answered = app(&cluster, &with).await;
    let nobody = answered.template().request::<u64, _>(topic.as_str(), &1).await.unwrap_err();
    assert!(matches!(nobody, TemplateError::NoAnswer { .. }), "{nobody}");
    answered.stop().await.unwrap();
    let without = app(&cluster, "").await;
    let nowhere = without.template().request::<u64, _>(topic.as_str(), &1).await.unwrap_err();
    assert!(matches!(nowhere, TemplateError::NoReplyTopic), "{nowhere}");
    without.stop().await.unwrap();
}

/// What a topic has of these settings.
async fn configured<const N: usize>(cluster: &Cluster, topic: &str, names: [&str; N]) -> [String; N] {
    let told = cluster.admin().topic_configs(&[topic], Duration::from_secs(30)).await.unwrap();
    let [(_, Ok(config))] = told.as_slice() else { panic!("{told:?}") };
    names.map(|name| config[name].clone().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_topics_are_configured_anew_where_that_is_asked_for() {
    let cluster = Cluster::start().await;
    let topic = unique("configured");
    cluster.create(&topic, 1, &[("retention.ms", "86400000"), ("segment.ms", "3600000")]).await;
    let names = ["retention.ms", "max.message.bytes", "segment.ms"];
    let before = configured(&cluster, &topic, names).await;
    let declared = format!(
        "kafka-runtime:\n  topics:\n    - {{name: {topic}, partitions: 1, config: {{retention.ms: 7d, max.message.bytes: 2MB}}}}\n"
    );
    app(&cluster, &declared).await.stop().await.unwrap();
    assert_eq!(configured(&cluster, &topic, names).await, before, "not without being asked");

    let modify = format!("spring.kafka.admin.modify-topic-configs: true\n{declared}");
    // The second time nothing is to be done.
    for _ in 0..2 {
        app(&cluster, &modify).await.stop().await.unwrap();
        tests::eventually("the configuration", Duration::from_secs(20), || async {
            configured(&cluster, &topic, names).await == ["604800000", "2097152", "3600000"]
        })
        .await;
    }

    // What the broker refuses is a problem of start-up, where those are fatal.
    let wrong = format!(
        "spring.kafka.admin: {{modify-topic-configs: true, fail-fast: true}}\nkafka-runtime:\n  topics:\n    - {{name: {topic}, config: \
         {{no.such.config: 1}}}}\n"
    );
    let refused =
        App::from_yaml(cluster.yaml(&wrong)).unwrap().only([]).start().await.unwrap_err().to_string();
    assert!(refused.contains(&topic), "{refused}");
    cluster.admin().topic_configs(&["no-such-topic"], Duration::from_secs(30)).await.unwrap()[0]
        .1
        .as_ref()
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_topics_are_created_and_extended() {
    let cluster = Cluster::start().await;
    let (new, old) = (unique("declared"), cluster.topic("extended", 1).await);
    let yaml = format!(
        "kafka-runtime:\n  topics:\n    - {{name: {new}, partitions: 3, config: {{retention.ms: 7d}}}}\n    - {{name: {old}, \
         partitions: 4}}\n"
    );
    app(&cluster, &yaml).await.stop().await.unwrap();
    for (topic, partitions) in [(&new, 3), (&old, 4)] {
        tests::eventually("partitions", Duration::from_secs(20), || async {
            let found = cluster.admin().describe_topics(&[topic]).await.unwrap();
            found.values().next().is_some_and(|found| found.partitions.len() == partitions)
        })
        .await;
    }
    // Once more: nothing is to be done.
    app(&cluster, &yaml).await.stop().await.unwrap();
    let off = format!("spring.kafka.admin.auto-create: false\nkafka-runtime.topics: [{{name: {new}-not}}]\n");
    app(&cluster, &off).await.stop().await.unwrap();
    assert!(
        !cluster
            .admin()
            .list_topics()
            .await
            .unwrap()
            .iter()
            .any(|topic| topic.as_str() == format!("{new}-not"))
    );
}
