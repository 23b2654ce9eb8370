//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs: of topics, groups, and brokers (`broker_configs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, TopicName, alter_configs_response,
    incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;

use super::topics::{Refused, each_once, refused};
use super::{NONE, broker_configs, text};
use crate::configs::{KNOWN, Kind, TopicConfigs, known};
use crate::faults::allowed;
use crate::group::configs::{HEARTBEAT, SESSION, apply as apply_to_group};
use crate::server::connection::Context;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// A consumer group (KIP-848).
const GROUP: i8 = 32;

/// Where a value comes from, as DescribeConfigs numbers it.
pub(super) mod source {
    pub(in crate::api) const TOPIC: i8 = 1;
    pub(in crate::api) const BROKER: i8 = 2;
    pub(in crate::api) const ALL_BROKERS: i8 = 3;
    pub(in crate::api) const STATIC_BROKER: i8 = 4;
    pub(in crate::api) const DEFAULT: i8 = 5;
    pub(in crate::api) const GROUP: i8 = 8;
}

pub(crate) async fn describe(context: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let described = match resource.resource_type {
            TOPIC => describe_topic(context, &resource, request.include_synonyms),
            BROKER => broker_configs::describe(context, &resource),
            GROUP => Ok(describe_group(context, &resource)),
            other => {
                Err((ResponseError::InvalidRequest, format!("Resource type {other} has no configs here.")))
            }
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match described {
            Ok(configs) => result.with_error_code(NONE).with_configs(configs),
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(text(message)),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

pub(super) fn is_asked(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| &**key == name),
        _ => true,
    }
}

fn unknown_topic(name: &str) -> Refused {
    (ResponseError::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."))
}

fn describe_topic(
    context: &Context,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = TopicName(resource.resource_name.clone());
    allowed(context, &name, -1).map_err(refused)?;
    let topic = context.cluster.topics.by_name(&name).ok_or_else(|| unknown_topic(&name))?;
    let asked = KNOWN.iter().filter(|(name, ..)| is_asked(resource, name));
    let describe = |(name, kind, default): &(&'static str, Kind, &'static str)| {
        let set = topic.configs.set().get(*name).map(String::as_str);
        let (value, source) = set.map_or((*default, source::DEFAULT), |value| (value, source::TOPIC));
        let own = DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(text(value))
            .with_source(source);
        // As Kafka, which leaves its defaults out.
        let listed = if synonyms && set.is_some() { vec![own] } else { Vec::new() };
        config(StrBytes::from_static_str(name), value, source, *kind, context.version).with_synonyms(listed)
    };
    Ok(asked.map(describe).collect())
}

/// What a group of KIP-848 is told, whether there is one or not.
fn describe_group(
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Vec<DescribeConfigsResourceResult> {
    let terms = context.cluster.consumer_terms(&resource.resource_name);
    let set = context.cluster.group_configs.set_on(&resource.resource_name);
    let all = [(HEARTBEAT, terms.heartbeat_interval), (SESSION, terms.session_timeout)];
    let asked = all.into_iter().filter(|(name, _)| is_asked(resource, name));
    let describe = |(name, value): (&'static str, std::time::Duration)| {
        let source = if set.contains_key(name) { source::GROUP } else { source::DEFAULT };
        let name = StrBytes::from_static_str(name);
        config(name, &value.as_millis().to_string(), source, Kind::Int, context.version)
    };
    asked.map(describe).collect()
}

pub(super) fn config(
    name: StrBytes,
    value: &str,
    source: i8,
    kind: Kind,
    version: i16,
) -> DescribeConfigsResourceResult {
    let config = DescribeConfigsResourceResult::default()
        .with_name(name)
        .with_value(text(value))
        .with_config_source(source);
    if version >= 3 { config.with_config_type(kind.code()) } else { config }
}

/// Replaces all that was set (KIP-133).
pub(crate) async fn alter(context: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let mut set = BTreeMap::new();
        for config in &resource.configs {
            // A null value takes the config back.
            if let Some(value) = &config.value {
                set.insert(config.name.to_string(), value.to_string());
            }
        }
        let name = &resource.resource_name;
        let altered = put(context, (resource.resource_type, name), request.validate_only, |_| Ok(set));
        let response = alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match altered {
            Ok(()) => response.with_error_code(NONE),
            Err((error, message)) => response.with_error_code(error.code()).with_error_message(text(message)),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes what is named (KIP-339).
pub(crate) async fn alter_incrementally(
    context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let (_, twice) = each_once(&request.resources, |one| (one.resource_type, one.resource_name.clone()));
    let responses = request.resources.into_iter().map(|resource| {
        let name = &resource.resource_name;
        let change = |set| apply(set, &resource.configs);
        let altered = match twice.contains(&(resource.resource_type, name.clone())) {
            true => {
                Err((ResponseError::InvalidRequest, "Each resource must appear at most once.".to_owned()))
            }
            false => put(context, (resource.resource_type, name), request.validate_only, change),
        };
        let response = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match altered {
            Ok(()) => response.with_error_code(NONE),
            Err((error, message)) => response.with_error_code(error.code()).with_error_message(text(message)),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

pub(super) type Set = BTreeMap<String, String>;

/// Puts what `change` makes of a resource's configs in their place.
fn put(
    context: &Context,
    (kind, name): (i8, &StrBytes),
    validate_only: bool,
    change: impl FnOnce(Set) -> Result<Set, Refused>,
) -> Result<(), Refused> {
    match kind {
        TOPIC => put_topic(context, name, validate_only, change),
        BROKER => broker_configs::put(context, name, validate_only, change),
        GROUP => put_group(context, name, validate_only, change),
        _ => Err((ResponseError::InvalidRequest, format!("Resource type {kind} has no configs here."))),
    }
}

fn put_topic(
    context: &Context,
    topic: &StrBytes,
    validate_only: bool,
    change: impl FnOnce(Set) -> Result<Set, Refused>,
) -> Result<(), Refused> {
    let name = TopicName(topic.clone());
    allowed(context, &name, -1).map_err(refused)?;
    let invalid = |message| (ResponseError::InvalidConfig, message);
    let changed = context.cluster.topics.update(&name, |topic| {
        let configs = TopicConfigs::new(change(topic.configs.set().clone())?).map_err(invalid)?;
        if !validate_only {
            topic.configs = Arc::new(configs);
        }
        Ok(())
    });
    changed.unwrap_or_else(|| Err(unknown_topic(&name)))
}

fn put_group(
    context: &Context,
    group: &str,
    validate_only: bool,
    change: impl FnOnce(Set) -> Result<Set, Refused>,
) -> Result<(), Refused> {
    if group.is_empty() {
        return Err((ResponseError::InvalidRequest, "Default group resources are not allowed.".to_owned()));
    }
    let cluster = &context.cluster;
    let set = change(cluster.group_configs.set_on(group))?;
    apply_to_group(&set, cluster.settings.consumer_groups)
        .map_err(|message| (ResponseError::InvalidConfig, message))?;
    if !validate_only {
        cluster.group_configs.put(group, set);
    }
    Ok(())
}

/// IncrementalAlterConfigs' operations.
mod operation {
    pub(super) const SET: i8 = 0;
    pub(super) const DELETE: i8 = 1;
    pub(super) const APPEND: i8 = 2;
    pub(super) const SUBTRACT: i8 = 3;
}

fn apply(mut set: Set, changes: &[AlterableConfig]) -> Result<Set, Refused> {
    let names: BTreeSet<&StrBytes> = changes.iter().map(|change| &change.name).collect();
    if names.len() < changes.len() {
        return Err((ResponseError::InvalidRequest, "Error due to duplicate config keys".to_owned()));
    }
    for change in changes {
        let name = change.name.to_string();
        let value = || {
            let message = format!("Null value not supported for: {name}");
            change.value.as_ref().map(ToString::to_string).ok_or((ResponseError::InvalidRequest, message))
        };
        match change.config_operation {
            operation::SET => _ = set.insert(name.clone(), value()?),
            operation::DELETE => _ = set.remove(&name),
            operation::APPEND => change_list(&mut set, &name, |list| {
                let added = value()?;
                list.extend(added.split(',').map(|part| part.trim().to_owned()));
                Ok(())
            })?,
            operation::SUBTRACT => change_list(&mut set, &name, |list| {
                let removed = value()?;
                list.retain(|part| !removed.split(',').any(|gone| gone.trim() == part));
                Ok(())
            })?,
            other => {
                return Err((ResponseError::InvalidRequest, format!("Unknown config operation {other}")));
            }
        }
    }
    Ok(set)
}

fn change_list(
    set: &mut Set,
    name: &str,
    change: impl FnOnce(&mut Vec<String>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let Some((Kind::List, default)) = known(name) else {
        let message = format!("Config value append is not allowed for config key: {name}");
        return Err((ResponseError::InvalidConfig, message));
    };
    let present = set.get(name).map_or(default, String::as_str);
    let mut list: Vec<String> =
        present.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    change(&mut list)?;
    let mut seen = BTreeSet::new();
    list.retain(|part| seen.insert(part.clone()));
    set.insert(name.to_owned(), list.join(","));
    Ok(())
}
