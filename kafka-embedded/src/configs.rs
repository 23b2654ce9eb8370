//! Topic configs: Kafka's names, defaults and checks.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_client::config::Compression;
use kafka_client::records::Codec;

/// A config's type as DescribeConfigs numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Int,
    Long,
    Double,
    List,
    String,
}

impl Kind {
    /// DescribeConfigs' number.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Boolean => is_boolean(value, "true") || is_boolean(value, "false"),
            Self::Int => value.trim().parse::<i32>().is_ok(),
            Self::Long => value.trim().parse::<i64>().is_ok(),
            Self::Double => value.trim().parse::<f64>().is_ok(),
            Self::List | Self::String => true,
        }
    }
}

/// Name, type, default of every topic config of Kafka 4.1. All are checked, kept and shown; those that [`TopicConfigs`] has
/// as a field do something, the others nothing that a client could notice (`docs/conformance.md` has the reason of each).
pub(crate) const KNOWN: &[(&str, Kind, &str)] = &[
    ("cleanup.policy", Kind::List, "delete"),
    ("compression.gzip.level", Kind::Int, "-1"),
    ("compression.lz4.level", Kind::Int, "9"),
    ("compression.type", Kind::String, "producer"),
    ("compression.zstd.level", Kind::Int, "3"),
    ("delete.retention.ms", Kind::Long, "86400000"),
    ("file.delete.delay.ms", Kind::Long, "60000"),
    ("flush.messages", Kind::Long, "9223372036854775807"),
    ("flush.ms", Kind::Long, "9223372036854775807"),
    ("follower.replication.throttled.replicas", Kind::List, ""),
    ("index.interval.bytes", Kind::Int, "4096"),
    ("leader.replication.throttled.replicas", Kind::List, ""),
    ("local.retention.bytes", Kind::Long, "-2"),
    ("local.retention.ms", Kind::Long, "-2"),
    ("max.compaction.lag.ms", Kind::Long, "9223372036854775807"),
    ("max.message.bytes", Kind::Int, "1048588"),
    ("message.timestamp.after.max.ms", Kind::Long, "3600000"),
    ("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807"),
    ("message.timestamp.type", Kind::String, "CreateTime"),
    ("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    ("min.compaction.lag.ms", Kind::Long, "0"),
    ("min.insync.replicas", Kind::Int, "1"),
    ("preallocate", Kind::Boolean, "false"),
    ("remote.log.copy.disable", Kind::Boolean, "false"),
    ("remote.log.delete.on.disable", Kind::Boolean, "false"),
    ("remote.storage.enable", Kind::Boolean, "false"),
    ("retention.bytes", Kind::Long, "-1"),
    ("retention.ms", Kind::Long, "604800000"),
    ("segment.bytes", Kind::Int, "1073741824"),
    ("segment.index.bytes", Kind::Int, "10485760"),
    ("segment.jitter.ms", Kind::Long, "0"),
    ("segment.ms", Kind::Long, "604800000"),
    ("unclean.leader.election.enable", Kind::Boolean, "false"),
];

/// For how long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retention {
    Unlimited,
    /// So many milliseconds by their timestamps, where a topic sets it: Kafka's rule.
    ByTimestamp(i64),
    /// Where it does not: tests write records of times long gone, which Kafka's rule would take at the first check.
    SinceArrival(Duration),
}

impl Retention {
    fn of(millis: i64) -> Self {
        if millis < 0 { Self::Unlimited } else { Self::ByTimestamp(millis) }
    }
}

/// What was set on a topic, and what the broker reads on every append.
#[derive(Debug, Clone)]
pub(crate) struct TopicConfigs {
    set: BTreeMap<String, String>,
    /// `cleanup.policy` has `delete`.
    pub(crate) deletes: bool,
    /// `cleanup.policy` has `compact`.
    pub(crate) compacts: bool,
    /// `retention.bytes`, if there is a limit.
    pub(crate) retention_bytes: Option<usize>,
    /// `retention.ms`
    pub(crate) retention: Retention,
    /// `delete.retention.ms`
    pub(crate) delete_retention_ms: i64,
    /// `min.compaction.lag.ms`
    pub(crate) min_compaction_lag_ms: i64,
    /// `min.insync.replicas`
    pub(crate) min_in_sync: usize,
    /// `unclean.leader.election.enable`
    pub(crate) unclean: bool,
    /// `compression.type`: the codec that every batch is stored in, `None` for the producer's own.
    pub(crate) codec: Option<Codec>,
    /// `max.message.bytes`
    pub(crate) max_message_bytes: usize,
    /// `message.timestamp.type=LogAppendTime`
    pub(crate) log_append_time: bool,
    /// `message.timestamp.after.max.ms`
    pub(crate) timestamp_after_max: i64,
    /// `message.timestamp.before.max.ms`
    pub(crate) timestamp_before_max: i64,
}

impl Default for TopicConfigs {
    fn default() -> Self {
        Self {
            set: BTreeMap::new(),
            deletes: true,
            compacts: false,
            retention_bytes: None,
            retention: Retention::SinceArrival(Duration::from_millis(604_800_000)),
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            min_in_sync: 1,
            unclean: false,
            codec: None,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            timestamp_after_max: 3_600_000,
            timestamp_before_max: i64::MAX,
        }
    }
}

