//! A listener's consumer.

use std::time::Duration;

use kafka_client::config::{
    Assignor, ConsumerConfig, FetchConfig, GroupConfig, GroupProtocol, IsolationLevel, OffsetReset,
    Subscription,
};

use super::super::classes;
use super::super::value::{Notation, Size, iso_duration, split_list};
use super::listener::layered;
use super::{Binding, Client, Place, unknown};

/// The consumer's settings.
pub(super) fn consumer(
    binding: &mut Binding<'_>,
    client: Client<'_>,
    subscription: Subscription,
) -> ConsumerConfig {
    let defaults = ConsumerConfig::new(subscription);
    let auto_offset_reset = binding.parse(
        "auto.offset.reset",
        &client.places("auto.offset.reset"),
        defaults.auto_offset_reset,
        |text, _| offset_reset(text),
        show_offset_reset,
    );
    let isolation = binding.word(
        "isolation.level",
        &client.places("isolation.level"),
        defaults.isolation,
        &[
            ("read_uncommitted", IsolationLevel::ReadUncommitted),
            ("read_committed", IsolationLevel::ReadCommitted),
        ],
    );
    let allow_auto_create_topics = binding.read(
        "allow.auto.create.topics",
        &client.places("allow.auto.create.topics"),
        defaults.allow_auto_create_topics,
    );
    let api_timeout = binding.time(
        "default.api.timeout.ms",
        &client.places("default.api.timeout.ms"),
        defaults.api_timeout,
    );
    for name in ["key.deserializer", "value.deserializer"] {
        deserializer(binding, client, name);
    }
    ConsumerConfig {
        group: group(binding, client),
        auto_offset_reset,
        isolation,
        allow_auto_create_topics,
        api_timeout,
        fetch: fetch(binding, client, &defaults.fetch),
        ..defaults
    }
}

fn deserializer(binding: &mut Binding<'_>, client: Client<'_>, name: &'static str) {
    let default = "the handler's type".to_owned();
    let read =
        |text: &str, _| classes::deserializer(text).map(|format| format!("{format} ({})", text.trim()));
    binding.parse(name, &client.places(name), default, read, String::clone);
}

fn fetch(binding: &mut Binding<'_>, client: Client<'_>, defaults: &FetchConfig) -> FetchConfig {
    let mut bytes = |name: &'static str, default| binding.bytes(name, &client.places(name), default);
    let min_bytes = bytes("fetch.min.bytes", defaults.min_bytes);
    let max_bytes = bytes("fetch.max.bytes", defaults.max_bytes);
    let max_partition_bytes = bytes("max.partition.fetch.bytes", defaults.max_partition_bytes);
    FetchConfig {
        min_bytes,
        max_bytes,
        max_partition_bytes,
        max_wait: binding.time("fetch.max.wait.ms", &client.places("fetch.max.wait.ms"), defaults.max_wait),
        prefetch_bytes: prefetch(binding, client, defaults.prefetch_bytes),
        check_crcs: binding.read("check.crcs", &client.places("check.crcs"), defaults.check_crcs),
    }
}

