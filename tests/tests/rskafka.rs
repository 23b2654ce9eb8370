//! rskafka, the second independent Rust client: it reads what we write, we read what it writes, and handlers get one made
//! from the same configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_runtime::prelude::*;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, UnknownTopicHandling};
use rskafka::record::Record as RskafkaRecord;
use tests::{Cluster, Probe};

const LIMIT: Duration = Duration::from_secs(60);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-read")]
async fn read(
    value: String,
    key: Key<Option<String>>,
    headers: Headers,
    meta: Metadata,
    probe: &State<Probe>,
) {
    let header = headers.last("h").and_then(|header| header.value).map_or(0, <[u8]>::len);
    probe.saw(meta.partition(), meta.offset(), key.as_deref(), format!("{value}/{header}"));
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-handed")]
async fn handed(
    value: String,
    meta: Metadata,
    client: &State<rskafka::client::Client>,
    probe: &State<Probe>,
) -> Result<(), rskafka::client::error::Error> {
    let topics = client.list_topics().await?;
    let known = topics.iter().any(|topic| topic.name == meta.topic());
    probe.saw(meta.partition(), meta.offset(), None, format!("{value}/{known}"));
    Ok(())
}

fn record(n: u32) -> RskafkaRecord {
    RskafkaRecord {
        key: n.is_multiple_of(2).then(|| format!("k{n}").into_bytes()),
        value: Some(format!("v{n}").into_bytes()),
        headers: BTreeMap::from([("h".to_owned(), b"123".to_vec())]),
        timestamp: rskafka::chrono::DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
    }
}

async fn partition(cluster: &Cluster, topic: &str) -> rskafka::client::partition::PartitionClient {
    let servers = cluster.bootstrap().split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(servers).build().await.unwrap();
    client.partition_client(topic, 0, UnknownTopicHandling::Retry).await.unwrap()
}

async fn start(cluster: &Cluster, listener: &'static str, topic: &str) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let yaml = cluster.yaml(&format!("suite: {{topic: {topic}}}\n"));
    let app = App::from_yaml(&yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    (app, probe)
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_rskafka_writes() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("rskafka", 1).await;
    let partition = partition(&cluster, &topic).await;
    let records: Vec<_> = (0..500).map(record).collect();
    for chunk in records.chunks(50) {
        partition.produce(chunk.to_vec(), Compression::NoCompression).await.unwrap();
    }
    let (app, probe) = start(&cluster, "read", &topic).await;
    probe.at_least(500, LIMIT).await;
    app.stop().await.unwrap();
    probe.assert_each_once_in_order();
    for (n, seen) in probe.seen().into_iter().enumerate() {
        assert_eq!(seen.value, format!("v{n}/3"));
        assert_eq!(seen.key, (n % 2 == 0).then(|| format!("k{n}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rskafka_reads_what_we_write() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("rskafka", 1).await;
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for n in 0..500 {
        let record = Record::to(&topic).key(format!("k{n}")).text(format!("v{n}")).header("h", "1");
        drop(app.template().enqueue_record(record).await.unwrap());
    }
    app.template().flush().await.unwrap();
    app.stop().await.unwrap();

    let partition = partition(&cluster, &topic).await;
    let mut values = Vec::new();
    while values.len() < 500 {
        let next = i64::try_from(values.len()).unwrap();
        let (records, _) = partition.fetch_records(next, 1..1_000_000, 5_000).await.unwrap();
        values.extend(records.into_iter().filter(|record| record.offset >= next).map(|record| {
            assert_eq!(record.record.headers.get("h").map(Vec::as_slice), Some(&b"1"[..]));
            String::from_utf8(record.record.value.unwrap()).unwrap()
        }));
    }
    assert_eq!(values, (0..500).map(|n| format!("v{n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_get_an_rskafka_client_of_the_same_cluster() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("rskafka", 1).await;
    let (app, probe) = start(&cluster, "handed", &topic).await;
    app.template().send_record(Record::to(&topic).text("hello")).await.unwrap();
    probe.at_least(1, LIMIT).await;
    app.stop().await.unwrap();
    assert_eq!(probe.seen()[0].value, "hello/true");
}
