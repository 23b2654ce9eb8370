//! `spring.kafka.*`, all of it (Spring Boot 3.5 and 4), in the order of Spring's own documentation.

use super::Effect::{Honoured, Ignored, Mapped, Refused, RefusedUnless};
use super::Shape::{
    Deserializer, Flag, List, Map, Names, Real, Seconds, Serializer, Size, Text, Time, Whole, Word,
};
use super::{Effect, Key, Scope, Section, Shape};

const TLS: &str = "TLS and SASL are not supported yet, and an open connection must not take their place";
const METRICS: &str = "observations are not supported yet";
const NO_POLL: &str = "there is no poll loop: records are handed over as they arrive";
const WAIT: &str = "up to four times as long while there is nothing to read, where `fetch.min.bytes` is 1 and `client.rack` is not set";
const NO_JITTER: &str =
    "a retry topic has one wait, by which its records stand in the order in which they are due";
const STREAMS: &str = "there is no Kafka Streams here";

const fn key(
    path: &'static str,
    shape: Shape,
    default: &'static str,
    kafka: &'static str,
    effect: Effect,
) -> Key {
    Key { path, shape, default, kafka, effect }
}

const COMMON: &[Key] = &[
    key("bootstrap-servers", List, "localhost:9092", "bootstrap.servers", Honoured),
    key("client-id", Text, "see below", "client.id", Honoured),
    key("properties", Names(Scope::Common), "", "", Honoured),
];

const SECURITY: &[Key] = &[
    key("security.protocol", Text, "PLAINTEXT", "security.protocol", RefusedUnless("PLAINTEXT", TLS)),
    key("ssl", Map, "", "", Refused(TLS)),
];

const JAAS: &[Key] = &[
    key("jaas.enabled", Flag, "false", "", RefusedUnless("false", TLS)),
    key("jaas.**", Map, "", "", Refused(TLS)),
];

const CONSUMER: &[Key] = &[
    key("bootstrap-servers", List, "inherited", "bootstrap.servers", Honoured),
    key("client-id", Text, "`consumer-<group>-1`", "client.id", Honoured),
    key("group-id", Text, "", "group.id", Honoured),
    key("auto-offset-reset", Text, "latest", "auto.offset.reset", Honoured),
    key(
        "enable-auto-commit",
        Flag,
        "false",
        "enable.auto.commit",
        Mapped("commit strategy async, every `auto-commit-interval`, of handled records only"),
    ),
    key(
        "auto-commit-interval",
        Time,
        "5s",
        "auto.commit.interval.ms",
        Mapped("the cadence of `enable-auto-commit`"),
    ),
    key("fetch-max-wait", Time, "500ms", "fetch.max.wait.ms", Mapped(WAIT)),
    key("fetch-min-size", Size, "1B", "fetch.min.bytes", Honoured),
    key("heartbeat-interval", Time, "3s", "heartbeat.interval.ms", Honoured),
    key(
        "isolation-level",
        Word(&["read_uncommitted", "read_committed"]),
        "read_uncommitted",
        "isolation.level",
        Honoured,
    ),
    key(
        "key-deserializer",
        Deserializer,
        "String",
        "key.deserializer",
        Mapped("the handler's `Key<K>` says what a key is decoded to"),
    ),
    key(
        "value-deserializer",
        Deserializer,
        "String",
        "value.deserializer",
        Mapped("the handler's payload says what a value is decoded to"),
    ),
    key(
        "max-poll-records",
        Whole(1),
        "500",
        "max.poll.records",
        Mapped("records of one batch at most, and of one turn of the cadence `batch`"),
    ),
    key(
        "max-poll-interval",
        Time,
        "5m",
        "max.poll.interval.ms",
        Mapped(
            "how long a rebalance waits, and after what a handler is called stuck; a slow handler is not put out",
        ),
    ),
    key("properties", Names(Scope::Consumer), "", "", Honoured),
];

const PRODUCER: &[Key] = &[
    key("bootstrap-servers", List, "inherited", "bootstrap.servers", Honoured),
    key("client-id", Text, "`<application>-producer-1`", "client.id", Honoured),
    key("acks", Text, "all", "acks", Honoured),
    key("batch-size", Size, "16KB", "batch.size", Honoured),
    key("buffer-memory", Size, "32MB", "buffer.memory", Honoured),
    key("compression-type", Text, "none", "compression.type", Honoured),
    key("retries", Whole(0), "2147483647", "retries", Honoured),
    key(
        "key-serializer",
        Serializer,
        "String",
        "key.serializer",
        Mapped("what is handed to `send` says how it is encoded"),
    ),
    key(
        "value-serializer",
        Serializer,
        "String",
        "value.serializer",
        Mapped(
            "what is handed to `send` says how it is encoded: text and bytes as they are, every other value as JSON",
        ),
    ),
    key("transaction-id-prefix", Text, "", "", Honoured),
    key("properties", Names(Scope::Producer), "", "", Honoured),
];

