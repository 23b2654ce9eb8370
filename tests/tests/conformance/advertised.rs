//! The APIs, their versions and the features that each broker offers. Whoever adds an API says `Same` here.

use std::fmt::Write;
use std::ops::RangeInclusive;

use kafka_protocol::messages::api_versions_response::ApiVersionsResponse;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

use crate::asked::text;
use crate::frame::whole;
use crate::kafka::Kafka;
use Offer::{Missing, Same};

/// What the embedded broker offers beside Apache Kafka.
enum Offer {
    Same,
    /// Not at all, and why.
    Missing(&'static str),
}

const OPEN: Offer = Missing("everybody may do everything: no permissions, users, quotas, tokens");
const SHARE: Offer = Missing("share groups (KIP-932)");
const QUORUM: Offer = Missing("there is no controller quorum");
const DISKS: Offer = Missing("there are no disks");

/// Every API that Apache Kafka 4.1 offers to clients.
const APIS: &[(&str, i16, RangeInclusive<i16>, Offer)] = &[
    ("Produce", 0, 0..=13, Same),
    ("Fetch", 1, 4..=18, Same),
    ("ListOffsets", 2, 1..=10, Same),
    ("Metadata", 3, 0..=13, Same),
    ("OffsetCommit", 8, 2..=9, Same),
    ("OffsetFetch", 9, 1..=9, Same),
    ("FindCoordinator", 10, 0..=6, Same),
    ("JoinGroup", 11, 0..=9, Same),
    ("Heartbeat", 12, 0..=4, Same),
    ("LeaveGroup", 13, 0..=5, Same),
    ("SyncGroup", 14, 0..=5, Same),
    ("DescribeGroups", 15, 0..=6, Same),
    ("ListGroups", 16, 0..=5, Same),
    ("SaslHandshake", 17, 0..=1, OPEN),
    ("ApiVersions", 18, 0..=4, Same),
    ("CreateTopics", 19, 2..=7, Same),
    ("DeleteTopics", 20, 1..=6, Same),
    ("DeleteRecords", 21, 0..=2, Same),
    ("InitProducerId", 22, 0..=5, Same),
    ("OffsetForLeaderEpoch", 23, 2..=4, Same),
    ("AddPartitionsToTxn", 24, 0..=5, Same),
    ("AddOffsetsToTxn", 25, 0..=4, Same),
    ("EndTxn", 26, 0..=5, Same),
    ("WriteTxnMarkers", 27, 1..=1, Same),
    ("TxnOffsetCommit", 28, 0..=5, Same),
    ("DescribeAcls", 29, 1..=3, OPEN),
    ("CreateAcls", 30, 1..=3, OPEN),
    ("DeleteAcls", 31, 1..=3, OPEN),
    ("DescribeConfigs", 32, 1..=4, Same),
    ("AlterConfigs", 33, 0..=2, Same),
    ("AlterReplicaLogDirs", 34, 1..=2, DISKS),
    ("DescribeLogDirs", 35, 1..=4, DISKS),
    ("SaslAuthenticate", 36, 0..=2, OPEN),
    ("CreatePartitions", 37, 0..=3, Same),
    ("CreateDelegationToken", 38, 1..=3, OPEN),
    ("RenewDelegationToken", 39, 1..=2, OPEN),
    ("ExpireDelegationToken", 40, 1..=2, OPEN),
    ("DescribeDelegationToken", 41, 1..=3, OPEN),
    ("DeleteGroups", 42, 0..=2, Same),
    ("ElectLeaders", 43, 0..=2, Same),
    ("IncrementalAlterConfigs", 44, 0..=1, Same),
    ("AlterPartitionReassignments", 45, 0..=1, Same),
    ("ListPartitionReassignments", 46, 0..=0, Same),
    ("OffsetDelete", 47, 0..=0, Same),
    ("DescribeClientQuotas", 48, 0..=1, OPEN),
    ("AlterClientQuotas", 49, 0..=1, OPEN),
    ("DescribeUserScramCredentials", 50, 0..=0, OPEN),
    ("AlterUserScramCredentials", 51, 0..=0, OPEN),
    ("DescribeQuorum", 55, 0..=2, QUORUM),
    ("UpdateFeatures", 57, 0..=2, QUORUM),
    ("DescribeCluster", 60, 0..=2, Same),
    ("DescribeProducers", 61, 0..=0, Same),
    ("UnregisterBroker", 64, 0..=0, QUORUM),
    ("DescribeTransactions", 65, 0..=0, Same),
    ("ListTransactions", 66, 0..=2, Same),
    ("ConsumerGroupHeartbeat", 68, 0..=1, Same),
    ("ConsumerGroupDescribe", 69, 0..=1, Same),
    ("ListConfigResources", 74, 0..=1, Same),
    ("DescribeTopicPartitions", 75, 0..=0, Same),
    ("ShareGroupHeartbeat", 76, 1..=1, SHARE),
    ("ShareGroupDescribe", 77, 1..=1, SHARE),
    ("ShareFetch", 78, 1..=1, SHARE),
    ("ShareAcknowledge", 79, 1..=1, SHARE),
    ("AddRaftVoter", 80, 0..=0, QUORUM),
    ("RemoveRaftVoter", 81, 0..=0, QUORUM),
    ("InitializeShareGroupState", 83, 0..=0, SHARE),
    ("ReadShareGroupState", 84, 0..=0, SHARE),
    ("WriteShareGroupState", 85, 0..=0, SHARE),
    ("DeleteShareGroupState", 86, 0..=0, SHARE),
    ("ReadShareGroupStateSummary", 87, 0..=0, SHARE),
    ("DescribeShareGroupOffsets", 90, 0..=0, SHARE),
    ("AlterShareGroupOffsets", 91, 0..=0, SHARE),
    ("DeleteShareGroupOffsets", 92, 0..=0, SHARE),
];

/// Features that clients look at: name, level of Apache Kafka 4.1, the embedded broker's.
const FEATURES: &[(&str, i16, Offer)] = &[
    ("group.version", 1, Same),
    ("transaction.version", 2, Same),
    ("metadata.version", 27, QUORUM),
    ("eligible.leader.replicas.version", 1, QUORUM),
];

async fn offered() -> (Kafka, ApiVersionsResponse) {
    let kafka = Kafka::connect(4).await;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("conformance"))
        .with_client_software_version(text("1"));
    let offered = kafka.any().await.ask(4, &request).await;
    (kafka, offered)
}

