//! What cannot be sent on is a failed outcome of its record.

use kafka_runtime::container::EventKind;

use super::*;

/// A topic that takes no old record: Apache Kafka refuses them for good, the embedded broker for a reason that may pass.
async fn refusing(cluster: &Cluster, topic: &str) {
    cluster.create(topic, 1, &[("message.timestamp.before.max.ms", "60000")]).await;
    if let Some(embedded) = cluster.embedded() {
        let faults = embedded.faults().on(Api::Produce).topic(topic);
        faults.answer(ErrorCode::NotEnoughReplicas);
    }
}

/// Nothing is acknowledged (on the embedded broker): the handlers go on all the same, as far as they may; no offset moves.
/// Every send fails for good in the end, its record is handled once more, and is a dead letter after that.
async fn refused_by_the_broker(listener: &'static str, more: &str, seen: usize) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("refused", 1).await;
    refusing(&cluster, &format!("{topic}-out")).await;
    let timeouts = "delivery.timeout.ms: 4000, request.timeout.ms: 2000";
    let (app, probe) = start(&yaml(&cluster, &topic, timeouts, more), &[listener]).await;
    fill(&app, &topic, (0..30).map(|n| format!("old {n}"))).await;
    probe.at_least(seen, LIMIT).await;
    let group = format!("{topic}-{listener}");
    if !cluster.is_apache() {
        app.commit_now().await;
        assert_eq!(committed(&cluster, &group, &topic).await.unwrap_or(0), 0, "nothing has arrived");
    }
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 30).await;
    assert_eq!(letters.len(), 30);
    all_committed(&cluster, &app, &group, &topic, 30).await;
    let reason = letters[0].headers().filter(|(name, _)| *name == "kafka_dlt-exception-message").last();
    let reason = String::from_utf8_lossy(reason.unwrap().1.unwrap()).into_owned();
    let why = if cluster.is_apache() { "was refused" } else { "was not delivered" };
    let which = format!("record for {topic}-out-0 with key \"k");
    assert!(reason.contains(&which) && reason.contains(why), "{reason}");
    assert!(all(&cluster, &app, &format!("{topic}-out")).await.is_empty());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_a_failed_outcome() {
    refused_by_the_broker("copied", "", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_a_failed_outcome_without_order() {
    refused_by_the_broker("copied", "  listeners.copied: {ordering: none, concurrency: 2}\n", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_a_failed_outcome_of_a_batch() {
    refused_by_the_broker("batches", "  listeners.batches: {max-poll-records: 10}\n", 3).await;
}

/// A crash repeats what has not arrived: the bound holds for that, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_repetition_counts_what_is_on_its_way() {
    let cluster = Cluster::start().await;
    if cluster.is_apache() {
        return eprintln!("NOT RUN on Apache Kafka: nothing keeps it from answering");
    }
    for more in
        ["commit: {every: {records: 5}}", "commit: {every: {records: 5}}, ordering: none, concurrency: 2"]
    {
        let topic = cluster.topic("bounded", 1).await;
        refusing(&cluster, &format!("{topic}-out")).await;
        let more = format!("  listeners.copied: {{{more}}}\n");
        let (app, probe) = start(&yaml(&cluster, &topic, "", &more), &["copied"]).await;
        fill(&app, &topic, (0..30).map(|n| n.to_string())).await;
        probe.at_least(4, LIMIT).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(probe.len() <= 5, "{} at once: {more}", probe.len());
        // What cannot arrive is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), app.stop()).await;
    }
}

/// What can be said at once, and what the handler says itself; those behind it wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_tried_again_in_place() {
    let cluster = Cluster::start().await;
    for more in ["", "  listeners.copied: {ordering: key, concurrency: 4}\n"] {
        let topic = cluster.topic("misplaced", 1).await;
        cluster.create(&format!("{topic}-out"), 1, &[]).await;
        let blocked = "max.block.ms: 300";
        let (app, probe) = start(&yaml(&cluster, &topic, blocked, more), &["copied"]).await;
        fill(&app, &topic, ["a", "misplaced", "b", "failing", "c"].map(str::to_owned)).await;
        let letters = records(&cluster, &app, &format!("{topic}-dlt"), 2).await;
        let mut failed = texts(&letters);
        failed.sort_unstable();
        assert_eq!(failed, ["failing", "misplaced"], "{more}");
        let mut out = records(&cluster, &app, &format!("{topic}-out"), 3).await;
        out.sort_by_key(|one| one.value().map(<[u8]>::to_vec));
        assert_eq!(texts(&out), ["a", "b", "c"], "{more}");
        all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 5).await;
        let tries = |value: &str| probe.seen().iter().filter(|seen| seen.value == value).count();
        assert_eq!((tries("misplaced"), tries("failing"), tries("c")), (2, 2, 1), "{more}");
        app.stop().await.unwrap();
    }
}

/// The broker refuses one record for good: it goes again with its handler, nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_handled_again() {
    let cluster = Cluster::start().await;
    let Some(embedded) = cluster.embedded() else {
        return eprintln!("NOT RUN on Apache Kafka: a single refusal cannot be asked for");
    };
    for more in ["", "  listeners.copied: {ordering: key, concurrency: 4}\n"] {
        let topic = cluster.topic("again", 1).await;
        let out = format!("{topic}-out");
        cluster.create(&out, 1, &[]).await;
        let (app, probe) = start(&yaml(&cluster, &topic, "", more), &["copied"]).await;
        let fault = embedded
            .faults()
            .on(Api::Produce)
            .topic(&out)
            .first(1)
            .answer(ErrorCode::TopicAuthorizationFailed);
        fill(&app, &topic, (0..100).map(|n| n.to_string())).await;
        let sent = records(&cluster, &app, &out, 100).await;
        all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 100).await;
        let values: BTreeSet<_> = texts(&sent).into_iter().collect();
        assert_eq!((sent.len(), values.len(), fault.strikes()), (100, 100, 1), "{more}");
        let again = probe.len() - 100;
        // As many as were in the batch that was refused.
        assert!((1..=100).contains(&again), "{again} again: {more}");
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retry_topics_a_failed_send_waits_there() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("hops", 1).await;
    cluster.create(&format!("{topic}-out"), 1, &[]).await;
    let hops = "    retry-topics: {enabled: true, attempts: 2, backoff: 50ms}\n";
    let (app, probe) = start(&yaml(&cluster, &topic, "max.block.ms: 300", hops), &["copied"]).await;
    fill(&app, &topic, ["misplaced", "a"].map(str::to_owned)).await;
    let letters = records(&cluster, &app, &format!("{topic}-dlt"), 1).await;
    assert_eq!(texts(&letters), ["misplaced"]);
    assert_eq!(texts(&records(&cluster, &app, &format!("{topic}-out"), 1).await), ["a"]);
    assert!(probe.seen().iter().filter(|seen| seen.value == "misplaced").count() >= 2);
    app.stop().await.unwrap();
}

