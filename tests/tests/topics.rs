//! Topics that change: created after the start, matched by a pattern, many partitions, more partitions, a leader that
//! moves.

use std::time::Duration;

use kafka_client::TopicName;
use kafka_runtime::prelude::*;
use tests::{Cluster, Probe, eventually, unique};

const LIMIT: Duration = Duration::from_secs(90);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-named")]
async fn named(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(pattern = "${suite.topic}-.*", group = "${suite.topic}-matched")]
async fn matched(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), Some(meta.topic()), value);
}

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-committed",
    commit = "sync",
    commit_every = "record"
)]
async fn committed(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

#[kafka_listener(partitions("${suite.topic}", "0, 2", from = "earliest"))]
async fn assigned(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

/// The bound of what a crash repeats is that of what is committed, and nothing is.
#[kafka_listener(
    partitions("${suite.topic}", "0", from = "earliest"),
    ack = "manual",
    commit_every(records = 2)
)]
async fn held(value: String, meta: Metadata, ack: Ack, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(10 * (2 - meta.offset() as u64 % 3))).await;
        drop(ack.ack());
    });
}

async fn start(cluster: &Cluster, listener: &'static str, topic: &str) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let yaml =
        cluster.yaml(&format!("    properties: {{metadata.max.age.ms: 500}}\nsuite: {{topic: {topic}}}\n"));
    let app = App::from_yaml(&yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    (app, probe)
}

async fn send(app: &RunningApp, topic: &str, partition: i32, value: &str) {
    app.template().send_record(Record::to(topic).partition(partition).text(value)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn created_after_the_start() {
    let cluster = Cluster::start().await;
    let topic = unique("late");
    let (app, probe) = start(&cluster, "named", &topic).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // With the brokers' topic creation on, asking for it may have made it.
    let exists = cluster.admin().list_topics().await.unwrap().contains(&TopicName::new(&topic));
    if !exists {
        cluster.create(&topic, 1, &[]).await;
    }
    send(&app, &topic, 0, "hello").await;
    probe.at_least(1, LIMIT).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_finds_new_topics() {
    let cluster = Cluster::start().await;
    let prefix = unique("pattern");
    let (one, two) = (format!("{prefix}-one"), format!("{prefix}-two"));
    cluster.create(&one, 1, &[]).await;
    let (app, probe) = start(&cluster, "matched", &prefix).await;
    send(&app, &one, 0, "first").await;
    probe.at_least(1, LIMIT).await;
    cluster.create(&two, 2, &[]).await;
    // Sent before the group knows the topic: partitions found later start at the earliest.
    send(&app, &two, 1, "second").await;
    probe.at_least(2, LIMIT).await;
    app.stop().await.unwrap();
    let topics: Vec<_> = probe.seen().into_iter().map(|seen| seen.key.unwrap()).collect();
    assert_eq!(topics, [one, two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("growing", 1).await;
    let (app, probe) = start(&cluster, "named", &topic).await;
    send(&app, &topic, 0, "first").await;
    probe.at_least(1, LIMIT).await;
    cluster.admin().create_partitions(&topic, 3, Duration::from_secs(30)).await.unwrap();
    eventually("the producer sees the new partition", LIMIT, || async {
        app.template().send_record(Record::to(&topic).partition(2).text("second")).await.is_ok()
    })
    .await;
    probe.at_least(2, LIMIT).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_partitions() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("thousand", 1000).await;
    let (app, probe) = start(&cluster, "named", &topic).await;
    for round in 0..3 {
        for partition in 0..1000 {
            let record = Record::to(&topic).partition(partition).text(format!("{round}"));
            drop(app.template().enqueue_record(record).await.unwrap());
        }
    }
    app.template().flush().await.unwrap();
    probe.at_least(3000, LIMIT).await;
    app.stop().await.unwrap();
    probe.assert_each_once_in_order();
    assert_eq!(probe.offsets().len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_partitions_without_a_group() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("assigned", 3).await;
    let (app, probe) = start(&cluster, "assigned", &topic).await;
    for partition in 0..3 {
        send(&app, &topic, partition, &partition.to_string()).await;
    }
    probe.at_least(2, LIMIT).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    app.stop().await.unwrap();
    let mut values: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    values.sort();
    assert_eq!(values, ["0", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_group_no_commit_is_waited_for() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("held", 1).await;
    let (app, probe) = start(&cluster, "held", &topic).await;
    for n in 0..20 {
        send(&app, &topic, 0, &n.to_string()).await;
    }
    probe.at_least(20, LIMIT).await;
    app.stop().await.unwrap();
    probe.assert_each_once_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("restart", 1).await;
    for round in 0..3 {
        let (app, probe) = start(&cluster, "committed", &topic).await;
        send(&app, &topic, 0, &round.to_string()).await;
        probe.at_least(1, LIMIT).await;
        app.stop().await.unwrap();
        assert_eq!(probe.seen().into_iter().map(|seen| seen.value).collect::<Vec<_>>(), [round.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_moves() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("moving", 1).await;
    let (app, probe) = start(&cluster, "named", &topic).await;
    let template = app.template();
    let sender = tokio::spawn({
        let topic = topic.clone();
        async move {
            for n in 0..1000 {
                template.send_record(Record::to(&topic).partition(0).text(n.to_string())).await.unwrap();
                tokio::time::sleep(Duration::from_millis(6)).await;
            }
        }
    });
    for node in [2, 3, 1] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !cluster.move_leader(&topic, 0, node).await {
            return;
        }
    }
    sender.await.unwrap();
    probe.at_least(1000, LIMIT).await;
    app.stop().await.unwrap();
    let values: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(
        values,
        (0..1000).map(|n| n.to_string()).collect::<Vec<_>>(),
        "each once, in order, through the moves"
    );
}