fn is_expected(kafka: Kafka, offer: &Offer) -> bool {
    kafka.is_apache() || matches!(offer, Same)
}

fn line(name: &str, key: i16, from: i16, to: i16) -> String {
    format!("{name} ({key}) {from} to {to}")
}

#[tokio::test]
async fn apis_and_versions() {
    let _turn = whole().await;
    let (kafka, offered) = offered().await;
    let found = offered.api_keys.iter().map(|api| {
        let name = ApiKey::try_from(api.api_key).map_or("?".to_owned(), |key| format!("{key:?}"));
        line(&name, api.api_key, api.min_version, api.max_version)
    });
    let expected = APIS.iter().filter(|(_, _, _, offer)| is_expected(kafka, offer));
    let expected =
        expected.map(|(name, key, versions, _)| line(name, *key, *versions.start(), *versions.end()));
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn features() {
    let _turn = whole().await;
    let (kafka, offered) = offered().await;
    let found = offered.finalized_features.iter();
    let found = found.map(|feature| (feature.name.to_string(), feature.max_version_level));
    let expected = FEATURES.iter().filter(|(_, _, offer)| is_expected(kafka, offer));
    let expected = expected.map(|(name, level, _)| ((*name).to_owned(), *level));
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// What is offered, as a table.
pub(crate) fn table() -> String {
    let mut table = String::from(
        "## What is offered\n\n| API or feature | Apache Kafka 4.1 | kafka-embedded |\n|---|---|---|\n",
    );
    let apis = APIS.iter().map(|(name, key, versions, offer)| {
        (format!("{name} ({key})"), format!("{} to {}", versions.start(), versions.end()), offer)
    });
    let features = FEATURES.iter().map(|(name, level, offer)| ((*name).to_owned(), level.to_string(), offer));
    for (name, versions, offer) in apis.chain(features) {
        let ours = match offer {
            Same => "the same".to_owned(),
            Missing(why) => format!("none ({why})"),
        };
        writeln!(table, "| {name} | {versions} | {ours} |").expect("a string takes all");
    }
    table
}
