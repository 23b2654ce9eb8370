//! Dead letters, read: typed, by others, and after a crash.

use std::process::Stdio;

use tests::{Peer, PeerKind};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_record_is_a_dead_letter_that_is_read_typed() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("undecodable", 1).await;
    cluster.create(&format!("{topic}-dlt"), 1, &[]).await;
    let (app, probe) = start(&yaml(&cluster, &topic, ""), &["typed", "triage"]).await;
    for value in [r#"{"id":1}"#, "poison", r#"{"id":2}"#] {
        send(&app, &topic, 0, value).await;
    }
    // As Spring's recoverer writes them.
    let spring = Record::to(format!("{topic}-dlt"))
        .text(r#"{"id":7}"#)
        .header("kafka_dlt-original-topic", "payments")
        .header("kafka_dlt-original-partition", 4i32.to_be_bytes())
        .header("kafka_dlt-original-offset", 17i64.to_be_bytes())
        .header("kafka_dlt-original-consumer-group", "billing")
        .header(
            "kafka_dlt-exception-fqcn",
            "org.springframework.kafka.listener.ListenerExecutionFailedException",
        )
        .header("kafka_dlt-exception-cause-fqcn", "java.lang.IllegalStateException")
        .header("kafka_dlt-exception-message", "no bank");
    probe.at_least(3, LIMIT).await;
    app.template().send_record(spring).await.unwrap();
    probe.at_least(4, LIMIT).await;
    app.stop().await.unwrap();
    let seen: Vec<_> = probe.seen().into_iter().map(|seen| seen.value).collect();
    let ours =
        seen.iter().find(|words| words.starts_with("Err(Some(6))")).unwrap_or_else(|| panic!("{seen:?}"));
    let expected = format!("Err(Some(6)) from {topic}-0 at offset 1 by true: Decode");
    assert!(
        ours.starts_with(&expected) && ours.contains("after Some(1)") && ours.contains("cannot be decoded"),
        "{ours}"
    );
    let spring = "Ok(7) from payments-4 at offset 17 by true: Error \"java.lang.IllegalStateException\" after None: no bank";
    assert!(seen.iter().any(|words| words == spring), "{seen:?}");
}

/// Dead letter first, offset second: a crash between the two repeats the letter, and never loses it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_dead_letter_and_the_commit() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("killed", 1).await;
    let letters = format!("{topic}-dlt");
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for n in 0..3 {
        app.template().send(&topic, (), &serde_json::json!({ "n": n })).await.unwrap();
    }
    let yaml = cluster.yaml(&format!(
        "kafka-runtime:\n  listener:\n    retry: {{attempts: 1}}\n    commit: {{every: {{time: 1h}}}}\n  listeners:\n    victim: {{topic: {topic}, group: {topic}-group, properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 1000}}}}\n"
    ));
    for life in 1..=2 {
        let mut victim = tokio::process::Command::new(env!("CARGO_BIN_EXE_victim"))
            .env("VICTIM_YAML", &yaml)
            .env("VICTIM_POISON", "1")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let found = records(&cluster, &app, &letters, life).await;
        victim.kill().await.unwrap();
        assert_eq!(found.len(), life, "one letter in each life");
        let reached = committed(&cluster, &format!("{topic}-group"), &topic, 0).await.unwrap_or(0);
        assert!(reached <= 1, "committed {reached}, ahead of the letter's acknowledgement");
    }
    let found = records(&cluster, &app, &letters, 2).await;
    assert!(found.iter().all(|letter| header(letter, "kafka_dlt-original-offset") == 1i64.to_be_bytes()));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_reads_the_headers() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("java", 2).await;
    let (app, _) = start(&yaml(&cluster, &topic, ""), &["said"]).await;
    let record = Record::to(&topic).partition(1).timestamp(1_700_000_000_000);
    app.template().send_record(record.text("closed")).await.unwrap();
    let letters = format!("{topic}-dlt");
    records(&cluster, &app, &letters, 1).await;
    app.stop().await.unwrap();
    let Some(lines) = Peer::run(PeerKind::Java, "letters", cluster.bootstrap(), &[&letters, "1"]).await
    else {
        return;
    };
    let group = format!("{topic}-said");
    let expected = [
        "letter",
        "1",
        "closed",
        &topic,
        "1",
        "0",
        "1700000000000",
        "CreateTime",
        &group,
        "outcomes::BankError",
        "the bank is Closed",
    ];
    assert_eq!(lines[0], expected);
}
