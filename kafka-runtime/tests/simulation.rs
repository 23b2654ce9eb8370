//! Listeners under thousands of schedules of trouble (`kafka_runtime::testing::simulation`), in paused time on one thread.
//!
//! Twenty-five simulations of 140 seeds each, no two of them the same, in a profile of their own, which is built longer and
//! runs six times as fast:
//!
//! ```text
//! cargo test --profile simulation -p kafka-runtime --features testing --test simulation
//! ```
//!
//! `SIMULATION_SEEDS=2000` runs so many of each; `SIMULATION_SEED=7` one alone.

#![allow(clippy::unwrap_used)] // In helpers of tests too, which clippy takes for production code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kafka_runtime::prelude::*;
use kafka_runtime::testing::Simulation;
use kafka_runtime::testing::simulation::Order;

const YAML: &str = "
spring:
  application: {name: simulation}
  kafka:
    bootstrap-servers: nowhere:1
    consumer: {CONSUMER}
    producer: {transaction-id-prefix: simulation-}
kafka-runtime:
  listener: {retry: {attempts: 10, backoff: {initial: 50ms, max: 1s, multiplier: 2}}, on-exhausted: stop}
";

/// Sessions as the simulated brokers have them for KIP-848, whose members cannot choose.
const CLASSIC: &str = "heartbeat-interval: 1s, properties: {session.timeout.ms: 6000}";

fn with_consumer(listener: &'static str, consumer: &'static str) -> Simulation {
    let yaml = YAML.replace("CONSUMER", consumer);
    let app = move || App::from_yaml(&yaml).unwrap().only([listener]);
    Simulation::new(listener, app).topic("jobs", 3).seeds(own_seeds(listener))
}

/// Others than those of any other listener: the same ones would be the same trouble for all.
fn own_seeds(listener: &str) -> std::ops::Range<u64> {
    let first = 1_000 * listener.bytes().fold(7, |sum, byte| (sum * 31 + u64::from(byte)) % 10_007);
    first..first + 140
}

fn simulation(listener: &'static str) -> Simulation {
    with_consumer(listener, CLASSIC)
}

fn kip_848(listener: &'static str) -> Simulation {
    with_consumer(listener, "properties: {group.protocol: consumer}")
}

/// What is sent on for a job.
fn result(job: &str) -> String {
    format!("job {job} is done")
}

fn with_results(listener: &'static str) -> Simulation {
    simulation(listener).results("results", |n| result(&n.to_string()))
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

#[kafka_listener(
    topic = "jobs",
    group = "cooperative_finishing",
    on_revoke = "finish",
    properties("partition.assignment.strategy" = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")
)]
async fn cooperative_finishing(_job: String) {}

#[test]
fn cooperative_rebalances_that_let_handlers_finish() {
    simulation("cooperative_finishing").run();
}

#[kafka_listener(topic = "jobs", group = "consumer_protocol")]
async fn consumer_protocol(_job: String) {}

#[test]
fn the_consumer_protocol() {
    kip_848("consumer_protocol").run();
}

#[kafka_listener(
    topic = "jobs",
    group = "consumer_protocol_bounded",
    ordering = "key",
    concurrency = 8,
    commit_every(records = 5)
)]
async fn consumer_protocol_bounded(_job: String) {}

#[test]
fn no_more_than_five_again_with_the_consumer_protocol() {
    kip_848("consumer_protocol_bounded").order(Order::Key).replay_bound(5).run();
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

#[kafka_listener(topic = "jobs", group = "asynchronous", commit = "async")]
async fn asynchronous(_job: String) {}

#[test]
fn commits_that_are_not_waited_for() {
    simulation("asynchronous").run();
}

#[kafka_listener(topic = "jobs", group = "bounded", commit_every(records = 5))]
async fn bounded(_job: String) {}

#[test]
fn no_more_than_five_again() {
    simulation("bounded").replay_bound(5).run();
}

#[kafka_listener(
    topic = "jobs",
    group = "keyed_bounded",
    ordering = "key",
    concurrency = 8,
    commit_every(records = 5)
)]
async fn keyed_bounded(_job: String) {}

#[test]
fn no_more_than_five_again_by_key() {
    simulation("keyed_bounded").order(Order::Key).replay_bound(5).run();
}

#[kafka_listener(
    topic = "jobs",
    group = "giving_up",
    retry(attempts = 2),
    on_exhausted = "dead-letter",
    dead_letter = "jobs-dlt"
)]
async fn giving_up(_job: String) {}

