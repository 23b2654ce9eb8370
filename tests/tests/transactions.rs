//! Another client's transactions, committed, aborted and open, read under both isolation levels.

use std::time::Duration;

use kafka_runtime::prelude::*;
use tests::{Cluster, Peer, PeerKind, Probe};

const LIMIT: Duration = Duration::from_secs(60);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-${suite.isolation}")]
async fn isolated(value: String, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), None, value.trim_matches('"'));
}

async fn read(cluster: &Cluster, topic: &str, isolation: &str, count: usize) -> Vec<String> {
    let probe = Probe::default();
    let yaml = cluster
        .yaml(&format!("suite: {{topic: {topic}, isolation: {isolation}}}\n"))
        .replace("auto-offset-reset", &format!("isolation-level: {isolation}, auto-offset-reset"));
    let app = App::from_yaml(&yaml).unwrap().only(["isolated"]).state(probe.clone()).start().await.unwrap();
    probe.at_least(count, LIMIT).await;
    // A record too many would come with the next fetch.
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.stop().await.unwrap();
    probe.assert_each_once_in_order();
    probe.seen().into_iter().map(|seen| seen.value).collect()
}

fn values(outcomes: &[(&str, usize)]) -> Vec<String> {
    outcomes.iter().flat_map(|(outcome, count)| (0..*count).map(move |i| format!("{outcome}-{i}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_isolation_levels() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("transactions", 1).await;
    let plan = "commit:3,abort:4,commit:2,abort:1,commit:1,open:5";
    let arguments = [topic.as_str(), topic.as_str(), plan];
    let Some(mut peer) = Peer::start(PeerKind::Java, "transactions", cluster.bootstrap(), &arguments) else {
        return;
    };
    peer.until("ready").await;

    let all = [("commit", 3), ("abort", 4), ("commit", 2), ("abort", 1), ("commit", 1), ("open", 5)];
    assert_eq!(read(&cluster, &topic, "read-uncommitted", 16).await, values(&all));
    let committed = [("commit", 3), ("commit", 2), ("commit", 1)];
    assert_eq!(read(&cluster, &topic, "read-committed", 6).await, values(&committed));
    peer.finish().await;
}
