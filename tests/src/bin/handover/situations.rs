//! The situations, each for one kind of member, and what is measured in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kafka_runtime::prelude::*;
use tests::Proxies;

use crate::stage::{Failure, HEARTBEAT, Kind, LIMIT, PARTITIONS, Process, SESSION, Stage};

/// What is measured, in the unit of its row.
pub(crate) type Figures = Result<Vec<f64>, Failure>;

/// `{records: n}` where repetition is counted: more than come between two commits, so that it does not hold the members up.
pub(crate) const BOUND: u32 = 100;
const SILENT: Duration = Duration::from_secs(16);
/// Heartbeat, OffsetCommit, ConsumerGroupHeartbeat.
const COORDINATION: [i16; 3] = [12, 8, 68];

pub(crate) async fn killed(kind: Kind) -> Figures {
    let stage = Stage::new(kind).await?;
    let more = format!(", commit: {{every: {{records: {BOUND}, time: 1s}}}}");
    let member = || stage.member_at(stage.cluster.bootstrap(), None, &more, &[]);
    let (mut one, two) = (member()?, member()?);
    let shares = stage.settled(&[&one, &two]).await?;
    let at = Instant::now();
    one.child.kill().await?;
    let taken = stage.taken_over(&[&two], &shares[0], at).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(vec![taken.as_secs_f64(), repeated(&one, &two, at)])
}

/// The most records of a partition that both handled, the second one after `since`.
fn repeated(first: &Process, second: &Process, since: Instant) -> f64 {
    let before: BTreeSet<(i32, u64)> = first.heard.lock().unwrap().iter().map(|(p, n, _)| (*p, *n)).collect();
    let mut times: BTreeMap<i32, u32> = BTreeMap::new();
    for (partition, number, at) in second.heard.lock().unwrap().iter() {
        if *at >= since && before.contains(&(*partition, *number)) {
            *times.entry(*partition).or_default() += 1;
        }
    }
    f64::from(times.into_values().max().unwrap_or(0))
}

pub(crate) async fn terminated(kind: Kind) -> Figures {
    let stage = Stage::new(kind).await?;
    let (mut one, two) = (stage.member(None)?, stage.member(None)?);
    let shares = stage.settled(&[&one, &two]).await?;
    let at = Instant::now();
    one.signal("-TERM")?;
    let taken = stage.taken_over(&[&two], &shares[0], at).await?;
    one.child.wait().await?;
    Ok(vec![taken.as_secs_f64()])
}

/// How soon a static member has its partitions back, how long the other one paused, and how many rebalances there were.
async fn restarted(kind: Kind, signal: &str) -> Figures {
    let stage = Stage::new(kind).await?;
    let (mut one, two) = (stage.member(Some("one"))?, stage.member(Some("two"))?);
    let shares = stage.settled(&[&one, &two]).await?;
    let generation = stage.generation().await?;
    let before = Instant::now();
    one.signal(signal)?;
    one.child.wait().await?;
    let at = Instant::now();
    let again = stage.member(Some("one"))?;
    let taken = stage.taken_over(&[&again], &shares[0], at).await?;
    tokio::time::sleep(HEARTBEAT + Duration::from_millis(500)).await;
    let pause = two.longest_pause(&shares[1], before);
    let rebalances = stage.generation().await? - generation;
    Ok(vec![taken.as_secs_f64(), pause.as_secs_f64(), f64::from(rebalances)])
}

pub(crate) async fn restarted_in_peace(kind: Kind) -> Figures {
    restarted(kind, "-TERM").await
}

pub(crate) async fn restarted_after_a_kill(kind: Kind) -> Figures {
    restarted(kind, "-KILL").await
}

pub(crate) async fn stopped_idle(kind: Kind) -> Figures {
    let stage = Stage::new(kind).await?;
    let mut one = stage.member(None)?;
    stage.settled(&[&one]).await?;
    stage.sending.abort();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let at = Instant::now();
    one.signal("-TERM")?;
    one.child.wait().await?;
    Ok(vec![at.elapsed().as_secs_f64()])
}

