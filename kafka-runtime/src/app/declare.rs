//! The topics that the configuration declares: created or extended before anything else starts.

use kafka_client::admin::{Admin, NewTopic};
use kafka_client::{Client, Error as ClientError, ResponseError, TopicName};
use tracing::{info, warn};

use crate::config::{AdminSettings, DeclaredTopic};
use crate::error::{Error, Result};

/// Creates what is missing and extends what has too few partitions. What does not work is logged, unless
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
    let mut problems = Vec::new();
    for ((name, result), declared) in created.into_iter().zip(topics) {
        match result {
            Ok(()) => info!(topic = %name, "topic created"),
            Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {
                if let Err(error) = extend(admin, settings, declared).await {
                    problems.push(format!("topic {name}: {error}"));
                }
            }
            Err(error) => problems.push(format!("topic {name}: {error}")),
        }
    }
    problems
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
