//! A listener's settings, from the attribute and the file.

use std::time::Duration;

use kafka_client::config::{Assignor, OffsetReset, StartAt, Subscription};

use super::*;
use crate::config::{DeadLetters, OnExhausted, Retry, RetryErrors};
use crate::listener::{PartitionsAttribute, RetryAttribute};

fn topics(settings: &ListenerSettings) -> Vec<String> {
    match &settings.consumer.subscription {
        Subscription::Topics(topics) => topics.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_the_issue_binds() {
    let text = "
server:
  port: 9991
spring:
  application:
    name: kafka-demo
  kafka:
    bootstrap-servers: localhost:9092
    producer:
      retries: 10
      key-serializer: org.apache.kafka.common.serialization.StringSerializer
      value-serializer: org.apache.kafka.common.serialization.StringSerializer
    consumer:
      group-id: ${spring.application.name}-test
      key-deserializer: org.apache.kafka.common.serialization.StringDeserializer
      value-deserializer: org.apache.kafka.common.serialization.StringDeserializer
";
    let config = config(text);
    let greetings = named("greetings", Attributes { topics: &["greetings"], ..Attributes::default() });
    let users = named("users", Attributes { topics: &["users"], ..Attributes::default() });
    let all = config.check(&[&greetings, &users]).unwrap();
    assert_eq!(all[0].consumer.group.as_ref().unwrap().group_id, "kafka-demo-test");
    assert_eq!(
        [&all[0], &all[1]].map(|one| one.client.client_id.as_str()),
        ["consumer-kafka-demo-test-1", "consumer-kafka-demo-test-2"]
    );
    assert_eq!(config.template().unwrap().producer.retries, 10);
    assert_eq!(config.get_as::<u16>("server.port").unwrap(), Some(9991));
    assert!(config.notices(&[&greetings, &users]).is_empty());
}

#[test]
fn defaults() {
    let settings = settings("", &bill());
    assert_eq!(topics(&settings), ["orders"]);
    assert_eq!(settings.client.bootstrap_servers, ["localhost:9092"]);
    assert_eq!((settings.members, settings.concurrency), (1, None));
    assert_eq!(settings.retry, Retry::default());
    assert_eq!((settings.on_exhausted, settings.handler_timeout), (OnExhausted::DeadLetter, None));
    assert_eq!(settings.dead_letters, DeadLetters::default());
    assert_eq!(settings.retry_errors, RetryErrors::default());
    assert_eq!(settings.max_poll_records, 500);
    assert_eq!(settings.max_poll_interval, Duration::from_secs(300));
    assert_eq!(settings.drain_timeout, Duration::from_secs(10));
    assert_eq!(settings.commit_timeout, Duration::from_secs(60));
    assert_eq!(settings.shutdown_timeout, Duration::from_secs(20));
    assert!(settings.auto_startup && !settings.missing_topics_fatal);
    assert_eq!(settings.consumer.auto_offset_reset, OffsetReset::Latest);
    let group = settings.consumer.group.unwrap();
    assert_eq!(group, kafka_client::config::GroupConfig::new("billing"));
}

#[test]
fn what_the_file_says_of_a_listener_beats_its_attribute() {
    let attributes = Attributes {
        topics: &["orders"],
        group: Some("billing"),
        concurrency: Some("4"),
        members: Some("2"),
        auto_startup: Some("true"),
        client_id: Some("attribute"),
        properties: &[("max.poll.records", "10"), ("session.timeout.ms", "9000")],
        ..Attributes::default()
    };
    let listener = named("bill", attributes);
    let all = "spring.kafka: {consumer: {max-poll-records: 100}, listener: {concurrency: 8, auto-startup: false}}\n";
    let before = settings(all, &listener);
    assert_eq!((before.concurrency, before.members, before.auto_startup), (Some(4), 2, true));
    assert_eq!((before.max_poll_records, before.client.client_id.as_str()), (10, "attribute-0"));
    let own = "kafka-runtime.listeners.bill:
  topic: orders-v2
  group: other
  concurrency: 128
  members: 3
  auto-startup: false
  client-id: file
  max-poll-records: 20
  properties: {session.timeout.ms: 7000}
  auto-offset-reset: earliest
  on-exhausted: skip
  retry: {attempts: 5, backoff: {initial: 50ms, max: 1s, multiplier: 3, jitter: 0}, max-elapsed: 1m}
  drain-timeout: 2s
  commit-timeout: 5s
";
    let after = settings(&format!("{all}{own}"), &listener);
    assert_eq!(topics(&after), ["orders-v2"]);
    assert_eq!((after.concurrency, after.members, after.auto_startup), (Some(128), 3, false));
    assert_eq!((after.max_poll_records, after.client.client_id.as_str()), (20, "file-0"));
    assert_eq!(after.on_exhausted, OnExhausted::Skip);
    assert_eq!(after.retry.attempts, 5);
    assert_eq!((after.retry.jitter, after.retry.max_elapsed), (0.0, Some(Duration::from_secs(60))));
    assert_eq!((after.retry.initial.as_millis(), after.retry.max.as_millis()), (50, 1000));
    assert_eq!((after.drain_timeout.as_secs(), after.commit_timeout.as_secs()), (2, 5));
    assert_eq!(after.consumer.auto_offset_reset, OffsetReset::Earliest);
    let group = after.consumer.group.unwrap();
    assert_eq!((group.group_id.as_str(), group.session_timeout.as_secs()), ("other", 7));
}

#[test]
fn a_listener_may_be_declared_by_the_file_alone() {
    let listener = named("audited", Attributes::default());
    let text = "kafka-runtime.listeners.audited: {topics: [a, b], group: g}";
    assert_eq!(topics(&settings(text, &listener)), ["a", "b"]);
    let text = "kafka-runtime.listeners.audited: {pattern: 'a-.*', group: g}";
    assert!(
        matches!(settings(text, &listener).consumer.subscription, Subscription::Pattern(p) if p == "a-.*")
    );
}

#[test]
fn ids_are_relaxed_and_may_have_dots() {
    let listener = named("my_listener", Attributes { topics: &["t"], ..Attributes::default() });
    for key in ["my_listener", "my-listener", "myListener"] {
        let text = format!("kafka-runtime.listeners.{key}.group: g");
        assert_eq!(settings(&text, &listener).consumer.group.unwrap().group_id, "g", "{key}");
    }
    let config = yaml("").environment([("KAFKA_RUNTIME_LISTENERS_MY_LISTENER_GROUP", "g")]).build().unwrap();
    assert_eq!(config.check(&[&listener]).unwrap()[0].consumer.group.as_ref().unwrap().group_id, "g");
    let dotted = named("my.id", Attributes { topics: &["t"], ..Attributes::default() });
    let text = "kafka-runtime.listeners: {'[my.id]': {group: g, retry.attempts: 3}}";
    let settings = settings(text, &dotted);
    assert_eq!((settings.consumer.group.unwrap().group_id.as_str(), settings.retry.attempts), ("g", 3));
}

#[test]
fn placeholders_in_the_attribute() {
    let attributes = Attributes {
        topics: &["${app.topics.orders:orders}", "${app.more}"],
        group: Some("${spring.application.name}-audit"),
        concurrency: Some("${app.bound}"),
        ..Attributes::default()
    };
    let text = "spring.application.name: shop\napp: {more: 'a, b', bound: 3}\n";
    let settings = settings(text, &named("audit", attributes));
    assert_eq!(topics(&settings), ["orders", "a", "b"]);
    assert_eq!(settings.concurrency, Some(3));
    assert_eq!(settings.consumer.group.unwrap().group_id, "shop-audit");
    let mistakes = mistakes("", &[&named("audit", attributes)]);
    assert_eq!(mistakes.len(), 3, "{mistakes:#?}");
    assert!(
        mistakes[0]
            .starts_with("src/main.rs:7:1, attribute topic: `topic` has the placeholder `${app.more}`")
    );
}

#[test]
fn fixed_partitions() {
    const PARTITIONS: &[PartitionsAttribute] = &[
        PartitionsAttribute { topic: "${t:orders}", partitions: "0, 2-3", from: Some("earliest") },
        PartitionsAttribute { topic: "prices", partitions: "*", from: Some("@1700000000000") },
    ];
    let listener = named("read", Attributes { partitions: PARTITIONS, ..Attributes::default() });
    let settings = settings("", &listener);
    assert!(settings.consumer.group.is_none());
    assert_eq!(settings.client.client_id, "consumer-1");
    assert_eq!(settings.whole_topics, [("prices".into(), StartAt::Timestamp(1_700_000_000_000))]);
    let Subscription::Partitions(fixed) = settings.consumer.subscription else { panic!("partitions") };
    let numbers: Vec<_> = fixed.iter().map(|(partition, start)| (partition.partition, *start)).collect();
    assert_eq!(numbers, [0, 2, 3].map(|number| (number, StartAt::Beginning)));
}

#[test]
fn what_cannot_be_consumed_is_refused() {
    const TWICE: &[PartitionsAttribute] =
        &[PartitionsAttribute { topic: "t", partitions: "0-2, 1", from: None }];
    const COMMITTED: &[PartitionsAttribute] =
        &[PartitionsAttribute { topic: "t", partitions: "0", from: Some("committed") }];
    let group = Some("g");
    for (attributes, expected) in [
        (Attributes { group, ..Attributes::default() }, "has no topic"),
        (Attributes { topics: &["t"], ..Attributes::default() }, "has no group"),
        (
            Attributes { topics: &["t"], pattern: Some("x"), group, ..Attributes::default() },
            "more than one of",
        ),
        (Attributes { topics: &["a b"], group, ..Attributes::default() }, "cannot be the name of a topic"),
        (Attributes { pattern: Some("("), group, ..Attributes::default() }, "no regular expression"),
        (Attributes { partitions: TWICE, ..Attributes::default() }, "names t-1 twice"),
        (Attributes { partitions: COMMITTED, ..Attributes::default() }, "no group that commits"),
        (
            Attributes { partitions: COMMITTED, group, members: Some("2"), ..Attributes::default() },
            "are fixed",
        ),
        (Attributes { topics: &["t"], group, members: Some("0"), ..Attributes::default() }, "at least 1"),
    ] {
        let mistake = mistake("", &[&named("bad", attributes)]);
        assert!(mistake.contains(expected), "{mistake}");
        assert!(mistake.starts_with("src/main.rs:7:1"), "{mistake}");
    }
}

#[test]
fn deadlines_that_are_not_said_shrink_to_the_poll_interval() {
    let settings = settings("spring.kafka.consumer.max-poll-interval: 20s", &bill());
    assert_eq!(settings.drain_timeout, Duration::from_secs(5));
    assert_eq!(settings.commit_timeout, Duration::from_secs(15));
    assert_eq!(settings.max_poll_interval, Duration::from_secs(20));
    assert_eq!(settings.consumer.group.unwrap().rebalance_timeout, Duration::from_secs(20));
}

#[test]
fn deadlines_that_are_said_must_fit() {
    let text = "spring.kafka.consumer.max-poll-interval: 20s\nkafka-runtime.listener: {drain-timeout: 15s, commit-timeout: 10s}\n";
    let mistake = mistake(text, &[&bill()]);
    assert!(mistake.contains("together exceed max.poll.interval.ms (20s)"), "{mistake}");
    assert!(mistake.starts_with("application.yml:2:41"), "{mistake}");
}

#[test]
fn timings_that_contradict_each_other() {
    for (text, expected) in [
        (
            "spring.kafka.consumer: {heartbeat-interval: 50s}",
            "application.yml:1:45: `heartbeat.interval.ms` (50s, application.yml:1:45) must be below session.timeout.ms (45s, default)",
        ),
        ("spring.kafka.properties: {session.timeout.ms: 3000}", "must be below session.timeout.ms"),
        ("spring.kafka.consumer.fetch-max-wait: 30s", "must be below request.timeout.ms"),
        ("kafka-runtime.listener.retry.backoff: {initial: 5s, max: 1s}", "above the longest wait"),
    ] {
        let mistake = mistake(text, &[&bill()]);
        assert!(mistake.contains(expected), "{mistake}");
    }
}

#[test]
fn one_backoff_that_is_said_moves_the_other() {
    let retry = settings("kafka-runtime.listener.retry.backoff.initial: 30s", &bill()).retry;
    assert_eq!((retry.initial.as_secs(), retry.max.as_secs()), (30, 30));
    let retry = settings("kafka-runtime.listener.retry.backoff.max: 10ms", &bill()).retry;
    assert_eq!((retry.initial.as_millis(), retry.max.as_millis()), (10, 10));
}

#[test]
fn assignors_by_javas_classes() {
    let text = "spring.kafka.consumer.properties.partition.assignment.strategy: org.apache.kafka.clients.consumer.CooperativeStickyAssignor, org.apache.kafka.clients.consumer.RangeAssignor";
    let group = settings(text, &bill()).consumer.group.unwrap();
    assert_eq!(group.assignors, [Assignor::CooperativeSticky, Assignor::Range]);
    let text = "spring.kafka.consumer.properties.partition.assignment.strategy: org.apache.kafka.clients.consumer.StickAssignor";
    assert!(
        mistake(text, &[&bill()])
            .contains("did you mean `org.apache.kafka.clients.consumer.StickyAssignor`?")
    );
}

#[test]
fn static_members_have_their_own_names() {
    let text =
        "spring.kafka.consumer.properties.group.instance.id: host\nkafka-runtime.listener.members: 2\n";
    let settings = settings(text, &bill());
    let (client, consumer) = settings.for_member(1);
    assert_eq!(client.client_id, "consumer-billing-2");
    assert_eq!(consumer.group.unwrap().instance_id.as_deref(), Some("host-1"));
    let same = named("other", Attributes { topics: &["t"], group: Some("billing"), ..Attributes::default() });
    let mistake = mistake(text, &[&bill(), &same]);
    assert!(mistake.contains("listeners `bill` and `other` are both `host` in group `billing`"), "{mistake}");
}

#[test]
fn other_settings_of_kafka() {
    let text = "
spring.kafka.consumer:
  auto-offset-reset: by_duration:PT1H
  properties:
    client.rack: r1
    allow.auto.create.topics: false
    fetch.max.bytes: 1000
    check.crcs: false
    connections.max.idle.ms: -1
    group.protocol: CONSUMER
    group.remote.assignor: uniform
    default.api.timeout.ms: 5000
";
    let settings = settings(text, &bill());
    assert_eq!(settings.consumer.auto_offset_reset, OffsetReset::ByDuration(Duration::from_secs(3600)));
    assert_eq!(settings.client.rack.as_deref(), Some("r1"));
    let group = settings.consumer.group.unwrap();
    assert_eq!(group.protocol, kafka_client::config::GroupProtocol::Consumer);
    assert_eq!(group.remote_assignor.as_deref(), Some("uniform"));
    assert!(!settings.consumer.allow_auto_create_topics && !settings.consumer.fetch.check_crcs);
    assert_eq!(settings.consumer.fetch.max_bytes, 1000);
    assert_eq!(settings.commit_timeout, Duration::from_secs(5));
    assert!(settings.client.connections_max_idle > Duration::from_secs(1 << 30));
}

#[test]
fn what_becomes_of_failures_layer_by_layer() {
    use crate::listener::{DeadLetterAttribute, RetryAttribute};
    let retry = RetryAttribute {
        attempts: Some("5"),
        backoff: Some("100ms..2s"),
        multiplier: Some("3"),
        jitter: Some("0.5"),
        max_elapsed: Some("1m"),
        only: &["BankError"],
        never: &[],
    };
    let dead_letter = DeadLetterAttribute {
        topic: Some("bills-dlt"),
        partitions: Some("2"),
        ..DeadLetterAttribute::default()
    };
    let attributes = Attributes {
        topics: &["t"],
        group: Some("g"),
        retry,
        dead_letter,
        on_exhausted: Some("skip"),
        handler_timeout: Some("30s"),
        ..Attributes::default()
    };
    let listener = named("bill", attributes);
    let all = "kafka-runtime.listener:
  retry: {attempts: 9, backoff: 1s, never: [Invalid]}
  dead-letter: {topic: all, replication: 3, retention: 7d}
  handler-timeout: 1s
";
    let said = settings(all, &listener);
    let millis = Duration::from_millis;
    let expected = Retry {
        attempts: 5,
        initial: millis(100),
        max: millis(2000),
        multiplier: 3.0,
        jitter: 0.5,
        max_elapsed: Some(millis(60_000)),
    };
    assert_eq!(said.retry, expected);
    let never = Some(vec!["Invalid".to_owned()]);
    assert_eq!(said.retry_errors, RetryErrors { only: None, never, attribute_only: true });
    let week = Some(Duration::from_secs(7 * 86_400));
    let letters = DeadLetters {
        topic: "bills-dlt".into(),
        create: true,
        partitions: Some(2),
        replication: Some(3),
        retention: week,
    };
    assert_eq!((said.dead_letters, said.on_exhausted), (letters, OnExhausted::Skip));
    assert_eq!(said.handler_timeout, Some(Duration::from_secs(30)));

    let own = "spring.kafka.admin.auto-create: false
kafka-runtime.listeners.bill:
  retry: {backoff: 3s, only: 'A, B'}
  dead-letter: '{topic}.DLT'
  on-exhausted: stop
";
    let said = settings(&format!("{all}{own}"), &listener);
    assert_eq!((said.retry.initial, said.retry.max, said.retry.attempts), (millis(3000), millis(3000), 5));
    assert_eq!(said.retry_errors.only, Some(vec!["A".to_owned(), "B".to_owned()]));
    assert_eq!((said.dead_letters.topic.as_str(), said.dead_letters.create), ("{topic}.DLT", false));
    assert_eq!(said.on_exhausted, OnExhausted::Stop);
}

fn boxed(retry: RetryAttribute) -> ListenerDescriptor {
    let attributes =
        Attributes { topics: &["orders"], group: Some("billing"), retry, ..Attributes::default() };
    ListenerDescriptor {
        error_type: || Some(std::any::type_name::<Box<dyn std::error::Error + Send + Sync>>()),
        ..named("bill", attributes)
    }
}

/// A name that can never be found is a mistake of its listener; said for all listeners it may be meant for others.
#[test]
fn names_that_cannot_be_found_in_boxed_errors_are_told() {
    let own = "kafka-runtime.listeners.bill.retry:\n  never: [Invalid, BankError::Closed, panic]\n";
    assert_eq!(
        mistake(own, &[&boxed(RetryAttribute::default())]),
        "application.yml:2:11: `kafka-runtime.listeners.bill.retry.never` has `BankError::Closed`, which listener `bill` can \
         never find: it returns Box<dyn Error>, in which a type has no name; name the type in its attribute, \
         `retry(never = [..])`: then it is found by its name in the error and in all causes"
    );
    let notices = |text: &str, listener: &ListenerDescriptor| -> Vec<String> {
        let config = config(text);
        config.check(&[listener]).unwrap();
        config.notices(&[listener]).iter().map(ToString::to_string).collect()
    };
    let all = own.replace("listeners.bill", "listener");
    let told = notices(&all, &boxed(RetryAttribute::default()));
    assert!(
        matches!(&told[..], [one] if one.contains("has `BankError::Closed`, which listener `bill` can never find")),
        "{told:?}"
    );
    let words = "kafka-runtime.listeners.bill.retry: {only: [Invalid, timeout]}";
    let told = notices(words, &boxed(RetryAttribute::default()));
    assert!(
        matches!(&told[..], [one] if one.contains("has `Invalid`, which listener `bill` finds only if `Debug` begins with it")),
        "{told:?}"
    );

    let typed = RetryAttribute { only: &["crate::bank::BankError"], ..RetryAttribute::default() };
    assert!(notices(own, &boxed(typed)).is_empty(), "the attribute names the type");
    let returned =
        ListenerDescriptor { error_type: || Some("app::BankError"), ..boxed(RetryAttribute::default()) };
    assert!(notices(own, &returned).is_empty(), "the handler names the type");
    assert!(notices(own, &bill()).is_empty());
    let every = own.replace("Invalid, BankError::Closed", "anyhow::Error");
    let anyhow =
        ListenerDescriptor { error_type: || Some("anyhow::Error"), ..boxed(RetryAttribute::default()) };
    assert!(notices(&every, &anyhow).is_empty(), "it is what the handler returns");
}
