//! How fast partitions change hands: this project's listener and a librdkafka consumer, one after the other, in the same
//! situations on the same cluster. Prints a table, with the interval that bounds each figure beside it.
//!
//! `scripts/with-kafka -n 3 cargo run --release -p tests --bin handover` (with `KAFKA_PEER_PYTHON` for librdkafka;
//! `KAFKA_CLUSTER_DIR`, which the script sets, for the broker that is killed). Run it on a machine that does nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_client::admin::NewTopic;
use kafka_runtime::prelude::*;
use tests::{Cluster, unique};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const PARTITIONS: i32 = 6;
const SESSION: Duration = Duration::from_secs(6);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A record goes to each partition this often.
const EVERY: Duration = Duration::from_millis(20);
/// No situation takes longer.
const LIMIT: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Librdkafka,
}

/// Records as members said that they handled them: partition, number, when it was heard.
type Heard = Arc<Mutex<Vec<(i32, u64, Instant)>>>;

/// A member in a process of its own.
struct Process {
    child: Child,
    heard: Heard,
}

/// What a situation runs on: a topic with records coming, a group.
struct Stage {
    cluster: Cluster,
    topic: String,
    group: String,
    kind: Kind,
    /// When each number was sent first, and when each was acknowledged, by partition.
    sent: Arc<Mutex<BTreeMap<u64, Instant>>>,
    acknowledged: Arc<Mutex<Vec<(i32, Instant)>>>,
    sending: tokio::task::JoinHandle<()>,
    _sender: RunningApp,
}

