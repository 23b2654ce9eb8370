//! What the broker's version allows: the suite runs on the newest, a part of it on an older one too (`scripts/test`).

use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_runtime::prelude::*;
use tests::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-piped", transactional)]
async fn piped(value: String, meta: Metadata, tx: &Tx) -> Result<(), TxError> {
    drop(tx.enqueue_record(Record::to(format!("{}-to", meta.topic())).text(value)).await?);
    Ok(())
}

/// Before Kafka 2.5 nobody checks who commits offsets in a transaction (KIP-447).
#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_listener_runs_from_2_5_on_and_says_so_where_it_cannot() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("piped", 1).await;
    cluster.create(&format!("{topic}-to"), 1, &[]).await;
    let yaml = cluster
        .yaml(&format!("    producer: {{transaction-id-prefix: \"{topic}-\"}}\nsuite: {{topic: {topic}}}\n"));
    let app = App::from_yaml(&yaml).unwrap().only(["piped"]).start().await.unwrap();
    app.template().send(&topic, "k", "a value").await.unwrap();
    let too_old = std::env::var("KAFKA_VERSION").is_ok_and(|version| version.starts_with("2.4"));
    let group = format!("{topic}-piped");
    eventually("it is committed, or the status says why not", LIMIT, || async {
        if too_old {
            return format!("{:?}", app.status()).contains("exactly once needs 2.5");
        }
        let partition = TopicPartition::new(topic.as_str(), 0);
        let committed = cluster.admin().committed(&group, &[partition]).await.unwrap();
        committed.iter().any(|(_, found)| found.as_ref().is_some_and(|found| found.offset >= 1))
    })
    .await;
    app.stop().await.unwrap();
}
