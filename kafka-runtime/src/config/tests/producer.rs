//! The template and the admin client.

use std::time::Duration;

use kafka_client::config::{Acks, Compression, Partitioner, ProducerConfig};

use super::*;
use crate::config::TemplateSettings;

fn template(text: &str) -> TemplateSettings {
    let config = config(text);
    config.check(&[]).unwrap();
    config.template().unwrap()
}

#[test]
fn defaults_are_kafkas() {
    let template = template("");
    assert_eq!(template.producer, ProducerConfig::default());
    assert_eq!(template.default_topic, None);
    assert_eq!(template.close_timeout, Duration::from_secs(5));
}

#[test]
fn every_key() {
    let template = template(
        "
spring.kafka:
  bootstrap-servers: common:1
  template: {default-topic: events, close-timeout: 3s}
  producer:
    bootstrap-servers: 'p:1, p:2'
    acks: -1
    batch-size: 64KB
    buffer-memory: 3GB
    compression-type: lz4
    retries: 7
    properties:
      linger.ms: 20
      delivery.timeout.ms: 60000
      request.timeout.ms: 10000
      max.block.ms: 1000
      max.request.size: 10485760
      max.in.flight.requests.per.connection: 3
      partitioner.class: org.apache.kafka.clients.producer.RoundRobinPartitioner
",
    );
    assert_eq!(template.client.bootstrap_servers, ["p:1", "p:2"]);
    assert_eq!(template.client.request_timeout, Duration::from_secs(10));
    assert_eq!((template.default_topic.as_deref(), template.close_timeout.as_secs()), (Some("events"), 3));
    let producer = template.producer;
    assert_eq!((producer.acks, producer.idempotence, producer.retries), (Acks::All, true, 7));
    assert_eq!((producer.batch_size, producer.buffer_memory), (65536, 3 << 30));
    assert_eq!(
        (producer.compression, producer.partitioner),
        (Compression::Lz4.into(), Partitioner::RoundRobin)
    );
    assert_eq!((producer.linger.as_millis(), producer.delivery_timeout.as_secs()), (20, 60));
    assert!(producer.adaptive_partitioning);
    assert_eq!(
        (producer.max_request_size, producer.max_in_flight, producer.max_block.as_secs()),
        (10 << 20, 3, 1)
    );
}

#[test]
fn weaker_settings_turn_idempotence_off_and_say_so() {
    for text in ["spring.kafka.producer.acks: 1", "spring.kafka.producer.retries: 0"] {
        let config = config(text);
        assert!(!config.template().unwrap().producer.idempotence, "{text}");
        assert!(config.notices(&[])[0].to_string().contains("turns idempotence off"), "{text}");
    }
    let text = "spring.kafka.producer.properties.enable.idempotence: false";
    assert!(!template(text).producer.idempotence);
}

#[test]
fn idempotence_that_is_asked_for_is_a_contradiction_then() {
    for text in [
        "spring.kafka.producer: {acks: 1, properties: {enable.idempotence: true}}",
        "spring.kafka.producer: {retries: 0, properties: {enable.idempotence: true}}",
        "spring.kafka.producer: {properties: {max.in.flight.requests.per.connection: 6}}",
    ] {
        assert!(mistake(text, &[]).contains("exclude each other"), "{text}");
    }
}

#[test]
fn the_delivery_timeout_leaves_room_for_a_try() {
    let text = "spring.kafka.producer.properties: {delivery.timeout.ms: 1000}";
    assert!(mistake(text, &[]).contains(
        "`delivery.timeout.ms` (1s) must be at least linger.ms (5ms) and request.timeout.ms (30s)"
    ));
    let text = "spring.kafka.producer.properties: {request.timeout.ms: 200000}";
    assert_eq!(template(text).producer.delivery_timeout, Duration::from_millis(200_005));
}

#[test]
fn values_that_kafka_refuses() {
    for (properties, expected) in [
        ("acks: ALL", "is none of all, -1, 0, 1"),
        ("compression.type: LZ4", "is none of none, gzip, snappy, lz4, zstd"),
        ("linger.ms: 5s", "is not a whole number of milliseconds"),
        ("enable.idempotence: 'yes'", "is neither `true` nor `false`"),
        ("max.in.flight.requests.per.connection: 0", "must be at least 1"),
        ("batch.size: -1", "must not be negative"),
        ("partitioner.class: com.example.Mine", "is none of org.apache"),
    ] {
        let text = format!("spring.kafka.producer.properties: {{{properties}}}");
        let mistake = mistake(&text, &[]);
        assert!(mistake.contains(expected), "{mistake}");
        assert!(mistake.starts_with("application.yml:1:"), "{mistake}");
    }
}

#[test]
fn the_admin_client() {
    let text = "spring.kafka: {bootstrap-servers: 'a:1', admin: {fail-fast: on, auto-create: no, operation-timeout: 5s, properties: {bootstrap.servers: 'b:1'}}}";
    let admin = config(text).admin().unwrap();
    assert!(admin.fail_fast && !admin.auto_create && !admin.modify_topic_configs);
    assert_eq!((admin.operation_timeout.as_secs(), admin.close_timeout.as_secs()), (5, 10));
    assert_eq!(admin.client.bootstrap_servers, ["b:1"]);
}

