//! Retry topics: a failed record waits in a topic of its own while those behind it go on, and ends in the dead letter.

use std::time::Duration;

use kafka_client::{TopicName, TopicPartition};
use kafka_runtime::container::ListenerState;
use kafka_runtime::prelude::*;
use tests::{Cluster, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);

/// Fails as often as its value says.
#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-later",
    retry_topics(attempts = 4, backoff = "300ms..600ms", multiplier = 2)
)]
async fn later(
    failures: u32,
    meta: Metadata,
    key: Key<Option<String>>,
    probe: &State<Probe>,
) -> Result<(), String> {
    probe.saw(
        meta.partition(),
        meta.offset(),
        key.as_deref(),
        format!("{failures}/{} on {}", meta.attempt(), meta.topic()),
    );
    if meta.attempt() <= failures { Err(format!("failure {}", meta.attempt())) } else { Ok(()) }
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-spring")]
async fn spring(failures: u32, meta: Metadata, probe: &State<Probe>) -> Result<(), String> {
    probe.saw(meta.partition(), meta.offset(), None, meta.topic());
    if meta.attempt() <= failures { Err("again".into()) } else { Ok(()) }
}

async fn start(yaml: &str, listener: &'static str) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    (app, probe)
}

async fn send(app: &RunningApp, topic: &str, partition: i32, failures: u32) {
    let record =
        Record::to(topic).partition(partition).key("k").header("trace", "1").text(failures.to_string());
    app.template().send_record(record).await.unwrap();
}

async fn committed(
    cluster: &Cluster,
    app: &RunningApp,
    group: &str,
    topic: &str,
    partition: i32,
    wanted: i64,
) {
    eventually(&format!("{group} commits {wanted}"), LIMIT, || async {
        app.commit_now().await;
        let partition = TopicPartition::new(topic, partition);
        let found = cluster.admin().committed(group, &[partition]).await.unwrap();
        found[0].1.as_ref().map_or(-1, |committed| committed.offset) == wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_behind_go_on_and_each_try_waits_in_its_topic() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("later", 2).await;
    let (app, probe) = start(&cluster.yaml(&format!("suite: {{topic: {topic}}}\n")), "later").await;
    for failures in [2, 0, 9] {
        send(&app, &topic, 1, failures).await;
    }
    let begin = tokio::time::Instant::now();
    probe.at_least(3 + 1 + 4, LIMIT).await;
    assert!(begin.elapsed() >= Duration::from_millis(300 + 600 + 600 - 50), "each waited its time");
    committed(&cluster, &app, &format!("{topic}-later"), &topic, 1, 3).await;
    let seen: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(seen[..3], [format!("2/1 on {topic}"), format!("0/1 on {topic}"), format!("9/1 on {topic}")]);
    for tried in [
        format!("2/2 on {topic}-retry-300"),
        format!("2/3 on {topic}-retry-600"),
        format!("9/2 on {topic}-retry-300"),
        format!("9/3 on {topic}-retry-600"),
        format!("9/4 on {topic}-retry-600"),
    ] {
        assert!(seen.contains(&tried), "{tried} in {seen:?}");
    }
    // Each hop is a group of its own, and its partition is the record's.
    committed(&cluster, &app, &format!("{topic}-later-retry-300"), &format!("{topic}-retry-300"), 1, 2).await;
    committed(&cluster, &app, &format!("{topic}-later-retry-600"), &format!("{topic}-retry-600"), 1, 3).await;

    let letters = app.template().receive(&format!("{topic}-dlt"), 1, ..).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    let header = |name: &str| {
        let found: Vec<_> = letter.headers().filter(|(known, _)| *known == name).collect();
        assert_eq!(found.len(), 1, "{name} once in {letter:?}");
        found[0].1.unwrap().to_vec()
    };
    assert_eq!(header("kafka_dlt-original-topic"), topic.as_bytes());
    assert_eq!(header("kafka_dlt-original-offset"), 2i64.to_be_bytes());
    assert_eq!(header("kafka_dlt-original-consumer-group"), format!("{topic}-later").as_bytes());
    assert_eq!(header("kafka_dlt-exception-message"), b"failure 4");
    assert_eq!(header("retry_topic-attempts"), 4i32.to_be_bytes());
    assert_eq!((header("trace"), letter.key(), letter.text()), (b"1".to_vec(), Some(&b"k"[..]), Some("9")));
    let summary = app.stop().await.unwrap();
    let main = summary.listeners.iter().find(|listener| listener.id == "later").unwrap();
    assert_eq!((main.counts.handled, main.counts.retried_later), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ordered_of_a_listener_reaches_its_retry_topics() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("ordered", 1).await;
    let yaml = format!(
        "suite: {{topic: {topic}}}\nkafka-runtime: {{listeners: {{later: {{auto-startup: false}}}}}}\n"
    );
    let (app, probe) = start(&cluster.yaml(&yaml), "later").await;
    let states = || -> Vec<_> { app.status().iter().map(|listener| listener.state.clone()).collect() };
    assert_eq!(states(), [const { ListenerState::NotStarted }; 3]);
    let later = app.listeners().get("later").unwrap();
    later.start().await.unwrap();
    assert_eq!(states(), [const { ListenerState::Running }; 3]);
    send(&app, &topic, 0, 1).await;
    probe.at_least(2, LIMIT).await;
    send(&app, &topic, 0, 2).await;
    probe.at_least(3, LIMIT).await;
    later.pause().await.unwrap();
    let before = probe.len();
    // Its next try is due by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(probe.len(), before);
    later.resume().await.unwrap();
    probe.at_least(5, LIMIT).await;
    later.stop().await.unwrap();
    assert_eq!(states(), [const { ListenerState::Stopped }; 3]);
    app.listeners().get("later-retry-300").unwrap().start().await.unwrap();
    assert_eq!(states().iter().filter(|state| **state == ListenerState::Running).count(), 1);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn springs_keys_turn_them_on_with_spring_boots_names() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("spring", 1).await;
    let keys = "    retry: {topic: {enabled: true, attempts: 3, backoff: {delay: 50ms, multiplier: 2}}}\n";
    let (app, probe) = start(&cluster.yaml(&format!("{keys}suite: {{topic: {topic}}}\n")), "spring").await;
    send(&app, &topic, 0, 9).await;
    probe.at_least(3, LIMIT).await;
    let letters = format!("{topic}-dlt");
    eventually("the dead letter", LIMIT, || async {
        let described = cluster.admin().describe_topics(&[&letters]).await.unwrap();
        described.get(&TopicName::new(&letters)).is_some_and(|topic| topic.error.is_none())
            && app.template().receive(&letters, 0, ..).await.is_ok_and(|page| page.len() == 1)
    })
    .await;
    let seen: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(seen, [topic.clone(), format!("{topic}-retry-0"), format!("{topic}-retry-1")]);
    app.stop().await.unwrap();
}

/// A record that waits does not hold up the application's stop, and is not lost by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_waits_survives_a_stop() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("waits", 1).await;
    let yaml = cluster.yaml(&format!(
        "suite: {{topic: {topic}}}\nkafka-runtime: {{listeners: {{later: {{retry-topics: {{backoff: 3s, attempts: 2}}}}}}}}\n"
    ));
    let (app, probe) = start(&yaml, "later").await;
    send(&app, &topic, 0, 1).await;
    let retries = format!("{topic}-retry");
    eventually("it is in the retry topic", LIMIT, || async {
        app.template().receive(&retries, 0, ..).await.is_ok_and(|page| page.len() == 1)
    })
    .await;
    let summary = app.stop().await.unwrap();
    assert!(summary.is_clean() && summary.took < Duration::from_secs(2), "{summary}");
    assert_eq!(probe.len(), 1);
    let (app, probe) = start(&yaml, "later").await;
    probe.at_least(1, LIMIT).await;
    let seen: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(seen, [format!("1/2 on {retries}")]);
    app.stop().await.unwrap();
}