impl Stage {
    async fn new(kind: Kind) -> Result<Self, Failure> {
        let cluster = Cluster::start().await;
        let topic = unique("handover");
        let new = NewTopic {
            name: topic.clone(),
            partitions: Some(PARTITIONS),
            replication: Some(3),
            config: BTreeMap::new(),
        };
        for (_, result) in cluster.admin().create_topics(&[new], Duration::from_secs(30)).await? {
            result?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sender = App::from_yaml(cluster.yaml(""))?.only([]).start().await?;
        let (sent, acknowledged) = (Arc::default(), Arc::default());
        let sending = tokio::spawn(send(
            sender.template(),
            topic.clone(),
            Arc::clone(&sent),
            Arc::clone(&acknowledged),
        ));
        let group = format!("{topic}-group");
        Ok(Self { cluster, topic, group, kind, sent, acknowledged, sending, _sender: sender })
    }

    /// A member, static where `instance` says so.
    fn member(&self, instance: Option<&str>) -> Result<Process, Failure> {
        let mut command = match self.kind {
            Kind::Ours => {
                let victim = std::env::current_exe()?.with_file_name("victim");
                let instance = instance.map_or_else(String::new, |id| format!(", group.instance.id: {id}"));
                let yaml = self.cluster.yaml(&format!(
                    "    properties: {{session.timeout.ms: {}, heartbeat.interval.ms: {}{instance}}}\nkafka-runtime:\n  listeners:\n    victim: {{topic: {}, group: {}}}\n",
                    SESSION.as_millis(), HEARTBEAT.as_millis(), self.topic, self.group
                ));
                let mut command = Command::new(victim);
                command.env("VICTIM_YAML", yaml);
                command
            }
            Kind::Librdkafka => {
                let mut command = Command::new(std::env::var("KAFKA_PEER_PYTHON")?);
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/peer.py");
                let times = [SESSION, HEARTBEAT].map(|time| time.as_millis().to_string());
                command.args([script, "steady", self.cluster.bootstrap(), &self.group, &self.topic]);
                command.args(times).arg(instance.unwrap_or_default());
                command
            }
        };
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        let heard = Heard::default();
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let into = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let words: Vec<&str> = line.split('\t').collect();
                if let ["handled", partition, _, number] = words.as_slice()
                    && let (Ok(partition), Ok(number)) = (partition.parse(), number.parse())
                {
                    into.lock().unwrap().push((partition, number, Instant::now()));
                }
            }
        });
        Ok(Process { child, heard })
    }

    /// Waits until each of these handles partitions of its own, all of them between them, and for a while.
    async fn settled(&self, members: &[&Process]) -> Result<Vec<BTreeSet<i32>>, Failure> {
        let begun = Instant::now();
        loop {
            let since = Instant::now();
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let shares: Vec<BTreeSet<i32>> = members.iter().map(|member| member.partitions(since)).collect();
            let total: usize = shares.iter().map(BTreeSet::len).sum();
            if total == PARTITIONS as usize && shares.iter().all(|share| !share.is_empty()) {
                return Ok(shares);
            }
            if begun.elapsed() > LIMIT {
                return Err(format!("{:?}: partitions are not shared out: {shares:?}", self.kind).into());
            }
        }
    }

    /// When a record that was sent after `since` was handled by one of these, for the last of the partitions.
    async fn taken_over(
        &self,
        by: &[&Process],
        partitions: &BTreeSet<i32>,
        since: Instant,
    ) -> Result<Duration, Failure> {
        loop {
            let sent = self.sent.lock().unwrap().clone();
            let fresh = |number: &u64| sent.get(number).is_some_and(|at| *at >= since);
            let mut first: BTreeMap<i32, Instant> = BTreeMap::new();
            for member in by {
                for (partition, number, at) in member.heard.lock().unwrap().iter() {
                    if *at >= since && fresh(number) {
                        let first = first.entry(*partition).or_insert(*at);
                        *first = (*first).min(*at);
                    }
                }
            }
            if partitions.iter().all(|partition| first.contains_key(partition)) {
                let last = partitions.iter().filter_map(|partition| first.get(partition)).max();
                return Ok(last.map_or(Duration::ZERO, |at| *at - since));
            }
            if since.elapsed() > LIMIT {
                return Err(format!("{:?}: not taken over within {LIMIT:?}: {first:?}", self.kind).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

impl Process {
    /// Partitions whose records it handled since then.
    fn partitions(&self, since: Instant) -> BTreeSet<i32> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(_, _, at)| *at >= since).map(|(partition, ..)| *partition).collect()
    }

    fn signal(&self, signal: &str) -> Result<(), Failure> {
        let pid = self.child.id().ok_or("it has ended")?;
        let done = std::process::Command::new("kill").args([signal, &pid.to_string()]).status()?;
        if done.success() { Ok(()) } else { Err("kill failed".into()) }
    }

    /// The longest pause between two records of any of these partitions.
    fn longest_pause(&self, partitions: &BTreeSet<i32>, since: Instant) -> Duration {
        let heard = self.heard.lock().unwrap();
        let pauses = partitions.iter().map(|partition| {
            let times: Vec<Instant> = heard
                .iter()
                .filter(|(p, _, at)| p == partition && *at >= since)
                .map(|(.., at)| *at)
                .collect();
            times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        });
        pauses.max().unwrap_or_default()
    }
}

/// One record to each partition, again and again.
async fn send(
    template: Template,
    topic: String,
    sent: Arc<Mutex<BTreeMap<u64, Instant>>>,
    acknowledged: Arc<Mutex<Vec<(i32, Instant)>>>,
) {
    let mut ticks = tokio::time::interval(EVERY);
    for number in 0u64.. {
        ticks.tick().await;
        sent.lock().unwrap().insert(number, Instant::now());
        for partition in 0..PARTITIONS {
            let (template, topic, acknowledged) =
                (template.clone(), topic.clone(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let record =
                    Record::to(&topic).partition(partition).json(&serde_json::json!({ "n": number }));
                if let Ok(record) = record
                    && template.send_record(record).await.is_ok()
                {
                    acknowledged.lock().unwrap().push((partition, Instant::now()));
                }
            });
        }
    }
}

/// A row: the situation, its bound, what was measured.
struct Row(&'static str, String, Vec<String>);

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

async fn killed(kind: Kind) -> Result<String, Failure> {
    let stage = Stage::new(kind).await?;
    let (mut one, two) = (stage.member(None)?, stage.member(None)?);
    let shares = stage.settled(&[&one, &two]).await?;
    let at = Instant::now();
    one.child.kill().await?;
    Ok(seconds(stage.taken_over(&[&two], &shares[0], at).await?))
}

async fn terminated(kind: Kind) -> Result<String, Failure> {
    let stage = Stage::new(kind).await?;
    let (mut one, two) = (stage.member(None)?, stage.member(None)?);
    let shares = stage.settled(&[&one, &two]).await?;
    let at = Instant::now();
    one.signal("-TERM")?;
    let taken = stage.taken_over(&[&two], &shares[0], at).await?;
    one.child.wait().await?;
    Ok(seconds(taken))
}

async fn restarted(kind: Kind, signal: &str) -> Result<String, Failure> {
    let stage = Stage::new(kind).await?;
    let (mut one, two) = (stage.member(Some("one"))?, stage.member(Some("two"))?);
    let shares = stage.settled(&[&one, &two]).await?;
    let before = Instant::now();
    one.signal(signal)?;
    one.child.wait().await?;
    let at = Instant::now();
    let again = stage.member(Some("one"))?;
    let taken = stage.taken_over(&[&again], &shares[0], at).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pause = two.longest_pause(&shares[1], before);
    Ok(format!("{}, the other member paused {}", seconds(taken), seconds(pause)))
}

async fn stopped_idle(kind: Kind) -> Result<String, Failure> {
    let stage = Stage::new(kind).await?;
    let mut one = stage.member(None)?;
    stage.settled(&[&one]).await?;
    stage.sending.abort();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let at = Instant::now();
    one.signal("-TERM")?;
    one.child.wait().await?;
    Ok(seconds(at.elapsed()))
}

/// A broker is killed; for each partition, how long after the first acknowledgement to the producer the first record made
/// since then was handled.
async fn broker_killed(kind: Kind) -> Result<String, Failure> {
    let Ok(nodes) = std::env::var("KAFKA_CLUSTER_DIR") else { return Ok("no KAFKA_CLUSTER_DIR".into()) };
    let node = std::path::PathBuf::from(nodes).join("node-2");
    let stage = Stage::new(kind).await?;
    let one = stage.member(None)?;
    let all = stage.settled(&[&one]).await?.remove(0);
    let pid = std::fs::read_to_string(node.join("pid"))?;
    let at = Instant::now();
    std::process::Command::new("kill").args(["-9", pid.trim()]).status()?;
    let handled = stage.taken_over(&[&one], &all, at + Duration::from_millis(500)).await?;
    let mut worst = Duration::ZERO;
    for partition in &all {
        // The last acknowledgement after the longest silence is when the producer got through again.
        let acknowledged = stage.acknowledged.lock().unwrap().clone();
        let mut times: Vec<Instant> = acknowledged
            .iter()
            .filter(|(p, when)| p == partition && *when > at)
            .map(|(_, when)| *when)
            .collect();
        times.sort_unstable();
        let gap = times.windows(2).max_by_key(|pair| pair[1] - pair[0]);
        let Some(through) = gap.map(|pair| pair[1]) else { continue };
        let heard = one.heard.lock().unwrap();
        let next = heard
            .iter()
            .filter(|(p, _, when)| p == partition && *when >= through)
            .map(|(.., when)| *when)
            .min();
        worst = worst.max(next.map_or(LIMIT, |next| next - through));
    }
    let restart = std::process::Command::new(node.join("start")).status()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    if !restart.success() {
        return Err("the broker did not start again".into());
    }
    Ok(format!("{} behind the producer ({} after the kill)", seconds(worst), seconds(handled)))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut kinds = vec![Kind::Ours];
    match std::env::var("KAFKA_PEER_PYTHON") {
        Ok(_) => kinds.push(Kind::Librdkafka),
        Err(_) => eprintln!("KAFKA_PEER_PYTHON is not set: nothing is measured beside it"),
    }
    let only = std::env::args().nth(1);
    let detected = SESSION + HEARTBEAT;
    let mut rows = vec![
        Row(
            "killed (-9), all partitions taken over",
            format!("session + heartbeat = {}", seconds(detected)),
            vec![],
        ),
        Row("SIGTERM, all partitions taken over", format!("heartbeat = {}", seconds(HEARTBEAT)), vec![]),
        Row("static, SIGTERM and restarted at once", "no rebalance".into(), vec![]),
        Row("static, killed and restarted at once", "no rebalance".into(), vec![]),
        Row("SIGTERM while idle, until the process has ended", "0.20 s".into(), vec![]),
        Row("a broker killed: handled after the producer got through", "0.20 s".into(), vec![]),
    ];
    for (at, row) in rows.iter_mut().enumerate() {
        if only.as_ref().is_some_and(|only| *only != at.to_string()) {
            continue;
        }
        for kind in &kinds {
            let figure = match at {
                0 => killed(*kind).await,
                1 => terminated(*kind).await,
                2 => restarted(*kind, "-TERM").await,
                3 => restarted(*kind, "-KILL").await,
                4 => stopped_idle(*kind).await,
                _ => broker_killed(*kind).await,
            };
            let figure = figure.unwrap_or_else(|error| format!("failed: {error}"));
            eprintln!("{}: {kind:?}: {figure}", row.0);
            row.2.push(figure);
        }
    }
    println!("| situation | bound | ours | librdkafka |\n|---|---|---|---|");
    for Row(situation, bound, figures) in rows {
        println!("| {situation} | {bound} | {} |", figures.join(" | "));
    }
    Ok(())
}
