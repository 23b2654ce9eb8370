//! Transactional listeners.

use std::time::Duration;

use kafka_client::config::IsolationLevel;

use super::{bill, mistakes, named, settings};
use crate::config::Cadence;
use crate::listener::{Attributes, ListenerDescriptor};

const PREFIX: &str = "spring.kafka.producer.transaction-id-prefix: p-\n";

fn exact() -> ListenerDescriptor {
    let attributes = Attributes { transactional: Some("true"), ..bill().attributes };
    ListenerDescriptor { takes_tx: true, ..named("bill", attributes) }
}

#[test]
fn it_is_said_in_the_attribute_or_the_file_which_wins() {
    assert!(!settings("", &bill()).transactional);
    assert!(settings(PREFIX, &exact()).transactional);
    let own = format!("{PREFIX}kafka-runtime.listeners.bill.transactional: true");
    assert!(settings(&own, &bill()).transactional);
    let none = "kafka-runtime.listeners.bill.transactional: false";
    assert!(!settings(none, &ListenerDescriptor { takes_tx: false, ..exact() }).transactional);
}

#[test]
fn cadence_and_isolation_follow_from_it_unless_they_are_said() {
    let of = |text: &str| {
        let settings = settings(&format!("{PREFIX}{text}"), &exact());
        (settings.cadence, settings.consumer.isolation)
    };
    let every = |millis| Cadence::Every { records: None, time: Some(Duration::from_millis(millis)) };
    assert_eq!(of(""), (every(100), IsolationLevel::ReadCommitted));
    let said = "spring.kafka.consumer.isolation-level: read_uncommitted\nkafka-runtime.listener.commit.every.time: 1s";
    assert_eq!(of(said), (every(1000), IsolationLevel::ReadUncommitted));
    assert_eq!(of("kafka-runtime.listeners.bill.commit.every: batch").0, Cadence::Batch);
}

#[test]
fn what_does_not_go_together_is_refused_with_a_cure() {
    let says = |text: &str, listener: &ListenerDescriptor, what: &str| {
        let mistakes = mistakes(text, &[listener]);
        assert!(mistakes.len() == 1 && mistakes[0].contains(what), "{mistakes:#?}");
    };
    says("", &exact(), "needs ids for its transactions");
    says("", &ListenerDescriptor { takes_tx: true, ..bill() }, "and is not transactional");
    let with = |attributes: Attributes| ListenerDescriptor { attributes, ..exact() };
    let attributes = exact().attributes;
    let by_hand = with(Attributes { ack: Some("manual"), ..attributes });
    says(
        PREFIX,
        &ListenerDescriptor { takes_ack: true, ..by_hand },
        "acknowledging by hand exclude each other",
    );
    says(PREFIX, &with(Attributes { commit: Some("async"), ..attributes }), "asynchronous commits");
    let ordering = Attributes { ordering: Some("key"), concurrency: Some("4"), ..attributes };
    says(PREFIX, &with(ordering), "and `ordering` exclude each other");
    let auto = format!("{PREFIX}spring.kafka.consumer.enable-auto-commit: true");
    says(&auto, &exact(), "asynchronous commits");
    let topics = format!("{PREFIX}kafka-runtime.listeners.bill.retry-topics.enabled: true");
    says(&topics, &exact(), "retry topics exclude each other");
    let fixed = crate::listener::PartitionsAttribute { topic: "orders", partitions: "0", from: None };
    let fixed = [fixed];
    let fixed: &'static [_] = Box::leak(Box::new(fixed));
    says(
        PREFIX,
        &with(Attributes { topics: &[], partitions: fixed, ..attributes }),
        "that its group assigns",
    );
}
