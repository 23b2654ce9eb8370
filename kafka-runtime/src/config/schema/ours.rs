//! `kafka-runtime.*`: what Spring's file cannot say.

use super::Effect::Honoured;
use super::Shape::{Flag, List, Map, Names, Real, Size, Text, Time, Whole, Word};
use super::{Effect, Key, Scope, Section, Shape};

const fn key(path: &'static str, shape: Shape, default: &'static str, effect: Effect) -> Key {
    Key { path, shape, default, kafka: "", effect }
}

const fn setting(path: &'static str, shape: Shape, kafka: &'static str) -> Key {
    Key { path, shape, default: "`consumer.*`", kafka, effect: Honoured }
}

pub(crate) const STRATEGIES: &[&str] = &["sync", "async", "combined"];
pub(crate) const EACH: &[&str] = &["record", "batch"];
pub(crate) const ACKS: &[&str] = &["auto", "manual", "manual-immediate"];
pub(crate) const EXHAUSTED: &[&str] = &["dead-letter", "skip", "stop"];
pub(crate) const ORDERINGS: &[&str] = &["partition", "key", "none"];
pub(crate) const REVOKED: &[&str] = &["cancel", "finish"];

pub(crate) const RETRY_NAMES: &[&str] = &["delay", "index"];

/// Once for all listeners, and again for one.
const EVERY_LISTENER: &[Key] = &[
    key("commit", Word(STRATEGIES), "combined", Honoured),
    key("commit.strategy", Word(STRATEGIES), "combined", Honoured),
    key("commit.every", Word(EACH), "", Honoured),
    key("commit.every.records", Whole(1), "", Honoured),
    key("commit.every.time", Time, "1s", Honoured),
    key("commit.remember", Flag, "true", Honoured),
    key("prefetch", Size, "64MB", Honoured),
    key("transactional", Flag, "false", Honoured),
    key("ordering", Word(ORDERINGS), "partition", Honoured),
    key("ack", Word(ACKS), "auto", Honoured),
    key("retry.attempts", Whole(1), "10", Honoured),
    key("retry.backoff", Text, "100ms..10s", Honoured),
    key("retry.backoff.initial", Time, "100ms", Honoured),
    key("retry.backoff.max", Time, "10s", Honoured),
    key("retry.backoff.multiplier", Real, "2", Honoured),
    key("retry.backoff.jitter", Real, "0.2", Honoured),
    key("retry.max-elapsed", Time, "", Honoured),
    key("retry.only", List, "the attribute's", Honoured),
    key("retry.never", List, "the attribute's", Honoured),
    key("on-exhausted", Word(EXHAUSTED), "dead-letter", Honoured),
    key("dead-letter", Text, "`{topic}-dlt`", Honoured),
    key("dead-letter.topic", Text, "`{topic}-dlt`", Honoured),
    key("dead-letter.create", Flag, "`admin.auto-create`", Honoured),
    key("dead-letter.partitions", Whole(1), "as the topic has", Honoured),
    key("dead-letter.replication", Whole(1), "the broker's", Honoured),
    key("dead-letter.retention", Time, "the broker's", Honoured),
    key(
        "retry-topics.enabled",
        Flag,
        "on where the listener itself has one of the next four, else `retry.topic.enabled`",
        Honoured,
    ),
    key("retry-topics.attempts", Whole(1), "`retry.topic.attempts`", Honoured),
    key("retry-topics.backoff", Text, "`retry.topic.backoff.*`", Honoured),
    key("retry-topics.multiplier", Real, "`retry.topic.backoff.multiplier`", Honoured),
    key("retry-topics.names", Word(RETRY_NAMES), "delay", Honoured),
    key("handler-timeout", Time, "", Honoured),
    key("drain-timeout", Time, "10s", Honoured),
    key("on-revoke", Word(REVOKED), "cancel", Honoured),
    key("rate-limit", Text, "", Honoured),
    key("circuit-breaker.failures", Whole(1), "", Honoured),
    key("circuit-breaker.pause", Time, "10s", Honoured),
    key("circuit-breaker.max-pause", Time, "1m", Honoured),
    key("pause-when", Text, "", Honoured),
    key("pause-when.check", Text, "", Honoured),
    key("pause-when.interval", Time, "5s", Honoured),
    key("commit-timeout", Time, "60s", Honoured),
    key("members", Whole(1), "1", Honoured),
];

const ALL_LISTENERS: &[Key] = &[key("shutdown-timeout", Time, "20s", Honoured)];

const ONE_LISTENER: &[Key] = &[
    key("topic", Text, "the attribute's", Honoured),
    key("topics", List, "the attribute's", Honoured),
    key("pattern", Text, "the attribute's", Honoured),
    setting("group", Text, "group.id"),
    setting("group-id", Text, "group.id"),
    key("client-id", Text, "", Honoured),
    key("send-to", Text, "the attribute's", Honoured),
    key("concurrency", Whole(1), "`listener.concurrency`", Honoured),
    key("auto-startup", Flag, "`listener.auto-startup`", Honoured),
    key("missing-topics-fatal", Flag, "`listener.missing-topics-fatal`", Honoured),
    key("idle-event-interval", Time, "`listener.idle-event-interval`", Honoured),
    key("idle-partition-event-interval", Time, "`listener.idle-partition-event-interval`", Honoured),
    setting("auto-offset-reset", Text, "auto.offset.reset"),
    setting("isolation-level", Word(&["read_uncommitted", "read_committed"]), "isolation.level"),
    setting("max-poll-records", Whole(1), "max.poll.records"),
    setting("max-poll-interval", Time, "max.poll.interval.ms"),
    setting("heartbeat-interval", Time, "heartbeat.interval.ms"),
    setting("fetch-max-wait", Time, "fetch.max.wait.ms"),
    setting("fetch-min-size", Size, "fetch.min.bytes"),
    key("properties", Names(Scope::Consumer), "", Honoured),
];

const TOPIC: &[Key] = &[
    key("name", Text, "", Honoured),
    key("partitions", Whole(1), "the broker's", Honoured),
    key("replication", Whole(1), "the broker's", Honoured),
    key("config", Map, "", Honoured),
];

const TEMPLATE: &[Key] =
    &[key("reply-topic", Text, "", Honoured), key("reply-timeout", Time, "5s", Honoured)];

pub(super) const SECTIONS: &[Section] = &[
    Section { at: &["listener", "listeners.*"], spring: false, keys: EVERY_LISTENER },
    Section { at: &["listener"], spring: false, keys: ALL_LISTENERS },
    Section { at: &["listeners.*"], spring: false, keys: ONE_LISTENER },
    Section { at: &["template"], spring: false, keys: TEMPLATE },
    Section { at: &["topics[]"], spring: false, keys: TOPIC },
];
