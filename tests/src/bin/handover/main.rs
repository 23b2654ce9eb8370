//! The figures of hand-overs and of trouble: this project's listener and a librdkafka consumer in the same situations on the
//! same cluster, at the same time. Prints a table, each figure as the median and the worst of its runs, with the interval
//! that bounds it beside.
//!
//! ```text
//! cargo build --release -p tests --bins
//! export KAFKA_JVM_PERFORMANCE_OPTS="-XX:+UseG1GC -XX:TieredStopAtLevel=1"
//! scripts/with-kafka -n 3 -s broker.session.timeout.ms=6000 target/release/handover > figures.md
//! ```
//!
//! The nodes run with Java's quick compiler, as in the suite: on a machine with few cores the thorough one, in three processes
//! at once, is busy for a second just when a broker that has never done so takes over from another.
//! With `KAFKA_PEER_PYTHON` for librdkafka. `RUNS` (2 by default) is how often each situation is run, `ONLY=3,4` which.
//! Run it on a machine that does nothing else.
//!
//! ```text
//! stage       a topic, records that keep coming, members
//! situations  what happens to them, and what is measured
//! ```

mod situations;
mod stage;

use tests::Proxies;

use crate::situations::{
    BOUND, Figures, Victim, broker_killed, busy, frozen, half_open, killed, restarted_after_a_kill,
    restarted_in_peace, stopped_idle, stuck, terminated,
};
use crate::stage::{Failure, HEARTBEAT, Kind, SESSION};

/// A figure: what it is of, its bound, its unit, and by kind what was measured.
struct Row {
    what: &'static str,
    bound: String,
    unit: &'static str,
    measured: Vec<Vec<f64>>,
    failed: Vec<Option<String>>,
}

impl Row {
    fn new(what: &'static str, bound: String, unit: &'static str, kinds: usize) -> Self {
        Self { what, bound, unit, measured: vec![Vec::new(); kinds], failed: vec![None; kinds] }
    }

    /// Median and worst of one kind's.
    fn shown(&self, kind: usize) -> String {
        let mut all = self.measured[kind].clone();
        all.sort_by(f64::total_cmp);
        // Of percents the lowest is the worst.
        if self.unit == "%" {
            all.reverse();
        }
        let Some(worst) = all.last() else {
            return self.failed[kind].clone().unwrap_or_else(|| "-".into());
        };
        // Of two in the middle, between them.
        let median = f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2]);
        let digits = if self.unit == "s" { 2 } else { 0 };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let failed = self.failed[kind].as_ref().map_or_else(String::new, |why| format!("; {why}"));
        match all.len() {
            1 => format!("{median:.digits$}{unit}{failed}"),
            _ => format!("{median:.digits$}{unit} ({worst:.digits$}){failed}"),
        }
    }
}

/// A situation: the rows that it fills, by index.
struct Situation {
    rows: &'static [usize],
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    Killed,
    Terminated,
    RestartedInPeace,
    RestartedAfterAKill,
    StoppedIdle,
    Frozen,
    HalfOpen,
    Stuck,
    Busy,
    BrokerKilled(Victim),
}

const SITUATIONS: [Situation; 11] = [
    Situation { rows: &[0, 1], run: Run::Killed },
    Situation { rows: &[2], run: Run::Terminated },
    Situation { rows: &[3, 4, 5], run: Run::RestartedInPeace },
    Situation { rows: &[6, 7, 8], run: Run::RestartedAfterAKill },
    Situation { rows: &[9], run: Run::StoppedIdle },
    Situation { rows: &[10], run: Run::Frozen },
    Situation { rows: &[11], run: Run::HalfOpen },
    Situation { rows: &[12], run: Run::Stuck },
    Situation { rows: &[13], run: Run::Busy },
    Situation { rows: &[14], run: Run::BrokerKilled(Victim::Coordinator) },
    Situation { rows: &[15], run: Run::BrokerKilled(Victim::Leader) },
];

fn rows(kinds: usize) -> Vec<Row> {
    let seconds = |time: std::time::Duration| format!("{:.1} s", time.as_secs_f64());
    let detected =
        format!("session + heartbeat + 0.3 s = {:.1} s", (SESSION + HEARTBEAT).as_secs_f64() + 0.3);
    let told = format!("heartbeat ({}) + 0.2 s = {:.1} s", seconds(HEARTBEAT), HEARTBEAT.as_secs_f64() + 0.2);
    [
        ("a member killed (-9), until all its partitions are handled", detected, "s"),
        ("... records of a partition that its heir repeats", format!("{{records: {BOUND}}}"), ""),
        ("a dynamic member stopped (SIGTERM), until all its partitions are handled", told, "s"),
        (
            "a static member stopped and started at once, until it handles them again",
            "no session".into(),
            "s",
        ),
        ("... the longest pause of the other member", "no rebalance".into(), "s"),
        ("... rebalances: how far the group's generation has moved", "0".into(), ""),
        ("a static member killed and started at once, until it handles them again", "no session".into(), "s"),
        ("... the longest pause of the other member", "no rebalance".into(), "s"),
        ("... rebalances: how far the group's generation has moved", "0".into(), ""),
        ("an idle member stopped, until its process has ended", "0.2 s".into(), "s"),
        ("a member frozen past its session: records that it handles after its heir", "1 in hand".into(), ""),
        ("half-open connections: the longest wait of a heartbeat or commit", "7 s".into(), "s"),
        (
            "memory with a handler in each of 6 partitions that never returns, 80 MB behind them, prefetch 4 MB",
            "60 MB".into(),
            "MB",
        ),
        ("handlers of 10 ms by key, 64 at once: their rate, of the ideal 6,400 a second", "95 %".into(), "%"),
        (
            "the coordinator killed, a leader too: the longest from a later record's acknowledgement to its handling",
            "0.2 s".into(),
            "s",
        ),
        (
            "a leader killed that is no coordinator: the same",
            "0.2 s".into(),
            "s",
        ),
    ]
    .into_iter()
    .map(|(what, bound, unit)| Row::new(what, bound, unit, kinds))
    .collect()
}

