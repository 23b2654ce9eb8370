//! Members of one group: ours, the Java client's and librdkafka's, joining and leaving.

use kafka_runtime::prelude::*;
use tests::{Fleet, PeerKind, Probe};

#[kafka_listener(
    topic = "${suite.topic}",
    group = "${suite.topic}-group",
    commit = "sync",
    commit_every = "record"
)]
async fn shared(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value);
}

async fn fleet(assignors: &str) -> Fleet {
    let timeouts = "session.timeout.ms: 6000, heartbeat.interval.ms: 300";
    Fleet::new(&format!("{timeouts}, partition.assignment.strategy: '{assignors}'")).await
}

async fn two_and_three_of_ours(assignors: &str) {
    fleet(assignors).await.two_and_three_of_ours().await;
}

async fn with_a_peer(kind: PeerKind, assignor: &str) {
    fleet(assignor).await.with_a_peer(kind, assignor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours_range() {
    two_and_three_of_ours("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours_cooperative() {
    two_and_three_of_ours("cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours_default_list() {
    two_and_three_of_ours("range, cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java_range() {
    with_a_peer(PeerKind::Java, "range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java_cooperative() {
    with_a_peer(PeerKind::Java, "cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka_range() {
    with_a_peer(PeerKind::Librdkafka, "range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka_cooperative() {
    with_a_peer(PeerKind::Librdkafka, "cooperative-sticky").await;
}
