//! Listeners under thousands of schedules of trouble (`kafka_runtime::testing::simulation`), in paused time on one thread.
//!
//! `SIMULATION_SEEDS=2000 cargo test -p tests --test simulation` runs so many of each; `SIMULATION_SEED=7` one alone.

use kafka_runtime::prelude::*;
use kafka_runtime::testing::Simulation;
use kafka_runtime::testing::simulation::Order;

const YAML: &str = "
spring:
  application: {name: simulation}
  kafka:
    bootstrap-servers: nowhere:1
    consumer: {heartbeat-interval: 1s, properties: {session.timeout.ms: 6000}}
kafka-runtime:
  listener: {retry: {attempts: 10, backoff: {initial: 50ms, max: 1s, multiplier: 2}}, on-exhausted: stop}
";

fn simulation(listener: &'static str) -> Simulation {
    let app = move || App::from_yaml(YAML).unwrap().only([listener]);
    Simulation::new(listener, app).topic("jobs", 3).seeds(0..20)
}

#[kafka_listener(topic = "jobs", group = "plain")]
async fn plain(_job: String) {}

#[test]
fn in_order_by_partition() {
    simulation("plain").run();
}

#[kafka_listener(topic = "jobs", group = "cooperative", properties("partition.assignment.strategy" = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"))]
async fn cooperative(_job: String) {}

#[test]
fn cooperative_rebalances() {
    simulation("cooperative").run();
}

#[kafka_listener(topic = "jobs", group = "keyed", ordering = "key", concurrency = 8)]
async fn keyed(_job: String) {}

#[test]
fn in_order_by_key() {
    simulation("keyed").order(Order::Key).run();
}

#[kafka_listener(topic = "jobs", group = "each", commit = "sync", commit_every = "record")]
async fn each(_job: String) {}

#[test]
fn each_record_committed() {
    simulation("each").replay_bound(1).run();
}

#[kafka_listener(topic = "jobs", group = "bounded", commit_every(records = 5))]
async fn bounded(_job: String) {}

#[test]
fn no_more_than_five_again() {
    simulation("bounded").replay_bound(5).run();
}

#[kafka_listener(topic = "jobs", group = "batches", batch)]
async fn batches(_jobs: Batch<String>) {}

#[test]
fn in_batches() {
    simulation("batches").order(Order::None).run();
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in 0..3 {
        let once = simulation("plain").run_seed(seed);
        let again = simulation("plain").run_seed(seed);
        assert_eq!(once, again, "seed {seed}");
        assert!(once.handlings >= 120, "{once:?}");
    }
}

/// What it is worth: a promise that a listener does not make is found broken.
#[test]
fn a_broken_promise_is_found() {
    let reports: Vec<_> =
        (0..5).map(|seed| simulation("keyed").order(Order::Partition).run_seed(seed)).collect();
    let found = reports.iter().flat_map(|report| &report.violations);
    assert!(found.into_iter().any(|violation| violation.starts_with("order:")));
    let bounded = (0..10).map(|seed| simulation("bounded").replay_bound(0).run_seed(seed));
    let found: Vec<_> = bounded.flat_map(|report| report.violations).collect();
    assert!(found.iter().any(|violation| violation.starts_with("replayed:")), "{found:?}");
}
