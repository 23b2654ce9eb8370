//! What holds a listener back: rate limit, circuit breaker, what becomes of what is in hand.

use std::time::Duration;

use super::*;
use crate::config::{CircuitBreaker, OnRevoke, PauseWhen, Rate};
use crate::listener::ControlsAttribute;

const SECOND: Duration = Duration::from_secs(1);

fn controlled() -> ListenerDescriptor {
    let controls = ControlsAttribute {
        rate_limit: Some("100/s"),
        circuit_failures: Some("5"),
        drain_timeout: Some("3s"),
        on_revoke: Some("finish"),
        idle_event_interval: Some("1m"),
        ..ControlsAttribute::default()
    };
    let (topics, group) = (&["orders"][..], Some("billing"));
    named("bill", Attributes { topics, group, controls, ..Attributes::default() })
}

#[test]
fn nothing_holds_it_back_by_default() {
    let settings = settings("", &bill());
    assert_eq!((settings.rate_limit, settings.circuit_breaker), (None, None));
    assert_eq!((settings.idle_event_interval, settings.idle_partition_event_interval), (None, None));
    assert_eq!(settings.on_revoke, OnRevoke::Cancel);
}

#[test]
fn the_attribute_says_it_and_the_file_wins() {
    let by_attribute = settings("", &controlled());
    assert_eq!(by_attribute.rate_limit, Some(Rate { records: 100, per: SECOND }));
    let breaker = CircuitBreaker { failures: 5, pause: SECOND * 10, max_pause: SECOND * 60 };
    assert_eq!(by_attribute.circuit_breaker, Some(breaker));
    assert_eq!((by_attribute.on_revoke, by_attribute.drain_timeout), (OnRevoke::Finish, SECOND * 3));
    assert_eq!(by_attribute.idle_event_interval, Some(SECOND * 60));
    let text = "
spring.kafka.listener: {idle-event-interval: 5s, idle-partition-event-interval: 6s}
kafka-runtime:
  listeners:
    bill: {rate-limit: 20/500ms, circuit-breaker: {pause: 2m}, on-revoke: cancel, drain-timeout: 4s}
";
    let by_file = settings(text, &controlled());
    assert_eq!(by_file.rate_limit, Some(Rate { records: 20, per: SECOND / 2 }));
    let breaker = CircuitBreaker { failures: 5, pause: SECOND * 120, max_pause: SECOND * 120 };
    assert_eq!(by_file.circuit_breaker, Some(breaker), "the longest pause is no shorter than the first");
    assert_eq!((by_file.on_revoke, by_file.drain_timeout), (OnRevoke::Cancel, SECOND * 4));
    // Spring's key is that of all listeners, and the attribute is nearer.
    assert_eq!(by_file.idle_event_interval, Some(SECOND * 60));
    assert_eq!(by_file.idle_partition_event_interval, Some(SECOND * 6));
    let text = "kafka-runtime.listener: {rate-limit: 7/m}";
    let of_all = settings(text, &bill());
    assert_eq!(of_all.rate_limit, Some(Rate { records: 7, per: SECOND * 60 }));
}

#[test]
fn what_it_pauses_for_is_said_in_short_or_in_parts() {
    let pause = |check: &str, seconds| Some(PauseWhen { check: check.into(), interval: SECOND * seconds });
    assert_eq!(settings("", &bill()).pause_when, None);
    let controls = ControlsAttribute {
        pause_when: Some("bank"),
        pause_interval: Some("2s"),
        ..ControlsAttribute::default()
    };
    let (topics, group) = (&["orders"][..], Some("billing"));
    let by_attribute = named("bill", Attributes { topics, group, controls, ..Attributes::default() });
    let of_all = "kafka-runtime.listener.pause-when: {check: mail, interval: 9s}";
    assert_eq!(settings(of_all, &by_attribute).pause_when, pause("bank", 2));
    assert_eq!(settings(of_all, &bill()).pause_when, pause("mail", 9));
    let short = "kafka-runtime.listeners.bill.pause-when: mail";
    assert_eq!(settings(short, &by_attribute).pause_when, pause("mail", 2));
    assert_eq!(settings(short, &bill()).pause_when, pause("mail", 5));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("rate-limit: fast", "is no rate such as `100/s`"),
        ("rate-limit: 0/s", "is no rate"),
        ("circuit-breaker: {failures: 0}", "must be at least 1"),
        ("pause-when: {check: bank, interval: 0s}", "must be more than nothing"),
        ("on-revoke: wait", "cancel, finish"),
    ] {
        let text = format!("kafka-runtime.listeners.bill: {{{text}}}");
        let mistake = mistake(&text, &[&bill()]);
        assert!(mistake.contains(expected), "{mistake}");
    }
}
