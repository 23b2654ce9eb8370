//! Whether a listener has retry topics, and how they are.

use std::time::Duration;

use super::{bill, mistake, named, settings, yaml};
use crate::config::{RetryTopicNames, RetryTopics};
use crate::listener::{Attributes, ListenerDescriptor, RetryTopicsAttribute};

const DEFAULTS: RetryTopics = RetryTopics {
    attempts: 3,
    initial: Duration::from_secs(1),
    max: Duration::from_secs(30),
    multiplier: 1.0,
    names: RetryTopicNames::Delay,
};

fn of(text: &str, listener: &ListenerDescriptor) -> Option<RetryTopics> {
    settings(text, listener).retry_topics
}

#[test]
fn a_listener_has_none_unless_it_or_the_file_says_so() {
    assert_eq!(of("", &bill()), None);
    assert_eq!(of("kafka-runtime.listener.retry-topics.enabled: true", &bill()), Some(DEFAULTS));
    let by_spring = RetryTopics { names: RetryTopicNames::Index, ..DEFAULTS };
    assert_eq!(of("spring.kafka.retry.topic.enabled: true", &bill()), Some(by_spring));
    let attribute = Attributes { retry_topics: Some(RetryTopicsAttribute::default()), ..bill().attributes };
    assert_eq!(of("", &named("bill", attribute)), Some(DEFAULTS));
}

#[test]
fn a_listener_that_says_how_they_are_to_be_has_them() {
    let own = |said: &str| of(&format!("kafka-runtime.listeners.bill.retry-topics: {{{said}}}"), &bill());
    assert_eq!(own("attempts: 5"), Some(RetryTopics { attempts: 5, ..DEFAULTS }));
    let waits = RetryTopics { initial: Duration::from_secs(2), max: Duration::from_secs(60), ..DEFAULTS };
    assert_eq!(own("backoff: 2s..1m"), Some(waits));
    assert_eq!(own("multiplier: 2"), Some(RetryTopics { multiplier: 2.0, ..DEFAULTS }));
    assert_eq!(own("names: index"), Some(RetryTopics { names: RetryTopicNames::Index, ..DEFAULTS }));
    assert_eq!(own("attempts: 5, enabled: false"), None);
    // What is said once for all listeners is how, for those that have them.
    assert_eq!(of("kafka-runtime.listener.retry-topics.attempts: 5", &bill()), None);
    let off_for_others = "kafka-runtime: {listener.retry-topics: {enabled: false, attempts: 5}, \
                          listeners.bill.retry-topics.multiplier: 2}";
    assert_eq!(of(off_for_others, &bill()), Some(RetryTopics { attempts: 5, multiplier: 2.0, ..DEFAULTS }));
}

#[test]
fn explain_tells_what_turned_them_on() {
    let own = "kafka-runtime.listeners.bill.retry-topics.attempts: 5";
    let explained = yaml(own).build().unwrap().explain(&[&bill()]).to_string();
    let row = explained.lines().find(|line| line.contains("retry-topics.enabled")).unwrap();
    assert!(row.contains("true") && row.contains("application.yml:1:53"), "{row}");
}

#[test]
fn what_does_not_go_together_is_refused_where_it_was_said() {
    let own = "kafka-runtime.listeners.bill.retry-topics.attempts: 5";
    let refused = mistake(own, &[&ListenerDescriptor { batch: true, ..bill() }]);
    assert!(refused.contains("application.yml:1:53") && refused.contains("takes batches"), "{refused}");
    let unknown = mistake("kafka-runtime.listeners.bill.retry-topics.attempts: ${TRIES}", &[&bill()]);
    assert!(unknown.contains("TRIES"), "{unknown}");
}
