//! Chaos: member processes are killed, stopped and frozen past their session; brokers are killed, connections cut and
//! silenced; records with keys keep coming, some of which fail or panic at their first attempt, and some always. At the end none is
//! lost, each that always fails is a dead letter and no other one is, the order holds, no more is repeated than `{records: n}`
//! allows for each unclean end of an ownership (but in the group that commits as it is by default), and nothing was committed
//! ahead of its handler, or went back.
//!
//! Six groups at once, of three members each: in order by partition and by key, each with the classic protocol and with
//! KIP-848; one whose rebalances are cooperative; one of static members, each of which comes back as itself. `CHAOS_SECONDS=600`
//! makes the trouble last (by default two minutes, 45 seconds on the embedded broker), `CHAOS_SEED=7` makes the same decisions again; `CHAOS_GROUPS=key` takes only
//! groups whose name has that in it. On Apache Kafka it needs `scripts/with-kafka -n 3`.
//!
//! ```text
//! crew      the members of a group, and who makes trouble for them
//! brokers   who makes trouble for brokers and connections
//! history   what members said, and what is wrong with it (pure)
//! log       what Apache Kafka wrote down of commits
//! ```

mod brokers;
mod crew;
mod history;
mod log;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_client::seams::Rng;
use tests::Cluster;
use tokio::time::Instant;

use crate::brokers::Brokers;
use crate::crew::{Commits, Crew, Plan};
use crate::history::Lane;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Now, in microseconds.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What is done, with its time.
fn say(what: std::fmt::Arguments) {
    println!("{} {what}", micros() / 1000);
}

const PLANS: [Plan; 6] = [
    // As it is without a word about commits.
    Plan { name: "classic", commits: Commits::Default, lane: Lane::Partition, yaml: "", properties: CLASSIC },
    Plan { name: "key-classic", commits: COMBINED, lane: Lane::Key, yaml: BY_KEY, properties: CLASSIC },
    Plan { name: "kip848", commits: SYNC, lane: Lane::Partition, yaml: "", properties: KIP848 },
    Plan { name: "key-kip848", commits: SYNC, lane: Lane::Key, yaml: BY_KEY, properties: KIP848 },
    Plan { name: "cooperative", commits: SYNC, lane: Lane::Partition, yaml: "", properties: COOPERATIVE },
    Plan { name: "static", commits: COMBINED, lane: Lane::Partition, yaml: "", properties: STATIC },
];

const COMBINED: Commits = Commits::Bounded { strategy: "combined" };
const SYNC: Commits = Commits::Bounded { strategy: "sync" };
const BY_KEY: &str = ", ordering: key, concurrency: 16";
const CLASSIC: &str = "session.timeout.ms: 6000, heartbeat.interval.ms: 500";
const COOPERATIVE: &str = "session.timeout.ms: 6000, heartbeat.interval.ms: 500, \
    partition.assignment.strategy: org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
/// `MEMBER` is which of the members it is.
const STATIC: &str =
    "session.timeout.ms: 6000, heartbeat.interval.ms: 500, group.instance.id: instance-MEMBER";
/// The brokers have a session timeout of 6 s too.
const KIP848: &str = "group.protocol: consumer";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whoever_dies() {
    let cluster = Arc::new(Cluster::start().await);
    let Some(brokers) = Brokers::of(Arc::clone(&cluster)).await else { return };
    let seed = number("CHAOS_SEED").unwrap_or_else(|| Rng::from_entropy().next_u64());
    let usual = if cluster.is_apache() { 120 } else { 45 };
    let time = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(usual));
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={}", time.as_secs());
    let chosen = std::env::var("CHAOS_GROUPS").unwrap_or_default();
    let mut crews = Vec::new();
    for plan in PLANS.iter().filter(|plan| plan.name.contains(&chosen)) {
        crews.push(Crew::start(Arc::clone(&cluster), &brokers.bootstrap(), plan).await);
    }
    let until = Instant::now() + time;
    let seeded = |more: usize| Rng::seeded(seed.wrapping_add(more as u64));
    let topics: Vec<String> = crews.iter().map(|crew| crew.topic.clone()).collect();
    let members = crews.iter_mut().enumerate().map(|(index, crew)| crew.trouble(seeded(index + 1), until));
    let members = futures(members);
    tokio::join!(members, brokers.trouble(seeded(0), until, &topics));
    let mut wrong = Vec::new();
    for crew in crews {
        wrong.extend(crew.end().await);
    }
    assert!(wrong.is_empty(), "CHAOS_SEED={seed}: {} violations\n{}", wrong.len(), wrong.join("\n"));
}

/// All of them, side by side.
async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