#[test]
fn what_is_given_up_is_a_dead_letter() {
    let simulation = simulation("giving_up").dead_letters("jobs-dlt", 2);
    simulation.run();
    let found: usize = (0..40).map(|seed| simulation.run_seed(seed).dead_letters).sum();
    assert!(found > 0, "no dead letters");
}

#[kafka_listener(
    topic = "jobs",
    group = "giving_up_by_key",
    ordering = "key",
    concurrency = 8,
    commit_every(records = 5),
    retry(attempts = 1),
    on_exhausted = "dead-letter",
    dead_letter = "jobs-dlt"
)]
async fn giving_up_by_key(_job: String) {}

#[test]
fn what_is_given_up_by_key_is_a_dead_letter() {
    let simulation =
        simulation("giving_up_by_key").order(Order::Key).replay_bound(5).dead_letters("jobs-dlt", 1);
    simulation.run();
    let found: usize = (0..10).map(|seed| simulation.run_seed(seed).dead_letters).sum();
    assert!(found > 10, "{found} dead letters");
}

#[kafka_listener(
    topic = "jobs",
    group = "later",
    retry(attempts = 1),
    retry_topics(attempts = 2, backoff = "400ms"),
    on_exhausted = "dead-letter",
    dead_letter = "jobs-dlt"
)]
async fn later(_job: String) {}

#[test]
fn what_is_tried_again_later_is_handled_then_or_is_a_dead_letter() {
    let simulation =
        simulation("later").order(Order::None).retry_topics(["jobs-retry"]).dead_letters("jobs-dlt", 2);
    simulation.run();
    let found: usize = (0..60).map(|seed| simulation.run_seed(seed).dead_letters).sum();
    assert!(found > 0, "no dead letters");
}

#[kafka_listener(
    topic = "jobs",
    group = "later_by_key",
    ordering = "key",
    concurrency = 8,
    commit_every(records = 5),
    retry(attempts = 1),
    retry_topics(attempts = 3, backoff = "100ms..300ms", multiplier = 3),
    on_exhausted = "dead-letter",
    dead_letter = "jobs-dlt"
)]
async fn later_by_key(_job: String) {}

#[test]
fn what_is_tried_again_later_side_by_side_is_handled_then() {
    let topics = ["jobs-retry-100", "jobs-retry-300"];
    let simulation = simulation("later_by_key").replay_bound(5);
    simulation.order(Order::None).retry_topics(topics).dead_letters("jobs-dlt", 3).run();
}

#[kafka_listener(topic = "jobs", group = "batches", batch)]
async fn batches(_jobs: Batch<String>) {}

#[test]
fn in_batches() {
    simulation("batches").order(Order::None).run();
}

#[kafka_listener(topic = "jobs", group = "bounded_batches", batch, commit_every(records = 5))]
async fn bounded_batches(_jobs: Batch<String>) {}

#[test]
fn no_more_than_five_again_in_batches() {
    simulation("bounded_batches").order(Order::None).replay_bound(5).run();
}

#[kafka_listener(topic = "jobs", group = "by_hand", ack = "manual", commit_every(records = 5))]
async fn by_hand(job: String, ack: Ack) {
    acknowledge_later(ack, &job);
}

/// From another task, and in another order.
fn acknowledge_later(ack: Ack, job: &str) {
    let wait = job.parse().map_or(0, |n: u64| n * 37 % 200);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        drop(ack.ack());
    });
}

#[test]
fn no_more_than_five_again_by_hand() {
    simulation("by_hand").order(Order::None).replay_bound(5).run();
}

#[kafka_listener(
    topic = "jobs",
    group = "batches_by_hand",
    batch,
    ack = "manual",
    commit_every(records = 10),
    properties("max.poll.records" = "4")
)]
async fn batches_by_hand(jobs: Vec<String>, ack: Ack) {
    acknowledge_later(ack, jobs.first().map_or("", String::as_str));
}

#[test]
fn no_more_than_ten_again_in_batches_by_hand() {
    simulation("batches_by_hand").order(Order::None).replay_bound(10).run();
}

#[kafka_listener(topic = "jobs", group = "forwarding", send_to = "results")]
async fn forwarding(job: String) -> String {
    result(&job)
}

#[test]
fn what_is_sent_on_arrives_in_order() {
    with_results("forwarding").run();
}