const ADMIN: &[Key] = &[
    key("client-id", Text, "`<application>-admin-0`", "client.id", Honoured),
    key("auto-create", Flag, "true", "", Honoured),
    key("fail-fast", Flag, "false", "", Honoured),
    key("modify-topic-configs", Flag, "false", "", Honoured),
    key("close-timeout", Time, "10s", "", Ignored("nothing is left open")),
    key("operation-timeout", Time, "30s", "", Honoured),
    key("properties", Names(Scope::Admin), "", "", Honoured),
];

const TEMPLATE: &[Key] = &[
    key("default-topic", Text, "", "", Honoured),
    key("close-timeout", Time, "5s", "", Honoured),
    key("transaction-id-prefix", Text, "", "", Honoured),
    key("observation-enabled", Flag, "false", "", Ignored(METRICS)),
];

const LISTENER: &[Key] = &[
    key(
        "type",
        Word(&["single", "batch"]),
        "single",
        "",
        Mapped("the handler's own argument says whether it takes batches"),
    ),
    key(
        "ack-mode",
        Word(&["RECORD", "BATCH", "TIME", "COUNT", "COUNT_TIME", "MANUAL", "MANUAL_IMMEDIATE"]),
        "",
        "",
        Mapped("commit strategy sync, with the mode's cadence and acknowledgement"),
    ),
    key(
        "ack-count",
        Whole(1),
        "1",
        "",
        Mapped("`commit.every.records` of the ack modes COUNT and COUNT_TIME"),
    ),
    key("ack-time", Time, "5s", "", Mapped("`commit.every.time` of the ack modes TIME and COUNT_TIME")),
    key("async-acks", Flag, "false", "", Mapped("always so: acknowledgements may come in any order")),
    key("client-id", Text, "", "", Honoured),
    key(
        "concurrency",
        Whole(1),
        "",
        "",
        Mapped(
            "handlers of a listener that run at once, over all its partitions; members of the group are `members`",
        ),
    ),
    key("poll-timeout", Time, "5s", "", Ignored(NO_POLL)),
    key("no-poll-threshold", Real, "3.0", "", Ignored(NO_POLL)),
    key("idle-between-polls", Time, "0", "", Ignored(NO_POLL)),
    key("idle-event-interval", Time, "", "", Honoured),
    key("idle-partition-event-interval", Time, "", "", Honoured),
    key("monitor-interval", Seconds, "30s", "", Ignored(NO_POLL)),
    key("log-container-config", Flag, "false", "", Honoured),
    key("missing-topics-fatal", Flag, "false", "", Honoured),
    key(
        "immediate-stop",
        Flag,
        "false",
        "",
        Mapped("always so: after the records in hand, no further ones are taken up"),
    ),
    key("auto-startup", Flag, "true", "", Honoured),
    key("change-consumer-thread-name", Flag, "false", "", Ignored("a consumer has no thread of its own")),
    key("only-log-record-metadata", Flag, "true", "", Ignored("payloads are never logged whole")),
    key("observation-enabled", Flag, "false", "", Ignored(METRICS)),
    key(
        "auth-exception-retry-interval",
        Time,
        "",
        "",
        Mapped("always so: a missing permission is said, and tried again with back-off"),
    ),
];

const RETRY_TOPIC: &[Key] = &[
    key("enabled", Flag, "false", "", Honoured),
    key("attempts", Whole(1), "3", "", Honoured),
    key("delay", Time, "1s", "", Honoured),
    key("multiplier", Real, "0", "", Honoured),
    key("max-delay", Time, "0", "", Honoured),
    key("random-back-off", Flag, "false", "", Ignored(NO_JITTER)),
    key("backoff.delay", Time, "1s", "", Honoured),
    key("backoff.multiplier", Real, "1.0", "", Honoured),
    key("backoff.max-delay", Time, "30s", "", Honoured),
    key("backoff.jitter", Time, "0", "", Ignored(NO_JITTER)),
    key("backoff.random", Flag, "false", "", Ignored(NO_JITTER)),
];

pub(super) const SECTIONS: &[Section] = &[
    Section { at: &[""], spring: true, keys: COMMON },
    Section { at: &["consumer"], spring: true, keys: CONSUMER },
    Section { at: &["producer"], spring: true, keys: PRODUCER },
    Section { at: &["template"], spring: true, keys: TEMPLATE },
    Section { at: &["admin"], spring: true, keys: ADMIN },
    Section { at: &["listener"], spring: true, keys: LISTENER },
    Section { at: &["retry.topic"], spring: true, keys: RETRY_TOPIC },
    Section { at: &["", "consumer", "producer", "admin"], spring: true, keys: SECURITY },
    Section { at: &[""], spring: true, keys: JAAS },
    Section { at: &[""], spring: true, keys: &[key("streams", Map, "", "", Ignored(STREAMS))] },
];
