//! What is returned arrives: typed, in order, as an answer.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_typed_with_the_key_of_their_source() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("typed", 1).await;
    for name in [ORDERS.name(), ENRICHED.name(), &format!("{topic}-text")] {
        cluster.create(name, 1, &[]).await;
    }
    let (app, _) = start(&yaml(&cluster, &topic, "", ""), &["typed", "next"]).await;
    for id in 0..4 {
        app.template().send(ORDERS, format!("k{id}"), &Order { id }).await.unwrap();
    }
    let enriched = records(&cluster, &app, ENRICHED.name(), 4).await;
    let keys: Vec<_> =
        enriched.iter().map(|one| one.key().map(|key| std::str::from_utf8(key).unwrap())).collect();
    assert_eq!(keys, [Some("k1"), Some("other"), Some("gone"), None]);
    let value: Enriched = enriched[0].json().unwrap();
    assert_eq!(value, Enriched { order: 1, words: "one".into() });
    assert_eq!(enriched[1].headers().collect::<Vec<_>>(), [("trace", Some(&b"t2"[..]))]);
    assert_eq!((enriched[2].value(), enriched[3].timestamp()), (None, 42));
    let next = records(&cluster, &app, &format!("{topic}-text"), 3).await;
    assert_eq!(texts(&next), ["one", "two", "three"]);
    all_committed(&cluster, &app, &format!("{topic}-typed"), ORDERS.name(), 4).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_borrows_from_the_record_goes_on() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("ticks", 1).await;
    cluster.create(TICKS.name(), 1, &[]).await;
    cluster.create(SAME_TICKS.name(), 1, &[]).await;
    let (app, _) = start(&yaml(&cluster, &topic, "", ""), &["ticks", "many_ticks"]).await;
    for symbol in ["a", "none", "b"] {
        // What is sent lives no longer than it must.
        let symbol = symbol.to_owned();
        app.template().send(TICKS, symbol.as_str(), &Tick { symbol: symbol.as_str().into() }).await.unwrap();
    }
    let same = records(&cluster, &app, SAME_TICKS.name(), 5).await;
    let mut keys: Vec<_> = same.iter().map(|one| std::str::from_utf8(one.key().unwrap()).unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "a", "b", "b", "none"]);
    app.stop().await.unwrap();
}

/// More than any number of records that wait for each other: order, and each once.
#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept() {
    let cluster = Cluster::start().await;
    for (listener, group, count, more) in [
        ("copied", "copied", 3000, ""),
        ("batches", "batches", 3000, ""),
        ("copied", "copied", 3000, "  listeners.copied.commit.every.records: 10\n"),
        // Two round trips to a disk for each.
        ("copied", "copied", 300, "  listeners.copied: {commit: sync, commit.every: record}\n"),
    ] {
        let topic = cluster.topic("ordered", 1).await;
        cluster.create(&format!("{topic}-out"), 1, &[]).await;
        let (app, _) = start(&yaml(&cluster, &topic, "", more), &[listener]).await;
        let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        fill(&app, &topic, values.clone()).await;
        let out = records(&cluster, &app, &format!("{topic}-out"), values.len()).await;
        assert_eq!(texts(&out), values, "{listener} {more}");
        all_committed(&cluster, &app, &format!("{topic}-{group}"), &topic, count).await;
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_key_the_order_of_each_is_kept() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("keyed", 1).await;
    cluster.create(&format!("{topic}-out"), 1, &[]).await;
    let by_key = "  listeners.copied: {ordering: key, concurrency: 4}\n";
    let (app, _) = start(&yaml(&cluster, &topic, "", by_key), &["copied"]).await;
    fill(&app, &topic, (0..1000).map(|n| n.to_string())).await;
    let out = records(&cluster, &app, &format!("{topic}-out"), 1000).await;
    for key in 0..7 {
        let key = format!("k{key}");
        let of_key = out.iter().filter(|one| one.key() == Some(key.as_bytes()));
        let numbers: Vec<u64> = of_key.map(|one| one.text().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted() && numbers.len() > 100, "{key}: {numbers:?}");
    }
    all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 1000).await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_what_is_returned() {
    let cluster = Cluster::start().await;
    for listener in ["answers", "many_answers"] {
        let topic = cluster.topic("questions", 2).await;
        let replies = cluster.topic("answers", 3).await;
        let more = format!("  template: {{reply-topic: {replies}, reply-timeout: 30s}}\n");
        let (app, _) = start(&yaml(&cluster, &topic, "", &more), &[listener]).await;
        // No question: handled, and nobody gets an answer.
        app.template().send(&topic, (), &7).await.unwrap();
        let ask = |n: u64| {
            let (template, topic) = (app.template().clone(), topic.clone());
            async move { template.request::<u64, _>(topic.as_str(), &n).await.unwrap().value }
        };
        let (one, two, three) = tokio::join!(ask(1), ask(2), ask(3));
        assert_eq!([one, two, three], [2, 4, 6]);
        // As Spring asks: where to, in which partition, and an id of any bytes.
        let question = Record::to(&topic).key("k").text("21").header("kafka_replyTopic", &replies);
        let question = question.header("kafka_replyPartition", 2i32.to_be_bytes());
        let question = question.header("kafka_correlationId", [0, 255, 7]);
        app.template().send_record(question).await.unwrap();
        let answers = records(&cluster, &app, &replies, 4).await;
        let answer = answers.iter().find(|answer| answer.text() == Some("42")).unwrap();
        assert_eq!((answer.partition().partition, answer.key()), (2, Some(&b"k"[..])));
        assert_eq!(answer.headers().collect::<Vec<_>>(), [("kafka_correlationId", Some(&[0, 255, 7][..]))]);
        assert_eq!(answers.len(), 4, "{answers:?}");
        app.stop().await.unwrap();
    }
}
