//! The template's transactions: work that is dropped or panics, the template's end, and all ways to send in one.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use kafka_runtime::prelude::*;
use kafka_runtime::template::{CommittedOffset, GroupMetadata, Offsets};
use tests::{Cluster, unique};
use tokio::sync::oneshot;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

async fn app(cluster: &Cluster, kafka: &str) -> Option<RunningApp> {
    let prefix = unique("producing-tx");
    let more = format!("{kafka}kafka-runtime.producer.transaction-id-prefix: {prefix}-\n");
    let app = App::from_yaml(cluster.yaml(&more)).unwrap().only([]);
    match cluster.has_transactions().await {
        true => Some(app.start().await.unwrap()),
        false => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_dropped_or_panics_gives_its_producer_back() {
    let cluster = Cluster::start().await;
    let Some(app) = app(&cluster, "").await else { return };
    let topic = cluster.topic("given-up", 1).await;
    let template = app.template();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let (tell, told) = oneshot::channel();
        let work = template.in_transaction(async |tx| {
            tx.send(&topic, "k", "dropped").await?;
            let _ = tell.send(format!("{tx:?}"));
            pending::<()>().await;
            Ok(())
        });
        tokio::select! {
            done = work => panic!("{done:?}"),
            id = told => {
                ids.insert(id.unwrap());
            }
        }
    }
    let (tell, told) = oneshot::channel();
    let (clone, panics_in) = (template.clone(), topic.clone());
    let panicked = tokio::spawn(async move {
        let work = clone.in_transaction(async |tx| {
            tx.send(&panics_in, "k", "panicked").await?;
            let _ = tell.send(format!("{tx:?}"));
            panic!("on purpose");
            #[allow(unreachable_code)]
            Ok(())
        });
        work.await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    ids.insert(told.await.unwrap());
    let kept = template.in_transaction(async |tx| {
        tx.send(&topic, "k", "kept").await?;
        Ok(format!("{tx:?}"))
    });
    ids.insert(timeout(LIMIT, kept).await.unwrap().unwrap());
    assert_eq!(ids.len(), 1, "one transactional id was enough: {ids:?}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_template_begins_no_transaction_and_waits_for_those_that_are_open() {
    let cluster = Cluster::start().await;
    let Some(app) = app(&cluster, "    template: {close-timeout: 500ms}\n").await else { return };
    let topic = cluster.topic("closing", 1).await;
    let template = app.template();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let work = template.in_transaction(async |tx| {
        tx.send(&topic, "k", "before").await?;
        let _ = begun.send(());
        may_go_on.await?;
        Ok(tx.send(&topic, "k", "after").await?.offset)
    });
    let closes = async {
        has_begun.await.unwrap();
        let error = template.close().await.unwrap_err();
        let TemplateError::Unfinished { records: 0, batches: 0, transactions: 1, after } = error else {
            panic!("{error}")
        };
        assert_eq!(after, Duration::from_millis(500));
        let refused = template.in_transaction(async |_| Ok(())).await.unwrap_err();
        assert!(matches!(&refused, TemplateError::Closed), "{refused}");
        // What was open may end, and is waited for.
        go_on.send(()).unwrap();
        while template.close().await.is_err() {}
    };
    let (done, ()) = timeout(LIMIT, async { tokio::join!(work, closes) }).await.unwrap();
    assert_eq!(done.unwrap(), 1);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_sends_whatever_the_template_does() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("ways", 1).await;
    let Some(app) = app(&cluster, &format!("    template: {{default-topic: {topic}}}\n")).await else {
        return;
    };
    let template = app.template();
    let group = unique("ways");
    let sent = template.in_transaction(async |tx| {
        tx.send_default("k", "default").await?;
        tx.send_text(&topic, "k", "text").await?;
        tx.send_bytes(&topic, "k", *b"bytes").await?;
        tx.send_tombstone(&topic, "k").await?;
        for sent in tx.send_all(["one", "two"].map(|text| Record::to(&topic).text(text))).await {
            sent?;
        }
        let committed = CommittedOffset { offset: 7, leader_epoch: -1, metadata: String::new() };
        let offsets: Offsets = vec![(TopicPartition::new(topic.as_str(), 0), committed)];
        tx.send_offsets(offsets, GroupMetadata::nobody(group.as_str())).await?;
        Ok(())
    });
    sent.await.unwrap();
    let page = template.receive(&topic, 0, ..).await.unwrap();
    let values: Vec<_> = page.iter().map(|record| record.text().map(str::to_owned)).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(values, [some("default"), some("text"), some("bytes"), None, some("one"), some("two")]);
    app.stop().await.unwrap();
}