/// Bytes that wait for handlers, over all partitions of a member.
fn prefetch(binding: &mut Binding<'_>, client: Client<'_>, default: usize) -> usize {
    let places = match client.listener {
        Some(listener) => layered(listener, "prefetch", listener.attributes.prefetch),
        None => vec![Place::ours("listener.prefetch".to_owned())],
    };
    let default = Size(u64::try_from(default).unwrap_or(u64::MAX));
    let Size(bytes) = binding.read("prefetch", &places, default);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn group(binding: &mut Binding<'_>, client: Client<'_>) -> Option<GroupConfig> {
    let group_id = binding.text("group.id", &client.places("group.id"));
    let group_id = group_id.map(|group| group.trim().to_owned());
    let defaults = GroupConfig::new(group_id.clone().unwrap_or_default());
    let instance_id = binding.parse(
        "group.instance.id",
        &client.places("group.instance.id"),
        None,
        |text, _| instance_id(text).map(Some),
        |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned()),
    );
    let protocol = binding.parse(
        "group.protocol",
        &client.places("group.protocol"),
        defaults.protocol,
        |text, _| group_protocol(text),
        |protocol| format!("{protocol:?}").to_lowercase(),
    );
    let mut time = |name: &'static str, default: Duration| binding.time(name, &client.places(name), default);
    let group = GroupConfig {
        session_timeout: time("session.timeout.ms", defaults.session_timeout),
        heartbeat_interval: time("heartbeat.interval.ms", defaults.heartbeat_interval),
        rebalance_timeout: time("max.poll.interval.ms", defaults.rebalance_timeout),
        assignors: binding.parse(
            "partition.assignment.strategy",
            &client.places("partition.assignment.strategy"),
            defaults.assignors,
            assignors,
            |assignors| assignors.iter().map(|one| assignor_name(*one)).collect::<Vec<_>>().join(", "),
        ),
        remote_assignor: binding.text("group.remote.assignor", &client.places("group.remote.assignor")),
        instance_id,
        group_id: defaults.group_id,
        protocol,
    };
    group_id.map(|_| group)
}

/// In whatever case, as in Java.
fn group_protocol(text: &str) -> Result<GroupProtocol, String> {
    match text.trim().to_lowercase().as_str() {
        "classic" => Ok(GroupProtocol::Classic),
        "consumer" => Ok(GroupProtocol::Consumer),
        other => Err(unknown(&["classic", "consumer"], other)),
    }
}

/// Kafka: letters, digits, dots, underscores and hyphens, at most 249 of them.
fn instance_id(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.len() <= 249 && text.chars().all(allowed) && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        Err("is not made of letters, digits, `.`, `_` and `-`, at most 249".to_owned())
    }
}

const ASSIGNORS: [(&str, &str, Assignor); 4] = [
    ("range", "RangeAssignor", Assignor::Range),
    ("roundrobin", "RoundRobinAssignor", Assignor::RoundRobin),
    ("sticky", "StickyAssignor", Assignor::Sticky),
    ("cooperative-sticky", "CooperativeStickyAssignor", Assignor::CooperativeSticky),
];

fn assignor_name(assignor: Assignor) -> &'static str {
    ASSIGNORS.iter().find(|(_, _, known)| *known == assignor).map_or("other", |(name, _, _)| name)
}

/// Java's classes, or the names that the group protocol has for them.
fn assignors(text: &str, _: Notation) -> Result<Vec<Assignor>, String> {
    let mut found = Vec::new();
    for wanted in split_list(text) {
        let class = wanted.strip_prefix("org.apache.kafka.clients.consumer.");
        let known = ASSIGNORS.iter().find(|(name, java, _)| wanted == *name || class == Some(java));
        match known {
            Some((_, _, assignor)) if !found.contains(assignor) => found.push(*assignor),
            Some(_) => {}
            None => {
                let classes =
                    ASSIGNORS.map(|(_, java, _)| format!("org.apache.kafka.clients.consumer.{java}"));
                return Err(unknown(&classes.each_ref().map(String::as_str), &wanted));
            }
        }
    }
    if found.is_empty() { Err("names no assignor".to_owned()) } else { Ok(found) }
}

fn offset_reset(text: &str) -> Result<OffsetReset, String> {
    match text {
        "earliest" => Ok(OffsetReset::Earliest),
        "latest" => Ok(OffsetReset::Latest),
        "none" => Ok(OffsetReset::None),
        _ => text
            .strip_prefix("by_duration:")
            .and_then(iso_duration)
            .map(OffsetReset::ByDuration)
            .ok_or_else(|| "is none of earliest, latest, none, by_duration:PT1H".to_owned()),
    }
}

fn show_offset_reset(reset: &OffsetReset) -> String {
    match reset {
        OffsetReset::Earliest => "earliest".to_owned(),
        OffsetReset::Latest => "latest".to_owned(),
        OffsetReset::None => "none".to_owned(),
        OffsetReset::ByDuration(duration) => format!("by_duration:PT{}S", duration.as_secs()),
    }
}
