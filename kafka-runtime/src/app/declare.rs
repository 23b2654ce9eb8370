//! The topics that the configuration declares: created, extended, and on request configured anew, before anything else
//! starts.

use std::collections::BTreeMap;

use kafka_client::admin::{Admin, NewTopic, TopicConfig};
use kafka_client::{Client, Error as ClientError, ResponseError, TopicName};
use tracing::{info, warn};

use crate::config::{AdminSettings, DeclaredTopic};
use crate::error::{Error, Result};

/// Creates what is missing, extends what has too few partitions, and with `admin.modify-topic-configs` sets what is configured
/// otherwise than declared. What does not work is logged, unless
/// `admin.fail-fast` says that it is fatal.
pub(super) async fn declare(
    client: &Client,
    settings: &AdminSettings,
    topics: &[DeclaredTopic],
) -> Result<()> {
    if topics.is_empty() || !settings.auto_create {
        return Ok(());
    }
    let admin = client.admin();
    let work = create(&admin, settings, topics);
    let done = tokio::time::timeout(settings.operation_timeout, work).await;
    let problems = done.unwrap_or_else(|_| vec![format!("not done within {:?}", settings.operation_timeout)]);
    if settings.fail_fast && !problems.is_empty() {
        return Err(Error::Startup(problems));
    }
    problems.iter().for_each(|problem| warn!(problem, "a declared topic is not as it should be"));
    Ok(())
}

async fn create(admin: &Admin, settings: &AdminSettings, topics: &[DeclaredTopic]) -> Vec<String> {
    let new = topics.iter().map(|topic| NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication: topic.replication,
        config: topic.config.clone(),
    });
    let new: Vec<NewTopic> = new.collect();
    let created = match admin.create_topics(&new, settings.operation_timeout).await {
        Ok(created) => created,
        Err(error) => return vec![format!("topics: {error}")],
    };
    let (mut problems, mut there) = (Vec::new(), Vec::new());
    for ((name, result), declared) in created.into_iter().zip(topics) {
        match result {
            Ok(()) => info!(topic = %name, "topic created"),
            Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {
                there.push(declared);
                if let Err(error) = extend(admin, settings, declared).await {
                    problems.push(format!("topic {name}: {error}"));
                }
            }
            Err(error) => problems.push(format!("topic {name}: {error}")),
        }
    }
    if settings.modify_topic_configs {
        there.retain(|topic| !topic.config.is_empty());
        problems.extend(configure(admin, settings, &there).await);
    }
    problems
}

/// Sets what topics that were there before have otherwise than declared; what is not declared stays as it is.
async fn configure(admin: &Admin, settings: &AdminSettings, topics: &[&DeclaredTopic]) -> Vec<String> {
    if topics.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let found = match admin.topic_configs(&names, settings.operation_timeout).await {
        Ok(found) => found,
        Err(error) => return vec![format!("configuration of topics: {error}")],
    };
    let (mut problems, mut changes) = (Vec::new(), Vec::new());
    for ((name, found), topic) in found.into_iter().zip(topics) {
        match found.map(|found| differences(&topic.config, &found)) {
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => changes.push((name, differences)),
            Err(error) => problems.push(format!("topic {name}: {error}")),
        }
    }
    if changes.is_empty() {
        return problems;
    }
    match admin.set_topic_configs(&changes, settings.operation_timeout).await {
        Err(error) => problems.push(format!("configuration of topics: {error}")),
        Ok(done) => {
            for ((name, result), (_, config)) in done.into_iter().zip(&changes) {
                match result {
                    Ok(()) => info!(topic = name, ?config, "topic configured as declared"),
                    Err(error) => problems.push(format!("topic {name}: {error}")),
                }
            }
        }
    }
    problems
}

/// What is declared and not so. Values are compared as text; one that the broker does not know is for it to refuse.
fn differences(declared: &BTreeMap<String, String>, found: &TopicConfig) -> BTreeMap<String, String> {
    let other =
        declared.iter().filter(|(name, value)| found.get(*name).and_then(Option::as_ref) != Some(*value));
    other.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Adds partitions. There are never fewer: Kafka cannot take any away.
async fn extend(admin: &Admin, settings: &AdminSettings, topic: &DeclaredTopic) -> Result<(), ClientError> {
    let Some(wanted) = topic.partitions else { return Ok(()) };
    let described = admin.describe_topics(&[&topic.name]).await?;
    let found = described.get(&TopicName::new(&topic.name)).map_or(0, |found| found.partitions.len());
    let found = i32::try_from(found).unwrap_or(i32::MAX);
    if found < wanted {
        admin.create_partitions(&topic.name, wanted, settings.operation_timeout).await?;
        info!(topic = topic.name, from = found, to = wanted, "partitions added");
    } else if found > wanted {
        warn!(topic = topic.name, found, declared = wanted, "it has more partitions than declared");
    }
    Ok(())
}
