//! Records out of the ordinary: many, large, keyless, tombstones, duplicate headers; and other clients' records.

use std::time::Duration;

use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, PeerKind, Probe, go_peer};

const LIMIT: Duration = Duration::from_secs(120);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-odd")]
async fn odd(
    value: Option<String>,
    key: Key<Option<String>>,
    headers: Headers,
    meta: Metadata,
    probe: &State<Probe>,
) -> Result<(), String> {
    let found: Vec<(&str, Option<&[u8]>)> =
        headers.iter().map(|header| (header.name, header.value)).collect();
    let wanted: [(&str, Option<&[u8]>); 4] =
        [("h", Some(b"1")), ("other", None), ("h", Some(b"2")), ("h", Some(b""))];
    if found != wanted {
        return Err(format!("headers came as {found:?}"));
    }
    probe.saw(meta.partition(), meta.offset(), key.as_deref(), value.unwrap_or_else(|| "tombstone".into()));
    Ok(())
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-sizes")]
async fn sizes(value: &[u8], meta: Metadata, probe: &State<Probe>) {
    let sum = value.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    probe.saw(meta.partition(), meta.offset(), None, format!("{}/{sum}", value.len()));
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-foreign")]
async fn foreign(record: Numbered, key: Key<&str>, headers: Headers, meta: Metadata, probe: &State<Probe>) {
    let headers: Vec<String> =
        headers.iter().map(|header| format!("{}={:?}", header.name, header.value)).collect();
    probe.saw(meta.partition(), meta.offset(), Some(*key), format!("{} {}", record.n, headers.join(" ")));
}

async fn app(cluster: &Cluster, listener: &'static str, topic: &str, more: &str) -> (RunningApp, Probe) {
    let probe = Probe::default();
    let yaml = cluster.yaml(&format!("{more}suite: {{topic: {topic}}}\n"));
    let app = App::from_yaml(&yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    (app, probe)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_with_duplicate_headers_null_keys_and_tombstones() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("odd", 3).await;
    let (app, probe) =
        app(&cluster, "odd", &topic, "    properties: {max.partition.fetch.bytes: 262144}\n").await;
    let template = app.template();
    for n in 0..100_000u32 {
        let mut record = Record::to(&topic).partition(i32::try_from(n % 3).unwrap());
        if n % 2 == 0 {
            record = record.key(format!("k{n}"));
        }
        if n % 5 != 0 {
            record = record.text(format!("v{n}"));
        }
        let record = record.header("h", "1").header_null("other").header("h", "2").header("h", "");
        drop(template.enqueue_record(record).await.unwrap());
    }
    template.flush().await.unwrap();
    probe.at_least(100_000, LIMIT).await;
    app.stop().await.unwrap();
    probe.assert_each_once_in_order();
    let seen = probe.seen();
    assert_eq!(seen.len(), 100_000);
    for record in seen {
        let n = record.offset * 3 + i64::from(record.partition);
        assert_eq!(record.key, (n % 2 == 0).then(|| format!("k{n}")));
        assert_eq!(record.value, if n % 5 == 0 { "tombstone".to_owned() } else { format!("v{n}") });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic_with("large", 2, &[("max.message.bytes", "16777216")]).await;
    let producer = "    producer: {properties: {max.request.size: 16777216}}\n";
    let (app, probe) = app(&cluster, "sizes", &topic, producer).await;
    let mut wanted = Vec::new();
    for (n, size) in [10 << 20, 1, 10 << 20, 100, 5 << 20].into_iter().enumerate() {
        let value: Vec<u8> = (0..size).map(|i| ((i * 7 + n) % 251) as u8).collect();
        let sum = value.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        wanted.push(format!("{}/{sum}", value.len()));
        app.template().send_record(Record::to(&topic).partition(0).bytes(value)).await.unwrap();
    }
    probe.at_least(wanted.len(), LIMIT).await;
    app.stop().await.unwrap();
    assert_eq!(probe.seen().into_iter().map(|seen| seen.value).collect::<Vec<_>>(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_records_in_every_codec() {
    for kind in [PeerKind::Java, PeerKind::Librdkafka] {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let cluster = Cluster::start().await;
            let topic = cluster.topic(&format!("foreign-{codec}"), 2).await;
            let (app, probe) = app(&cluster, "foreign", &topic, "").await;
            if Peer::run(kind, "produce", cluster.bootstrap(), &[&topic, "1000", codec]).await.is_none() {
                return;
            }
            probe.at_least(1000, LIMIT).await;
            app.stop().await.unwrap();
            probe.assert_each_once_in_order();
            let mut numbers: Vec<u64> = Vec::new();
            for seen in probe.seen() {
                let (n, headers) = seen.value.split_once(' ').unwrap();
                assert_eq!(headers, "h=Some([49]) h=Some([50]) none=None", "{kind:?} {codec}");
                let n: u64 = n.parse().unwrap();
                assert_eq!(seen.key, Some(format!("k{}", n % 10)));
                numbers.push(n);
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (0..1000).collect::<Vec<_>>(), "{kind:?} {codec}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_read_ours_in_every_codec() {
    let mut codecs = vec![
        ("none", None),
        ("gzip", None),
        ("gzip", Some(1)),
        ("gzip", Some(9)),
        ("snappy", None),
        ("lz4", None),
        ("lz4", Some(9)),
        ("zstd", None),
        ("zstd", Some(1)),
    ];
    if cfg!(feature = "zstd-c") {
        codecs.extend([("zstd", Some(-7)), ("zstd", Some(3)), ("zstd", Some(19)), ("zstd", Some(22))]);
    }
    for (codec, level) in codecs {
        let cluster = Cluster::start().await;
        let topic = cluster.topic(&format!("ours-{codec}"), 2).await;
        let level = level.map_or_else(String::new, |level: i32| {
            format!(", properties: {{compression.{codec}.level: {level}}}")
        });
        let yaml = cluster.yaml(&format!("    producer: {{compression-type: {codec}{level}}}\n"));
        let app = App::from_yaml(&yaml).unwrap().only([]).start().await.unwrap();
        for n in 0..500 {
            let record = Record::to(&topic)
                .key(format!("k{n}"))
                .json(&serde_json::json!({ "n": n, "text": "a repeated text compresses ".repeat(8) }))
                .unwrap()
                .header("h", "1")
                .header("h", "2");
            drop(app.template().enqueue_record(record).await.unwrap());
        }
        app.template().flush().await.unwrap();
        app.stop().await.unwrap();
        for kind in [PeerKind::Java, PeerKind::Librdkafka] {
            let arguments = [topic.as_str(), "500", "read_committed"];
            let Some(lines) = Peer::run(kind, "consume", cluster.bootstrap(), &arguments).await else {
                continue;
            };
            let records: Vec<_> = lines.iter().filter(|line| line[0] == "record").collect();
            assert_eq!(records.len(), 500, "{kind:?} {codec}{level}");
            assert!(
                records.iter().all(|line| line[7] == "h=MQ==,h=Mg=="),
                "{kind:?} {codec}: {:?}",
                records[0]
            );
        }
        if let Some(said) = go_peer(&["read", cluster.bootstrap(), &topic, "500"]).await {
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines, ["franz-go 500 h=1,h=2,", "kafka-go 500 h=1,h=2,"], "{codec}{level}");
        }
    }
}
