//! The client against a broker: set `KAFKA_BOOTSTRAP_SERVERS` (`scripts/with-kafka cargo test -p kafka-client`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that says what it does")]

use std::time::Duration;

use kafka_client::admin::NewTopic;
use kafka_client::config::{ClientConfig, StartAt};
use kafka_client::{Client, Error, ResponseError, TopicPartition};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of the broker that the tests were given, or none.
fn client() -> Option<Client> {
    let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        eprintln!("NOT RUN: KAFKA_BOOTSTRAP_SERVERS is not set");
        return None;
    };
    let bootstrap_servers = servers.split(',').map(str::to_owned).collect();
    Some(Client::new(ClientConfig { bootstrap_servers, ..ClientConfig::default() }).unwrap())
}

fn topic(name: &str, partitions: i32) -> NewTopic {
    let config = [("retention.ms".to_owned(), "3600000".to_owned())].into();
    NewTopic { name: name.into(), partitions: Some(partitions), replication: None, config }
}

/// A name that no other run has.
fn fresh(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}

#[tokio::test]
async fn topics_are_created_described_extended_and_deleted() {
    let Some(client) = client() else { return };
    let admin = client.admin();
    let name = fresh("admin");
    let bad = NewTopic { replication: Some(99), ..topic(&format!("{name}-bad"), 1) };
    let created = admin.create_topics(&[topic(&name, 2), bad], TIMEOUT).await.unwrap();
    assert!(created[0].1.is_ok(), "{created:?}");
    let refused = created[1].1.as_ref().unwrap_err();
    assert_eq!(refused.code(), Some(ResponseError::InvalidReplicationFactor));
    assert!(refused.to_string().contains("99"), "{refused}");

    let again = admin.create_topics(&[topic(&name, 2)], TIMEOUT).await.unwrap();
    assert_eq!(again[0].1.as_ref().unwrap_err().code(), Some(ResponseError::TopicAlreadyExists));

    let cluster = admin.describe_cluster().await.unwrap();
    assert!(cluster.controller.is_some() && !cluster.brokers.is_empty(), "{cluster:?}");
    admin.create_partitions(&name, 5, TIMEOUT).await.unwrap();
    let shrunk = admin.create_partitions(&name, 3, TIMEOUT).await.unwrap_err();
    assert_eq!(shrunk.code(), Some(ResponseError::InvalidPartitions), "{shrunk}");
    let described = wait_for(&admin, &name, 5).await;
    assert_ne!(described, 0, "it has an id");
    assert!(admin.list_topics().await.unwrap().iter().any(|topic| *topic == name.as_str()));

    let places = [StartAt::Beginning, StartAt::End, StartAt::Timestamp(5), StartAt::Offset(42)];
    let at: Vec<_> = places
        .iter()
        .zip(0..)
        .map(|(place, index)| (TopicPartition::new(name.as_str(), index), *place))
        .collect();
    let offsets = admin.list_offsets(&at).await.unwrap();
    let offsets: Vec<_> = offsets.into_iter().map(|(_, offset)| offset.unwrap()).collect();
    assert_eq!(offsets, [0, 0, 0, 42]);
    let missing = admin.list_offsets(&[(TopicPartition::new(name.as_str(), 9), StartAt::End)]).await.unwrap();
    assert_eq!(missing[0].1.as_ref().unwrap_err().code(), Some(ResponseError::UnknownTopicOrPartition));

    let deleted = admin.delete_topics(&[&name, "no-such-topic"], TIMEOUT).await.unwrap();
    assert!(deleted[0].1.is_ok(), "{deleted:?}");
    assert_eq!(deleted[1].1.as_ref().unwrap_err().code(), Some(ResponseError::UnknownTopicOrPartition));
}

/// Waits until the topic is seen with so many partitions; its id.
async fn wait_for(admin: &kafka_client::admin::Admin, name: &str, partitions: usize) -> u128 {
    for _ in 0..100 {
        let described = admin.describe_topics(&[name]).await.unwrap();
        let topic = described.values().next().unwrap();
        if topic.error.is_none()
            && topic.partitions.iter().filter(|part| part.leader.is_some()).count() == partitions
        {
            return topic.id;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} does not come to {partitions} partitions");
}

#[tokio::test]
async fn nobody_at_the_port_is_said() {
    let config = ClientConfig {
        bootstrap_servers: vec!["127.0.0.1:1".into()],
        request_timeout: Duration::from_secs(1),
        ..ClientConfig::default()
    };
    let error = Client::new(config).unwrap().admin().describe_cluster().await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { servers, .. } if servers == "127.0.0.1:1"), "{error}");
}
