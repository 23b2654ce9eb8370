//! Configs of brokers: what they were started with is shown, what may change at run time is kept, of one broker or of all.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::protocol::StrBytes;

use super::configs::{Set, config, is_asked, source};
use super::topics::Refused;
use crate::configs::{Kind, TopicConfigs};
use crate::server::connection::Context;

/// What throttles replication, in bytes a second: of nothing here, since replicas have a record at once. Tools set them
/// around a reassignment and take them back.
const RATES: &[&str] = &[
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// What the asked broker was started with.
fn fixed(context: &Context) -> [(&'static str, String, Kind); 14] {
    let settings = &context.cluster.settings;
    let groups = &settings.consumer_groups;
    let millis = |duration: Duration| duration.as_millis().to_string();
    let size = |count: usize| i32::try_from(count).unwrap_or(i32::MAX).to_string();
    [
        ("auto.create.topics.enable", settings.auto_create_topics.to_string(), Kind::Boolean),
        ("broker.id", context.node.to_string(), Kind::Int),
        ("default.replication.factor", context.cluster.default_replication().to_string(), Kind::Int),
        ("group.consumer.heartbeat.interval.ms", millis(groups.heartbeat_interval), Kind::Int),
        ("group.consumer.max.size", size(groups.max_size), Kind::Int),
        ("group.consumer.session.timeout.ms", millis(groups.session_timeout), Kind::Int),
        ("group.initial.rebalance.delay.ms", millis(settings.initial_rebalance_delay), Kind::Int),
        ("group.max.session.timeout.ms", millis(*settings.session_timeout.end()), Kind::Int),
        ("group.max.size", size(settings.group_max_size), Kind::Int),
        ("group.min.session.timeout.ms", millis(*settings.session_timeout.start()), Kind::Int),
        ("message.max.bytes", TopicConfigs::default().max_message_bytes.to_string(), Kind::Int),
        ("node.id", context.node.to_string(), Kind::Int),
        ("num.partitions", settings.default_partitions.to_string(), Kind::Int),
        ("transactional.id.expiration.ms", millis(settings.transactional_id_expiration), Kind::Int),
    ]
}

/// A broker tells of itself, and of what is set on all.
fn check_name(context: &Context, name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.parse() == Ok(context.node) {
        return Ok(());
    }
    let message =
        format!("Unexpected broker id, expected {} or empty string, but received {name}", context.node);
    Err((ResponseError::InvalidRequest, message))
}

pub(super) fn describe(
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &*resource.resource_name;
    check_name(context, name)?;
    let version = context.version;
    let set = |on: &str, source| {
        let set = context.cluster.broker_configs.set_on(on).into_iter();
        set.map(move |(name, value)| {
            let kind = if RATES.contains(&&*name) { Kind::Long } else { Kind::String };
            config(StrBytes::from_string(name), &value, source, kind, version)
        })
    };
    let mut all: Vec<_> = set("", source::ALL_BROKERS).collect();
    if !name.is_empty() {
        let own: Vec<_> = set(name, source::BROKER).collect();
        all.retain(|config| !own.iter().any(|own| own.name == config.name));
        all.extend(own);
        all.extend(fixed(context).into_iter().map(|(name, value, kind)| {
            let name = StrBytes::from_static_str(name);
            config(name, &value, source::STATIC_BROKER, kind, version).with_read_only(true)
        }));
    }
    all.retain(|config| is_asked(resource, &config.name));
    Ok(all)
}

/// Puts what `change` makes of a broker's configs in their place. Names that are not known are kept, as Kafka keeps them
/// for its plugins.
pub(super) fn put(
    context: &Context,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(Set) -> Result<Set, Refused>,
) -> Result<(), Refused> {
    check_name(context, name)?;
    let configs = &context.cluster.broker_configs;
    let set = change(configs.set_on(name))?;
    let invalid = |message| Err((ResponseError::InvalidRequest, message));
    if let Some((fixed, ..)) = fixed(context).iter().find(|(fixed, ..)| set.contains_key(*fixed)) {
        return invalid(format!("Cannot update these configs dynamically: {fixed}"));
    }
    for rate in RATES {
        let is_rate = |value: &String| value.trim().parse::<i64>().is_ok_and(|rate| rate >= 0);
        if let Some(value) = set.get(*rate).filter(|value| !is_rate(value)) {
            return invalid(format!("Invalid value {value} for configuration {rate}"));
        }
    }
    if !validate_only {
        configs.put(name, set);
    }
    Ok(())
}
