//! Everything that is wrong, together, each with its place and the nearest known name.

use super::*;

#[test]
fn all_mistakes_are_reported_together_in_the_order_of_the_file() {
    let text = "
spring:
  kafka:
    bootstrap-server: localhost:9092
    consumer:
      grup-id: x
      max-poll-records: many
      group-id: ${NOPE}
      value-deserializer: io.confluent.kafka.serializers.KafkaAvroDeserializer
    ssl: {trust-store-password: hunter2}
    security.protocol: SASL_SSL
kafka-runtime:
  listeners:
    bil: {topic: x}
  listener: {drain-timeout: soon}
";
    let listener = named("bill", Attributes { topics: &["orders"], ..Attributes::default() });
    let found = mistakes(text, &[&listener]);
    let expected = [
        "application.yml:4:5: `spring.kafka.bootstrap-server` is not known; did you mean `spring.kafka.bootstrap-servers`?",
        "application.yml:6:7: `spring.kafka.consumer.grup-id` is not known; did you mean `spring.kafka.consumer.group-id`?",
        "application.yml:7:25: `spring.kafka.consumer.max-poll-records` = `many` is not a whole number",
        "application.yml:8:17: `spring.kafka.consumer.group-id` has the placeholder `${NOPE}`, which nothing resolves",
        "application.yml:9:27: `spring.kafka.consumer.value-deserializer` = `io.confluent.kafka.serializers.KafkaAvroDeserializer` is no deserializer known here",
        "application.yml:10:33: `spring.kafka.ssl.trust-store-password` is refused: TLS and SASL are not supported yet",
        "application.yml:11:24: `spring.kafka.security.protocol` = `SASL_SSL` is refused: TLS and SASL are not supported yet",
        "application.yml:15:29: `kafka-runtime.listener.drain-timeout` = `soon` is not a duration",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn with_the_listeners_known_theirs_are_reported_with_them() {
    static BILL: std::sync::LazyLock<ListenerDescriptor> = std::sync::LazyLock::new(bill);
    let text = "spring.kafka.consumer.grup-id: x\nkafka-runtime.listeners.bil.topic: x\n";
    let errors = yaml(text).listeners([&*BILL]).build().unwrap_err().to_string();
    assert!(errors.contains("grup-id") && errors.contains("did you mean `bill`?"), "{errors}");
}

#[test]
fn listeners_that_are_not_linked() {
    let text = "kafka-runtime:\n  listeners:\n    audit: {auto-startup: false}\n";
    let mistake = mistake(text, &[&bill()]);
    assert_eq!(
        mistake,
        "application.yml:3:13: `kafka-runtime.listeners.audit` is no listener of this program; a listener in a dependency that nothing names is not linked: write `use the_crate as _;`"
    );
    assert!(config(text).check(&[]).is_err());
    let audit = named("audit", Attributes { topics: &["t"], group: Some("g"), ..Attributes::default() });
    assert_eq!(config(text).check_only(&[&bill(), &audit], &[&bill()]).unwrap().len(), 1);
}

#[test]
fn two_listeners_of_one_name() {
    let errors = mistakes("", &[&bill(), &bill()]);
    assert!(errors[0].contains("listener `bill` has the name of the one at src/main.rs:7:1"), "{errors:?}");
}

#[test]
fn unknown_names_of_kafka_with_the_nearest() {
    let text = "spring.kafka.consumer.properties: {sesion.timeout.ms: 6000}";
    assert_eq!(
        mistake(text, &[&bill()]),
        "application.yml:1:36: `spring.kafka.consumer.properties.sesion.timeout.ms` names `sesion.timeout.ms`, which no client of Kafka has; did you mean `session.timeout.ms`?"
    );
    assert!(
        mistake("spring.kafka.properties.schema.registry.url: http://x", &[])
            .contains("no client of Kafka has")
    );
}

#[test]
fn a_key_of_ours_under_springs_prefix() {
    let mistake = mistake("spring.kafka.listener.commit.strategy: sync", &[]);
    assert!(mistake.contains("did you mean `kafka-runtime.listener.commit.strategy`?"), "{mistake}");
}

#[test]
fn an_unknown_key_of_a_listener_is_suggested_with_its_id() {
    let mistake = mistake("kafka-runtime.listeners.bill.topik: x", &[&bill()]);
    assert!(mistake.contains("did you mean `kafka-runtime.listeners.bill.topic`?"), "{mistake}");
}

#[test]
fn unknown_names_in_documents_of_other_profiles_count_and_values_do_not() {
    let text = "a: 1\n---\nspring.config.activate.on-profile: prod\nspring.kafka: {security.protocol: SSL, consumer: {grup-id: x}}\n";
    let mistake = mistake(text, &[]);
    assert!(mistake.contains("grup-id"), "{mistake}");
}

#[test]
fn arguments_and_json_are_searched_and_the_environment_is_not() {
    let environment = [
        ("SPRING_KAFKA_CONSUMER_GRUP_ID", "x"),
        ("KAFKA_RUNTIME_PORT", "tcp://10.0.0.1"),
        ("KAFKA_RUNTIME_LISTENERS_X_TOPIC", "t"),
    ];
    assert!(yaml("").environment(environment).build().unwrap().check(&[]).is_ok());
    let errors = yaml("").arguments(["--spring.kafka.consumer.grup-id=x"]).build().unwrap_err();
    assert!(errors.to_string().contains("argument --spring.kafka.consumer.grup-id: "), "{errors}");
    let json = [("SPRING_APPLICATION_JSON", r#"{"spring.kafka.consumer.grup-id": 1}"#)];
    assert!(yaml("").environment(json).build().unwrap_err().to_string().contains("SPRING_APPLICATION_JSON"));
    let json = [("SPRING_APPLICATION_JSON", "{")];
    assert!(yaml("").environment(json).build().unwrap_err().to_string().contains("is not JSON"));
}

#[test]
fn values_where_keys_belong_and_the_other_way_round() {
    for (text, expected) in [
        ("spring.kafka: x", "takes keys, not a value"),
        ("spring.kafka.consumer: x", "takes keys, not a value"),
        ("spring.kafka.properties: x", "takes keys, not a value"),
        ("spring.kafka.consumer.group-id: [a, b]", "takes one value, not a list"),
    ] {
        let mistakes = mistakes(text, &[]);
        assert!(mistakes[0].contains(expected), "{mistakes:?}");
    }
    // Nothing under a key is no mistake.
    assert!(config("spring:\n  kafka:\n    consumer:\n    ssl: {}\n    properties:\n").check(&[]).is_ok());
}

#[test]
fn security_is_refused_wherever_it_stands() {
    for text in [
        "spring.kafka.security.protocol: SSL",
        "spring.kafka.consumer.security.protocol: SASL_PLAINTEXT",
        "spring.kafka.ssl.bundle: b",
        "spring.kafka.producer.ssl.key-store-location: file:x",
        "spring.kafka.jaas.enabled: true",
        "spring.kafka.jaas.options.a: b",
        "spring.kafka.properties.security.protocol: SSL",
        "spring.kafka.properties.sasl.mechanism: PLAIN",
        "spring.kafka.consumer.properties.ssl.truststore.location: x",
        "kafka-runtime.properties.sasl.jaas.config: secret",
        "kafka-runtime.listeners.bill.properties.sasl.mechanism: PLAIN",
    ] {
        let mistake = mistake(text, &[&bill()]);
        assert!(mistake.contains("refused: TLS and SASL are not supported yet"), "{mistake}");
    }
    for variable in [
        "SPRING_KAFKA_SECURITY_PROTOCOL",
        "SPRING_KAFKA_PROPERTIES_SASL_MECHANISM",
        "SPRING_KAFKA_SSL_KEYSTORELOCATION",
    ] {
        let config = yaml("").environment([(variable, "SASL_SSL")]).build().unwrap();
        assert!(config.check(&[]).unwrap_err().to_string().contains("refused"), "{variable}");
    }
    for text in [
        "spring.kafka.security.protocol: PLAINTEXT",
        "spring.kafka.jaas.enabled: false",
        "spring.kafka.ssl.bundle: ${B:}",
    ] {
        assert!(config(text).check(&[]).is_ok(), "{text}");
    }
}

#[test]
fn what_is_not_supported_yet_is_refused_where_it_would_change_what_happens() {
    for text in [
        "spring.kafka.producer.properties.transactional.id: tx",
        "spring.kafka.producer.properties.transaction.two.phase.commit.enable: true",
    ] {
        assert!(mistake(text, &[]).contains("is refused"), "{text}");
    }
}

#[test]
fn keys_without_effect_are_named() {
    let text = "
spring.kafka:
  listener: {poll-timeout: 3s, monitor-interval: 1}
  retry.topic.backoff.jitter: 1s
  streams: {application-id: x}
  consumer.properties: {spring.json.trusted.packages: '*', receive.buffer.bytes: 1, linger.ms: 5}
kafka-runtime.topics: [{name: orders, partitions: 12, replication: 3, config: {retention.ms: 7d}}]
";
    let config = config(text);
    config.check(&[]).unwrap();
    let notices: Vec<String> = config.notices(&[]).iter().map(ToString::to_string).collect();
    for expected in [
        "application.yml:3:28: `spring.kafka.listener.poll-timeout` has no effect: there is no poll loop",
        "`spring.kafka.listener.monitor-interval` has no effect",
        "`spring.kafka.retry.topic.backoff.jitter` has no effect: a retry topic has one wait",
        "`spring.kafka.streams.application-id` has no effect",
        "spring.json.trusted.packages` has no effect",
        "receive.buffer.bytes` has no effect",
        "linger.ms` has no effect: `linger.ms` is a setting of producer",
    ] {
        assert!(notices.iter().any(|notice| notice.contains(expected)), "{expected}\n{notices:#?}");
    }
}

#[test]
fn two_spellings_of_one_key_are_named() {
    let config = config("spring.kafka.consumer:\n  groupId: a\n  group_id: b\n");
    let notices = config.notices(&[]);
    assert!(
        notices[0].to_string().contains("is the same key as `spring.kafka.consumer.groupId`"),
        "{notices:?}"
    );
}

#[test]
fn bad_values_of_keys_without_effect_are_bad_all_the_same() {
    assert!(mistake("spring.kafka.listener.poll-timeout: often", &[]).contains("is not a duration"));
    assert!(mistake("kafka-runtime.listeners.bill.members: x", &[&bill()]).contains("is not a whole number"));
}

#[test]
fn addresses_of_brokers() {
    let mistake = mistake("spring.kafka.bootstrap-servers: localhost", &[]);
    assert!(mistake.contains("`localhost` is no address of a broker; write `host:port`"), "{mistake}");
}

#[test]
fn no_secret_is_ever_shown() {
    let text = "
spring.kafka:
  bootstrap-servers: 'joe:hunter2@broker'
  ssl: {key-password: hunter2, key-store-key: hunter2}
  properties: {sasl.jaas.config: 'password=hunter2'}
  consumer:
    max-poll-records: ${DB_PASSWORD}
    group-id: ${NOPE:${NIX_PASSWORD}}
  security.protocol: ${A_TOKEN:hunter2}
my.password: hunter2
";
    let config = yaml(text).environment([("DB_PASSWORD", "hunter2")]).build().unwrap();
    let errors = config.check(&[&bill()]).unwrap_err();
    let explained = config.explain(&[&bill()]);
    for shown in [
        errors.to_string(),
        format!("{errors:?}"),
        format!("{config:?}"),
        explained.to_string(),
        explained.to_json(),
        format!("{explained:?}"),
    ] {
        // The default of a placeholder that is named like a secret is shown by nobody either.
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let malformed = Config::from_yaml("password: hunter2\n  bad: [hunter2\n").unwrap_err().to_string();
    assert!(!malformed.contains("hunter2"), "{malformed}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]

    #[test]
    fn no_text_panics(
        keys in proptest::collection::vec("(  ){0,3}(spring|kafka|kafka-runtime|listeners|bill|consumer|properties|commit|every|topics|[a-z.]{0,6})", 0..12),
        values in proptest::collection::vec("(|x|5|[-\\[\\]{}$&*<:, a-z]{0,12})", 12),
    ) {
        let lines: Vec<_> = keys.iter().zip(&values).map(|(key, value)| format!("{key}: {value}")).collect();
        if let Ok(config) = Config::from_yaml(&lines.join("\n")) {
            let _ = config.check(&[&bill()]);
            let _ = config.explain(&[]).to_string();
        }
    }

    #[test]
    fn no_value_panics(
        key in "(spring\\.kafka|kafka-runtime)\\.[a-z.\\[\\]0-9*-]{0,30}",
        value in "[ -~]{0,20}",
        known in 0usize..200,
    ) {
        let keys: Vec<_> = crate::config::schema::keys().iter().map(|entry| entry.path.replace('*', "bill")).collect();
        let known = &keys[known % keys.len()];
        for (key, value) in [(key.as_str(), value.as_str()), (&format!("kafka-runtime.{known}"), &value)] {
            let builder = Config::builder().set(key, value).environment([(key.to_uppercase().replace('.', "_"), value)]);
            if let Ok(config) = builder.build() {
                let _ = config.check(&[&bill()]);
                let _ = config.explain(&[&bill()]).to_json();
            }
        }
    }
}

#[test]
fn what_the_coordinator_decides_is_refused_with_the_consumer_protocol() {
    for (key, value) in [
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
        ("partition.assignment.strategy", "range"),
    ] {
        let text =
            format!("spring.kafka.consumer.properties:\n  group.protocol: consumer\n  {key}: {value}\n");
        let mistake = mistake(&text, &[&bill()]);
        assert!(
            mistake.contains(&format!("`{key}` cannot be set with group.protocol consumer")),
            "{mistake}"
        );
    }
    let text =
        "spring.kafka.consumer.heartbeat-interval: 1s\nspring.kafka.properties.group.protocol: consumer";
    assert!(mistake(text, &[&bill()]).contains("cannot be set with group.protocol consumer"));
    let text = "spring.kafka.consumer.properties.group.remote.assignor: range";
    assert!(mistake(text, &[&bill()]).contains("cannot be set with group.protocol classic"));
    let text = "spring.kafka.consumer.properties.group.protocol: consumed";
    assert!(mistake(text, &[&bill()]).contains("did you mean `consumer`?"));
}
