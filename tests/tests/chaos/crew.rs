//! The members of a group, and who makes trouble for them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::admin::NewTopic;
use kafka_client::config::StartAt;
use kafka_client::seams::Rng;
use kafka_runtime::prelude::*;
use tests::{Cluster, unique};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::history::{BOUND, History, KEYS, Lane, Life, Told};
use crate::log;
use crate::{micros, say};

const PARTITIONS: i32 = 4;
const MEMBERS: usize = 3;
const SIGTERM: i32 = 15;
/// Longer than a session.
const FROZEN: Duration = Duration::from_secs(8);
const LIMIT: Duration = Duration::from_secs(120);

/// How a group commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// One at a time, once a second; nothing bounds what is repeated.
    Default,
    /// With a bound on records partitions wait for them, whatever the strategy.
    Bounded { strategy: &'static str },
}

impl Commits {
    fn yaml(self) -> String {
        match self {
            Self::Default => String::new(),
            Self::Bounded { strategy } => {
                format!("commit: {{strategy: {strategy}, every: {{records: {BOUND}, time: 200ms}}}}, ")
            }
        }
    }

    fn bound(self) -> Option<u64> {
        matches!(self, Self::Bounded { .. }).then_some(BOUND)
    }
}

/// How a group works.
pub struct Plan {
    pub name: &'static str,
    pub lane: Lane,
    pub commits: Commits,
    pub yaml: &'static str,
    pub properties: &'static str,
}

/// A process, and what it says.
struct Member {
    child: Child,
    told: Arc<Mutex<Vec<(u64, Told)>>>,
    reader: JoinHandle<()>,
}

impl Member {
    fn start(yaml: &str, index: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_survivor"))
            .env("SURVIVOR_YAML", yaml.replace("MEMBER", &index.to_string()))
            // Dead letters are told of as errors, and they are many.
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG")
                    .as_deref()
                    .unwrap_or("error,kafka_runtime::container::recovery=off"),
            )
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a member");
        let told = Arc::<Mutex<Vec<_>>>::default();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let into = Arc::clone(&told);
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                into.lock().unwrap().extend(Told::parse(&line));
            }
        });
        Self { child, told, reader }
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.expect("kill").success());
    }

    /// It has ended, or does so now.
    async fn ended(mut self, killed: Option<u64>) -> Life {
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await.expect("it ends").expect("status");
        self.reader.await.expect("its lines");
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        // One that had not got to listening for SIGTERM dies of it, and has said nothing.
        let killed = killed.or((told.is_empty() && ended.signal() == Some(SIGTERM)).then(micros));
        assert!(killed.is_some() || ended.success(), "a member ended by itself: {ended}");
        Life { told, killed }
    }
}

/// A group with its topic, its members, and records that keep coming.
pub struct Crew {
    cluster: Arc<Cluster>,
    pub topic: String,
    plan: &'static Plan,
    yaml: String,
    members: Vec<Member>,
    history: History,
    stop: watch::Sender<bool>,
    sending: JoinHandle<u64>,
    watching: JoinHandle<Vec<(u64, i32, i64)>>,
}

impl Crew {
    pub async fn start(cluster: Arc<Cluster>, bootstrap: &str, plan: &'static Plan) -> Self {
        let topic = unique(plan.name);
        let new = NewTopic {
            name: topic.clone(),
            partitions: Some(PARTITIONS),
            replication: Some(3),
            config: BTreeMap::new(),
        };
        for (_, created) in
            cluster.admin().create_topics(&[new], Duration::from_secs(30)).await.expect("create")
        {
            created.expect("a topic");
        }
        let Plan { yaml, properties, .. } = plan;
        let commits = plan.commits.yaml();
        let yaml = format!(
            "spring:\n  application: {{name: chaos}}\n  kafka:\n    bootstrap-servers: {bootstrap}\n    consumer: \
             {{auto-offset-reset: earliest}}\n    properties: {{{properties}}}\nkafka-runtime:\n  listeners:\n    survivor: \
             {{topic: {topic}, group: {topic}, {commits}\
             retry: {{attempts: 3, backoff: {{initial: 20ms, max: 50ms}}}}{yaml}}}\n"
        );
        let stop = watch::Sender::new(false);
        let sending = tokio::spawn(send(Arc::clone(&cluster), topic.clone(), stop.subscribe()));
        let watching = tokio::spawn(watch_commits(Arc::clone(&cluster), topic.clone(), stop.subscribe()));
        let members = (0..MEMBERS).map(|index| Member::start(&yaml, index)).collect();
        let history = History { bound: plan.commits.bound(), ..History::default() };
        Self { cluster, topic, plan, yaml, members, history, stop, sending, watching }
    }