#[test]
fn partitioners_go_by_their_names_in_other_clients() {
    use kafka_client::config::{KeyHash, Keyless};
    let of = |properties: &str| {
        template(&format!("spring.kafka.producer.properties: {{{properties}}}\n")).producer.partitioner
    };
    assert_eq!(of(""), Partitioner::Murmur2);
    assert_eq!(of("partitioner: consistent_random"), Partitioner::Keyed(KeyHash::Crc32, Keyless::Random));
    assert_eq!(of("partitioner.class: sarama_hash"), Partitioner::Keyed(KeyHash::Fnv1a, Keyless::Random));
    assert_eq!(of("partitioner.ignore.keys: true"), Partitioner::Sticky);
    let class = "org.apache.kafka.clients.producer.RoundRobinPartitioner";
    assert_eq!(
        of(&format!("partitioner.class: {class}, partitioner.ignore.keys: true")),
        Partitioner::RoundRobin
    );
}

#[test]
fn a_prefix_makes_transactions() {
    let text = "
spring.kafka:
  producer: {transaction-id-prefix: p-, properties: {transaction.timeout.ms: 5000}}
";
    let settings = template(text);
    assert_eq!(settings.transaction_id_prefix.as_deref(), Some("p-"));
    assert_eq!(settings.producer.transaction_timeout, Duration::from_secs(5));
    let stronger =
        template("spring.kafka: {producer.transaction-id-prefix: p-, template.transaction-id-prefix: t-}");
    assert_eq!(stronger.transaction_id_prefix.as_deref(), Some("t-"));
}

#[test]
fn topics_are_declared() {
    let text = "
kafka-runtime:
  topics:
    - {name: orders, partitions: 12, replication: 3, config: {retention.ms: 7d, segment.bytes: 1GB, cleanup.policy: compact}}
    - {name: \"${t:audit}\"}
  template: {reply-topic: answers, reply-timeout: 3s}
";
    let declared = config(text);
    declared.check(&[]).unwrap();
    let topics = declared.topics().unwrap();
    let names: Vec<_> =
        topics.iter().map(|topic| (topic.name.as_str(), topic.partitions, topic.replication)).collect();
    assert_eq!(names, [("orders", Some(12), Some(3)), ("audit", None, None)]);
    let settings: Vec<_> =
        topics[0].config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected =
        [("cleanup.policy", "compact"), ("retention.ms", "604800000"), ("segment.bytes", "1073741824")];
    assert_eq!(settings, expected);
    let template = declared.template().unwrap();
    assert_eq!((template.reply_topic.as_deref(), template.reply_timeout.as_secs()), (Some("answers"), 3));
    let nameless = config("kafka-runtime.topics: [{partitions: 3}]").topics().unwrap_err().to_string();
    assert!(nameless.contains("has no name"), "{nameless}");
}

#[test]
fn a_codec_is_used_at_its_level() {
    let chosen = |compression: &str, properties: &str| {
        let text = format!(
            "spring.kafka.producer: {{compression-type: {compression}, properties: {{{properties}}}}}"
        );
        template(&text).producer.compression
    };
    assert_eq!(chosen("gzip", "compression.gzip.level: 9"), Compression::Gzip.at_level(9).unwrap());
    assert_eq!(chosen("gzip", "compression.gzip.level: -1"), Compression::Gzip.into());
    assert_eq!(chosen("lz4", "compression.lz4.level: 9"), Compression::Lz4.at_level(9).unwrap());
    assert_eq!(chosen("zstd", "compression.zstd.level: 1"), Compression::Zstd.at_level(1).unwrap());
    // Levels of what is not chosen stay in the file for those that can use them.
    let others = "compression.gzip.level: 9, compression.lz4.level: 17, compression.zstd.level: 19";
    assert_eq!(chosen("snappy", others), Compression::Snappy.into());
}

#[test]
fn a_level_that_there_is_not_is_an_error() {
    let mut wrong = vec![
        ("gzip", "compression.gzip.level: 0", "0 is no level of gzip: there are 1 to 9"),
        ("none", "compression.gzip.level: 10", "10 is no level of gzip"),
        ("gzip", "compression.gzip.level: fast", "compression.gzip.level"),
        ("none", "compression.lz4.level: 18", "18 is no level of lz4: there are 1 to 17"),
        ("lz4", "compression.lz4.level: 12", "lz4 has no level 12 here: the encoder in pure Rust has 9 only"),
        ("none", "compression.zstd.level: 23", "23 is no level of zstd: there are -131072 to 22"),
    ];
    if !cfg!(feature = "zstd-c") {
        wrong.push(("zstd", "compression.zstd.level: 3", "build with the feature `zstd-c`"));
    }
    for (compression, property, expected) in wrong {
        let text =
            format!("spring.kafka.producer: {{compression-type: {compression}, properties: {{{property}}}}}");
        let mistake = mistake(&text, &[]);
        assert!(mistake.contains(expected), "{mistake}");
        assert!(mistake.starts_with("application.yml:1:"), "{mistake}");
    }
}