/// The arrival is what counts for the circuit, not the handler's return; no record is given up while it is open.
#[tokio::test(flavor = "multi_thread")]
async fn sends_that_fail_open_the_circuit() {
    let cluster = Cluster::start().await;
    let Some(embedded) = cluster.embedded() else {
        return eprintln!("NOT RUN on Apache Kafka: a refusal that ends cannot be asked for");
    };
    for more in ["", ", ordering: key, concurrency: 4"] {
        let topic = cluster.topic("circuit", 1).await;
        let out = format!("{topic}-out");
        cluster.create(&out, 1, &[]).await;
        let fault =
            embedded.faults().on(Api::Produce).topic(&out).answer(ErrorCode::TopicAuthorizationFailed);
        let breaker = "circuit-breaker: {failures: 3, pause: 300ms, max-pause: 300ms}";
        let more = format!("  listeners.copied: {{{breaker}{more}}}\n");
        let (app, probe) = start(&yaml(&cluster, &topic, "", &more), &["copied"]).await;
        let mut events = app.listeners().events();
        fill(&app, &topic, (0..30).map(|n| n.to_string())).await;
        let opened = async {
            while let Some(event) = events.next().await {
                if matches!(event.kind, EventKind::CircuitOpened { .. }) {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, opened).await.expect("the circuit opens");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = probe.len();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let probes = probe.len() - before;
        assert!((3..=14).contains(&probes), "{probes} probes in 3 s: {more}");
        fault.remove();
        let sent = records(&cluster, &app, &out, 30).await;
        let values: BTreeSet<_> = texts(&sent).into_iter().collect();
        assert_eq!((sent.len(), values.len()), (30, 30), "{more}");
        all_committed(&cluster, &app, &format!("{topic}-copied"), &topic, 30).await;
        assert!(all(&cluster, &app, &format!("{topic}-dlt")).await.is_empty(), "none was given up: {more}");
        app.stop().await.unwrap();
    }
}