async fn measure(run: Run, kind: Kind, proxies: Option<&Proxies>) -> Figures {
    match run {
        Run::Killed => killed(kind).await,
        Run::Terminated => terminated(kind).await,
        Run::RestartedInPeace => restarted_in_peace(kind).await,
        Run::RestartedAfterAKill => restarted_after_a_kill(kind).await,
        Run::StoppedIdle => stopped_idle(kind).await,
        Run::Frozen => frozen(kind).await,
        Run::HalfOpen => match proxies {
            Some(proxies) => half_open(kind, proxies).await,
            None => Err("no KAFKA_PROXIES".into()),
        },
        Run::Stuck => stuck(kind).await,
        Run::Busy => busy(kind).await,
        Run::BrokerKilled(_) => Err("of all kinds at once".into()),
    }
}

/// Of all kinds at the same time, but where one would see the other's trouble.
async fn all(run: Run, kinds: &[Kind], proxies: Option<&Proxies>) -> Vec<Figures> {
    match (run, kinds) {
        (Run::BrokerKilled(victim), kinds) => broker_killed(victim, kinds)
            .await
            .unwrap_or_else(|error| kinds.iter().map(|_| Err(error.to_string().into())).collect()),
        (Run::HalfOpen, kinds) => {
            let mut figures = Vec::new();
            for kind in kinds {
                figures.push(measure(run, *kind, proxies).await);
            }
            figures
        }
        (run, [one, other]) => {
            let (one, other) = tokio::join!(measure(run, *one, proxies), measure(run, *other, proxies));
            vec![one, other]
        }
        (run, kinds) => vec![measure(run, kinds[0], proxies).await],
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut kinds = vec![Kind::Ours];
    match std::env::var("KAFKA_PEER_PYTHON") {
        Ok(_) => kinds.push(Kind::Librdkafka),
        Err(_) => eprintln!("KAFKA_PEER_PYTHON is not set: nothing is measured beside it"),
    }
    let runs: usize = std::env::var("RUNS").map_or(Ok(2), |runs| runs.parse())?;
    let only = std::env::var("ONLY").ok();
    let is_chosen =
        |at: usize| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == at.to_string()));
    let proxies = Proxies::start().await;
    let mut rows = rows(kinds.len());
    for (at, situation) in SITUATIONS.iter().enumerate().filter(|(at, _)| is_chosen(*at)) {
        // These take long, and vary little.
        let runs = if matches!(situation.run, Run::HalfOpen | Run::Stuck) { 1 } else { runs };
        for _ in 0..runs {
            for (kind, figures) in all(situation.run, &kinds, proxies.as_ref()).await.into_iter().enumerate()
            {
                eprintln!("{at}: {:?}: {figures:?}", kinds[kind]);
                for (index, row) in situation.rows.iter().enumerate() {
                    match &figures {
                        Ok(figures) => rows[*row].measured[kind].push(figures[index]),
                        Err(error) => rows[*row].failed[kind] = Some(error.to_string()),
                    }
                }
            }
        }
    }
    print(&rows, &kinds, runs);
    Ok(())
}

fn print(rows: &[Row], kinds: &[Kind], runs: usize) {
    println!("# Figures of trouble\n");
    println!(
        "Made by `handover` (see there for the command): three nodes of Apache Kafka on one machine, session timeout {SESSION:?},"
    );
    println!(
        "heartbeats each {HEARTBEAT:?}, {runs} runs of each situation: the median and, in brackets, the worst. (One run where there are no brackets.)\n"
    );
    let peers = if kinds.len() > 1 { " librdkafka |" } else { "" };
    println!(
        "| situation | bound | ours |{peers}\n|---|---|---|{}",
        if kinds.len() > 1 { "---|" } else { "" }
    );
    for row in rows {
        let figures: Vec<String> = (0..kinds.len()).map(|kind| row.shown(kind)).collect();
        println!("| {} | {} | {} |", row.what, row.bound, figures.join(" | "));
    }
}