impl TopicConfigs {
    /// These configs, checked.
    ///
    /// # Errors
    /// The first one that is unknown or has a value Kafka refuses, as INVALID_CONFIG says it.
    pub(crate) fn new(set: BTreeMap<String, String>) -> Result<Self, String> {
        for (name, value) in &set {
            check(name, value)?;
        }
        let default = Self::default();
        let number = |name: &str| set.get(name).and_then(|value| value.trim().parse::<i64>().ok());
        let size = |value: i64| usize::try_from(value).ok();
        let text = |name: &str| set.get(name).map(String::as_str);
        let policy = |name| text("cleanup.policy").map(|all| all.split(',').any(|one| one.trim() == name));
        let or = |name, default: i64| number(name).unwrap_or(default);
        if or("max.compaction.lag.ms", i64::MAX) < or("min.compaction.lag.ms", default.min_compaction_lag_ms)
        {
            return Err("max.compaction.lag.ms must not be below min.compaction.lag.ms".to_owned());
        }
        Ok(Self {
            deletes: policy("delete").unwrap_or(default.deletes),
            compacts: policy("compact").unwrap_or(default.compacts),
            retention_bytes: number("retention.bytes").and_then(size),
            retention: number("retention.ms").map_or(default.retention, Retention::of),
            delete_retention_ms: or("delete.retention.ms", default.delete_retention_ms),
            min_compaction_lag_ms: or("min.compaction.lag.ms", default.min_compaction_lag_ms),
            min_in_sync: number("min.insync.replicas").and_then(size).unwrap_or(default.min_in_sync),
            unclean: text("unclean.leader.election.enable").is_some_and(|value| is_boolean(value, "true")),
            codec: text("compression.type").and_then(codec),
            max_message_bytes: number("max.message.bytes")
                .and_then(size)
                .unwrap_or(default.max_message_bytes),
            timestamp_after_max: or("message.timestamp.after.max.ms", default.timestamp_after_max),
            timestamp_before_max: or("message.timestamp.before.max.ms", default.timestamp_before_max),
            log_append_time: text("message.timestamp.type") == Some("LogAppendTime"),
            set,
        })
    }

    /// What was set, by name.
    pub(crate) fn set(&self) -> &BTreeMap<String, String> {
        &self.set
    }
}

/// Type and default of a topic config.
pub(crate) fn known(name: &str) -> Option<(Kind, &'static str)> {
    KNOWN.iter().find(|(known, ..)| *known == name).map(|(_, kind, default)| (*kind, *default))
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let Some((kind, _)) = known(name) else { return Err(format!("Unknown topic config name: {name}")) };
    let among = |allowed: &[&str], one: &str| allowed.contains(&one);
    let listed = || value.split(',').map(str::trim).filter(|part| !part.is_empty());
    let allowed = match name {
        "message.timestamp.type" => among(&["CreateTime", "LogAppendTime"], value),
        "compression.type" => among(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"], value),
        "cleanup.policy" => listed().all(|one| among(&["compact", "delete"], one)),
        "leader.replication.throttled.replicas" | "follower.replication.throttled.replicas" => {
            value.trim() == "*" || listed().all(is_replica)
        }
        // What there is no tiered storage for.
        "remote.storage.enable" => is_boolean(value, "false"),
        "min.cleanable.dirty.ratio" => {
            !value.trim().parse::<f64>().is_ok_and(|ratio| !(0.0..=1.0).contains(&ratio) && !ratio.is_nan())
        }
        _ => value.trim().parse().map_or(true, |number| is_in_bounds(name, number)),
    };
    if kind.accepts(value) && allowed {
        return Ok(());
    }
    Err(format!("Invalid value {value} for configuration {name}"))
}

fn is_boolean(value: &str, name: &str) -> bool {
    value.trim().eq_ignore_ascii_case(name)
}

/// `partition:broker`
fn is_replica(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

fn has_level(codec: Compression, number: i64) -> bool {
    i32::try_from(number).is_ok_and(|number| codec.levels().is_some_and(|levels| levels.contains(&number)))
}

/// Whether a numeric config may have this value.
fn is_in_bounds(name: &str, number: i64) -> bool {
    match name {
        "max.message.bytes" | "delete.retention.ms" | "min.compaction.lag.ms" | "file.delete.delay.ms" => {
            number >= 0
        }
        "message.timestamp.after.max.ms" | "message.timestamp.before.max.ms" => number >= 0,
        "index.interval.bytes" | "flush.ms" | "segment.jitter.ms" => number >= 0,
        "min.insync.replicas" | "max.compaction.lag.ms" | "segment.ms" | "flush.messages" => number >= 1,
        "segment.index.bytes" => number >= 4,
        "segment.bytes" => number >= 1024 * 1024,
        "retention.ms" => number >= -1,
        "local.retention.ms" | "local.retention.bytes" => number >= -2,
        // -1 is gzip's usual one.
        "compression.gzip.level" => number == -1 || has_level(Compression::Gzip, number),
        "compression.lz4.level" => has_level(Compression::Lz4, number),
        "compression.zstd.level" => has_level(Compression::Zstd, number),
        _ => true,
    }
}

/// The codec that `compression.type` names, `None` for the producer's.
fn codec(name: &str) -> Option<Codec> {
    Some(match name {
        "uncompressed" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        _ => return None,
    })
}
