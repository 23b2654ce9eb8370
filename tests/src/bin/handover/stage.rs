//! What situations run on: a topic with records coming, a group, members in processes of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_client::admin::NewTopic;
use kafka_runtime::prelude::*;
use tests::{Cluster, unique};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) const PARTITIONS: i32 = 6;
pub(crate) const SESSION: Duration = Duration::from_secs(6);
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// A record goes to each partition this often.
const EVERY: Duration = Duration::from_millis(20);
/// No situation takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Librdkafka,
}

/// Records as members said that they handled them: partition, number, when it was heard.
pub(crate) type Heard = Arc<Mutex<Vec<(i32, u64, Instant)>>>;

/// Records that the producer got through: partition, number, when.
pub(crate) type Acknowledged = Arc<Mutex<Vec<(i32, u64, Instant)>>>;

/// A member in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) heard: Heard,
}

/// What a situation runs on: a topic with records coming, a group.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) kind: Kind,
    /// When each number was sent first, and when each was acknowledged, by partition.
    pub(crate) sent: Arc<Mutex<BTreeMap<u64, Instant>>>,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) sending: tokio::task::JoinHandle<()>,
    _sender: RunningApp,
}

impl Stage {
    pub(crate) async fn new(kind: Kind) -> Result<Self, Failure> {
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
    pub(crate) fn member(&self, instance: Option<&str>) -> Result<Process, Failure> {
        self.member_at(self.cluster.bootstrap(), instance, "", &[])
    }

    /// The same at these servers; ours with more settings of the listener, and these variables.
    pub(crate) fn member_at(
        &self,
        servers: &str,
        instance: Option<&str>,
        more: &str,
        variables: &[(&str, &str)],
    ) -> Result<Process, Failure> {
        let mut command = match self.kind {
            Kind::Ours => {
                let victim = std::env::current_exe()?.with_file_name("victim");
                let instance = instance.map_or_else(String::new, |id| format!(", group.instance.id: {id}"));
                let yaml = self.cluster.yaml_at(servers, &format!(
                    "    properties: {{session.timeout.ms: {}, heartbeat.interval.ms: {}{instance}}}\nkafka-runtime:\n  listeners:\n    victim: {{topic: {}, group: {}{more}}}\n",
                    SESSION.as_millis(), HEARTBEAT.as_millis(), self.topic, self.group
                ));
                let mut command = Command::new(victim);
                command.env("VICTIM_YAML", yaml).envs(variables.iter().copied());
                command
            }
            Kind::Librdkafka => {
                let mut command = Command::new(std::env::var("KAFKA_PEER_PYTHON")?);
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/peer.py");
                let times = [SESSION, HEARTBEAT].map(|time| time.as_millis().to_string());
                command.args([script, "steady", servers, &self.group, &self.topic]);
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
                if let ["handled", partition, _, number, ..] = words.as_slice()
                    && let (Ok(partition), Ok(number)) = (partition.parse(), number.parse())
                {
                    into.lock().unwrap().push((partition, number, Instant::now()));
                }
            }
        });
        Ok(Process { child, heard })
    }

    /// The group's generation, which each rebalance raises.
    pub(crate) async fn generation(&self) -> Result<i32, Failure> {
        let found = self.cluster.generation(&self.group).await;
        found.ok_or_else(|| format!("{:?}: no generation is taken", self.kind).into())
    }

    /// Takes a group whose coordinator is this node, or any, before a member comes. Which it is.
    pub(crate) async fn choose_group(&mut self, node: Option<i32>) -> Result<i32, Failure> {
        let (begun, mut number) = (Instant::now(), 0);
        while begun.elapsed() < LIMIT {
            let group = format!("{}-group-{number}", self.topic);
            match self.cluster.coordinator(&group).await {
                Some(found) if node.is_none_or(|node| node == found.node_id.0) => {
                    self.group = group;
                    return Ok(found.node_id.0);
                }
                Some(_) => number += 1,
                // A cluster that has just started has no coordinators yet.
                None => tokio::time::sleep(EVERY).await,
            }
        }
        Err("no such group".into())
    }

    /// Waits until each of these handles partitions of its own, all of them between them, and for a while.
    pub(crate) async fn settled(&self, members: &[&Process]) -> Result<Vec<BTreeSet<i32>>, Failure> {
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
    pub(crate) async fn taken_over(
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
    pub(crate) fn partitions(&self, since: Instant) -> BTreeSet<i32> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(_, _, at)| *at >= since).map(|(partition, ..)| *partition).collect()
    }

    pub(crate) fn signal(&self, signal: &str) -> Result<(), Failure> {
        let pid = self.child.id().ok_or("it has ended")?;
        let done = std::process::Command::new("kill").args([signal, &pid.to_string()]).status()?;
        if done.success() { Ok(()) } else { Err("kill failed".into()) }
    }

    /// The longest pause between two records of any of these partitions.
    pub(crate) fn longest_pause(&self, partitions: &BTreeSet<i32>, since: Instant) -> Duration {
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
    acknowledged: Acknowledged,
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
                    acknowledged.lock().unwrap().push((partition, number, Instant::now()));
                }
            });
        }
    }
}