    /// Kills, stops and freezes its members.
    pub async fn trouble(&mut self, rng: Rng, until: Instant) {
        loop {
            tokio::time::sleep(Duration::from_millis(2000 + rng.below(3000))).await;
            if Instant::now() > until {
                return;
            }
            let (index, act, pause) = (rng.below(MEMBERS as u64), rng.below(5), rng.below(2000));
            let index = usize::try_from(index).expect("few");
            let word = match act {
                0 | 1 => "kill",
                2 | 3 => "stop",
                _ => "freeze",
            };
            say(format_args!("{}: {word} member {index}", self.plan.name));
            match act {
                4 => {
                    self.members[index].signal("-STOP").await;
                    tokio::time::sleep(FROZEN).await;
                    self.members[index].signal("-CONT").await;
                    continue;
                }
                0 | 1 => self.end_of(index, "-KILL").await,
                _ => self.end_of(index, "-TERM").await,
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.members.insert(index, Member::start(&self.yaml, index));
        }
    }

    async fn end_of(&mut self, index: usize, signal: &str) {
        let member = self.members.remove(index);
        member.signal(signal).await;
        let killed = (signal == "-KILL").then(micros);
        self.history.lives.push(member.ended(killed).await);
    }

    /// Lets it handle and commit what is left, and says what is wrong.
    pub async fn end(mut self) -> Vec<String> {
        // Sending ends, watching goes on for the last look.
        self.stop.send_replace(true);
        self.history.sent = (&mut self.sending).await.expect("all is sent");
        let partitions: Vec<_> =
            (0..PARTITIONS).map(|p| TopicPartition::new(self.topic.as_str(), p)).collect();
        let ends: Vec<_> = partitions.iter().map(|partition| (*partition, StartAt::End)).collect();
        let ends = self.cluster.admin().list_offsets(&ends).await.expect("the ends");
        let ends: BTreeMap<_, _> = ends.into_iter().map(|(p, end)| (p, end.expect("an end"))).collect();
        let all_committed = async || {
            let found = self.cluster.admin().committed(&self.topic, &partitions).await.unwrap_or_default();
            let at = |(partition, offset): (TopicPartition, Option<_>)| {
                offset.map(|committed: kafka_client::group::CommittedOffset| (partition, committed.offset))
            };
            let found: BTreeMap<_, _> = found.into_iter().filter_map(at).collect();
            let behind: Vec<_> = ends.iter().filter(|(p, end)| found.get(p).unwrap_or(&0) != *end).collect();
            behind.is_empty()
        };
        let patience = Instant::now() + LIMIT;
        while !all_committed().await && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let committed = all_committed().await;
        while !self.members.is_empty() {
            self.end_of(0, "-TERM").await;
        }
        self.history.committed = self.watching.await.expect("commits are watched");
        self.history.letters = log::letters(&self.cluster, &format!("{}-dlt", self.topic)).await;
        if self.cluster.is_apache() {
            self.history.logged = Some(log::commits(&self.cluster, &self.topic).await);
        }
        println!("{}: {}", self.plan.name, self.history.summary());
        let mut wrong = self.history.violations(self.plan.lane);
        if !committed {
            wrong.insert(0, format!("not all is committed within {LIMIT:?}"));
        }
        wrong.iter().take(20).map(|wrong| format!("{}: {wrong}", self.plan.name)).collect()
    }
}

/// Sends numbers, each key's in order, until it is told to stop; how many there were. Each is acknowledged.
async fn send(cluster: Arc<Cluster>, topic: String, stop: watch::Receiver<bool>) -> u64 {
    let app = App::from_yaml(cluster.yaml("")).unwrap().only([]).start().await.expect("the sender");
    let mut deliveries = Vec::new();
    let mut n = 0;
    while !*stop.borrow() {
        let value = serde_json::json!({ "n": n });
        deliveries
            .push(app.template().enqueue(&topic, &format!("k{}", n % KEYS), &value).await.expect("room"));
        n += 1;
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    for delivery in deliveries {
        delivery.await.expect("each is acknowledged");
    }
    app.stop().await.expect("it stops");
    n
}

/// What is committed, again and again, with the time at which that was known.
async fn watch_commits(
    cluster: Arc<Cluster>,
    topic: String,
    mut stop: watch::Receiver<bool>,
) -> Vec<(u64, i32, i64)> {
    let partitions: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    let mut seen = Vec::new();
    loop {
        // While brokers are away there is no answer.
        let found = cluster.admin().committed(&topic, &partitions).await.unwrap_or_default();
        let at = micros();
        seen.extend(found.into_iter().filter_map(|(p, found)| Some((at, p.partition, found?.offset))));
        let pause = tokio::time::timeout(Duration::from_millis(150), stop.wait_for(|stop| *stop));
        if pause.await.is_ok() {
            return seen;
        }
    }
}
