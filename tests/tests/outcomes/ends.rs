//! Where records end, by what failed and by what the policy says of it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_failure_it_ends_in_the_dead_letter_and_is_committed() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("ends", 3).await;
    let timeout = "    handler-timeout: 100ms\n";
    let (app, probe) = start(&yaml(&cluster, &topic, timeout), &["said"]).await;
    let template = app.template();
    let record = Record::to(&topic)
        .key("k1")
        .text("closed")
        .header("trace", "1")
        .header_null("trace")
        .header("trace", "");
    template.send_record(record.partition(2)).await.unwrap();
    for value in ["panic", "slow", "fine"] {
        send(&app, &topic, 2, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 3).await;
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(&cluster, &format!("{topic}-said"), &topic, 2).await == Some(4)
    })
    .await;
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("panic"), tries("slow"), tries("fine")), (3, 3, 3, 1));

    assert!(letters.iter().all(|letter| letter.partition().partition == 2), "the same partition");
    let values: Vec<_> = letters.iter().map(|letter| letter.text().unwrap()).collect();
    assert_eq!(values, ["closed", "panic", "slow"]);
    let [closed, panic, slow] = &letters[..] else { panic!("{letters:?}") };
    let own: Vec<_> = closed.headers().take(3).collect();
    assert_eq!(own, [("trace", Some(&b"1"[..])), ("trace", None), ("trace", Some(b""))]);
    assert_eq!(closed.key(), Some(&b"k1"[..]));
    assert_eq!(header(closed, "kafka_dlt-original-offset"), 0i64.to_be_bytes());
    assert_eq!(header(closed, "kafka_dlt-exception-fqcn"), b"outcomes::BankError");
    assert_eq!(header(closed, "kafka_dlt-exception-message"), b"the bank is Closed");
    assert_eq!(header(panic, "kafka_runtime-failure"), b"panic");
    assert_eq!(header(slow, "kafka_runtime-failure"), b"timeout");
    let described = cluster.admin().describe_topics(&[&format!("{topic}-dlt")]).await.unwrap();
    assert_eq!(described.values().next().unwrap().partitions.len(), 3, "as many partitions as the topic");
    let summary = app.stop().await.unwrap();
    assert_eq!((summary.listeners[0].counts.dead_lettered, summary.listeners[0].counts.handled), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_sorted_by_the_attribute_and_by_the_file() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("sorted", 2).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["sorted"]).await;
    for value in ["closed", "fatal", "other"] {
        send(&app, &topic, 1, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}.DLT"), 3).await;
    assert!(letters.iter().all(|letter| letter.partition().partition == 0), "there is no partition 1");
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("fatal"), tries("other")), (1, 1, 3));
    let closed = letters.iter().find(|letter| letter.text() == Some("closed")).unwrap();
    assert_eq!(header(closed, "kafka_dlt-exception-fqcn"), b"outcomes::BankError");
    app.stop().await.unwrap();

    let topic = cluster.topic("sorted", 1).await;
    let file = "  listeners:\n    said: {retry: {only: ['BankError::Busy', Other]}}\n";
    let (app, probe) = start(&yaml(&cluster, &topic, file), &["said"]).await;
    for value in ["closed", "busy"] {
        send(&app, &topic, 0, value).await;
    }
    records(&cluster, &app, &format!("{topic}-dlt"), 2).await;
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("busy")), (1, 3));
    app.stop().await.unwrap();
}

/// The handler returns a boxed error: the attribute names its type, so that the file can say which variants.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_names_variants_of_an_error_in_a_box() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("variants", 1).await;
    let file = "  listeners:\n    sorted: {retry: {never: ['BankError::Closed']}}\n";
    let (app, probe) = start(&yaml(&cluster, &topic, file), &["sorted"]).await;
    for value in ["closed", "busy", "other"] {
        send(&app, &topic, 0, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}.DLT"), 3).await;
    let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
    assert_eq!((tries("closed"), tries("busy"), tries("other")), (1, 3, 3));
    let closed = letters.iter().find(|letter| letter.text() == Some("closed")).unwrap();
    assert_eq!(header(closed, "kafka_dlt-exception-cause-fqcn"), b"outcomes::BankError");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_the_failing_one_is_a_dead_letter() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("many", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["many"]).await;
    for value in ["a", "b", "closed", "c"] {
        send(&app, &topic, 0, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 1).await;
    probe.at_least(3, LIMIT).await;
    assert_eq!((letters.len(), letters[0].text()), (1, Some("closed")));
    let handled: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    assert_eq!(handled, ["a", "b", "c"]);
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(&cluster, &format!("{topic}-many"), &topic, 0).await == Some(4)
    })
    .await;
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_by_hand_is_a_dead_letter() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("by-hand", 1).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["by_hand"]).await;
    for value in ["a", "refused", "b", "dropped", "c"] {
        send(&app, &topic, 0, value).await;
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 2).await;
    let mut reasons: Vec<_> =
        letters.iter().map(|letter| header(letter, "kafka_dlt-exception-message")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [&b"its Ack was dropped without an acknowledgement"[..], b"no stock"]);
    eventually("all is committed", LIMIT, || async {
        app.commit_now().await;
        committed(&cluster, &format!("{topic}-by-hand"), &topic, 0).await == Some(5)
    })
    .await;
    assert_eq!(probe.seen().iter().filter(|seen| seen.value == "refused").count(), 3);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_leaves_out_is_settled_and_counted() {
    let cluster = Cluster::start().await;
    for (listener, more) in [
        ("filtered", ""),
        ("filtered", "  listeners: {filtered: {ordering: key, concurrency: 4}}\n"),
        ("filtered_many", ""),
    ] {
        let topic = cluster.topic("filtered", 1).await;
        let (app, probe) = start(&yaml(&cluster, &topic, more), &[listener]).await;
        for value in ["-1", "a", "-\u{fffd}", "panic", "-2"] {
            send(&app, &topic, 0, value).await;
        }
        probe.at_least(2, LIMIT).await;
        let group = format!("{topic}-{}", listener.replace('_', "-"));
        eventually("all is committed", LIMIT, || async {
            app.commit_now().await;
            committed(&cluster, &group, &topic, 0).await == Some(5)
        })
        .await;
        let handled: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
        assert_eq!(handled, ["a", "panic"], "a filter that panics has not said no");
        let counts = app.stop().await.unwrap().listeners[0].counts;
        assert_eq!((counts.handled, counts.filtered, counts.failed), (2, 3, 0), "{listener} {more}");
    }
}
