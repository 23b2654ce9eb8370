//! What is read, and from where.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka_client::config::{Compression, ConsumerConfig, IsolationLevel, OffsetReset, StartAt};
use kafka_client::consumer::StreamItem;
use kafka_client::{Error, TopicName, TopicPartition};
use tokio::time::timeout;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_is_read() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("codecs", 1).await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (codec, from) in codecs.into_iter().zip((0..).step_by(100)) {
        let producer = cluster.producer(codec);
        for value in from..from + 100 {
            let value = value.to_string();
            drop(producer.enqueue(outgoing(topic, Some(0), value.as_bytes())).await.unwrap());
        }
        producer.close(TIMEOUT).await.unwrap();
    }
    let mut reader = cluster.consumer(direct(vec![(TopicPartition::new(topic, 0), StartAt::Beginning)]));
    let seen = reader.read_count(500).await;
    let (offsets, values): (Vec<_>, Vec<_>) = seen.into_values().next().unwrap().into_iter().unzip();
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
    assert_eq!(values, (0..500).map(|value| value.to_string()).collect::<Vec<_>>());
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_partitions() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("thousand", 1000).await;
    cluster.produce(topic, 1000, 0, 20_000).await;
    let mut reader = cluster.consumer(of_group(topic, topic.as_str()));
    let seen = reader.read_count(20_000).await;
    assert_eq!(seen.len(), 1000);
    for records in seen.values() {
        assert_eq!(
            records.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
            (0..20).collect::<Vec<_>>()
        );
    }
    reader.commit(&seen).await;
    cluster.produce(topic, 1000, 20_000, 1000).await;
    assert_eq!(values(&reader.read_count(1000).await), (20_000..21_000).collect());
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_larger_than_every_limit_pass() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("large", 1).await;
    let producer = cluster.producer(Compression::None);
    for size in [900_000, 10, 900_000] {
        producer.send(outgoing(topic, Some(0), &vec![b'x'; size])).await.unwrap();
    }
    producer.close(TIMEOUT).await.unwrap();
    let mut config = direct(vec![(TopicPartition::new(topic, 0), StartAt::Beginning)]);
    config.fetch.max_partition_bytes = 100;
    config.fetch.prefetch_bytes = 1000;
    let mut reader = cluster.consumer(config);
    let seen = reader.read_count(3).await;
    let sizes: Vec<_> = seen.values().flatten().map(|(_, value)| value.len()).collect();
    assert_eq!(sizes, [900_000, 10, 900_000]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seek_pause_and_places() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("seek", 2).await;
    cluster.produce(topic, 2, 0, 100).await;
    let (zero, one) = (TopicPartition::new(topic, 0), TopicPartition::new(topic, 1));
    let mut reader = cluster.consumer(direct(vec![(zero, StartAt::Offset(40)), (one, StartAt::End)]));
    let seen = reader.read_count(10).await;
    assert_eq!(seen[&zero].first().unwrap().0, 40);
    reader.hold(2).await;
    assert_eq!(reader.starts[&one].offset, 50);

    let handle = reader.consumer.handle();
    handle.seek(zero, StartAt::Beginning).await.unwrap();
    handle.seek(one, StartAt::Offset(49)).await.unwrap();
    let mut seen = Seen::new();
    let moves = reader.read_until(&mut seen, |seen, _| count(seen) >= 51).await;
    assert!(moves.iter().all(|moved| moved.0.epoch == 1), "{moves:?}");
    assert_eq!(moves.len(), 2);
    assert_eq!((seen[&zero].len(), seen[&one].len()), (50, 1));

    handle.pause(&[zero]);
    // The pause reaches the loop before the records reach the log.
    tokio::time::sleep(Duration::from_millis(700)).await;
    cluster.produce(topic, 2, 100, 10).await;
    let mut seen = Seen::new();
    reader.read_until(&mut seen, |seen, _| count(seen) >= 5).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(reader.streams.get_mut(&zero).unwrap().try_next().is_none());
    handle.resume(&[zero]);
    reader.read_until(&mut seen, |seen, _| count(seen) >= 10).await;
    assert_eq!(values(&seen), (100..110).collect());

    let stranger = TopicPartition::new(topic, 9);
    assert!(matches!(handle.seek(stranger, StartAt::End).await, Err(Error::NotHeld { .. })));
    reader.close().await;
    assert!(matches!(handle.seek(zero, StartAt::End).await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_out_of_range_follows_the_policy_and_says_so() {
    let Some(cluster) = cluster() else { return };
    let topic = cluster.topic("range", 1).await;
    cluster.produce(topic, 1, 0, 10).await;
    let partition = TopicPartition::new(topic, 0);
    let config = direct(vec![(partition, StartAt::Offset(1_000_000))]);
    let mut reader =
        cluster.consumer(ConsumerConfig { auto_offset_reset: OffsetReset::Earliest, ..config.clone() });
    let mut seen = Seen::new();
    let moves = reader.read_until(&mut seen, |seen, _| count(seen) >= 10).await;
    assert_eq!((moves[0].0.offset, moves[0].0.epoch), (0, 1));
    while reader.problems.is_empty() {
        let event = timeout(TIMEOUT, reader.consumer.next()).await.unwrap().unwrap();
        reader.event(event);
    }
    assert!(
        matches!(reader.problems[0], Error::Skipped { from: 1_000_000, to: 0, .. }),
        "{:?}",
        reader.problems
    );
    reader.close().await;

    let mut reader = cluster.consumer(ConsumerConfig { auto_offset_reset: OffsetReset::None, ..config });
    reader.hold(1).await;
    let item = timeout(TIMEOUT, reader.streams.get_mut(&partition).unwrap().next()).await.unwrap();
    assert!(matches!(item, Some(StreamItem::Failed(Error::NoOffset { .. }))), "{item:?}");
    // A seek brings it back.
    reader.consumer.handle().seek(partition, StartAt::Beginning).await.unwrap();
    assert_eq!(
        count(&{
            let mut seen = Seen::new();
            reader.read_until(&mut seen, |seen, _| count(seen) >= 10).await;
            seen
        }),
        10
    );
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_again_is_read_from_its_first_record() {
    let Some(cluster) = cluster() else { return };
    let name = fresh("again");
    cluster.create(&name, 1).await;
    let topic = TopicName::new(&name);
    cluster.produce(topic, 1, 0, 10).await;
    let partition = TopicPartition::new(topic, 0);
    let config = direct(vec![(partition, StartAt::Beginning)]);
    let config = ConsumerConfig { allow_auto_create_topics: false, ..config };
    let mut reader = cluster.consumer(config);
    reader.read_count(10).await;
    let admin = cluster.client.admin();
    admin.delete_topics(&[&name], TIMEOUT).await.unwrap()[0].1.as_ref().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    // By asking for it, the producer's client may have created it again already.
    crate::support::cluster().unwrap().produce(topic, 1, 50, 3).await;
    let mut seen = Seen::new();
    let moves = reader.read_until(&mut seen, |seen, _| count(seen) >= 3).await;
    assert_eq!(values(&seen), (50..53).collect());
    assert_eq!((moves.last().unwrap().0.offset, moves.len()), (0, 1));
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_kafkas_own_producer_under_both_isolation_levels() {
    let Some(cluster) = cluster() else { return };
    let Ok(libs) = std::env::var("KAFKA_LIBS") else {
        eprintln!("NOT RUN: KAFKA_LIBS is not set");
        return;
    };
    let topic = cluster.topic("transactions", 1).await;
    let plan = "commit:3,abort:4,commit:2,abort:1,commit:1,open:5";
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers/Peer.java");
    let mut java = Command::new("java")
        .args([
            "-cp",
            &format!("{libs}/*"),
            peer,
            "transactions",
            &cluster.servers,
            topic.as_str(),
            topic.as_str(),
            plan,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(java.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with("ready")));

    let partition = TopicPartition::new(topic, 0);
    let config = direct(vec![(partition, StartAt::Beginning)]);
    let outcomes = |parts: &[(&str, usize)]| -> Vec<String> {
        parts.iter().flat_map(|(what, n)| (0..*n).map(move |i| format!("\"{what}-{i}\""))).collect()
    };
    let strip = |text: &str| text.trim_matches('"').to_owned();
    for (isolation, expected) in [
        (
            IsolationLevel::ReadUncommitted,
            outcomes(&[("commit", 3), ("abort", 4), ("commit", 2), ("abort", 1), ("commit", 1), ("open", 5)]),
        ),
        (IsolationLevel::ReadCommitted, outcomes(&[("commit", 3), ("commit", 2), ("commit", 1)])),
    ] {
        let mut reader = cluster.consumer(ConsumerConfig { isolation, ..config.clone() });
        let mut seen = Seen::new();
        reader.read_until(&mut seen, |seen, _| count(seen) >= expected.len()).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(reader.streams.get_mut(&partition).unwrap().try_next().is_none());
        let values: Vec<_> = seen[&partition].iter().map(|(_, value)| strip(value)).collect();
        assert_eq!(values, expected.iter().map(|text| strip(text)).collect::<Vec<_>>());
        reader.close().await;
    }
    drop(java.stdin.take());
    let _ = java.wait();
}
