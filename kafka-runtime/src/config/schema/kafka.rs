//! Kafka's own names, as they stand under `properties`: every name of Kafka 4.1's consumer, producer and admin client.

use super::Effect::{Honoured, Ignored, Mapped, Refused, RefusedUnless};
use super::Shape::{Deserializer, Flag, List, Serializer, Size, Text, Time, Whole, Word};
use super::{Effect, Scope, Shape};

/// A setting of Kafka's clients.
#[derive(Debug)]
pub(crate) struct KafkaKey {
    /// Its name; with `**` at the end all names that begin so.
    pub name: &'static str,
    /// `C`onsumer, `P`roducer, `A`dmin.
    clients: &'static str,
    pub shape: Shape,
    /// In Kafka's notation; empty where there is none.
    pub default: &'static str,
    pub effect: Effect,
}

impl KafkaKey {
    /// Whether a client of this scope has the setting.
    pub(crate) fn concerns(&self, scope: Scope) -> bool {
        match scope {
            Scope::Common => true,
            Scope::Consumer => self.clients.contains('C'),
            Scope::Producer => self.clients.contains('P'),
            Scope::Admin => self.clients.contains('A'),
        }
    }

    /// The setting of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        KAFKA.iter().find(|key| key.name == name).or_else(|| {
            KAFKA.iter().find(|key| key.name.strip_suffix("**").is_some_and(|start| name.starts_with(start)))
        })
    }

    /// Who has it, for the documentation.
    pub(crate) fn clients(&self) -> String {
        let names = self.clients.chars().map(|client| match client {
            'C' => "consumer",
            'P' => "producer",
            _ => "admin",
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

const TLS: &str = "TLS and SASL are not supported yet, and an open connection must not take their place";
const TWO_PHASES: &str = "transactions that another coordinator ends are not supported";
const METRICS: &str = "there are no reporters: counts are read by `Template::stats`, `RunningApp::status` and `RunningApp::lag`";
const PROTOCOL: &str = "`classic`, or `consumer` (KIP-848), which needs Kafka 4.0 or later";
const CLASSIC: &str =
    "itself; with `group.protocol: consumer` the coordinator decides, and setting it is refused";
const REMOTE_ASSIGNOR: &str = "`uniform` or `range`, with `group.protocol: consumer` only";
const SYSTEM: &str = "the operating system sizes socket buffers";
const REBOOTSTRAP: &str = "always so: when no known broker answers, the bootstrap servers are asked again";
const NO_CLASSES: &str = "Java classes cannot be loaded here";
const LZ4_LEVEL: &str = "9 alone, Kafka's default: the encoder in pure Rust is the fast one";
const ZSTD_LEVEL: &str = "-131072 to 22 (3) with the feature `zstd-c`; 1 alone without it";

const fn key(
    name: &'static str,
    clients: &'static str,
    shape: Shape,
    default: &'static str,
    effect: Effect,
) -> KafkaKey {
    KafkaKey { name, clients, shape, default, effect }
}

/// The table. What cannot be told from a typed key is honoured under the same name.
pub(crate) const KAFKA: &[KafkaKey] = &[
    key("bootstrap.servers", "CPA", List, "localhost:9092", Honoured),
    key("client.id", "CPA", Text, "", Honoured),
    key("client.rack", "C", Text, "", Honoured),
    key("request.timeout.ms", "CPA", Time, "30000", Honoured),
    key("socket.connection.setup.timeout.ms", "CPA", Time, "10000", Honoured),
    key("connections.max.idle.ms", "CPA", Text, "540000", Honoured),
    key("reconnect.backoff.ms", "CPA", Time, "50", Honoured),
    key("reconnect.backoff.max.ms", "CPA", Time, "1000", Honoured),
    key("retry.backoff.ms", "CPA", Time, "100", Honoured),
    key("retry.backoff.max.ms", "CPA", Time, "1000", Honoured),
    key("metadata.max.age.ms", "CPA", Time, "300000", Honoured),
    key("group.id", "C", Text, "", Honoured),
    key("group.instance.id", "C", Text, "", Honoured),
    key("session.timeout.ms", "C", Time, "45000", Mapped(CLASSIC)),
    key("heartbeat.interval.ms", "C", Time, "3000", Mapped(CLASSIC)),
    key("max.poll.interval.ms", "C", Time, "300000", Mapped("see `consumer.max-poll-interval`")),
    key("max.poll.records", "C", Whole(1), "500", Mapped("see `consumer.max-poll-records`")),
    key("partition.assignment.strategy", "C", List, "range, cooperative-sticky", Mapped(CLASSIC)),
    key("group.protocol", "C", Text, "classic", Mapped(PROTOCOL)),
    key("auto.offset.reset", "C", Text, "latest", Honoured),
    key("isolation.level", "C", Word(&["read_uncommitted", "read_committed"]), "read_uncommitted", Honoured),
    key("allow.auto.create.topics", "C", Flag, "true", Honoured),
    key("default.api.timeout.ms", "CA", Time, "60000", Honoured),
    key("fetch.min.bytes", "C", Size, "1", Honoured),
    key("fetch.max.bytes", "C", Size, "52428800", Honoured),
    key("max.partition.fetch.bytes", "C", Size, "1048576", Honoured),
    key("fetch.max.wait.ms", "C", Time, "500", Mapped("see `consumer.fetch-max-wait`")),
    key("check.crcs", "C", Flag, "true", Honoured),
    key("enable.auto.commit", "C", Flag, "false", Mapped("see `consumer.enable-auto-commit`")),
    key("auto.commit.interval.ms", "C", Time, "5000", Mapped("see `consumer.auto-commit-interval`")),
    key("key.deserializer", "C", Deserializer, "String", Mapped("see `consumer.key-deserializer`")),
    key("value.deserializer", "C", Deserializer, "String", Mapped("see `consumer.value-deserializer`")),
    key("acks", "P", Text, "all", Honoured),
    key("enable.idempotence", "P", Flag, "true", Honoured),
    key("retries", "PA", Whole(0), "2147483647", Honoured),
    key("delivery.timeout.ms", "P", Time, "120000", Honoured),
    key("linger.ms", "P", Time, "5", Honoured),
    key("batch.size", "P", Size, "16384", Honoured),
    key("batch.max.size", "P", Size, "262144", Honoured),
    key("buffer.memory", "P", Size, "33554432", Honoured),
    key("max.block.ms", "P", Time, "60000", Honoured),
    key("max.request.size", "P", Size, "1048576", Honoured),
    key("max.in.flight.requests.per.connection", "P", Whole(1), "5", Honoured),
    key("compression.type", "P", Text, "none", Honoured),
    key("compression.gzip.level", "P", Whole(-1), "-1", Honoured),
    key("partitioner.class", "P", Text, "", Honoured),
    key("partitioner", "P", Text, "", Mapped("librdkafka's name for `partitioner.class`")),
    key("partitioner.ignore.keys", "P", Flag, "false", Honoured),
    key("key.serializer", "P", Serializer, "String", Mapped("see `producer.key-serializer`")),
    key("value.serializer", "P", Serializer, "String", Mapped("see `producer.value-serializer`")),
    key(
        "transactional.id",
        "P",
        Text,
        "",
        Refused("there is one for each transaction at a time: `transaction-id-prefix`"),
    ),
    key("transaction.timeout.ms", "P", Time, "60000", Honoured),
    key("transaction.two.phase.commit.enable", "P", Flag, "false", RefusedUnless("false", TWO_PHASES)),
    key("security.protocol", "CPA", Text, "PLAINTEXT", RefusedUnless("PLAINTEXT", TLS)),
    key("security.providers", "CPA", Text, "", Refused(TLS)),
    key("sasl.**", "CPA", Text, "", Refused(TLS)),
    key("ssl.**", "CPA", Text, "", Refused(TLS)),
    key("spring.json.**", "CP", Text, "", Ignored("the handler's types say what JSON is decoded to")),
    key("spring.deserializer.key.delegate.class", "C", Deserializer, "", Mapped("as `key.deserializer`")),
    key("spring.deserializer.value.delegate.class", "C", Deserializer, "", Mapped("as `value.deserializer`")),
    key("spring.deserializer.**", "C", Text, "", Ignored("a failure to decode is an outcome of the record")),
    key("client.dns.lookup", "CPA", Text, "use_all_dns_ips", Ignored("every address of a name is tried")),
    key("receive.buffer.bytes", "CPA", Text, "", Ignored(SYSTEM)),
    key("send.buffer.bytes", "CPA", Text, "", Ignored(SYSTEM)),
    key("socket.connection.setup.timeout.max.ms", "CPA", Time, "30000", Ignored("the timeout does not grow")),
    key("metadata.recovery.strategy", "CPA", Text, "rebootstrap", Ignored(REBOOTSTRAP)),
    key("metadata.recovery.rebootstrap.trigger.ms", "CPA", Time, "300000", Ignored(REBOOTSTRAP)),
    key("metadata.max.idle.ms", "P", Time, "300000", Ignored("what the producer knows of a topic is kept")),
    key(
        "exclude.internal.topics",
        "C",
        Flag,
        "true",
        Ignored("always so: a pattern never means internal topics"),
    ),
    key("group.remote.assignor", "C", Text, "", Mapped(REMOTE_ASSIGNOR)),
    key("share.acknowledgement.mode", "C", Text, "implicit", Ignored("there are no share groups yet")),
    key("compression.lz4.level", "P", Whole(1), "", Mapped(LZ4_LEVEL)),
    key("compression.zstd.level", "P", Whole(-131_072), "", Mapped(ZSTD_LEVEL)),
    key("partitioner.adaptive.partitioning.enable", "P", Flag, "true", Honoured),
    key(
        "partitioner.availability.timeout.ms",
        "P",
        Time,
        "0",
        Ignored("a partition is chosen the less the more waits for it, without a limit"),
    ),
    key("interceptor.classes", "CP", List, "", Ignored(NO_CLASSES)),
    key("metric.reporters", "CPA", List, "", Ignored(METRICS)),
    key("auto.include.jmx.reporter", "CPA", Flag, "", Ignored(METRICS)),
    key("metrics.num.samples", "CPA", Whole(1), "2", Ignored(METRICS)),
    key("metrics.recording.level", "CPA", Text, "INFO", Ignored(METRICS)),
    key("metrics.sample.window.ms", "CPA", Time, "30000", Ignored(METRICS)),
    key("enable.metrics.push", "CPA", Flag, "", Ignored(METRICS)),
    key("config.providers", "CPA", List, "", Refused("Java's configuration providers cannot be loaded here")),
    key(
        "config.providers.**",
        "CPA",
        Text,
        "",
        Refused("Java's configuration providers cannot be loaded here"),
    ),
    key("bootstrap.controllers", "A", List, "", Ignored("the brokers are asked")),
    key(
        "internal.leave.group.on.close",
        "C",
        Flag,
        "true",
        Ignored("static members stay, dynamic ones leave"),
    ),
    key(
        "internal.throw.on.fetch.stable.offset.unsupported",
        "C",
        Flag,
        "false",
        Ignored("brokers are new enough"),
    ),
];