#[kafka_listener(
    topic = "jobs",
    group = "keyed_forwarding",
    ordering = "key",
    concurrency = 8,
    send_to = "results"
)]
async fn keyed_forwarding(job: String) -> String {
    result(&job)
}

#[test]
fn what_is_sent_on_by_key_arrives_in_order() {
    with_results("keyed_forwarding").order(Order::Key).run();
}

#[kafka_listener(
    topic = "jobs",
    group = "bounded_forwarding",
    send_to = "results",
    commit_every(records = 5)
)]
async fn bounded_forwarding(job: String) -> String {
    result(&job)
}

#[test]
fn what_is_sent_on_and_repeated_is_bounded() {
    with_results("bounded_forwarding").replay_bound(5).run();
}

#[kafka_listener(topic = "jobs", group = "transactional", transactional)]
async fn transactional(job: String, key: Key<String>, tx: &Tx) -> Result<(), TxError> {
    drop(tx.enqueue_record(Record::to("results").key(key.0).text(result(&job))).await?);
    Ok(())
}

#[test]
fn each_result_of_a_transactional_listener_is_there_once() {
    with_results("transactional").exactly_once().run();
}

#[kafka_listener(
    topic = "jobs",
    group = "transactional_finishing",
    transactional,
    on_revoke = "finish",
    send_to = "results"
)]
async fn transactional_finishing(job: String) -> String {
    result(&job)
}

#[test]
fn each_result_of_a_transactional_listener_whose_handlers_finish_is_there_once() {
    with_results("transactional_finishing").exactly_once().run();
}

#[kafka_listener(topic = "jobs", group = "transactional_forwarding", transactional, send_to = "results")]
async fn transactional_forwarding(job: String) -> String {
    result(&job)
}

#[test]
fn each_result_that_is_sent_on_in_a_transaction_is_there_once() {
    with_results("transactional_forwarding").exactly_once().run();
}

#[kafka_listener(
    topic = "jobs",
    group = "transactional_batches",
    transactional,
    batch,
    send_to = "results",
    properties("max.poll.records" = "7")
)]
async fn transactional_batches(jobs: Vec<String>) -> Vec<String> {
    jobs.iter().map(|job| result(job)).collect()
}

#[test]
fn each_result_of_a_batch_in_a_transaction_is_there_once() {
    with_results("transactional_batches").order(Order::None).exactly_once().run();
}

#[test]
fn a_seed_repeats_exactly() {
    let kinds = [
        simulation("plain"),
        simulation("keyed").order(Order::Key),
        with_results("keyed_forwarding").order(Order::Key),
        with_results("transactional").exactly_once(),
        kip_848("consumer_protocol"),
        simulation("giving_up").dead_letters("jobs-dlt", 2),
        simulation("batches").order(Order::None),
        simulation("by_hand").order(Order::None),
    ];
    for simulation in &kinds {
        for seed in 0..3 {
            let once = simulation.run_seed(seed);
            let again = simulation.run_seed(seed);
            assert_eq!(once, again, "seed {seed}");
            assert!(once.handlings >= 120, "{once:?}");
        }
    }
}

/// The lowest seed that fails is told with its story, and it alone fails in the same way.
#[test]
fn a_run_that_fails_says_which_seed_plays_it_again() {
    let broken = simulation("bounded").replay_bound(0).seeds(0..10);
    let Err(told) = catch_unwind(AssertUnwindSafe(|| broken.run())) else {
        panic!("it keeps what nobody promised")
    };
    let told = told.downcast_ref::<String>().expect("words");
    let seed = told.lines().last().and_then(|line| line.strip_prefix("SIMULATION_SEED="));
    let seed = seed.and_then(|rest| rest.strip_suffix(" runs it alone")).expect(told);
    let again = broken.run_seed(seed.parse().unwrap());
    assert!(told.contains(&again.violations[0]) && told.contains(again.story.last().unwrap()), "{told}");
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
    let repeated = (0..10).map(|seed| with_results("forwarding").exactly_once().run_seed(seed));
    let found: Vec<_> = repeated.flat_map(|report| report.violations).collect();
    assert!(found.iter().any(|violation| violation.starts_with("result twice:")), "{found:?}");
    let elsewhere = simulation("plain").results("results", |n| n.to_string()).run_seed(0).violations;
    assert!(elsewhere.iter().any(|violation| violation.starts_with("result lost:")), "{elsewhere:?}");
}
