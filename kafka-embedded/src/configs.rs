//! Topic configs: Kafka's names, defaults and checks.

use std::collections::BTreeMap;

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

/// What was set on a topic, and what the broker reads on every append.
#[derive(Debug, Clone)]
pub(crate) struct TopicConfigs {
    set: BTreeMap<String, String>,
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
        let mut configs = Self { set, ..Self::default() };
        if let Some(bytes) = configs.number("max.message.bytes") {
            configs.max_message_bytes = usize::try_from(bytes).unwrap_or(0);
        }
        configs.timestamp_after_max =
            configs.number("message.timestamp.after.max.ms").unwrap_or(configs.timestamp_after_max);
        configs.timestamp_before_max =
            configs.number("message.timestamp.before.max.ms").unwrap_or(configs.timestamp_before_max);
        configs.log_append_time =
            configs.set.get("message.timestamp.type").is_some_and(|value| value == "LogAppendTime");
        Ok(configs)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.set.get(name)?.trim().parse().ok()
    }

    /// Whether `cleanup.policy` lets old records be deleted.
    pub(crate) fn is_deleted_from(&self) -> bool {
        self.set.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"))
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
    let positive = name != "max.message.bytes" || value.trim().parse::<i32>().is_ok_and(|bytes| bytes >= 0);
    if kind.accepts(value) && listed && positive {
        return Ok(());
    }
    Err(format!("Invalid value {value} for configuration {name}"))
}
