//! Owners that are killed (-9) again and again, and frozen past their session.

use super::*;

/// Numbers `from..to` to the partitions in turn.
async fn number(scene: &Scene, records: std::ops::Range<u64>) {
    let app = App::from_yaml(scene.cluster.yaml("")).unwrap().only([]).start().await.unwrap();
    for n in records {
        let partition = i32::try_from(n % PARTITIONS as u64).unwrap();
        let record =
            Record::to(&scene.from).partition(partition).json(&serde_json::json!({ "n": n })).unwrap();
        drop(app.template().enqueue_record(record).await.unwrap());
    }
    app.template().flush().await.unwrap();
    app.stop().await.unwrap();
}

/// A process with the pipeline; what it says is read, so that it can go on.
struct Process {
    child: Child,
    handled: tokio::sync::watch::Receiver<usize>,
}

impl Process {
    fn start(scene: &Scene, properties: &str) -> Self {
        let yaml = scene.yaml(&format!(
            "kafka-runtime:\n  listeners:\n    pipeline: {{topic: {from}, group: {from}-pipeline, properties: {{{properties}}}}}\n",
            from = scene.from
        ));
        let mut command = Command::new(env!("CARGO_BIN_EXE_transformer"));
        command.env("PIPELINE_YAML", yaml).env("PIPELINE_TO", &scene.to);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (count, handled) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok(Some(_)) = lines.next_line().await {
                count.send_modify(|count| *count += 1);
            }
        });
        Self { child, handled }
    }

    /// Waits until it has handled `count` records.
    async fn has_handled(&mut self, count: usize) {
        tokio::time::timeout(LIMIT, self.handled.wait_for(|handled| *handled >= count))
            .await
            .unwrap()
            .unwrap();
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }
}

/// One result for each of `count` numbers, in order.
async fn assert_exactly_once(scene: &Scene, count: u64) {
    for (partition, values) in scene.results(&scene.to, PARTITIONS).await {
        let numbers: Vec<u64> = values.iter().map(|value| value.parse().unwrap()).collect();
        let expected: Vec<u64> = (0..count).filter(|n| n % PARTITIONS as u64 == partition as u64).collect();
        assert_eq!(numbers, expected, "partition {partition}");
    }
}

async fn killed_again_and_again(name: &str, properties: &str) {
    const RECORDS: u64 = 6_000;
    let scene = Scene::new(name, PARTITIONS).await;
    number(&scene, 0..RECORDS).await;
    let mut processes: Vec<_> = (0..3).map(|_| Process::start(&scene, properties)).collect();
    let (group, ends) = (format!("{}-pipeline", scene.from), scene.ends().await);
    let mut chance = std::collections::hash_map::RandomState::new();
    let patience = tokio::time::Instant::now() + 4 * LIMIT;
    let mut kills = 0;
    while scene.committed(&group).await != ends {
        assert!(
            tokio::time::Instant::now() < patience,
            "it does not come to its end: {:?}",
            scene.committed(&group).await
        );
        use std::hash::BuildHasher;
        let random = chance.hash_one(kills);
        chance = std::collections::hash_map::RandomState::new();
        tokio::time::sleep(Duration::from_millis(300 + random % 700)).await;
        // Enough for a rebalance to end now and then.
        if kills < 12 {
            let victim = usize::try_from(random / 1_000 % 3).unwrap();
            processes[victim].child.kill().await.unwrap();
            processes[victim] = Process::start(&scene, properties);
            kills += 1;
        }
    }
    println!("{name}: killed {kills} times");
    assert!(kills >= 3, "it was over before it was killed: {kills}");
    assert_exactly_once(&scene, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_each_input_has_one_result() {
    let properties = "session.timeout.ms: 6000, heartbeat.interval.ms: 500";
    killed_again_and_again("killed", properties).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_a_cooperative_group() {
    let properties = "session.timeout.ms: 6000, heartbeat.interval.ms: 500, partition.assignment.strategy: cooperative-sticky";
    killed_again_and_again("cooperative", properties).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_a_group_of_the_new_protocol() {
    killed_again_and_again("consumer", "group.protocol: consumer").await;
}

/// A process is frozen until its partitions are another's, and wakes up in the middle of its work.
async fn frozen(name: &str, properties: &str) {
    const RECORDS: u64 = 2_000;
    let scene = Scene::new(name, PARTITIONS).await;
    number(&scene, 0..RECORDS).await;
    let mut zombie = Process::start(&scene, properties);
    zombie.has_handled(50).await;
    zombie.signal("-STOP").await;
    let mut successor = Process::start(&scene, properties);
    successor.has_handled(50).await;
    zombie.signal("-CONT").await;
    let (group, ends) = (format!("{}-pipeline", scene.from), scene.ends().await);
    eventually("all is committed", 4 * LIMIT, || async { scene.committed(&group).await == ends }).await;
    assert_exactly_once(&scene, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_that_wakes_up_writes_nothing_visible() {
    frozen("frozen", "session.timeout.ms: 6000, heartbeat.interval.ms: 500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_of_the_new_protocol_writes_nothing_visible() {
    frozen("frozen-new", "group.protocol: consumer").await;
}
