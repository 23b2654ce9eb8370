//! Kafka's own command-line tools and Go's clients, without a special setting: they produce, consume, form groups,
//! administer, and run transactions.

use std::time::Duration;

use tests::{Cluster, eventually, go_peer, java_tool, unique};

/// Fails unless `text` has all of these in it.
#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    for word in wanted {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

#[tokio::test]
async fn java_topics_and_configs() {
    let cluster = Cluster::start().await;
    let (servers, topic) = (cluster.bootstrap(), unique("tools"));
    let run = async |class: &'static str, more: &[&str]| {
        let arguments = [&["--bootstrap-server", servers], more].concat();
        java_tool(class, &arguments, "").await
    };
    let create = ["--create", "--topic", &topic, "--partitions", "3", "--replication-factor", "1"];
    let Some(created) = run(TOPICS, &create).await else { return };
    has(&created, &["Created topic"]);
    has(
        &run(TOPICS, &["--describe", "--topic", &topic]).await.unwrap(),
        &["PartitionCount: 3", "Leader: 1", "Isr: 3"],
    );
    run(TOPICS, &["--alter", "--topic", &topic, "--partitions", "5"]).await;
    let of_topic = ["--entity-type", "topics", "--entity-name", &*topic];
    run(
        CONFIGS,
        &[&of_topic[..], &["--alter", "--add-config", "retention.ms=5000,cleanup.policy=compact"]].concat(),
    )
    .await;
    let described = run(CONFIGS, &[&of_topic[..], &["--describe"]].concat()).await.unwrap();
    has(&described, &["retention.ms=5000", "cleanup.policy=compact"]);
    has(
        &run(TOPICS, &["--describe", "--topic", &topic]).await.unwrap(),
        &["PartitionCount: 5", "retention.ms=5000"],
    );
    run(TOPICS, &["--delete", "--topic", &topic]).await;
    let versions = run("org.apache.kafka.tools.BrokerApiVersionsCommand", &[]).await.unwrap();
    has(&versions, &["(id: 1 ", "Produce(0): 0 to 13", "ConsumerGroupHeartbeat(68): 0 to 1"]);
}

/// A reassignment under a throttle, which the tool sets on brokers and topic and takes back; an election; what hangs.
#[tokio::test]
async fn java_moves_partitions() {
    let cluster = Cluster::start().await;
    let (at, topic) = (["--bootstrap-server", cluster.bootstrap()], unique("moves"));
    let run =
        async |class: &'static str, more: &[&str]| java_tool(class, &[&at[..], more].concat(), "").await;
    let create = ["--create", "--topic", &topic, "--replica-assignment", "1:2,2:3"];
    let Some(created) = run(TOPICS, &create).await else { return };
    has(&created, &["Created topic"]);
    let plan = format!(
        r#"{{"version": 1, "partitions": [{{"topic": "{topic}", "partition": 0, "replicas": [3, 2]}}]}}"#
    );
    let file = std::env::temp_dir().join(&topic);
    std::fs::write(&file, plan).unwrap();
    let plan = ["--reassignment-json-file", file.to_str().unwrap()];
    let execute = [&plan[..], &["--execute", "--throttle", "50000000"]].concat();
    has(&run(REASSIGN, &execute).await.unwrap(), &["Successfully started partition reassignment"]);
    eventually("the reassignment is completed", Duration::from_secs(60), || async {
        let said = run(REASSIGN, &[&plan[..], &["--verify"]].concat()).await.unwrap();
        said.contains("is completed") && said.contains("Clearing broker-level throttles")
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    let described = run(TOPICS, &["--describe", "--topic", &topic]).await.unwrap();
    has(&described, &["Replicas: 3,2"]);
    assert!(!described.contains("throttled"), "{described}");
    let elect = ["--election-type", "preferred", "--topic", &topic, "--partition", "0"];
    has(&run("org.apache.kafka.tools.LeaderElectionCommand", &elect).await.unwrap(), &["partitions"]);
    // Broker 2 leads one partition and follows in the other.
    let hanging = ["find-hanging", "--broker-id", "2", "--topic", &topic];
    has(&run("org.apache.kafka.tools.TransactionsCommand", &hanging).await.unwrap(), &["ProducerId"]);
}

#[tokio::test]
async fn java_console_and_groups() {
    let cluster = Cluster::start().await;
    let (servers, topic, group) = (cluster.bootstrap(), cluster.topic("console", 3).await, unique("console"));
    let at = ["--bootstrap-server", servers];
    let lines: String = (0..50).map(|n| format!("key-{}:value-{n}\n", n % 5)).collect();
    let producing = [
        "--topic",
        &*topic,
        "--property",
        "parse.key=true",
        "--property",
        "key.separator=:",
        "--compression-codec",
        "zstd",
    ];
    let produced =
        java_tool("org.apache.kafka.tools.ConsoleProducer", &[&at[..], &producing].concat(), &lines).await;
    if produced.is_none() {
        return;
    }
    let consuming = [
        "--topic",
        &*topic,
        "--group",
        &*group,
        "--from-beginning",
        "--max-messages",
        "50",
        "--timeout-ms",
        "60000",
    ];
    let consumed =
        java_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &[&at[..], &consuming].concat(), "")
            .await;
    let mut values: Vec<_> =
        consumed.unwrap().lines().map(str::to_owned).filter(|line| line.starts_with("value-")).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 50);
    let groups = async |more: &[&str]| java_tool(GROUPS, &[&at[..], more].concat(), "").await.unwrap();
    has(&groups(&["--list"]).await, &[&group]);
    has(&groups(&["--describe", "--group", &group]).await, &[&topic, "LAG"]);
    let reset = ["--reset-offsets", "--to-earliest", "--execute", "--group", &*group, "--topic", &*topic];
    has(&groups(&reset).await, &["NEW-OFFSET", " 0"]);
    has(&groups(&["--describe", "--group", &group, "--state"]).await, &["Empty"]);
    has(&groups(&["--delete", "--group", &group]).await, &["was successful"]);
}