/// How many records of a partition the frozen one handles, at most, that its heir has handled.
pub(crate) async fn frozen(kind: Kind) -> Figures {
    let stage = Stage::new(kind).await?;
    let (one, two) = (stage.member(None)?, stage.member(None)?);
    let shares = stage.settled(&[&one, &two]).await?;
    one.signal("-STOP")?;
    let at = Instant::now();
    stage.taken_over(&[&two], &shares[0], at).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let thawed = Instant::now();
    one.signal("-CONT")?;
    tokio::time::sleep(HEARTBEAT * 3).await;
    Ok(vec![repeated(&two, &one, thawed)])
}

/// Every broker is half open: connections stand and are accepted, and nothing is answered. How long a request to the
/// coordinator waits, at most: until its connection is given up, or in vain.
pub(crate) async fn half_open(kind: Kind, proxies: &Proxies) -> Figures {
    let stage = Stage::new(kind).await?;
    let one = stage.member_at(&proxies.bootstrap(), None, "", &[])?;
    stage.settled(&[&one]).await?;
    let at = Instant::now();
    proxies.silence_all(SILENT).await;
    // What waited in vain is noted by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waits = proxies.waits(at);
    let of_group = waits.iter().filter(|(api, _)| COORDINATION.contains(api));
    let longest = of_group.map(|(_, waited)| *waited).max();
    drop(one);
    let longest = longest.ok_or_else(|| format!("the coordinator was asked nothing: {waits:?}"))?;
    Ok(vec![longest.as_secs_f64()])
}

