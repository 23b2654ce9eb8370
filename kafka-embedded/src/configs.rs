//! Topic configs: Kafka's names, defaults and checks.

use std::collections::BTreeMap;
use std::time::Duration;

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
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Int => value.trim().parse::<i32>().is_ok(),
            Self::Long => value.trim().parse::<i64>().is_ok(),
            Self::Double => value.trim().parse::<f64>().is_ok(),
            Self::List | Self::String => true,
        }
    }
}

/// Name, type, default of every topic config of Kafka 4.1.
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
        Ok(Self {
            deletes: policy("delete").unwrap_or(default.deletes),
            compacts: policy("compact").unwrap_or(default.compacts),
            retention_bytes: number("retention.bytes").and_then(size),
            retention: number("retention.ms").map_or(default.retention, Retention::of),
            delete_retention_ms: or("delete.retention.ms", default.delete_retention_ms),
            min_compaction_lag_ms: or("min.compaction.lag.ms", default.min_compaction_lag_ms),
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
    let allowed: &[&str] = match name {
        "message.timestamp.type" => &["CreateTime", "LogAppendTime"],
        "compression.type" => &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
        "cleanup.policy" => &["compact", "delete"],
        _ => &[],
    };
    let listed = allowed.is_empty() || value.split(',').all(|part| allowed.contains(&part.trim()));
    let number = value.trim().parse::<i64>();
    let in_bounds = lowest(name).is_none_or(|lowest| number.is_ok_and(|number| number >= lowest));
    if kind.accepts(value) && listed && in_bounds {
        return Ok(());
    }
    Err(format!("Invalid value {value} for configuration {name}"))
}

/// The least value of a numeric config.
fn lowest(name: &str) -> Option<i64> {
    Some(match name {
        "max.message.bytes" | "delete.retention.ms" | "min.compaction.lag.ms" | "file.delete.delay.ms" => 0,
        "message.timestamp.after.max.ms" | "message.timestamp.before.max.ms" => 0,
        "index.interval.bytes" | "flush.ms" | "segment.jitter.ms" => 0,
        "min.insync.replicas" | "max.compaction.lag.ms" | "segment.ms" | "flush.messages" => 1,
        "segment.index.bytes" => 4,
        "segment.bytes" => 1024 * 1024,
        "retention.ms" => -1,
        "local.retention.ms" | "local.retention.bytes" => -2,
        _ => return None,
    })
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
