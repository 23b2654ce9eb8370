//! Every value in force and where it came from.

use super::*;

const TEXT: &str = "
server: {port: 9991}
db: {url: 'postgres://joe:pw@db/x', password: s3cret}
spring.application.name: shop
spring.kafka:
  bootstrap-servers: ${BROKERS:localhost:9092}
  consumer: {max-poll-interval: 10m}
kafka-runtime.listeners.bill.concurrency: 8
";

fn explained() -> super::super::Explanation {
    let environment = [("BROKERS", "b:1"), ("SPRING_KAFKA_CONSUMER_MAX_POLL_RECORDS", "9")];
    yaml(TEXT).environment(environment).build().unwrap().explain(&[&bill()])
}

#[test]
fn every_value_has_its_source() {
    let explained = explained();
    for (section, name, value, source) in [
        (
            "listener bill",
            "bootstrap.servers",
            "b:1",
            "application.yml:6:22, ${BROKERS} from environment variable BROKERS",
        ),
        ("listener bill", "max.poll.interval.ms", "10m", "application.yml:7:33"),
        (
            "listener bill",
            "max.poll.records",
            "9",
            "environment variable SPRING_KAFKA_CONSUMER_MAX_POLL_RECORDS",
        ),
        ("listener bill", "concurrency", "8", "application.yml:8:43"),
        ("listener bill", "topics", "orders", "src/main.rs:7:1, attribute topic"),
        ("listener bill", "group.id", "billing", "src/main.rs:7:1, attribute group"),
        ("listener bill", "session.timeout.ms", "45s", "default"),
        ("listener bill", "commit.strategy", "combined", "default"),
        ("listener bill", "commit.every", "1s", "default"),
        ("template", "client.id", "shop-producer-1", "follows from spring.application.name"),
        ("template", "enable.idempotence", "true", "default"),
        ("application", "server.port", "9991", "application.yml:2:16"),
        ("application", "db.url", "postgres://******@db/x", "application.yml:3:11"),
        ("application", "db.password", "******", "application.yml:3:47"),
    ] {
        let expected = Some((value.to_owned(), source.to_owned()));
        assert_eq!(explained.value(section, name), expected, "{section} {name}");
    }
}

#[test]
fn as_text_and_as_json() {
    let explained = explained();
    let text = explained.to_string();
    assert!(text.starts_with("profiles  default\nfiles     application.yml\n"), "{text}");
    assert!(text.contains("\nlistener bill\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&explained.to_json()).unwrap();
    assert_eq!(json["values"]["listener bill"]["max.poll.records"]["value"], "9");
    assert_eq!(json["profiles"][0], "default");
    assert!(json["problems"].as_array().unwrap().is_empty());
}

#[test]
fn what_follows_from_another_setting_says_so() {
    let explain = |text: &str| config(text).explain(&[&bill()]);
    let source = |text: &str, section: &str, name: &str| explain(text).value(section, name).unwrap().1;
    let text = "spring.kafka.listener.ack-mode: RECORD";
    assert_eq!(source(text, "listener bill", "commit.every"), "follows from listener.ack-mode");
    assert_eq!(source(text, "listener bill", "commit.strategy"), "follows from listener.ack-mode");
    let text = "spring.kafka.producer.acks: 1";
    assert_eq!(source(text, "template", "enable.idempotence"), "follows from acks");
    let text = "spring.kafka.consumer.max-poll-interval: 20s";
    assert_eq!(source(text, "listener bill", "drain-timeout"), "follows from max.poll.interval.ms");
}

#[test]
fn mistakes_and_remarks_are_part_of_it_and_unknown_listeners_are_not_known() {
    let text = "spring.kafka: {consumer: {max-poll-records: x}, listener: {poll-timeout: 1s}}\nkafka-runtime.listeners.other.topic: t\n";
    let explained = config(text).explain(&[]);
    let shown = explained.to_string();
    assert!(shown.contains("\nproblems\n") && shown.contains("is not a whole number"), "{shown}");
    assert!(shown.contains("\nnotices\n") && !shown.contains("is no listener"), "{shown}");
}

#[test]
fn without_the_listeners_it_shows_what_holds_for_all_and_what_is_said_by_name() {
    let text = "spring.kafka: {consumer: {group-id: g}, listener: {ack-mode: MANUAL}}\nkafka-runtime.listeners.pay: {topic: t, commit: {every: {records: 5}}}\n";
    let explained = config(text).explain(&[]);
    assert!(explained.problems.is_empty(), "{explained}");
    let value = |section: &str, name: &str| explained.value(section, name).map(|(value, _)| value);
    assert_eq!(value("every listener", "group.id").as_deref(), Some("g"));
    assert_eq!(value("every listener", "ack").as_deref(), Some("manual"));
    assert_eq!(value("listener pay", "topic").as_deref(), Some("t"));
    assert_eq!(value("listener pay", "commit.every.records").as_deref(), Some("5"));
}