/// Memory of a member whose handlers, one for each partition, never return, behind 80 MB, with a prefetch of 4 MB. In MB.
pub(crate) async fn stuck(kind: Kind) -> Figures {
    if kind != Kind::Ours {
        return Err("has no handlers".into());
    }
    let stage = Stage::new(kind).await?;
    stage.sending.abort();
    let pad = "x".repeat(20_000);
    let app = App::from_yaml(stage.cluster.yaml(""))?.only([]).start().await?;
    for n in 0..4_000u32 {
        let record = Record::to(&stage.topic)
            .partition(i32::try_from(n)? % PARTITIONS)
            .json(&serde_json::json!({ "n": n + 1_000_000, "pad": pad }))?;
        drop(app.template().enqueue_record(record).await?);
    }
    app.template().flush().await?;
    let one =
        stage.member_at(stage.cluster.bootstrap(), None, ", prefetch: 4MB", &[("VICTIM_STUCK_FROM", "0")])?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let id = one.child.id().ok_or("it ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(vec![kib / 1024.0])
}

/// Handlers of 10 ms with `ordering = "key"` and `concurrency = 64`: how many records a second, in percent of the 6,400 that
/// 64 handlers without a pause between two records would do.
pub(crate) async fn busy(kind: Kind) -> Figures {
    if kind != Kind::Ours {
        return Err("has no handlers".into());
    }
    const RECORDS: usize = 30_000;
    const IDEAL: f64 = 64.0 / 0.010;
    /// The first and the last ones find no others beside them.
    const EDGE: usize = 640;
    let stage = Stage::new(kind).await?;
    stage.sending.abort();
    let app = App::from_yaml(stage.cluster.yaml(""))?.only([]).start().await?;
    for n in 0..RECORDS {
        let value = serde_json::json!({ "n": n });
        drop(app.template().enqueue(&stage.topic, &format!("k{}", n % 10_007), &value).await?);
    }
    app.template().flush().await?;
    let more = ", ordering: key, concurrency: 64";
    let one = stage.member_at(stage.cluster.bootstrap(), None, more, &[("VICTIM_SLEEP", "10")])?;
    let begun = Instant::now();
    while one.heard.lock().unwrap().len() < RECORDS {
        if begun.elapsed() > LIMIT {
            return Err("it does not come to an end".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let heard = one.heard.lock().unwrap();
    let (first, last) = (heard[EDGE].2, heard[heard.len() - EDGE].2);
    let rate = (heard.len() - 2 * EDGE) as f64 / (last - first).as_secs_f64();
    Ok(vec![100.0 * rate / IDEAL])
}

/// What the killed broker is beside a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The coordinator of all groups.
    Coordinator,
    /// The coordinator of none.
    Leader,
}

/// A broker is killed that leads partitions, with members of all kinds at work: for each kind how long, at most, after its
/// acknowledgement a record was handled that was made since.
pub(crate) async fn broker_killed(victim: Victim, kinds: &[Kind]) -> Result<Vec<Figures>, Failure> {
    let nodes = std::env::var("KAFKA_CLUSTER_DIR").map_err(|_| "no KAFKA_CLUSTER_DIR")?;
    let (mut stages, mut coordinator) = (Vec::new(), None);
    for kind in kinds {
        let mut stage = Stage::new(*kind).await?;
        coordinator = Some(stage.choose_group(coordinator).await?);
        let one = stage.member(None)?;
        let all = stage.settled(&[&one]).await?.remove(0);
        stages.push((stage, one, all));
    }
    let coordinator = coordinator.ok_or("nobody to measure")?;
    let killed = match victim {
        Victim::Coordinator => coordinator,
        // Three nodes, numbered from 1.
        Victim::Leader => coordinator % 3 + 1,
    };
    let node = PathBuf::from(nodes).join(format!("node-{killed}"));
    let pid = std::fs::read_to_string(node.join("pid"))?;
    std::process::Command::new("kill").args(["-9", pid.trim()]).status()?;
    while is_alive(pid.trim()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // From now on it acknowledges nothing.
    let at = Instant::now();
    let mut figures = Vec::new();
    let mut taken = Ok(Duration::ZERO);
    for (stage, one, all) in &stages {
        taken = taken.and(stage.taken_over(&[one], all, at + Duration::from_millis(500)).await);
    }
    // Whoever is behind shows it.
    tokio::time::sleep(SESSION).await;
    for (stage, one, all) in &stages {
        let worst = all.iter().map(|partition| behind(stage, one, *partition, at)).max();
        figures.push(Ok(vec![worst.unwrap_or(LIMIT).as_secs_f64()]));
    }
    let restart = std::process::Command::new(node.join("start")).status()?;
    if !(restart.success() && answers_again(stages[0].0.cluster.bootstrap()).await) {
        return Err("the broker did not start again".into());
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    taken.map(|_| figures)
}

/// Whether this process runs: it may be dead and not yet waited for.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Whether all these servers accept connections in time.
async fn answers_again(servers: &str) -> bool {
    let all = async {
        for server in servers.split(',') {
            while tokio::net::TcpStream::connect(server).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    };
    tokio::time::timeout(LIMIT, all).await.is_ok()
}

/// How long after the producer got through with it a record of this partition that was made since the fault was handled, at
/// most.
fn behind(stage: &Stage, one: &Process, partition: i32, fault: Instant) -> Duration {
    let (sent, acknowledged) = (stage.sent.lock().unwrap(), stage.acknowledged.lock().unwrap());
    let mut handled = BTreeMap::new();
    for (_, number, when) in one.heard.lock().unwrap().iter().filter(|(of, ..)| *of == partition) {
        handled.entry(*number).or_insert(*when);
    }
    let made_since = |number: &u64| sent.get(number).is_some_and(|made| *made > fault);
    let of_partition = acknowledged.iter().filter(|(of, number, _)| *of == partition && made_since(number));
    let waits = of_partition.map(|(_, number, when)| match handled.get(number) {
        Some(handled) => handled.saturating_duration_since(*when),
        // Who has not handled it by now takes longer still.
        None => when.elapsed(),
    });
    waits.max().unwrap_or(LIMIT)
}
