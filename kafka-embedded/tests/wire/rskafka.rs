//! A client that is not ours, over TCP.

use kafka_embedded::EmbeddedKafka;
use rskafka::chrono::DateTime;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, UnknownTopicHandling};
use rskafka::record::Record;

#[tokio::test]
async fn rskafka_creates_produces_and_consumes() {
    let kafka = EmbeddedKafka::builder().brokers(3).start().await.unwrap();
    let servers = kafka.bootstrap_servers().split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(servers).build().await.unwrap();
    client.controller_client().unwrap().create_topic("orders", 3, 1, 5_000).await.unwrap();
    for partition in 0..3 {
        let leader = client.partition_client("orders", partition, UnknownTopicHandling::Error).await.unwrap();
        let record = |number: i32| Record {
            key: Some(b"key".to_vec()),
            value: Some(format!("{partition}-{number}").into_bytes()),
            headers: [("name".to_owned(), b"value".to_vec())].into(),
            timestamp: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
        };
        let sent = leader.produce((0..10).map(record).collect(), Compression::NoCompression).await.unwrap();
        assert_eq!(sent, (0..10).collect::<Vec<i64>>());
        assert_eq!(leader.get_offset(OffsetAt::Latest).await.unwrap(), 10);
        assert_eq!(leader.get_offset(OffsetAt::Earliest).await.unwrap(), 0);
        let (records, high_watermark) = leader.fetch_records(4, 1..1_000_000, 1_000).await.unwrap();
        assert_eq!(high_watermark, 10);
        let found: Vec<_> = records.iter().filter(|record| record.offset >= 4).collect();
        assert_eq!(found.len(), 6);
        assert_eq!(found[0].record, record(4));
        leader.delete_records(5, 1_000).await.unwrap();
        assert_eq!(leader.get_offset(OffsetAt::Earliest).await.unwrap(), 5);
    }
    let topics = client.list_topics().await.unwrap();
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].partitions.len(), 3);
    client.controller_client().unwrap().delete_topic("orders", 5_000).await.unwrap();
    assert!(client.list_topics().await.unwrap().is_empty());
}
