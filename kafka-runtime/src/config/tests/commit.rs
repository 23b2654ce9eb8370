//! Commit strategy, cadence and acknowledgement, ours and Spring's.

use std::time::Duration;

use super::*;
use crate::config::{AckMode, Cadence, CommitStrategy};
use crate::listener::CommitEvery;

type Three = (CommitStrategy, Cadence, AckMode);

fn committing(text: &str, listener: &ListenerDescriptor) -> Three {
    let settings = settings(text, listener);
    (settings.commit, settings.cadence, settings.ack)
}

fn every(records: Option<u32>, time: Option<u64>) -> Cadence {
    Cadence::Every { records, time: time.map(Duration::from_millis) }
}

fn with_ack(attributes: Attributes) -> ListenerDescriptor {
    ListenerDescriptor { takes_ack: true, ..named("bill", attributes) }
}

fn said() -> Attributes {
    Attributes { topics: &["orders"], group: Some("billing"), ..Attributes::default() }
}

#[test]
fn by_default_combined_every_second() {
    assert_eq!(committing("", &bill()), (CommitStrategy::Combined, every(None, Some(1000)), AckMode::Auto));
}

#[test]
fn springs_ack_modes_are_synchronous() {
    use CommitStrategy::Sync;
    for (mode, cadence, ack) in [
        ("RECORD", Cadence::Record, AckMode::Auto),
        ("batch", Cadence::Batch, AckMode::Auto),
        ("TIME", every(None, Some(5000)), AckMode::Auto),
        ("COUNT", every(Some(1), None), AckMode::Auto),
        ("count-time", every(Some(1), Some(5000)), AckMode::Auto),
        ("MANUAL", Cadence::Batch, AckMode::Manual),
        ("manual_immediate", Cadence::Batch, AckMode::ManualImmediate),
    ] {
        let text = format!("spring.kafka.listener.ack-mode: {mode}");
        let listener = if ack == AckMode::Auto { bill() } else { with_ack(said()) };
        assert_eq!(committing(&text, &listener), (Sync, cadence, ack), "{mode}");
    }
    let text = "spring.kafka.listener: {ack-mode: COUNT_TIME, ack-count: 20, ack-time: 2s}";
    assert_eq!(committing(text, &bill()), (Sync, every(Some(20), Some(2000)), AckMode::Auto));
}

#[test]
fn auto_commit_is_asynchronous_at_its_interval() {
    for text in [
        "spring.kafka.consumer: {enable-auto-commit: true, auto-commit-interval: 2s}",
        "spring.kafka.consumer.properties: {enable.auto.commit: true, auto.commit.interval.ms: 2000}",
    ] {
        assert_eq!(
            committing(text, &bill()),
            (CommitStrategy::Async, every(None, Some(2000)), AckMode::Auto)
        );
    }
    let text = "spring.kafka.consumer.enable-auto-commit: false";
    assert_eq!(committing(text, &bill()).0, CommitStrategy::Combined);
}

#[test]
fn ours_in_all_forms() {
    for (commit, strategy, cadence) in [
        ("sync", CommitStrategy::Sync, every(None, Some(1000))),
        ("{strategy: async, every: record}", CommitStrategy::Async, Cadence::Record),
        ("{every: batch}", CommitStrategy::Combined, Cadence::Batch),
        ("{every: {records: 500, time: 2s}}", CommitStrategy::Combined, every(Some(500), Some(2000))),
        ("{every: {records: 500}}", CommitStrategy::Combined, every(Some(500), None)),
    ] {
        for at in ["listener", "listeners.bill"] {
            let text = format!("kafka-runtime.{at}.commit: {commit}");
            assert_eq!(committing(&text, &bill()), (strategy, cadence, AckMode::Auto), "{text}");
        }
    }
}

#[test]
fn the_listeners_file_beats_the_attribute_beats_the_file_for_all_beats_spring() {
    let attribute = Attributes {
        commit: Some("async"),
        commit_every: Some(CommitEvery { each: None, records: Some("10"), time: None }),
        ..said()
    };
    let spring = "spring.kafka.listener.ack-mode: RECORD\n";
    let all = format!("{spring}kafka-runtime.listener.commit: {{strategy: combined, every: batch}}\n");
    let one = format!("{all}kafka-runtime.listeners.bill.commit: {{strategy: sync, every: {{time: 3s}}}}\n");
    let of = |text: &str, attributes| committing(text, &named("bill", attributes));
    assert_eq!(of(spring, said()).1, Cadence::Record);
    assert_eq!(of(&all, said()), (CommitStrategy::Combined, Cadence::Batch, AckMode::Auto));
    assert_eq!(of(&all, attribute), (CommitStrategy::Async, every(Some(10), None), AckMode::Auto));
    assert_eq!(of(&one, attribute), (CommitStrategy::Sync, every(None, Some(3000)), AckMode::Auto));
}

#[test]
fn acknowledgement_from_the_attribute_or_the_file() {
    let attribute = Attributes { ack: Some("manual"), ..said() };
    assert_eq!(committing("", &with_ack(attribute)).2, AckMode::Manual);
    let text = "kafka-runtime.listeners.bill.ack: manual-immediate";
    assert_eq!(committing(text, &with_ack(attribute)).2, AckMode::ManualImmediate);
}

#[test]
fn contradictions_are_refused() {
    let manual = Attributes { ack: Some("manual"), ..said() };
    let batch = ListenerDescriptor { batch: true, ..bill() };
    for (text, listener, expected) in [
        (
            "kafka-runtime.listener.commit.every: record",
            batch,
            "takes batches, and cannot commit after each record",
        ),
        ("spring.kafka.listener.ack-mode: RECORD", batch, "takes batches"),
        ("", named("bill", manual), "no argument `Ack`"),
        ("spring.kafka.listener.ack-mode: MANUAL", bill(), "no argument `Ack`"),
        ("", with_ack(said()), "is acknowledged by its return"),
        (
            "spring.kafka: {consumer: {enable-auto-commit: true}, listener: {ack-mode: RECORD}}",
            bill(),
            "exclude each other",
        ),
        ("spring.kafka.consumer.enable-auto-commit: true", with_ack(manual), "exclude each other"),
        ("kafka-runtime.listener.commit.every: {records: 0}", bill(), "application.yml:1:48"),
        ("kafka-runtime.listener.commit.every: sometimes", bill(), "is none of record, batch"),
        ("kafka-runtime.listener.commit: eventually", bill(), "is none of sync, async, combined"),
    ] {
        let mistake = mistake(text, &[&listener]);
        assert!(mistake.contains(expected), "{text}: {mistake}");
    }
}

#[test]
fn a_cadence_is_one_or_the_other() {
    let config = yaml("kafka-runtime.listener.commit.every: record")
        .environment([("KAFKA_RUNTIME_LISTENER_COMMIT_EVERY_RECORDS", "5")])
        .build()
        .unwrap();
    let errors = config.check(&[&bill()]).unwrap_err().to_string();
    assert!(errors.contains("cannot stand beside"), "{errors}");
}
