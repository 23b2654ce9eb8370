//! Stopped or killed while records are on their way.

use std::process::Stdio;

use tokio::process::Command;

use super::*;

/// Stopped while records are on their way: they are waited for, and nothing is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_what_is_on_its_way() {
    let cluster = Cluster::start().await;
    let Some(embedded) = cluster.embedded() else {
        return eprintln!("NOT RUN on Apache Kafka: an answer cannot be held up there");
    };
    for more in ["", "  listeners.copied: {ordering: none, concurrency: 4}\n"] {
        let topic = cluster.topic("stopped", 1).await;
        let out = format!("{topic}-out");
        cluster.create(&out, 1, &[]).await;
        let (app, probe) = start(&yaml(&cluster, &topic, "", more), &["copied"]).await;
        let held = embedded.faults().on(Api::Produce).topic(&out).first(1).hold_answer();
        fill(&app, &topic, (0..50).map(|n| n.to_string())).await;
        probe.at_least(50, LIMIT).await;
        held.struck(1).await;
        let group = format!("{topic}-copied");
        assert_eq!(committed(&cluster, &group, &topic).await.unwrap_or(0), 0, "nothing has arrived");
        let stopping = tokio::spawn(app.stop());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!stopping.is_finished(), "{more}");
        held.release();
        stopping.await.unwrap().unwrap();
        assert_eq!(committed(&cluster, &group, &topic).await, Some(50), "{more}");
    }
}

/// Killed (-9) again and again: whatever is committed has arrived, and at the end everything has.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_flow_nothing_is_lost() {
    const RECORDS: u64 = 5000;
    let cluster = Cluster::start().await;
    for more in ["", ", ordering: key, concurrency: 8"] {
        let topic = cluster.topic("killed", 1).await;
        let (out, group) = (format!("{topic}-out"), format!("{topic}-group"));
        cluster.create(&out, 1, &[]).await;
        let (app, _) = start(&yaml(&cluster, &topic, "", ""), &[]).await;
        fill(&app, &topic, (0..RECORDS).map(|n| format!("{{\"n\":{n}}}"))).await;
        let yaml = cluster.yaml(&format!(
            "    properties: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500}}\nrelay.to: {out}\nkafka-runtime:\n  \
             listeners:\n    relay: {{topic: {topic}, group: {group}, rate-limit: 2000/s, commit: {{every: {{time: 50ms}}}}{more}}}\n"
        ));
        let numbers = async || -> Vec<u64> {
            let numbers = all(&cluster, &app, &out).await;
            numbers
                .iter()
                .map(|one| one.json::<serde_json::Value>().unwrap()["n"].as_u64().unwrap())
                .collect()
        };
        for part in 1..=3 {
            let mut relay = Command::new(env!("CARGO_BIN_EXE_relay"));
            relay.env("RELAY_YAML", &yaml).stdout(Stdio::null()).kill_on_drop(true);
            let mut relay = relay.spawn().unwrap();
            let enough = if part < 3 { RECORDS / 3 * part } else { RECORDS };
            eventually("records go on", LIMIT, async || {
                let gone: BTreeSet<u64> = numbers().await.into_iter().collect();
                gone.len() as u64 >= enough
            })
            .await;
            relay.kill().await.unwrap();
            let safe = committed(&cluster, &group, &topic).await.unwrap_or(0);
            let gone: BTreeSet<u64> = numbers().await.into_iter().collect();
            let ahead = (0..u64::try_from(safe).unwrap()).find(|n| !gone.contains(n));
            assert_eq!(ahead, None, "committed to {safe}, and not arrived");
        }
        let gone = numbers().await;
        println!("{} repeated{more}", gone.len() as u64 - RECORDS);
        app.stop().await.unwrap();
    }
}
