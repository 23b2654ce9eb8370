//! What is wrong outside must be said, never crash, and heal by itself where it can.

use std::time::Duration;

use kafka_runtime::container::EventKind;
use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, PeerKind, Probe, event, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-typed")]
async fn typed(order: Order, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, order.id.to_string());
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-failing")]
async fn failing(value: String, meta: Metadata, probe: &State<Probe>) -> Result<(), String> {
    probe.saw(meta.partition(), meta.offset(), None, value.clone());
    if value == "bad" { Err("refused by the test".into()) } else { Ok(()) }
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-panicking")]
async fn panicking(value: String, meta: Metadata, probe: &State<Probe>) {
    assert!(value != "bad", "a panic of the test");
    probe.saw(meta.partition(), meta.offset(), None, value);
}

async fn start(yaml: &str, listener: &'static str) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let app = App::from_yaml(yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    (app, probe)
}

fn yaml(cluster: &Cluster, topic: &str, exhausted: &str) -> String {
    cluster.yaml(&format!(
        "suite: {{topic: {topic}}}\nkafka-runtime:\n  listener:\n    on-exhausted: {exhausted}\n    retry: {{attempts: 3, backoff: {{initial: 10ms, max: 20ms}}}}\n"
    ))
}

async fn send(app: &RunningApp, topic: &str, partition: i32, value: &str) {
    app.template().send_record(Record::to(topic).partition(partition).text(value)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_the_wrong_type_is_skipped_when_told_so() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("typed", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, "skip"), "typed").await;
    for value in [r#"{"id":1}"#, r#"{"id":"one"}"#, "not json", "", r#"{"id":2}"#] {
        send(&app, &topic, 0, value).await;
    }
    probe.at_least(2, LIMIT).await;
    app.stop().await.unwrap();
    assert_eq!(probe.seen().into_iter().map(|seen| seen.value).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_record_stops_its_partition_only_and_is_not_lost() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("stops", 2).await;
    let (app, probe) = start(&yaml(&cluster, &topic, "stop"), "typed").await;
    for value in [r#"{"id":1}"#, "poison", r#"{"id":2}"#] {
        send(&app, &topic, 0, value).await;
    }
    send(&app, &topic, 1, r#"{"id":3}"#).await;
    probe.at_least(2, LIMIT).await;
    eventually("the status names the record", LIMIT, || async {
        let status = format!("{:?}", app.status());
        status.contains("poison") || status.contains("stopped") || status.contains("Stopped")
    })
    .await;
    send(&app, &topic, 1, r#"{"id":4}"#).await;
    probe.at_least(3, LIMIT).await;
    app.stop().await.unwrap();
    let mut handled: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    handled.sort();
    assert_eq!(handled, ["1", "3", "4"]);
    let partition = kafka_client::TopicPartition::new(topic.as_str(), 0);
    let committed = cluster.admin().committed(&format!("{topic}-typed"), &[partition]).await.unwrap();
    assert_eq!(
        committed[0].1.as_ref().map(|found| found.offset),
        Some(1),
        "the poison's offset must not be committed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_handler_is_tried_again_in_place_then_skipped() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("failing", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, "skip"), "failing").await;
    for value in ["a", "bad", "b"] {
        send(&app, &topic, 0, value).await;
    }
    probe.at_least(5, LIMIT).await;
    app.stop().await.unwrap();
    let handled: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(handled, ["a", "bad", "bad", "bad", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failure_like_any_other() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("panicking", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, "skip"), "panicking").await;
    for value in ["a", "bad", "b"] {
        send(&app, &topic, 0, value).await;
    }
    probe.at_least(2, LIMIT).await;
    app.stop().await.unwrap();
    assert_eq!(probe.seen().into_iter().map(|seen| seen.value).collect::<Vec<_>>(), ["a", "b"]);
}

/// A door to the cluster that can be closed: it forwards one port.
struct Door {
    address: String,
    open: tokio::sync::watch::Sender<bool>,
}

impl Door {
    async fn new(target: &str, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, state) = tokio::sync::watch::channel(open);
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut state) = (target.clone(), state.clone());
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_away_at_the_start() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("away", 1).await;
    let first = cluster.bootstrap().split(',').next().unwrap().to_owned();
    let door = Door::new(&first, false).await;
    let yaml = yaml(&cluster, &topic, "stop").replace(cluster.bootstrap(), &door.address);
    let (app, probe) = start(&yaml, "failing").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(probe.is_empty());
    door.open.send(true).unwrap();
    send(&app, &topic, 0, "hello").await;
    probe.at_least(1, LIMIT).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_go_away_while_running() {
    // Below the range that outgoing connections take theirs from, so that nobody gets it while the broker is away.
    let port =
        (21_000..30_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let servers = format!("127.0.0.1:{port}");
    let embedded = kafka_embedded::EmbeddedKafka::builder().listen(servers.clone()).start().await.unwrap();
    let topic = tests::unique("gone");
    let text = format!(
        "spring: {{kafka: {{bootstrap-servers: '{servers}', consumer: {{auto-offset-reset: earliest}}}}}}\nsuite: {{topic: {topic}}}\n"
    );
    let (app, probe) = start(&text, "failing").await;
    send(&app, &topic, 0, "before").await;
    probe.at_least(1, LIMIT).await;
    let mut events = app.listeners().events();
    embedded.shutdown().await;
    eventually("the status says that brokers are away", LIMIT, || async {
        app.status().iter().any(|listener| listener.problem.is_some())
    })
    .await;
    let cause = event(&mut events, |kind| match kind {
        EventKind::Problem { cause } => Some(cause),
        _ => None,
    })
    .await;
    assert!(cause.contains(&servers), "{cause}");
    // The new broker knows nothing of the old one's records: what matters is that everybody finds it by themselves.
    let _embedded = kafka_embedded::EmbeddedKafka::builder().listen(servers).start().await.unwrap();
    send(&app, &topic, 0, "after").await;
    probe.at_least(2, LIMIT).await;
    eventually("the status is well again", LIMIT, || async {
        app.status().iter().all(|listener| listener.is_healthy())
    })
    .await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn not_a_kafka_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            });
        }
    });
    let text = format!(
        "spring: {{kafka: {{bootstrap-servers: '{address}', producer: {{properties: {{max.block.ms: 2000}}}}}}}}\n"
    );
    let app = App::from_yaml(&text).unwrap().only([]).start().await.unwrap();
    let error = app.template().send("orders", "k", &1).await.unwrap_err();
    assert!(!error.to_string().is_empty());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut seed = 1u64;
        while let Ok((mut stream, _)) = listener.accept().await {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut garbage = vec![0, 0, 0, 64];
            garbage.extend((0..64u64).map(|i| (seed.rotate_left(i as u32) >> 13) as u8));
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&garbage).await;
            });
        }
    });
    let text = format!(
        "spring: {{kafka: {{bootstrap-servers: '{address}', producer: {{properties: {{max.block.ms: 2000}}}}}}}}\n"
    );
    let app = App::from_yaml(&text).unwrap().only([]).start().await.unwrap();
    app.template().send("orders", "k", &1).await.unwrap_err();
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_permission_to_read_is_said_and_the_others_go_on() {
    let cluster = Cluster::start().await;
    if !cluster.is_apache() {
        eprintln!("NOT RUN on the embedded broker: it has no permissions yet");
        return;
    }
    let topic = cluster.topic("denied", 1).await;
    let resource = format!("topic:{topic}");
    if Peer::run(PeerKind::Java, "deny", cluster.bootstrap(), &[&resource, "READ"]).await.is_none() {
        return;
    }
    let (app, probe) = start(&yaml(&cluster, &topic, "stop"), "failing").await;
    eventually("the status says why", LIMIT, || async {
        format!("{:?}", app.status()).to_lowercase().contains("authoriz")
    })
    .await;
    assert!(probe.is_empty());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_yaml_names_its_place() {
    let error = App::from_yaml("spring:\n  kafka: [unclosed\n").err().unwrap().to_string();
    assert!(error.contains('2') || error.contains('3'), "{error}");
    let error =
        App::from_yaml("spring: {kafka: {consumer: {group-idd: x}}}\n").err().map(|error| error.to_string());
    assert!(error.as_deref().is_some_and(|text| text.contains("group-id")), "{error:?}");
}