#[tokio::test]
async fn java_verifiable_and_offsets() {
    let cluster = Cluster::start().await;
    let (servers, topic, group) =
        (cluster.bootstrap(), cluster.topic("verifiable", 3).await, unique("verifiable"));
    let at = ["--bootstrap-server", servers, "--topic", &*topic];
    let producing = [&at[..], &["--max-messages", "500"]].concat();
    let Some(produced) = java_tool("org.apache.kafka.tools.VerifiableProducer", &producing, "").await else {
        return;
    };
    has(&produced, &[r#""acked":500"#]);
    let consuming =
        [&at[..], &["--group-id", &group, "--max-messages", "500", "--reset-policy", "earliest"]].concat();
    let consumed = java_tool("org.apache.kafka.tools.VerifiableConsumer", &consuming, "").await.unwrap();
    has(&consumed, &["partitions_assigned", "offsets_committed", "shutdown_complete"]);
    let offsets = java_tool("org.apache.kafka.tools.GetOffsetShell", &at, "").await.unwrap();
    let sum: u64 = offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok()).sum();
    assert_eq!(sum, 500, "{offsets}");
    let listed =
        java_tool("org.apache.kafka.tools.TransactionsCommand", &["--bootstrap-server", servers, "list"], "")
            .await;
    has(&listed.unwrap(), &["TransactionalId"]);
    let describe =
        ["--bootstrap-server", servers, "describe-producers", "--topic", &*topic, "--partition", "0"];
    let producers = java_tool("org.apache.kafka.tools.TransactionsCommand", &describe, "").await.unwrap();
    has(&producers, &["ProducerId", "ProducerEpoch"]);
}

async fn go(client: &str) -> Option<String> {
    let cluster = Cluster::start().await;
    go_peer(&[client, cluster.bootstrap(), &unique("go"), &unique("go-group")]).await
}

#[tokio::test]
async fn kafka_go() {
    let Some(said) = go("kafka-go").await else { return };
    has(&said, &["consumed 300", "committed 300", "group Empty", "ends 300", "administered"]);
}

#[tokio::test]
async fn franz_go() {
    let Some(said) = go("franz-go").await else { return };
    has(&said, &["consumed 300", "transactions 20 10", "transformed 300"]);
    let administered =
        ["config 12345678", "partitions 4", "ends 300", "starts 300", "group deleted", "topic deleted"];
    has(&said, &administered);
}
